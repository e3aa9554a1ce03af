"""The PROXY protocol before WebSockets, on real sockets of loopback and on none."""

from __future__ import annotations

import struct
from ipaddress import ip_address, ip_network
from itertools import pairwise
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as some
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import ensureDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.websocket_net import EchoServer, RawClient, connect, handshake
from tests.support.websockets import frame
from vinom.base.limits.buckets import is_loopback
from vinom.net.lines.proxied import ProxiedFactory, ProxiedProtocol

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
_SIX = bytes.fromhex("20010db8000000000000000000000007")
_OWN = IPv4Address("TCP", "10.0.0.1", 1)
#: Good headers of every kind, and whom they speak for; ``None`` is the proxy itself.
HEADERS: tuple[tuple[bytes, tuple[str, int] | None], ...] = (
    (V1, ("203.0.113.7", 51234)),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 51234 443\r\n", ("2001:db8::7", 51234)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
    (V2, ("203.0.113.7", 51234)),
    # What follows the addresses is for those who know it.
    (V2[:14] + b"\0\x10" + V2[16:] + b"\x04\0\x01x", ("203.0.113.7", 51234)),
    (
        _SIGNATURE + b"\x21\x21\0\x24" + _SIX * 2 + struct.pack("!2H", 51234, 443),
        ("2001:db8:0:0:0:0:0:7", 51234),
    ),
    (_SIGNATURE + b"\x21\x31\0\xd8" + b"/a".ljust(108, b"\0") * 2, None),
    (_SIGNATURE + b"\x21\0\0\x03xyz", None),
    (V2_LOCAL, None),
    (_SIGNATURE + b"\x20\x11\0\x02xx", None),
)
#: What players say, which may be anything.
SAID = (b"GET / HTTP/1.1\r\n\r\n", b"\0", b"\r\n", V1, V2, b"PROXY ", b"")
#: What headers of the first version are made of, and what they are not.
WORDS = (
    *(b"PROXY", b"PROXY TCP4", b"PROXY TCP6", b"TCP4", b"TCP6", b"UNKNOWN", b"\r\n"),
    *(
        b"1.2.3.4",
        b"::1",
        b"1",
        b"-1",
        b"65536",
        b"1_0",
        b"9" * 5000,
        b"%",
        b"\xff",
        b"",
    ),
)


class Hearing(Protocol):
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.heard = b""

    def dataReceived(self, data: bytes) -> None:
        self.heard += data


def proxied(
    *pieces: bytes, of: type[Protocol] = Hearing
) -> tuple[Any, StringTransport]:
    """Have a proxy send this; returns our end, and its transport."""
    factory = ProxiedFactory(Factory.forProtocol(of), [ip_network("10.0.0.0/8")])
    protocol = factory.buildProtocol(_OWN)
    transport = StringTransport(peerAddress=_OWN)
    protocol.makeConnection(transport)
    for piece in pieces:
        # Nothing is read from a connection that we close.
        if not transport.disconnecting:
            protocol.dataReceived(piece)
    return protocol, transport


def cut(data: bytes, *places: int) -> list[bytes]:
    """Cut bytes at these places."""
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(ends)]


