"""Descriptors that newcomers cannot take, and connections of a port that counts."""

from __future__ import annotations

import os
import resource
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import leaf
from tests.support.ears import Ear
from vinom.base.limits.buckets import NetworkBuckets, NetworkCounts
from vinom.base.limits.logged import BoundedLog
from vinom.net.lines.limits import (
    Reserve,
    ReservingFactory,
    TlsHelloFactory,
    TlsHellos,
    descriptors_left,
)
from vinom.net.lines.tcp import LineFactory, Lines
from vinom.net.lines.tls import ReloadableTls
from vinom.net.web.answers import Folder
from vinom.node.build import admin_site
from vinom.node.settings import Settings


class Known:
    """A connection, in play or not, and perhaps in a queue."""

    def __init__(self, is_in_play: bool = False, is_queued: bool = False) -> None:
        self.is_in_play, self.is_queued = is_in_play, is_queued
        self.is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


class ReserveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.left = 100
        self.reserve = Reserve(10, lambda: self.left)

    def join(self, *connections: Known) -> None:
        for connection in connections:
            self.reserve.join(connection)

    def test_plenty(self) -> None:
        """
        As long as there are descriptors, everybody comes in and nobody has to go; an
        operator may do without a reserve.
        """
        idle = Known()
        self.join(idle)
        self.left = 11
        self.assertTrue(self.reserve.admits())
        self.assertFalse(idle.is_aborted)
        self.assertTrue(Reserve(0, lambda: 0).admits())

    def test_scarce(self) -> None:
        """
        When only the reserve is left, a newcomer replaces the oldest connection that
        is not in play; so a player who comes back gets in.
        """
        playing, old, new = Known(True), Known(), Known()
        self.join(playing, old, new)
        self.left = 10
        self.assertTrue(self.reserve.admits())
        aborted = [one.is_aborted for one in (playing, old, new)]
        self.assertEqual(aborted, [False, True, False])
        self.assertTrue(self.reserve.admits())
        # Everybody plays: the newcomer has to wait.
        self.assertFalse(self.reserve.admits())
        self.assertFalse(playing.is_aborted)
        self.assertEqual((self.reserve.closed, self.reserve.refused), (2, 1))

    def test_very_scarce(self) -> None:
        """
        Half of the reserve is never a newcomer's: it is the operator's. A connection
        that is closed already makes no room.
        """
        idle, gone = Known(), Known()
        self.join(gone, idle)
        self.reserve.leave(gone)
        self.left = 5
        self.assertFalse(self.reserve.admits())
        # What is idle goes nevertheless.
        self.assertEqual((gone.is_aborted, idle.is_aborted), (False, True))
        self.left = 10
        self.assertFalse(self.reserve.admits())

    def test_many_players(self) -> None:
        """
        With thousands in play, looking for one that is not takes bounded time, and
        goes on where it ended.
        """
        self.join(*(Known(True) for _ in range(100)))
        idle = Known()
        self.join(idle)
        self.left = 10
        self.assertFalse(self.reserve.admits())
        self.assertTrue(self.reserve.admits())
        self.assertTrue(idle.is_aborted)

    def test_queued(self) -> None:
        """
        Somebody who has all connections wait in a queue keeps no player out: they make
        room too, oldest first, but after those that wait for nothing.
        """
        playing, first = Known(True), Known(is_queued=True)
        second, idle = Known(is_queued=True), Known()
        self.join(playing, first, second, idle)
        self.left = 10
        for expected in ([0, 0, 0, 1], [0, 1, 0, 1], [0, 1, 1, 1]):
            self.assertTrue(self.reserve.admits())
            aborted = [one.is_aborted for one in (playing, first, second, idle)]
            self.assertEqual(aborted, expected)
        self.assertFalse(self.reserve.admits())
        self.assertEqual((self.reserve.closed, self.reserve.refused), (3, 1))

    def test_count(self) -> None:
        """
        The descriptors that are left go down with each that is opened.
        """
        before = descriptors_left()
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.assertLess(before, soft)
        opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
        try:
            self.assertLessEqual(descriptors_left(), before - 50)
        finally:
            for one in opened:
                os.close(one)

    def test_lines(self) -> None:
        """
        Lobby lines that only wait make room for newcomers; those in play stay.
        """
        clock: Any = Clock()
        ears: list[Any] = []

        def listen(line: Any) -> Ear:
            ears.append(Ear(line))
            return ears[-1]

        factory = ReservingFactory(
            LineFactory(Lines(listen, clock, reserve=self.reserve)), self.reserve
        )
        lines = []
        for _ in range(3):
            protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
            transport = StringTransport()
            protocol.makeConnection(transport)
            lines.append((protocol, transport))
        for protocol, _ in lines[:2]:
            protocol.dataReceived(b"{")
        ears[0].is_in_play = True
        self.left = 10
        address = IPv4Address("TCP", "127.0.0.1", 1)
        for expected in ([False, True, False], [False, True, True]):
            self.assertIsNotNone(factory.buildProtocol(address))
            self.assertEqual([one.disconnected for _, one in lines], expected)
        self.assertIsNone(factory.buildProtocol(address))
        for protocol, _ in lines[1:]:
            protocol.connectionLost(Failure(ConnectionDone()))


class CountedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock: Any = Clock()

    def test_networks(self) -> None:
        """
        An address, a /24 or IPv6 /48, and all together have a limit; who leaves makes
        room for the next. An address that may have more than its network has them.
        """
        counts = NetworkCounts(2, 3, 5)
        self.assertEqual([counts.enter("203.0.113.1") for _ in range(3)], [1, 1, 0])
        self.assertTrue(counts.enter("203.0.113.2"))
        self.assertFalse(counts.enter("203.0.113.3"))
        # Another /56 of the same household's /48.
        self.assertTrue(counts.enter("2001:db8:0:100::1"))
        self.assertTrue(counts.enter("2001:db8:0:200::1"))
        self.assertFalse(counts.enter("198.51.100.1"))
        counts.leave("203.0.113.2")
        self.assertTrue(counts.enter("2001:db8:0:300::1"))
        counts.leave("203.0.113.1")
        self.assertFalse(counts.enter("2001:db8:0:400::1"))
        self.assertTrue(counts.enter("203.0.113.9"))
        counts = NetworkCounts(10, 3)
        self.assertEqual(sum(counts.enter("203.0.113.1") for _ in range(11)), 10)

    def test_admin(self) -> None:
        """
        One address cannot take all connections of the admin port, nor can all
        together take every descriptor.
        """
        factory = admin_site(Folder(), Settings(), self.clock)
        opened = []

        def come(host: str) -> bool:
            kind = IPv6Address if ":" in host else IPv4Address
            protocol: Any = factory.buildProtocol(kind("TCP", host, 1))
            if protocol is not None:
                protocol.makeConnection(StringTransport())
                opened.append(protocol)
            return protocol is not None

        for host, most in (
            ("127.0.0.1", 16),
            ("2001:db8::1", 16),
            ("2001:db8:0:1::1", 16),
            ("2001:db8:0:2::1", 0),
            ("127.0.0.2", 16),
        ):
            came = [come(host) for _ in range(17)]
            self.assertEqual(came, [True] * most + [False] * (17 - most), host)
        self.assertFalse(come("127.0.0.3"))
        opened[0].connectionLost(Failure(ConnectionDone()))
        self.assertTrue(come("127.0.0.3"))


class TlsHelloTests(SynchronousTestCase):
    """Handshakes of TLS, each of which takes a signature."""

    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.hellos = TlsHellos(NetworkBuckets(1.0, 3.0), self.clock)

    def test_lobby(self) -> None:
        """
        An address that begins too many handshakes is refused for a second; others are
        not, and plain lines do not count.
        """
        made = leaf()
        lines = Lines(
            Ear,
            self.clock,
            ReloadableTls(made.certificate, made.key),
            allow_plaintext=True,
            tls_hellos=self.hellos,
        )
        factory = LineFactory(lines)

        def refused(host: str, first: bytes) -> bool:
            protocol = factory.buildProtocol(IPv4Address("TCP", host, 1))
            transport: Any = StringTransport()
            protocol.makeConnection(transport)
            protocol.dataReceived(first)
            return b"rate_limited" in transport.value()

        many = [refused("203.0.113.1", b"\x16") for _ in range(5)]
        self.assertEqual(many, [False] * 3 + [True] * 2)
        self.assertFalse(refused("203.0.113.1", b"{"))
        self.assertFalse(refused("203.0.113.2", b"\x16"))
        self.clock.advance(1.0)
        self.assertFalse(refused("203.0.113.1", b"\x16"))

    def hearing(self) -> tuple[list[bytes], TlsHelloFactory]:
        """Make what lets in connections of HTTP; returns what is heard on them, too."""
        heard: list[bytes] = []

        class Hearing(Protocol):
            def dataReceived(self, data: bytes) -> None:
                heard.append(data)

        log = BoundedLog(Logger(), self.clock)
        factory = TlsHelloFactory(Factory.forProtocol(Hearing), self.hellos, log)
        return heard, factory

    def test_http(self) -> None:
        """
        The same holds at the port of the page: a connection that is silent does not
        count, and the one that is let in gets what it sent.
        """
        heard, factory = self.hearing()

        def come(host: str, *pieces: bytes) -> bool:
            address = IPv4Address("TCP", host, 1)
            transport: Any = StringTransport(peerAddress=address)
            transport.protocol = factory.buildProtocol(address)
            transport.protocol.makeConnection(transport)
            for piece in pieces:
                transport.protocol.dataReceived(piece)
            return not transport.disconnected

        self.assertTrue(all(come("203.0.113.1") for _ in range(9)))
        allowed = [come("203.0.113.1", b"a", b"b") for _ in range(5)]
        self.assertEqual(allowed, [True] * 3 + [False] * 2)
        self.assertEqual(heard, [b"a", b"b"] * 3)
        self.assertTrue(come("203.0.113.2", b"a"))

    def test_plain_http(self) -> None:
        """
        Somebody who asks for the page without TLS reads that it needs https://, once,
        however the request is cut; this takes nothing from the handshakes.
        """
        heard, factory = self.hearing()
        request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        address = IPv4Address("TCP", "203.0.113.1", 1)
        for cut in range(1, len(request) + 1):
            transport: Any = StringTransport(peerAddress=address)
            transport.protocol = factory.buildProtocol(address)
            transport.protocol.makeConnection(transport)
            for piece in (request[:cut], request[cut:]):
                if piece:
                    transport.protocol.dataReceived(piece)
            head, _, body = transport.value().partition(b"\r\n\r\n")
            self.assertTrue(head.startswith(b"HTTP/1.1 400 "))
            self.assertIn(b"content-length: %d\r\n" % len(body), head + b"\r\n")
            self.assertIn(b"write https://", body)
            self.assertTrue(transport.disconnecting)
        self.assertEqual(heard, [])
        self.assertTrue(self.hellos.take("203.0.113.1"))
