"""The PROXY protocol before WebSockets, on real sockets of loopback."""

from __future__ import annotations

import struct
from ipaddress import ip_network
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import ensureDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.websocket_net import EchoServer, RawClient, connect, handshake
from tests.support.websockets import frame
from vinom.net.proxied import ProxiedFactory, ProxiedProtocol

V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n"
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V2 = (
    _SIGNATURE
    + b"\x21\x11"
    + struct.pack("!H", 12)
    + bytes([203, 0, 113, 7, 192, 0, 2, 1])
    + struct.pack("!2H", 51234, 443)
)
#: What a proxy sends of its own, to see whether we are there.
V2_LOCAL = _SIGNATURE + b"\x20\x00\x00\x00"


class ProxyTests(TestCase):
    """Players behind a proxy."""

    def serve(self, *proxies: str) -> None:
        networks = [ip_network(text) for text in proxies]
        self.server = EchoServer(
            reactor, wrap=lambda site: ProxiedFactory(site, networks)
        )
        self.clients: list[RawClient] = []
        self.addCleanup(lambda: ensureDeferred(self._clean()))

    async def _clean(self) -> None:
        await self.server.stop()
        for client in self.clients:
            if not client.is_over:
                await client.close()
        while len(self.server.websockets.connections):
            await deferLater(reactor, 0.005)

    async def client(self) -> RawClient:
        client = await connect(reactor, self.server.port)
        self.clients.append(client)
        return client

    async def test_real_address(self) -> None:
        """
        Behind a proxy each player counts by its own address: both versions of the
        header, at once or in pieces, with the request in the same packet or not.
        """
        self.serve("127.0.0.0/8")
        for header in (V1, V2):
            for chop in (0, 1, 7, 20):
                client = await self.client()
                client.write(header + handshake(), chop)
                await client.head()
                client.say(1, b"1")
                said = await client.frame()
                assert said is not None
                self.assertEqual(said.data, b"[1]")
                self.assertEqual(self.server.echoes[-1].line.host, "203.0.113.7")

    async def test_direct_send_behind_proxy(self) -> None:
        """
        The short way to the socket is taken behind a proxy too.
        """
        self.serve("127.0.0.1")
        client = await self.client()
        client.write(V1 + handshake())
        await client.head()
        self.assertIsNotNone(self.server.echoes[-1].line._send)
        client.write(frame(8, b"\x03\xe8"))
        (said,) = await client.rest()
        self.assertEqual(said.data, b"\x03\xe8")

    async def test_health_check_of_the_proxy(self) -> None:
        """
        A header that names nobody leaves the proxy's own address.
        """
        self.serve("127.0.0.1")
        for header in (V2_LOCAL, b"PROXY UNKNOWN\r\n"):
            client = await self.client()
            client.write(header + handshake())
            await client.head()
            self.assertEqual(self.server.echoes[-1].line.host, "127.0.0.1")

    async def test_others_are_not_believed(self) -> None:
        """
        Whoever is no proxy cannot say it is somebody else.
        """
        self.serve("192.0.2.0/24")
        client = await self.client()
        client.write(V1 + handshake())
        self.assertIn(b" 400 ", await client.head())
        client = await self.client()
        client.write(handshake())
        self.assertIn(b" 101 ", await client.head())
        self.assertEqual(self.server.echoes[-1].line.host, "127.0.0.1")

    async def test_no_header(self) -> None:
        """
        A proxy that is not told to send the header gets nothing, and no traceback.
        """
        self.serve("127.0.0.1")
        for sent in (
            handshake(),
            b"PROXY TCP4 203.0.113.7 192.0.2.1 many 443\r\n" + handshake(),
            b"PROXY TCP4 \xff 192.0.2.1 1 443\r\n" + handshake(),
            b"PROXY nothing of it\r\n" + handshake(),
            b"PROXY " + b"x" * 200,
            _SIGNATURE + b"\x2f\x11\x00\x0c" + b"x" * 12,
            _SIGNATURE + b"\x21\x11\x00\x02xx" + handshake(),
        ):
            client = await self.client()
            client.write(sent)
            await client.lost
            self.assertEqual(bytes(client.received), b"")
        self.assertEqual(self.server.echoes, [])


class TrustTests(SynchronousTestCase):
    """Whom to believe."""

    def built(self, address: Any) -> bool:
        factory = ProxiedFactory(
            Factory.forProtocol(Protocol),
            [ip_network("10.0.0.0/8"), ip_network("2001:db8::/64")],
        )
        return isinstance(factory.buildProtocol(address), ProxiedProtocol)

    def test_families(self) -> None:
        """
        Networks of both families, also where IPv4 shows as IPv6; and no sockets
        without addresses.
        """
        self.assertTrue(self.built(IPv4Address("TCP", "10.1.2.3", 1)))
        self.assertTrue(self.built(IPv6Address("TCP", "2001:db8::9", 1)))
        self.assertTrue(self.built(IPv6Address("TCP", "::ffff:10.1.2.3", 1)))
        self.assertFalse(self.built(IPv4Address("TCP", "11.0.0.1", 1)))
        self.assertFalse(self.built(IPv6Address("TCP", "fe80::1%eth0", 1)))
        self.assertFalse(self.built(UNIXAddress("/x")))

    def test_address_that_is_none(self) -> None:
        """
        A header with an impossible address leaves the proxy's own.
        """
        factory = ProxiedFactory(
            Factory.forProtocol(Protocol), [ip_network("10.0.0.0/8")]
        )
        protocol = factory.buildProtocol(IPv4Address("TCP", "10.0.0.1", 1))
        own = IPv4Address("TCP", "10.0.0.1", 1)
        protocol.makeConnection(StringTransport(peerAddress=own))
        protocol.dataReceived(b"PROXY TCP4 not.an.address 192.0.2.1 1 2\r\n")
        self.assertEqual(protocol.getPeer(), own)