class CutTests(SynchronousTestCase):
    """However the network cuts it."""

    def test_any_split(self) -> None:
        """
        A player is known, and what it sends arrives unharmed, wherever its header is
        cut: once, or after each byte.
        """
        for header, whom in HEADERS:
            for said in SAID:
                sent = header + said
                ways = [cut(sent, place) for place in range(len(sent))]
                for pieces in (*ways, cut(sent, *range(len(sent)))):
                    protocol, transport = proxied(*pieces)
                    self.assertEqual(protocol.wrappedProtocol.heard, said, pieces)
                    self.assertFalse(transport.disconnecting)
                    peer = protocol.getPeer()
                    self.assertEqual((peer.host, peer.port), whom or ("10.0.0.1", 1))

    def test_known_before_it_speaks(self) -> None:
        """
        Who is behind the proxy is known before anything of theirs is read, also of what
        came with the header: no handshake of TLS is begun for one too many.
        """
        for header, _ in HEADERS:
            protocol, _ = proxied()
            heard: list[bytes] = []
            protocol.when_known(lambda: heard.append(protocol.wrappedProtocol.heard))  # noqa: B023  # called here
            protocol.dataReceived(header + b"\x16\x03\x01")
            self.assertEqual(heard, [b""])

    def test_unfinished(self) -> None:
        """
        A header that is not whole yet reaches nobody.
        """
        for header, _ in HEADERS:
            for place in range(len(header)):
                protocol, transport = proxied(*cut(header[:place], 7, 20))
                self.assertEqual(protocol.wrappedProtocol.heard, b"")
                self.assertFalse(transport.disconnecting, header[:place])
                self.assertEqual(protocol.getPeer(), _OWN)

    def test_our_mistakes(self) -> None:
        """
        A failure on our side after a valid header isn't blamed on the header: it is not
        swallowed, whether it came with the header or later.
        """

        class Failing(Protocol):
            def dataReceived(self, data: bytes) -> None:
                raise ValueError(data)

        for header, _ in HEADERS:
            for first, then in ((header + b"x", b""), (header, b"x")):
                protocol, _ = proxied(of=Failing)
                with self.assertRaises(ValueError):
                    protocol.dataReceived(first)
                    protocol.dataReceived(then)

    @given(
        some.one_of(
            some.binary(max_size=120),
            some.binary(max_size=60).map(lambda rest: b"PROXY " + rest + b"\r\n"),
            some.binary(max_size=60).map(lambda rest: _SIGNATURE + rest),
            some.lists(some.sampled_from(WORDS)).map(b" ".join),
        ),
        some.lists(some.integers(0, 120), max_size=4),
    )
    @example(b"PROXY TCP4 \xff 1.2.3.4 1 2\r\nx", [])
    @example(_SIGNATURE + b"\x21\x13\0\x0c" + b"x" * 12, [16])
    def test_anything(self, sent: bytes, places: list[int]) -> None:
        """
        A proxy's bytes are served or the connection is closed; after a header, only
        what followed it is passed on. Bytes that begin unlike a header go to HTTP.
        """
        self.check(sent, places)

    @given(
        some.sampled_from([header for header, _ in HEADERS]),
        some.integers(0, 1000),
        some.integers(0, 255),
        some.lists(some.integers(0, 250), max_size=4),
    )
    def test_damaged(
        self, header: bytes, at: int, value: int, places: list[int]
    ) -> None:
        """
        Nor does it harm anybody if one byte of a header is damaged.
        """
        damaged = bytearray(header + b"said")
        damaged[at % len(header)] = value
        self.check(bytes(damaged), places)

    def check(self, sent: bytes, places: list[int]) -> None:
        protocol, transport = proxied(*cut(sent, *places))
        heard = protocol.wrappedProtocol.heard
        self.assertTrue(sent.endswith(heard))
        if sent.startswith((b"PROXY ", _SIGNATURE)):
            self.assertLess(len(heard), len(sent))
        if transport.disconnecting:
            self.assertEqual(heard, b"")
        ip_address(protocol.getPeer().host)
        self.assertEqual(transport.value(), b"")
        protocol.connectionLost(Failure(ConnectionDone()))


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

    async def test_direct_send_behind_proxy(self) -> None:
        """
        Behind a proxy each player counts by its own address, and the short way to the
        socket is taken too.
        """
        self.serve("127.0.0.1")
        for header in (V1, V2):
            client = await self.client()
            client.write(header + handshake())
            await client.head()
            line = self.server.echoes[-1].line
            self.assertIsNotNone(line._send)
            self.assertEqual(line.host, "203.0.113.7")
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
            # Marked: whoever is behind a proxy is no guest from this machine.
            self.assertEqual(self.server.echoes[-1].line.host, "127.0.0.1%proxied")

    async def test_others_are_not_believed(self) -> None:
        """
        A client that isn't a proxy cannot claim another address.
        """
        self.serve("192.0.2.0/24")
        client = await self.client()
        client.write(V1 + handshake())
        self.assertIn(b" 400 ", await client.head())
        client = await self.client()
        client.write(handshake())
        self.assertIn(b" 101 ", await client.head())
        self.assertEqual(self.server.echoes[-1].line.host, "127.0.0.1")


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
        A header with an impossible address, family or port, or that is none, ends its
        connection.
        """
        lines = (
            b"TCP4 not.an.address 192.0.2.1 1 2",
            b"TCP4 \x1b[31m 192.0.2.1 1 2",
            b"TCP4 203.0.113.7 192.0.2.256 1 2",
            b"TCP4 2001:db8::7 2001:db8::1 1 2",
            b"TCP6 203.0.113.7 192.0.2.1 1 2",
            b"TCP6 fe80::1%eth0 2001:db8::1 1 2",
            b"TCP4 203.0.113.7 192.0.2.1 65536 2",
            b"TCP4 203.0.113.7 192.0.2.1 1",
            b"TCP5 203.0.113.7 192.0.2.1 1 2",
            b"TCP4 203.0.113.7 192.0.2.1 many 443",
            b"TCP4 \xff 192.0.2.1 1 443",
            b"nothing of it",
        )
        for sent in (
            *(b"PROXY " + said + b"\r\nx" for said in lines),
            b"PROXY " + b"x" * 200,
            _SIGNATURE + b"\x2f\x11\x00\x0c" + b"x" * 13,
            _SIGNATURE + b"\x21\x11\x00\x02xxx",
        ):
            for place in range(len(sent)):
                protocol, transport = proxied(*cut(sent, place))
                self.assertTrue(transport.disconnecting, sent)
                self.assertEqual(protocol.wrappedProtocol.heard, b"")
                self.assertEqual(protocol.getPeer(), _OWN)

    def test_without_a_header(self) -> None:
        """
        What a proxy that speaks HTTP sends arrives as it is, however it is cut.
        """
        for sent in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"POST /",
            b"P",
            b"PROXYING",
            b"\r\n\r\nx",
        ):
            for place in range(len(sent)):
                protocol, _ = proxied(*cut(sent + b"more", place, len(sent)))
                self.assertEqual(protocol.wrappedProtocol.heard, sent + b"more")
                self.assertEqual(protocol.getPeer(), _OWN)

    def test_this_machine_behind_a_proxy(self) -> None:
        """
        An address of this machine that a proxy names is marked: it is no local guest.
        """
        for header, host in (
            (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", "127.0.0.1%proxied"),
            (b"PROXY TCP6 ::1 ::1 1 2\r\n", "::1%proxied"),
        ):
            protocol, _ = proxied(header)
            self.assertEqual(protocol.getPeer().host, host)
            self.assertFalse(is_loopback(host))
