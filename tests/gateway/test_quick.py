"""Connections through to a back end, on sockets of the loopback."""

from __future__ import annotations

import socket
from typing import Any
from unittest import SkipTest

from twisted.internet import reactor
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from zope.interface import implementer

from tests.net.streams.test_byte_stream import LoopbackCase
from tests.support.gateways import limits, settings
from vinom.base.reactor.connections import QuickConnection, accept_quickly
from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.turns import TurnEnd
from vinom.gateway.arrivals import Arrival
from vinom.gateway.backends import Backends
from vinom.gateway.dialing import Dialer, TcpBackend
from vinom.gateway.listener import Acceptors, bytes_acceptor
from vinom.gateway.routing.health import Health
from vinom.gateway.routing.router import Router
from vinom.gateway.routing.rules import Endpoint, check_rules
from vinom.gateway.sessions import Session, SessionIds
from vinom.net.lines.sniff import Spoken


@implementer(IHalfCloseableProtocol)
class Echo(Protocol):
    """A back end that sends back what it gets, all of it, then closes."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        # Without this Twisted drops what the socket has not taken yet.
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Never: it closes both halves at once."""


class QuickCase(LoopbackCase):
    def setUp(self) -> None:
        loop: Any = reactor
        self.clock, self.ended = Clock(), list[Session]()
        self.echo = self.listen(Factory.forProtocol(Echo))
        self.router = Router(other_service="echo")
        self.use(f"127.0.0.1:{self.echo.getHost().port}")
        dialer = Dialer(reactor, is_quick=True)
        direct, web = DirectReads(), None
        tcp = TcpBackend(dialer, loop, web, direct)  # type: ignore[arg-type]
        health = Health(loop.seconds)
        self.backends = Backends(
            self.router,
            health,
            {"tcp": tcp, "tcp+proxy": tcp},
            SessionIds(),
            loop,
            self.ended.append,
        )
        self.limits = limits(50, 1000, 1000)
        self.turns = TurnEnd(loop)
        acceptor = bytes_acceptor("tcp", self.backends, loop, settings(), direct)
        self.acceptors = Acceptors(
            {Spoken.OTHER: acceptor, Spoken.LINES: self.broken},
            self.limits,
            loop,
            turns=self.turns,
        )
        self.port = self.listen(self.acceptors)
        accept_quickly(self.port)

    async def tearDown(self) -> None:
        await self.until(lambda: not self.limits.connections.total)

    def use(self, *endpoints: str, transport: str = "tcp") -> None:
        rule = {"strategy": "round_robin", "transport": transport}
        self.router.use(check_rules({"echo": {**rule, "endpoints": list(endpoints)}}))

    def broken(self, arrival: Arrival) -> Any:
        raise ValueError("a mistake")

    def connect(self, first: bytes = b"") -> socket.socket:
        """Connect, and send something before the gateway has accepted."""
        peer = socket.create_connection(("127.0.0.1", self.port.getHost().port), 5)
        self.addCleanup(peer.close)
        peer.sendall(first)
        peer.setblocking(False)
        return peer


