"""Requests that are sent before the answers to earlier ones."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.server import Request

from tests.support.websocket_net import EchoServer, RawClient, connect, handshake
from vinom.net.web.answers import Asked, Page

#: As many requests as fit into one read, and more.
MANY = 1500
LARGE = 60_000


class Counted(Page):
    """A page that notes who asked for it."""

    def __init__(self, served: list[bytes], size: int) -> None:
        super().__init__()
        self._served, self._size = served, size

    def render_GET(self, request: Request) -> bytes:
        self._served.append(request.uri)
        request.setHeader("content-length", str(self._size))
        return b"x" * self._size


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


class PipeliningTests(TestCase):
    timeout = 120

    def setUp(self) -> None:
        self.served: list[bytes] = []
        self.server = EchoServer(
            reactor,
            small=Counted(self.served, 1),
            large=Counted(self.served, LARGE),
            echo=Asked("POST", len),
        )
        self.addCleanup(self.server.stop)

    async def connect(self) -> RawClient:
        client = await connect(reactor, self.server.port)
        self.addCleanup(client.close)
        return client

    async def turns(self, count: int) -> None:
        """Let the server do what it can without new bytes."""
        for _ in range(count):
            await deferLater(reactor, 0)  # type: ignore[arg-type]

    async def until(self, client: RawClient, end: bytes, count: int) -> None:
        """Wait until the client has received this so many times."""
        while client.received.count(end) < count:
            self.assertFalse(client.is_over)
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]

    async def test_in_order(self) -> None:
        """
        A client that sends many at once, some with a body, gets all answers in order.
        """
        client = await self.connect()
        post = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
        client.write(
            b"".join(
                post % (at % 50, b"y" * (at % 50)) + get("/small") for at in range(500)
            )
        )
        await self.until(client, b"HTTP/1.1 200 OK", 1000)
        await self.until(client, b"\r\n\r\nx", 500)
        answers = bytes(client.received).split(b"HTTP/1.1 200 OK")[1:]
        self.assertEqual(
            [one.partition(b"\r\n\r\n")[2].strip() for one in answers],
            [word for at in range(500) for word in (b"%d" % (at % 50), b"x")],
        )

    async def test_neighbour(self) -> None:
        """
        A neighbour's request does not wait until all of them are answered.
        """
        many, one = await self.connect(), await self.connect()
        many.transport.getHandle().send(get("/small") * MANY)
        one.transport.getHandle().send(get("/small?one"))
        await self.until(many, b"HTTP/1.1 200 OK", MANY)
        self.assertLess(self.served.index(b"/small?one"), 50)

    async def test_nobody_reads(self) -> None:
        """
        What a client does not read is not made; when it reads, it gets everything.
        """
        raw = socket.socket()
        self.addCleanup(raw.close)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", self.server.port))
        raw.setblocking(False)
        sent = raw.send(get("/large") * MANY)
        # The rest of a request that did not fit into the socket is never sent.
        whole = sent // len(get("/large"))
        await self.turns(4 * MANY)
        self.assertGreater(len(self.served), 0)
        # The kernel holds some megabytes, as of any answer.
        self.assertLess(len(self.served), 200)
        got = 0
        while got < whole * LARGE:
            await deferLater(reactor, 0)  # type: ignore[arg-type]
            try:
                got += len(raw.recv(1 << 20))
            except BlockingIOError:
                continue
        self.assertEqual(len(self.served), whole)

    async def test_websocket(self) -> None:
        """
        A WebSocket does not begin behind answers that may never be read: that it is
        refused is an answer in its turn, and afterwards it may be asked for again.
        """
        client = await self.connect()
        client.write(get("/small") + handshake() + get("/small"))
        heads = []
        for size in (1, 0, 1):
            heads.append((await client.head()).partition(b"\r\n")[0])
            if not size:
                await self.until(client, b"}\n", 1)
                self.assertIn(b"earlier", client.received)
                size = client.received.index(b"}\n") + 2
            await self.until(client, b"", size)
            del client.received[:size]
        self.assertEqual(
            heads, [b"HTTP/1.1 200 OK", b"HTTP/1.1 400 Bad Request", b"HTTP/1.1 200 OK"]
        )
        client.write(handshake())
        self.assertIn(b" 101 ", await client.head())
        client.say(1, b"1")
        found: Any = await client.frame()
        self.assertEqual(found.data, b"[1]")
