"""
TLS for lines and HTTP, from PEM files, by OpenSSL's own defaults; and for links between
programs of one deployment, which certificates identify.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import attrs
from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IProtocolNegotiationFactory,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import (
    AcceptableCiphers,
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    TLSVersion,
    trustRootFromCertificates,
)
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.model import Issued
from vinom.errors import Misconfigured, PeerError


def server_options(certificate: bytes, key: bytes) -> CertificateOptions:
    """
    Make what TLS listeners need.

    :param certificate: leaf first, then its chain, PEM.
    :param key: the leaf's private key, PEM.
    :raises Misconfigured: they cannot be read, or do not belong together.
    """
    try:
        chain = [
            crypto.load_certificate(crypto.FILETYPE_PEM, text + _END)
            for text in certificate.split(_END)
            if text.strip()
        ]
        private = crypto.load_privatekey(crypto.FILETYPE_PEM, key)
        options = CertificateOptions(
            privateKey=private,
            certificate=chain[0],
            extraCertChain=chain[1:],
            raiseMinimumTo=TLSVersion.TLSv1_2,
            acceptableCiphers=_CIPHERS,
        )
        # Made now and not at the first connection: a key of another certificate
        # is found when the node starts.
        options.getContext()
    except (crypto.Error, SSL.Error, IndexError, ValueError) as error:
        raise Misconfigured(
            "the lobby's certificate and key cannot be used "
            f"({_reason(error)}): tls_certificate_file must hold a certificate in PEM, "
            "leaf first, and tls_key_file the leaf's own key"
        ) from error
    return options


@implementer(IOpenSSLServerConnectionCreator, IOpenSSLClientConnectionCreator)
@attrs.frozen
class OfContexts:
    """
    Accept, or make, connections with whatever context there is.

    :ivar context: gives it, for each connection.
    """

    context: Callable[[], SSL.Context]

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """Make one connection's end (`IOpenSSLServerConnectionCreator`)."""
        return SSL.Connection(self.context(), None)

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """Make the other end (`IOpenSSLClientConnectionCreator`)."""
        return SSL.Connection(self.context(), None)


@implementer(IOpenSSLServerConnectionCreator)
class ReloadableTls:
    """
    TLS whose certificate may change: for connections that begin after it.

    :param certificate: as `server_options` takes them; raises as it does.
    :ivar fingerprint: names the leaf: its SHA-256, the first 16 hexadecimal digits.
    :ivar begins_at: since when it is good, seconds since the Unix epoch.
    :ivar expires_at: when it ends, likewise.
    :ivar http_context: for connections that speak HTTP; see `HttpTls`.
    :ivar names: hosts that the leaf is for, in lower case.
    """

    def __init__(self, certificate: bytes, key: bytes) -> None:
        self.use(certificate, key)

    def use(self, certificate: bytes, key: bytes) -> None:
        """
        Take another certificate.

        :raises Misconfigured: it cannot be used; the one before it stays.
        """
        context = _negotiating(server_options(certificate, key), ())
        http_context = _negotiating(server_options(certificate, key), (_HTTP,))
        leaf = crypto.load_certificate(crypto.FILETYPE_PEM, certificate)
        found = leaf.to_cryptography()
        self._context, self.http_context = context, http_context
        digest = leaf.digest("sha256").decode("ascii")
        self.fingerprint = digest.replace(":", "").lower()[:16]
        self.begins_at = found.not_valid_before_utc.timestamp()
        self.names = _names(found)
        self.expires_at = found.not_valid_after_utc.timestamp()

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make one connection's end (`IOpenSSLServerConnectionCreator`)."""
        return SSL.Connection(self._context, None)


@implementer(IOpenSSLServerConnectionCreator)
@attrs.frozen
class HttpTls:
    """The same TLS for HTTP: a client that offers HTTP/1.1 (ALPN) gets it."""

    tls: ReloadableTls

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make one connection's end (`IOpenSSLServerConnectionCreator`)."""
        return SSL.Connection(self.tls.http_context, None)


@implementer(IOpenSSLServerConnectionCreator)
class NamedTls:
    """
    Several certificates on one port: a client that names a host (SNI) gets that host's.

    A client that offers HTTP/1.1 (ALPN) gets it.

    :param certificates: the first is for those who name no host, or an unknown one.
    """

    def __init__(self, certificates: Sequence[ReloadableTls]) -> None:
        self._certificates = certificates
        self._prepared: SSL.Context | None = None

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make one connection's end (`IOpenSSLServerConnectionCreator`)."""
        context = self._certificates[0].http_context
        if context is not self._prepared:
            # Anew after each change of the certificate, and before its first use.
            context.set_tlsext_servername_callback(self._choose)
            self._prepared = context
        return SSL.Connection(context, None)

    def _choose(self, connection: SSL.Connection) -> None:
        given = connection.get_servername()
        if given is None:
            return
        host = given.decode("ascii", "replace").lower()
        for name in (host, f"*.{host.partition('.')[2]}"):
            for one in self._certificates:
                if name in one.names:
                    connection.set_context(one.http_context)
                    return


