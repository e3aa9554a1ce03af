"""Gateways that end, and are replaced, while clients come and go: nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from benchmarks.soak.gateways.processes import Backend
from tests.support.child_gateways import (
    ChildGateway,
    start_gateway,
    until,
)
from tests.support.child_nodes import start_http_node
from tests.support.programs import short_folder
from vinom.net.streams.packets import HEADER_BYTES, Kind, Packet, PacketReader, encode
from vinom.tools.commands.child_node import free_port

#: Upgrades in one run; ``VINOM_GATEWAY=full`` in the environment makes 20.
UPGRADES = 20 if os.environ.get("VINOM_GATEWAY") == "full" else 3
#: How long clients may stay with a gateway that is replaced, seconds.
STAY = 4
_TOKEN = "a-token-of-the-operator"


class Echo(Protocol):
    """A back end that sends everything back."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]


class Client(Protocol):
    """One connection; what came of it."""

    transport: Any

    def __init__(self) -> None:
        self.got = b""
        self.is_lost = False
        self._waits: list[tuple[int, Deferred[None]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_lost = True
        self._look()

    def has(self, size: int) -> Deferred[None]:
        """Fires when so many bytes came, or no more can come."""
        self._waits.append((size, waiting := Deferred()))
        self._look()
        return waiting

    def _look(self) -> None:
        for one in tuple(self._waits):
            if self.is_lost or len(self.got) >= one[0]:
                self._waits.remove(one)
                one[1].callback(None)


class Page(Resource):
    """Answers with a digest of the body."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        return sha256(request.content.read()).hexdigest().encode()


async def sleep(seconds: float) -> None:
    clock: Any = reactor
    waited: Deferred[None] = deferLater(clock, seconds)
    await waited


class UpgradeTests(TestCase):
    timeout = 300

    def setUp(self) -> None:
        clock: Any = reactor
        ports = []
        for factory in (Factory.forProtocol(Echo), Site(Page())):
            port = clock.listenTCP(0, factory, 1000, interface="127.0.0.1")
            self.addCleanup(port.stopListening)
            ports.append(port.getHost().port)
        self.services = {
            "lobby": {
                "strategy": "round_robin",
                "endpoints": [f"127.0.0.1:{ports[0]}"],
            },
            "site": {
                "strategy": "round_robin",
                "endpoints": [f"127.0.0.1:{ports[1]}"],
                "match": {"path": "/"},
            },
        }
        self.is_over = False
        self.done = 0

    async def open(self, port: int) -> Client:
        client = Client()
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port, 10)
        factory = Factory.forProtocol(lambda: client)
        factory.noisy = False
        await endpoint.connect(factory)
        return client

    async def echo(self, port: int) -> None:
        """Open connections, one after the other, and check every byte of each."""
        while not self.is_over:
            client = await self.open(port)
            sent = b"{"
            client.transport.write(sent)
            for _ in range(5):
                piece = os.urandom(3000)
                client.transport.write(piece)
                sent += piece
                await sleep(0.02)
            await client.has(len(sent))
            self.assertEqual(client.got, sent)
            client.transport.loseConnection()
            self.done += 1

    async def ask(self, port: int) -> None:
        """Send requests; connect again when an answer says so."""
        client = None
        while not self.is_over:
            client = client or await self.open(port)
            body = os.urandom(2000)
            client.got = b""
            head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000\r\n\r\n"
            client.transport.write(head + body[:1000])
            await sleep(0.01)
            client.transport.write(body[1000:])
            while b"\r\n\r\n" not in client.got and not client.is_lost:
                await client.has(len(client.got) + 1)
            answer = client.got.partition(b"\r\n\r\n")[0]
            await client.has(len(answer) + 4 + 64)
            self.assertEqual(client.got[-64:], sha256(body).hexdigest().encode())
            self.done += 1
            if b"Connection: close" in answer:
                client.transport.loseConnection()
                client = None
        if client is not None:
            client.transport.loseConnection()

    async def stayers(self, port: int) -> tuple[Client, Client, Deferred[int]]:
        """Have clients who do not go: with lines, packets, and a WebSocket."""
        line, packets = await self.open(port), await self.open(port)
        line.transport.write(b"{stays\n")
        packets.transport.write(
            encode(Packet(Kind.OPEN, service_type=7, session_id=5))
            + encode(Packet(Kind.DATA, b"stays", session_id=5))
        )
        met: Deferred[None] = Deferred()
        clock: Any = reactor
        web = deferToThread(
            stay, port, lambda: clock.callFromThread(met.callback, None)
        )
        await line.has(7)
        await packets.has(2 * HEADER_BYTES + 5)
        await met
        return line, packets, web

    async def exits(self, gateway: ChildGateway) -> None:
        self.assertEqual(await gateway.program.ended, 0, gateway.program.text)
        self.assertNotIn("Traceback", gateway.program.text)

    async def test_hand_over(self) -> None:
        """
        Gateways take the port over from each other while clients come and go: nobody is
        refused, and every byte arrives once. Those who stay too long read why they may
        not: with lines, in packets and by WebSocket.
        """
        backend = Backend("b")
        self.addCleanup(backend.kill)
        rule = {"strategy": "round_robin", "endpoints": [backend.endpoint]}
        self.services["ws"] = {**rule, "match": {"path": "/ws"}}
        self.services["packets"] = {**rule, "transport": "packets", "code": 7}
        socket = short_folder(self) / "s"
        options = (f"--handover={socket}", f"--drain-seconds={STAY}")
        port = free_port()
        gateway = await start_gateway(self, self.services, *options, port=port)
        clients = [ensureDeferred(self.echo(port)) for _ in range(15)]
        clients += [ensureDeferred(self.ask(port)) for _ in range(10)]
        await sleep(0.5)
        for _ in range(UPGRADES):
            before = self.done
            old = gateway
            line, packets, web = await self.stayers(port)
            gateway = await start_gateway(self, self.services, *options, port=port)
            await self.exits(old)
            await line.has(10**6)
            self.assertTrue(line.got.startswith(b'{stays\n{"'), line.got)
            self.assertIn(b'"code":"draining"', line.got)
            await packets.has(10**6)
            closes = [
                (one.session_id, one.body.partition(b":")[0])
                for one in PacketReader().read(packets.got)
                if one.kind is Kind.CLOSE
            ]
            # That the gateway goes, and at the deadline each session, and all.
            self.assertEqual([id_ for id_, _ in closes], [0, 5, 0])
            self.assertEqual({why for _, why in closes}, {b"draining"})
            self.assertEqual(await web, 1012)
            await until(self, lambda so_far=before: self.done > so_far + 25, "load")
        self.is_over = True
        for is_good, failure in await DeferredList(clients, consumeErrors=True):
            self.assertTrue(is_good, failure)
        gateway.program.transport.signalProcess("TERM")  # type: ignore[union-attr]
        await self.exits(gateway)
        self.assertFalse(socket.exists())

    async def test_killed_before(self) -> None:
        """
        A socket that a killed gateway left behind is in nobody's way.
        """
        option = f"--handover={short_folder(self) / 's'}"
        port = free_port()
        for _ in range(2):
            gateway = await start_gateway(self, self.services, option, port=port)
            client = await self.open(port)
            client.transport.write(b"{}")
            await client.has(2)
            self.assertEqual(client.got, b"{}")
            gateway.program.transport.signalProcess("KILL")  # type: ignore[union-attr]
            await gateway.program.ended

    async def test_drain(self) -> None:
        """
        A gateway that drains is not ready at once, takes newcomers until the lag is
        over, lets clients end, tells the others, and exits with 0.
        """
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        token = folder / "token"
        token.write_text(_TOKEN)
        token.chmod(0o600)
        _, http = await start_http_node(
            self, "--guests=yes", "--warm=0", "--proxy=127.0.0.1"
        )
        self.services["ws"] = {
            "strategy": "round_robin",
            "endpoints": [f"127.0.0.1:{http}"],
            "match": {"path": "/ws"},
        }
        admin = free_port()
        gateway = await start_gateway(
            self,
            self.services,
            f"--admin=tcp:{admin}:interface=127.0.0.1",
            f"--admin-token-file={token}",
            "--drain-lag=1",
            "--drain-seconds=3",
        )
        base = f"http://127.0.0.1:{admin}"
        self.assertEqual(await deferToThread(status, f"{base}/ready"), 200)
        self.assertEqual(await deferToThread(status, f"{base}/drain", "POST", ""), 401)
        web = deferToThread(stay, gateway.port)
        ends, stays = await self.open(gateway.port), await self.open(gateway.port)
        for client in (ends, stays):
            client.transport.write(b"{}\n")
            await client.has(3)
        answer = await deferToThread(status, f"{base}/drain", "POST", _TOKEN)
        self.assertEqual(answer, 200)
        self.assertEqual(await deferToThread(status, f"{base}/ready"), 503)
        self.assertEqual(await deferToThread(status, f"{base}/health"), 200)
        late = await self.open(gateway.port)
        late.transport.write(b"{late")
        await late.has(5)
        self.assertEqual(late.got, b"{late")
        late.transport.loseConnection()
        ends.transport.write(b"more")
        await ends.has(7)
        self.assertEqual(ends.got, b"{}\nmore")
        ends.transport.loseConnection()
        self.assertEqual(await web, 1012)
        await stays.has(10**6)
        self.assertIn(b'"code":"draining"', stays.got)
        await self.exits(gateway)
        outcomes = sorted(one["outcome"] for one in gateway.sessions())
        self.assertEqual(outcomes, ["done", "done", "done", "draining"])


def status(url: str, method: str = "GET", token: str = "") -> int:
    """Ask a page; returns its status."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = Request(url, b"" if method == "POST" else None, headers, method=method)
    try:
        with urlopen(request) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def stay(port: int, met: Callable[[], object] = lambda: None) -> int:
    """
    Open a WebSocket, say hello and listen until it is closed; returns why.

    :param met: called when there was an answer.
    """
    with connect(f"ws://127.0.0.1:{port}/ws") as socket:
        socket.send('{"type": "hello", "data": {"protocol": 1, "name": "ann"}}')
        try:
            socket.recv(timeout=60)
            met()
            while True:
                socket.recv(timeout=60)
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd is not None else 0