class QuickTests(QuickCase):
    async def test_through(self) -> None:
        """
        What a client sends with its connection, and what it sends later, goes through
        and back, and its end as well.
        """
        for first in (b"", b"\x01hello"):
            peer = self.connect(first)
            self.assertEqual(await self.read(peer, len(first)), first)
            peer.sendall(b"\x02more")
            self.assertEqual(await self.read(peer, 5), b"\x02more")
            peer.shutdown(socket.SHUT_WR)
            self.assertEqual(await self.read(peer), b"")
        await self.until(lambda: len(self.ended) == 2)
        for session, size in zip(self.ended, (5, 11), strict=True):
            sizes = session.client.bytes, session.backend.bytes
            self.assertEqual((session.outcome, sizes), ("done", (size, size)))

    async def test_many_at_once(self) -> None:
        """
        Clients that come all at once are all served, also those that the turn has no
        time to read at once.
        """
        peers = [self.connect(b"\x01%02d" % number) for number in range(40)]
        for number, peer in enumerate(peers):
            self.assertEqual(await self.read(peer, 3), b"\x01%02d" % number)
            peer.close()
        await self.until(lambda: len(self.ended) == 40)
        self.assertEqual(self.acceptors.arrived, {"other": 40})

    async def test_last_bytes(self) -> None:
        """
        A client that ends its half as soon as it has asked gets everything.
        """
        much = bytes(range(1, 256)) * 10_000
        peer = self.connect(b"\x01")
        peer.setblocking(True)
        sent, got = 0, b""
        peer.settimeout(0)
        while sent < len(much):
            try:
                sent += peer.send(much[sent : sent + 65536])
            except BlockingIOError:
                got += await self.read(peer, 1)
        peer.shutdown(socket.SHUT_WR)
        self.assertEqual(got + await self.read(peer), b"\x01" + much)

    async def test_another_back_end(self) -> None:
        """
        If one back end refuses, the next one serves, and the client notices nothing.
        """
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            refuses = unused.getsockname()[1]
        good = f"127.0.0.1:{self.echo.getHost().port}"
        self.use(f"127.0.0.1:{refuses}", good, f"[::1]:{refuses}")
        for _ in range(4):
            peer = self.connect(b"\x01hello")
            self.assertEqual(await self.read(peer, 6), b"\x01hello")
            peer.close()
        await self.until(lambda: len(self.ended) == 4)
        self.assertEqual({str(one.endpoint) for one in self.ended}, {good})

    async def test_no_back_end(self) -> None:
        """
        If all refuse, the client's connection is closed.
        """
        self.echo.stopListening()
        peer = self.connect(b"\x01hello")
        self.assertEqual(await self.read(peer), b"")
        peer.close()
        await self.until(lambda: self.ended)
        self.assertEqual(self.ended[0].outcome, "no_backend")

    async def test_nothing_speaks_it(self) -> None:
        """
        A client that speaks what nothing here does is closed, and counts no more.
        """
        peer = self.connect(b"\x16\x03\x01")
        self.assertEqual(await self.read(peer), b"")
        await self.until(lambda: not self.limits.connections.total)
        self.assertEqual(self.acceptors.arrived["tls"], 1)

    async def test_mistake(self) -> None:
        """
        A mistake of ours costs one connection, which counts no more.
        """
        peer = self.connect(b"{}\n")
        self.assertEqual(await self.read(peer), b"")
        await self.until(lambda: not self.limits.connections.total)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        peer = self.connect(b"\x01hello")
        self.assertEqual(await self.read(peer, 6), b"\x01hello")
        peer.close()

    async def test_too_many(self) -> None:
        """
        A connection above the limit is closed before anything of it is read.
        """
        self.limits.connections.limit = 1
        first = self.connect(b"\x01hello")
        await self.read(first, 6)
        self.assertEqual(await self.read(self.connect(b"\x01hello")), b"")
        self.assertEqual(self.limits.refused, {"too_many": 1})
        first.close()


class DialerTests(QuickCase):
    async def dial(self, endpoint: Endpoint, is_quick: bool = True) -> Any:
        protocol = Echo()
        await Dialer(reactor, is_quick=is_quick).dial(endpoint, protocol)
        transport = protocol.transport
        transport.abortConnection()
        await self.until(lambda: not transport.connected)
        return transport

    async def test_addresses_and_names(self) -> None:
        """
        Names, and what is not asked to be quick, are connected to by Twisted.
        """
        where = self.echo.getHost().port
        address = Endpoint("127.0.0.1", where)
        self.assertIsInstance(await self.dial(address), QuickConnection)
        for endpoint, is_quick in (
            (Endpoint("localhost", where), True),
            (address, False),
        ):
            transport = await self.dial(endpoint, is_quick)
            self.assertNotIsInstance(transport, QuickConnection)

    async def test_ipv6(self) -> None:
        """
        Addresses of IPv6 are as good.
        """
        loop: Any = reactor
        try:
            port = loop.listenTCP(0, Factory.forProtocol(Echo), interface="::1")
        except Exception as error:
            raise SkipTest(str(error)) from error
        self.addCleanup(port.stopListening)
        transport = await self.dial(Endpoint("::1", port.getHost().port))
        self.assertEqual(transport.getPeer().host, "::1")

    async def test_refused(self) -> None:
        """
        Both ways fail alike where nobody listens.
        """
        self.echo.stopListening()
        for is_quick in (True, False):
            with self.assertRaises(ConnectError):
                await self.dial(Endpoint("127.0.0.1", 1), is_quick)