class SpeaksHttp(WrappingFactory):
    """
    Another factory, under TLS that Twisted speaks itself, as ``ssl:`` endpoints do.

    Twisted from 26 on refuses clients that offer protocols (ALPN) unless the factory
    names one of them, and adapts the factory to ask it. Older versions only look for
    the interface, and would then change a shared context, which pyOpenSSL forbids.

    :param factory: makes the protocols.
    :param admits: may this address have one more connection, and so one more handshake?
    """

    noisy = False

    def __init__(
        self, factory: IProtocolFactory, admits: Callable[[str], bool] = lambda _: True
    ) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]  # Twisted's
        self._admits = admits

    def __conform__(self, interface: object) -> SpeaksHttp | None:
        """Adapt to `IProtocolNegotiationFactory`."""
        return self if interface is IProtocolNegotiationFactory else None

    def acceptableProtocols(self) -> list[bytes]:
        """List what is spoken (`IProtocolNegotiationFactory`)."""
        return [_HTTP]

    def buildProtocol(self, addr: Any) -> Any:
        is_admitted = self._admits(getattr(addr, "host", ""))
        made = self.wrappedFactory.buildProtocol(addr) if is_admitted else None
        # Twisted's TLS cannot do without a protocol.
        return _Refused() if made is None else made


class _Refused(Protocol):
    """A connection that is closed before its handshake."""

    def connectionMade(self) -> None:
        cast(ITCPTransport, self.transport).abortConnection()


def why_tls_failed(reason: Failure) -> str | None:
    """
    Say why TLS ended a connection, in OpenSSL's words.

    :param reason: why the connection ended.
    :returns: ``None`` if something else ended it.
    """
    error = reason.value
    # pyOpenSSL's other errors mean that the peer hung up; these carry a list.
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        return _reason(error) if error.args[0] else "OpenSSL gives no reason"
    return None


def _negotiating(options: CertificateOptions, spoken: Sequence[bytes]) -> SSL.Context:
    """
    Make a context that takes the first protocol of *spoken* that a client offers.

    A client that offers only others is served without one; Twisted from 26 on would
    end its handshake with an alert.
    """

    def choose(_: SSL.Connection, offered: list[bytes]) -> Any:
        for protocol in spoken:
            if protocol in offered:
                return protocol
        return SSL.NO_OVERLAPPING_PROTOCOLS

    context = options.getContext()
    context.set_alpn_select_callback(choose)
    return context


def _names(leaf: x509.Certificate) -> frozenset[str]:
    """List the hosts that a certificate is for."""
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(
        name.lower() for name in found.value.get_values_for_type(x509.DNSName)
    )


def _reason(error: Exception) -> str:
    """Say why in OpenSSL's words, without the places in its source."""
    entries = error.args[0] if error.args else ""
    if isinstance(entries, list) and entries:
        return ", ".join(dict.fromkeys(str(entry[-1]) for entry in entries))
    return str(error) or type(error).__name__


#: Of TLS 1.2, which Mono and Godot 3 need: a new secret for each connection, and none
#: of CBC, whose padding has been an oracle more than once. All of TLS 1.3 are good.
_CIPHERS = AcceptableCiphers.fromOpenSSLCipherString(
    "ECDHE+AESGCM:ECDHE+CHACHA20:"
    "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"
)
_HTTP = b"http/1.1"
_END = b"-----END CERTIFICATE-----"


def check_peer(transport: ITCPTransport, purpose: str) -> None:
    """
    Check which kind of program the peer of a link is.

    The handshake has verified its chain; certificates of the authority differ in their
    purpose.

    :param purpose: the expected one, such as `vinom.net.keys.authority.NODE_PURPOSE`.
    :raises PeerError: the certificate has another purpose.
    """
    try:
        peer = Certificate.peerFromTransport(transport)
    except Exception as error:
        raise PeerError(f"the peer has no certificate: {error}") from None
    name = peer.getSubject().get("commonName", b"").decode("utf-8", "replace")
    if name != purpose:
        raise PeerError(f"the peer's certificate is for a {name!r}, not a {purpose}")


def link_context(own: Issued, anchors: bytes) -> Any:
    """
    Make the context for either end of a link on which both present a certificate.

    :param own: our own certificate.
    :param anchors: the authorities that sign peers' certificates, PEM.
    :raises ValueError: a certificate is invalid, or the key does not match.
    """
    ours = PrivateCertificate.loadPEM(own.key + own.certificate)
    return CertificateOptions(
        privateKey=ours.privateKey.original,
        certificate=ours.original,
        trustRoot=trustRootFromCertificates(certificates(anchors)),
        raiseMinimumTo=TLSVersion.TLSv1_3,
    ).getContext()


def serving_context(own: Issued) -> Any:
    """
    Make the context for a node's end of links to pods, which have no certificate.

    :param own: the node's chain, leaf first.
    :raises ValueError: a certificate is invalid, or the key does not match.
    """
    leaf, *chain = certificates(own.certificate)
    ours = PrivateCertificate.loadPEM(own.key + leaf.dumpPEM())
    return CertificateOptions(
        privateKey=ours.privateKey.original,
        certificate=ours.original,
        extraCertChain=[one.original for one in chain],
        raiseMinimumTo=TLSVersion.TLSv1_3,
    ).getContext()


def dialing_context(anchors: bytes) -> Any:
    """
    Make the context for the other end, which verifies the node's certificate.

    :param anchors: the authorities that sign it, PEM.
    :raises ValueError: a certificate is invalid.
    """
    return CertificateOptions(
        trustRoot=trustRootFromCertificates(certificates(anchors)),
        raiseMinimumTo=TLSVersion.TLSv1_3,
    ).getContext()


def certificates(texts: bytes) -> list[Certificate]:
    """
    Read certificates in PEM, in their order.

    :raises ValueError: there is none.
    """
    blocks = texts.split(_END)[:-1]
    if not blocks:
        raise ValueError("no certificate")
    return [Certificate.loadPEM(block + _END) for block in blocks]
