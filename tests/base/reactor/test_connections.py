"""Connections that wait for the reactor only if need be, on sockets of the loopback."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectBindError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionRefusedError,
    TimeoutError,
)
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.internet.tcp import Port
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from vinom.base.reactor import connections
from vinom.base.reactor.connections import Connecting, QuickConnection, accept_quickly
from vinom.base.reactor.waits import Waits

#: More than the kernel takes for a peer that does not read.
MUCH = bytes(range(256)) * 40_000


class Whole(Protocol):
    """Notes what happens; its connection ends as a whole."""

    transport: Any

    def __init__(self) -> None:
        self.got, self.ends = b"", list[str]()

    def dataReceived(self, data: bytes) -> None:
        if data == b"!":
            raise ValueError("not this")
        self.got += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ends.append("clean" if reason.check(ConnectionDone) else "broken")


@implementer(IHalfCloseableProtocol)
class Half(Whole):
    """The same, of which each half ends by itself."""

    def readConnectionLost(self) -> None:
        self.ends.append("read")

    def writeConnectionLost(self) -> None:
        self.ends.append("written")


class Failing(Whole):
    """Fails as soon as it is connected."""

    def connectionMade(self) -> None:
        raise ValueError("not this")


class ConnectionCase(TestCase):
    timeout = 60

    def listen(self, make: Callable[[], Any]) -> tuple[Any, list[Any]]:
        """Listen; gives the port, and the protocols of its connections."""
        made: list[Any] = []

        def accepted() -> Any:
            made.append(make())
            return made[-1]

        loop: Any = reactor
        port = loop.listenTCP(0, Factory.forProtocol(accepted), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        accept_quickly(port)
        return port, made

    async def accept(self, make: Callable[[], Any]) -> tuple[Any, socket.socket]:
        """Accept a connection; gives its protocol and the socket of its peer."""
        port, made = self.listen(make)
        peer = socket.socket()
        self.addCleanup(peer.close)
        peer.connect(("127.0.0.1", port.getHost().port))
        peer.setblocking(False)
        await self.until(lambda: made and made[0].transport is not None)
        self.addCleanup(self.end, made[0].transport)
        return made[0], peer

    async def end(self, transport: Any) -> None:
        transport.abortConnection()
        await self.until(lambda: not transport.connected)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait; the test's own time-out ends it."""
        while not condition():
            await deferLater(reactor, 0.001)  # type: ignore[arg-type]

    async def read(self, peer: socket.socket) -> bytes:
        """Read up to the end."""
        got = b""
        while True:
            try:
                data = peer.recv(65536)
            except BlockingIOError:
                await deferLater(reactor, 0.001)  # type: ignore[arg-type]
                continue
            if not data:
                return got
            got += data


