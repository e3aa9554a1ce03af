"""Connections whose bytes are a session's, on real sockets of the loopback."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from vinom.net.streams.channels import Reason
from vinom.net.streams.sockets import ByteStream

#: More than the kernel takes for a peer that does not read.
MUCH = bytes(range(256)) * 40_000
_BUFFER = 64 * 1024


class MemoryLeg:
    """The side of a session: it remembers what came (`channels.Leg`)."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def received(self, data: bytes) -> None:
        self.calls.append("received")

    def finished(self) -> None:
        self.calls.append("finished")

    def lost(self, reason: Reason, words: str = "") -> None:
        self.calls.append(f"lost {reason}")

    def filled(self) -> None:
        self.calls.append("filled")

    def drained(self) -> None:
        self.calls.append("drained")


class LoopbackCase(TestCase):
    """Sockets of the loopback, one end of which is the test's."""

    timeout = 60

    def listen(self, factory: Any) -> Any:
        """Listen on a free port."""
        loop: Any = reactor
        port = loop.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return port

    async def turn(self) -> None:
        """Let the reactor do what is due."""
        await deferLater(reactor, 0.001)  # type: ignore[arg-type]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait; the test's own time-out ends it."""
        while not condition():
            await self.turn()

    async def read(self, peer: socket.socket, size: int = 1 << 30) -> bytes:
        """Read so much; less at the end, or if the connection is broken."""
        got = b""
        while len(got) < size:
            try:
                data = peer.recv(min(_BUFFER, size - len(got)))
            except BlockingIOError:
                await self.turn()
                continue
            except ConnectionResetError:
                break
            if not data:
                break
            got += data
        return got


class SocketCase(LoopbackCase):
    """A protocol, and its peer, which is a socket of the test."""

    async def connect(self, make: Callable[[], Any]) -> socket.socket:
        """Have a protocol accept a connection of a peer, whose buffer is short."""
        made: list[Any] = []

        def accepted() -> Any:
            made.append(make())
            return made[-1]

        port = self.listen(Factory.forProtocol(accepted))
        peer = socket.socket()
        self.addCleanup(peer.close)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        peer.connect(("127.0.0.1", port.getHost().port))
        peer.setblocking(False)
        await self.until(lambda: made and made[0].transport is not None)
        return peer


class ByteStreamTests(SocketCase):
    def setUp(self) -> None:
        self.clock, self.leg = Clock(), MemoryLeg()
        self.stream: ByteStream

    def make(self, lost: Reason = Reason.BACKEND_LOST) -> ByteStream:
        self.stream = ByteStream(self.clock, lost)
        self.stream.leg = self.leg
        return self.stream

    async def test_finish(self) -> None:
        """
        A peer that read everything may take its time to answer, also if it did not take
        everything at once.
        """
        peer = await self.connect(self.make)
        self.stream.send(MUCH)
        self.assertEqual(self.leg.calls, ["filled"])
        self.stream.finish()
        self.assertEqual(await self.read(peer, len(MUCH) + 1), MUCH)
        await self.until(lambda: "drained" in self.leg.calls)
        self.clock.advance(100)
        peer.sendall(b"answer")
        await self.until(lambda: len(self.leg.calls) > 2)
        self.assertEqual(self.leg.calls, ["filled", "drained", "received"])
        self.stream.close(Reason.DONE)
        peer.close()
        await self.until(lambda: not self.stream.transport.connected)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_slow_reader(self) -> None:
        """
        A peer that reads slowly gets all of what its session had to send, however long
        that takes after the session's end.
        """
        peer = await self.connect(self.make)
        self.stream.send(MUCH)
        self.stream.close(Reason.DONE)
        got = b""
        while len(got) < len(MUCH):
            got += await self.read(peer, 1 << 20)
            await self.turn()
            self.clock.advance(10)
        self.assertEqual(got, MUCH)
        self.assertEqual(await self.read(peer, 1), b"")
        peer.close()
        await self.until(lambda: not self.stream.transport.connected)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_no_reader(self) -> None:
        """
        A peer that reads nothing after the end of its session is cut off.
        """
        await self.connect(self.make)
        self.stream.send(MUCH)
        self.stream.close(Reason.DONE)
        self.clock.advance(10)
        await self.until(lambda: not self.stream.transport.connected)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_stuck_back_end(self) -> None:
        """
        A back end that does not read for 30 s is lost: its client is told so, and did
        nothing wrong. A client that does not read is too slow.
        """
        for lost, reason in (
            (Reason.BACKEND_LOST, "backend_lost"),
            (Reason.CLIENT_LOST, "too_slow"),
        ):
            self.leg = MemoryLeg()
            await self.connect(partial(self.make, lost))
            self.stream.send(MUCH)
            self.clock.advance(29)
            self.assertEqual(self.leg.calls, ["filled"])
            self.clock.advance(1)
            self.assertEqual(self.leg.calls, ["filled", f"lost {reason}"])
            stream = self.stream
            await self.until(lambda stream=stream: not stream.transport.connected)
        self.assertEqual(self.clock.getDelayedCalls(), [])
