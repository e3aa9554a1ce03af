"""What operators learn about the port that everybody finds."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import attrs
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from tests.support.certificates import leaf
from tests.support.ears import Ear
from vinom.base.reactor.turns import TurnEnd
from vinom.net.lines.limits import Reserve
from vinom.net.lines.tls import ReloadableTls
from vinom.net.lines.websocket import WebSockets
from vinom.net.web.answers import Folder
from vinom.node.build import (
    admin_site,
    is_plaintext,
    line_bounds,
    public_site,
    tls_hellos,
)
from vinom.node.settings import Settings


@attrs.frozen
class Port:
    """A port that listens somewhere."""

    where: object

    def getHost(self) -> object:
        return self.where


class StrangerSettingsTests(SynchronousTestCase):
    """Limits for strangers reach what they limit."""

    def test_requests(self) -> None:
        """
        The headers of a request to the operator's port have ten seconds.
        """
        clock: Any = Clock()
        site = admin_site(Folder(), Settings(), clock)
        transport: Any = StringTransport()
        channel: Any = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        channel.makeConnection(transport)
        channel.dataReceived(b"GET")
        clock.advance(9.9)
        self.assertEqual(transport.value(), b"")
        clock.advance(0.2)
        self.assertIn(b" 408 ", transport.value())

    def test_rates(self) -> None:
        """
        There may be five times as many TLS handshakes as the rate that was set says
        of others.
        """
        settings = Settings(handshake_rate=0.4)
        clock: Any = Clock()
        hellos = tls_hellos(settings, clock)
        taken = [hellos.take("203.0.113.1") for _ in range(11)]
        self.assertEqual(taken, [True] * 10 + [False])

    def test_connections(self) -> None:
        """
        WebSockets have the limits of a network, and of the port.
        """
        settings = Settings(connections_per_address=5, max_connections=9)
        bounds = line_bounds(settings)
        self.assertEqual((bounds.per_wide_network, bounds.most_connections), (20, 9))


class EndpointTests(SynchronousTestCase):
    """An ``ssl:`` endpoint, whose TLS is Twisted's."""

    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.left = 1000

    def serve(self, **settings: Any) -> None:
        made = leaf()
        tls = ReloadableTls(made.certificate, made.key)
        websockets = WebSockets(
            Ear, self.clock, TurnEnd(self.clock), reserve=Reserve(10, lambda: self.left)
        )
        site = public_site(
            Settings(http="ssl:8443:privateKey=x", **settings),
            Resource(),
            websockets,
            tls,
            self.clock,
        )
        self.factory = TLSMemoryBIOFactory(tls, False, site, self.clock)

    def come(self, host: str) -> bool:
        """Connect; is the connection open?"""
        address = IPv4Address("TCP", host, 1)
        transport: Any = StringTransport(peerAddress=address)
        self.factory.buildProtocol(address).makeConnection(transport)
        return not transport.disconnected

    def test_hellos(self) -> None:
        """
        There too an address begins no more handshakes than it may; a proxy that
        speaks for many does.
        """
        self.serve(handshake_rate=0.4, proxy=(ip_network("10.0.0.1"),))
        came = [self.come("203.0.113.1") for _ in range(11)]
        self.assertEqual(came, [True] * 10 + [False])
        self.assertTrue(self.come("203.0.113.2"))
        self.assertTrue(all(self.come("10.0.0.1") for _ in range(20)))
        self.clock.advance(0.5)
        self.assertTrue(self.come("203.0.113.1"))

    def test_no_descriptors(self) -> None:
        """
        Nor does it take the last descriptors, or fail over that.
        """
        self.serve()
        self.left = 5
        self.assertFalse(self.come("203.0.113.1"))


class PlainTextTests(SynchronousTestCase):
    """Which connections others could read."""

    def is_told(self, host: str, **settings: object) -> bool:
        made = Settings(**{"http": "8080", **settings})
        return is_plaintext(made, Port(IPv4Address("TCP", host, 8080)))

    def test_other_machines(self) -> None:
        """
        An operator who lets other machines in without TLS is warned of it.
        """
        self.assertTrue(self.is_told("0.0.0.0"))
        self.assertTrue(self.is_told("192.0.2.1"))
        self.assertTrue(self.is_told("192.0.2.1", http="tcp:8080:interface=192.0.2.1"))

    def test_nobody_reads_along(self) -> None:
        """
        Nothing is reported where nobody can read along, or somebody saw to it.
        """
        self.assertFalse(self.is_told("127.0.0.1"))
        self.assertFalse(self.is_told("0.0.0.0", http_tls=True))
        self.assertFalse(self.is_told("0.0.0.0", http="ssl:8080:privateKey=x"))
        self.assertFalse(self.is_told("0.0.0.0", proxy=(ip_network("10.0.0.1"),)))
        self.assertFalse(self.is_told("0.0.0.0", allow_plaintext=True))
        port = Port(UNIXAddress(b"/run/vinom.sock"))
        self.assertFalse(is_plaintext(Settings(http="unix:x"), port))