class QuickConnectionTests(ConnectionCase):
    async def test_addresses(self) -> None:
        """
        Limits and logs have the address of the client.
        """
        protocol, peer = await self.accept(Half)
        transport = protocol.transport
        self.assertIsInstance(transport, QuickConnection)
        there, here = transport.getPeer(), transport.getHost()
        self.assertEqual((there.host, there.port), peer.getsockname())
        self.assertEqual((here.host, here.port), peer.getpeername())

    async def test_death_is_noticed(self) -> None:
        """
        The kernel looks after clients that are quiet for long, as it does elsewhere.
        """
        protocol, _ = await self.accept(Half)
        handle = protocol.transport.getHandle()
        tcp = socket.IPPROTO_TCP
        self.assertTrue(protocol.transport.is_watched)
        self.assertTrue(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.assertTrue(handle.getsockopt(tcp, socket.TCP_NODELAY))
        self.assertEqual(handle.getsockopt(tcp, socket.TCP_KEEPIDLE), 15)
        self.assertEqual(handle.getsockopt(tcp, socket.TCP_USER_TIMEOUT), 20_000)

    async def test_half_at_once(self) -> None:
        """
        A peer learns without a turn of the reactor that nothing more follows, and what
        it still has to send arrives.
        """
        protocol, peer = await self.accept(Half)
        protocol.transport.loseWriteConnection()
        self.assertEqual(peer.recv(1), b"")
        protocol.transport.loseWriteConnection()
        protocol.transport.write(b"too late")
        peer.sendall(b"answer")
        await self.until(lambda: protocol.got)
        self.assertEqual((protocol.got, protocol.ends), (b"answer", ["written"]))

    async def test_half_when_sent(self) -> None:
        """
        What the peer did not take yet arrives before the end does.
        """
        for close in ("loseWriteConnection", "loseConnection"):
            protocol, peer = await self.accept(Half)
            protocol.transport.write(MUCH)
            getattr(protocol.transport, close)()
            self.assertEqual(await self.read(peer), MUCH)

    async def test_closed_at_once(self) -> None:
        """
        A connection whose peer has sent everything is gone when it is closed, cleanly.
        """
        protocol, peer = await self.accept(Half)
        protocol.transport.loseConnection()
        self.assertEqual(protocol.ends, [], "its peer may still send")
        await self.until(lambda: protocol.ends)
        protocol, peer = await self.accept(Half)
        peer.shutdown(socket.SHUT_WR)
        await self.until(lambda: protocol.ends)
        peer.setblocking(True)
        protocol.transport.getHandle().send(b"the last")
        protocol.transport.loseConnection()
        self.assertEqual(protocol.ends, ["read", "clean"])
        protocol.transport.loseConnection()
        self.assertEqual(await self.read(peer), b"the last")

    async def test_closed_when_sent(self) -> None:
        """
        After the end of what the peer sends it still gets all that waits for it.
        """
        protocol, peer = await self.accept(Half)
        peer.shutdown(socket.SHUT_WR)
        await self.until(lambda: protocol.ends)
        protocol.transport.write(MUCH)
        protocol.transport.loseConnection()
        self.assertEqual(await self.read(peer), MUCH)
        await self.until(lambda: len(protocol.ends) > 1)
        self.assertEqual(protocol.ends, ["read", "clean"])

    async def test_end(self) -> None:
        """
        The end of what the peer sends reaches whoever found it without the reactor, and
        a protocol without halves loses its connection.
        """
        for make, ends in ((Half, ["read"]), (Whole, ["clean"])):
            protocol, peer = await self.accept(make)
            peer.shutdown(socket.SHUT_WR)
            self.assertEqual(protocol.transport.take_at_once(), b"")
            protocol.transport.ended()
            self.assertEqual(protocol.ends, ends)
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]
            self.assertEqual(protocol.ends, ends)

    async def test_mistake(self) -> None:
        """
        A mistake of ours at the end costs one connection, and is logged.
        """
        protocol, peer = await self.accept(Half)
        protocol.readConnectionLost = lambda: 1 / 0
        peer.shutdown(socket.SHUT_WR)
        await self.until(lambda: protocol.ends)
        self.assertEqual(protocol.ends, ["broken"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_take_at_once(self) -> None:
        """
        What came before a connection was accepted needs no turn; without it all is as
        ever.
        """
        protocol, peer = await self.accept(Half)
        self.assertEqual(protocol.transport.take_at_once(), b"")
        peer.send(b"early")
        self.assertEqual(protocol.transport.take_at_once(), b"early")
        peer.send(b"late")
        await self.until(lambda: protocol.got)
        self.assertEqual(protocol.got, b"late")


class PartsTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """
        This version of Twisted has the private parts that are used. If this fails, its
        own connections do the work, and more slowly: see
        `vinom.base.reactor.connections`.
        """
        self.assertTrue(connections.IS_KNOWN)
        made = Port(0, Factory(), reactor=reactor)
        self.assertTrue(made.transport)

    def test_without_them(self) -> None:
        """
        Without them a port stays as Twisted made it.
        """
        made = Port(0, Factory(), reactor=reactor)
        before = made.transport
        with patch.object(connections, "IS_KNOWN", False):
            accept_quickly(made)
        self.assertIs(made.transport, before)


class ConnectingTests(ConnectionCase):
    def connecting(self, port: int, protocol: Any) -> Connecting:
        return Connecting(reactor, socket.AF_INET, ("127.0.0.1", port), protocol)

    async def test_at_once(self) -> None:
        """
        A program of this machine is connected to without a turn of the reactor.
        """
        port, made = self.listen(Half)
        ours = Half()
        self.assertTrue(self.connecting(port.getHost().port, ours).begin())
        await self.until(lambda: made and made[0].transport is not None)
        self.assertEqual(ours.transport.getPeer(), port.getHost())
        self.assertEqual(made[0].transport.getPeer(), ours.transport.getHost())
        made[0].transport.write(b"hello")
        await self.until(lambda: ours.got)
        for one in (ours, made[0]):
            await self.end(one.transport)

    def test_refused(self) -> None:
        """
        Where nobody listens, the reason is the same as from Twisted's endpoints.
        """
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            attempt = self.connecting(unused.getsockname()[1], Half())
            error = self.assertRaises(ConnectionRefusedError, attempt.begin)
        self.assertEqual(error.osError, errno.ECONNREFUSED)
        self.assertEqual(attempt.fileno(), -1)

    def test_no_descriptor(self) -> None:
        """
        Without a descriptor it fails so that no back end is blamed (`is_ours`).
        """
        full = OSError(errno.EMFILE, "too many")
        with patch.object(connections.socket, "socket", side_effect=full):
            error = self.assertRaises(
                ConnectBindError, self.connecting(1, Half()).begin
            )
        self.assertEqual(error.osError, errno.EMFILE)

    async def test_mistake_at_once(self) -> None:
        """
        A protocol that fails when it is connected leaves no open connection.
        """
        port, made = self.listen(Half)
        ours = Failing()
        attempt = self.connecting(port.getHost().port, ours)
        self.assertRaises(ValueError, attempt.begin)
        await self.until(lambda: made and made[0].ends)
        self.assertEqual(ours.ends, ["broken"])
        made[0].transport.abortConnection()

    async def test_mistake_later(self) -> None:
        """
        If it is connected later and fails then, whoever waits for it is told.
        """
        attempt, done, port = self.wait(Clock(), Failing)
        failed: list[Failure] = []
        done.addErrback(failed.append)
        await self.accept(port, failed)
        self.assertIsInstance(failed[0].value, ValueError)
        self.assertEqual(attempt.fileno(), -1)

    async def accept(self, port: socket.socket, ends: Sequence[object]) -> None:
        """Answer those who connect, until one of the ends has come."""
        port.setblocking(False)
        while not ends:
            try:
                accepted, _ = port.accept()
                self.addCleanup(accepted.close)
            except BlockingIOError:
                pass
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]

    def wait(
        self, clock: Clock, make: Callable[[], Any] = Half
    ) -> tuple[Connecting, Deferred[None], socket.socket]:
        """Connect to a port whose queue is full: no answer comes."""
        port = socket.socket()
        self.addCleanup(port.close)
        port.bind(("127.0.0.1", 0))
        port.listen(0)
        number = port.getsockname()[1]
        ours: Any
        while True:
            attempt = self.connecting(number, Half())
            if not attempt.begin():
                break
            ours = attempt
            self.addCleanup(self.end, ours._protocol.transport)
        ours = attempt
        ours._protocol = make()
        waits = Waits(clock)
        return attempt, attempt.wait(waits, clock.seconds() + 3.0), port

    def test_overdue(self) -> None:
        """
        A back end that does not answer is given up in time.
        """
        clock = Clock()
        attempt, done, _ = self.wait(clock)
        clock.advance(2.9)
        self.assertNoResult(done)
        clock.advance(0.1)
        self.failureResultOf(done, TimeoutError)
        self.assertEqual((clock.getDelayedCalls(), attempt.fileno()), ([], -1))

    def test_cancelled(self) -> None:
        """
        Whoever does not want the connection any more leaves nothing behind.
        """
        clock = Clock()
        attempt, done, _ = self.wait(clock)
        done.cancel()
        self.failureResultOf(done, ConnectingCancelledError, CancelledError)
        self.assertEqual((clock.getDelayedCalls(), attempt.fileno()), ([], -1))

    async def test_later(self) -> None:
        """
        A back end that answers later is connected then.
        """
        attempt, done, port = self.wait(Clock())
        reached: list[object] = []
        done.addCallback(reached.append)
        await self.accept(port, reached)
        ours: Any = attempt
        await self.end(ours._protocol.transport)

    async def test_refused_later(self) -> None:
        """
        One that stops listening meanwhile is not reached, and the reason is its own.
        """
        _, done, port = self.wait(Clock())
        port.close()
        failed: list[Failure] = []
        done.addErrback(failed.append)
        await self.until(lambda: failed)
        self.assertIsInstance(failed[0].value, ConnectionRefusedError)
