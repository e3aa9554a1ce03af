"""Lobby lines that come by way of a proxy, which names the player first."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure

from tests.net.lines.test_proxied import HEADERS, V1, V2, cut
from tests.net.lines.test_tcp import LineCase, TCPTransport
from vinom.net.lines.limits import LineBounds
from vinom.net.lines.proxied import ProxiedFactory

PLAYER = "203.0.113.7"


class ProxiedLineTests(LineCase):
    """The lobby port of a node with ``proxy``."""

    def come(self, host: str = "10.0.0.1", *pieces: bytes) -> tuple[Any, TCPTransport]:
        """Connect from an address, and send."""
        factory = ProxiedFactory(self.factory, [ip_network("10.0.0.0/8")])
        protocol: Any = factory.buildProtocol(IPv4Address("TCP", host, 5))
        transport = TCPTransport()
        transport.peerAddr = IPv4Address("TCP", host, 5)
        protocol.makeConnection(transport)
        for piece in pieces:
            protocol.dataReceived(piece)
        return protocol, transport

    def test_any_split(self) -> None:
        """
        A line is served under the player's address, in the clear as well, however the
        network cuts header and line.
        """
        for header, whom in HEADERS:
            sent = header + b'{"a":1}\n'
            for place in range(1, len(sent)):
                self.ears.clear()
                self.open_port()
                self.come("10.0.0.1", *cut(sent, place))
                self.assertEqual(self.ears[0].heard, [b'{"a":1}'], (header, place))
                self.assertEqual(
                    self.ears[0].line.host, "10.0.0.1" if whom is None else whom[0]
                )

    def test_strangers_name_nobody(self) -> None:
        """
        A header of anybody else is no header: such a connection is refused.
        """
        for header in (V1, V2):
            self.open_port()
            _, transport = self.come("192.0.2.9", header + b"{}\n")
            self.assertIn(b'"code":"plaintext_refused"', transport.value())
        self.assertEqual(self.ears, [])

    def test_limits_count_players(self) -> None:
        """
        Many players of one proxy are served; too many connections of one are not.
        """
        self.open_port(bounds=LineBounds(per_network=2))
        other = V1.replace(b"203.0.113.7", b"198.51.100.1")
        came = [
            self.come("10.0.0.1", header + b"{}\n")
            for header in (V1, V2, V1, other, other)
        ]
        for number, (_, transport) in enumerate(came):
            is_refused = b'"code":"too_many_connections"' in transport.value()
            self.assertEqual(is_refused, number == 2)
        self.assertEqual(len(self.ears), 4)
        for protocol, _ in came:
            protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.lines.connections.total, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_half_closed(self) -> None:
        """
        A player who sends all and closes that half still gets the answers.
        """
        self.open_port()
        protocol, transport = self.come("10.0.0.1", V2 + b"{}\n")
        half: Any = IHalfCloseableProtocol(protocol)
        half.readConnectionLost()
        self.assertTrue(self.ears[0].is_heard_out)
        self.ears[0].line.send(b'{"answer":1}')
        self.ears[0].line.close()
        self.assertEqual(transport.value(), b'{"answer":1}\n')
        self.assertTrue(transport.is_half_closed)

    def test_silent_proxy(self) -> None:
        """
        A proxy that sends no header, or half of one, has as long as everybody.
        """
        for header in (b"", V1[:10], V2[:14], V1, V2):
            self.open_port()
            protocol, transport = self.come("10.0.0.1", *cut(header))
            self.clock.advance(10.0)
            self.assertIn(b'"code":"timeout"', transport.value())
            protocol.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(self.lines.connections.total, 0)
            self.assertEqual(self.clock.getDelayedCalls(), [])
