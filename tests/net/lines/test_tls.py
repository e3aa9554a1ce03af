"""TLS for lines and HTTP, in memory: what is negotiated, and why it fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import leaf
from vinom.net.lines.tls import HttpTls, ReloadableTls, why_tls_failed


class Visit(Protocol):
    """A connection of a server that keeps why it ended."""

    reason: Failure | None = None

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # as Twisted calls it
        self.reason = reason


class Handshake:
    """
    One client, which offers protocols, at one server.

    :param version: the newest one of TLS that the client speaks.
    :param ciphers: what it can, in OpenSSL's words; not those of TLS 1.3.
    :ivar server: protocol of the server.
    :ivar client: OpenSSL's connection of the client.
    :ivar error: why the client gave up; ``None`` if it did not.
    """

    def __init__(
        self,
        tls: Any,
        offered: Sequence[bytes] = (),
        version: int = SSL.TLS1_3_VERSION,
        ciphers: bytes = b"DEFAULT",
    ) -> None:
        clock: Any = Clock()
        self.server = Visit()
        factory = Factory.forProtocol(lambda: self.server)
        wrapped = TLSMemoryBIOFactory(tls, False, factory, clock).buildProtocol(None)
        transport = StringTransport()
        wrapped.makeConnection(transport)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(version)
        context.set_cipher_list(ciphers)
        if offered:
            context.set_alpn_protos(list(offered))
        self.client = SSL.Connection(context, None)
        self.client.set_connect_state()
        self.error: SSL.Error | None = None
        for _ in range(4):
            try:
                self.client.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                self.error = error
            try:
                wrapped.dataReceived(self.client.bio_read(65536))
            except SSL.WantReadError:
                break
            clock.advance(0)
            if transport.value():
                self.client.bio_write(transport.value())
                transport.clear()
        if transport.disconnecting:
            wrapped.connectionLost(Failure(ConnectionDone()))


class NegotiationTests(SynchronousTestCase):
    """What a client may offer to speak."""

    def setUp(self) -> None:
        issued = leaf("game.example")
        self.tls = ReloadableTls(issued.certificate, issued.key)

    def test_protocols(self) -> None:
        """
        A client that offers HTTP/1.1 gets it, at any place of its list; one that
        offers only others is served without an answer to that. The lobby, which is not
        HTTP, serves clients that offer any protocols, and takes none of them.
        """
        http = HttpTls(self.tls)
        for tls, offered, answer in (
            (http, (), b""),
            (http, (b"h2", b"http/1.1"), b"http/1.1"),
            (http, (b"http/1.1",), b"http/1.1"),
            (http, (b"h2",), b""),
            (http, (b"http/1.1x", b"dot"), b""),
            (self.tls, (), b""),
            (self.tls, (b"h2", b"http/1.1"), b""),
            (self.tls, (b"vinom",), b""),
        ):
            for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
                handshake = Handshake(tls, offered, version)
                self.assertIsNone(handshake.error)
                self.assertIsNone(handshake.server.reason)
                chosen = handshake.client.get_alpn_proto_negotiated()
                self.assertEqual(chosen, answer, offered)

    def test_ciphers(self) -> None:
        """
        Old clients get TLS 1.2 with AES-GCM or ChaCha20, for a page as for the lobby;
        one that has only CBC, or no fresh secret for each connection, gets nothing.
        """
        for tls in (self.tls, HttpTls(self.tls)):
            for ciphers in (
                *(b"ECDHE-ECDSA-AES128-GCM-SHA256", b"ECDHE-ECDSA-AES256-GCM-SHA384"),
                b"ECDHE-ECDSA-CHACHA20-POLY1305",
            ):
                old = Handshake(tls, version=SSL.TLS1_2_VERSION, ciphers=ciphers)
                self.assertIsNone(old.error)
                self.assertEqual(old.client.get_cipher_name(), ciphers.decode())
            for ciphers in (
                *(b"ECDHE-ECDSA-AES128-SHA", b"ECDHE-ECDSA-AES256-SHA384"),
                *(b"ECDHE-ECDSA-AES128-SHA256", b"AES128-GCM-SHA256"),
            ):
                old = Handshake(tls, version=SSL.TLS1_2_VERSION, ciphers=ciphers)
                self.assertIsNotNone(old.error, ciphers)
            new = Handshake(tls)
            self.assertIsNone(new.error)
            self.assertEqual(new.client.get_protocol_version_name(), "TLSv1.3")

    def test_new_certificate(self) -> None:
        """
        A certificate that is replaced is replaced for pages too.
        """
        issued = leaf("other.example")
        self.tls.use(issued.certificate, issued.key)
        for tls in (self.tls, HttpTls(self.tls)):
            handshake = Handshake(tls, [b"http/1.1"])
            peer = handshake.client.get_peer_certificate()
            assert peer is not None
            digest = peer.digest("sha256").replace(b":", b"").lower().decode()
            self.assertEqual(digest[:16], self.tls.fingerprint)

    def test_why(self) -> None:
        """
        A handshake that fails has a reason in words; a peer that hangs up has none.
        """
        handshake = Handshake(self.tls, (), SSL.TLS1_2_VERSION, b"AES128-SHA")
        reason = handshake.server.reason
        assert reason is not None
        self.assertEqual(why_tls_failed(reason), "no shared cipher")
        for other in (
            ConnectionDone(),
            SSL.ZeroReturnError(),
            SSL.SysCallError(-1, "Unexpected EOF"),
        ):
            self.assertIsNone(why_tls_failed(Failure(other)))
        self.assertIn("no reason", str(why_tls_failed(Failure(SSL.Error([])))))
