"""TLS for lines and HTTP, from PEM files, by OpenSSL's own defaults."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
)
from twisted.internet.protocol import ServerFactory
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from vinom.errors import Misconfigured


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


@implementer(IOpenSSLServerConnectionCreator)
class ReloadableTls:
    """
    TLS whose certificate may change: for connections that begin after it.

    :param certificate: as `server_options` takes them; raises as it does.
    :ivar fingerprint: names the leaf: its SHA-256, the first 16 hexadecimal digits.
    :ivar begins_at: since when it is good, seconds since the Unix epoch.
    :ivar expires_at: when it ends, likewise.
    """

    def __init__(self, certificate: bytes, key: bytes) -> None:
        self.use(certificate, key)

    def use(self, certificate: bytes, key: bytes) -> None:
        """
        Take another certificate.

        :raises Misconfigured: it cannot be used; the one before it stays.
        """
        options = server_options(certificate, key)
        leaf = crypto.load_certificate(crypto.FILETYPE_PEM, certificate)
        told = leaf.to_cryptography()
        self._options = options
        digest = leaf.digest("sha256").decode("ascii")
        self.fingerprint = digest.replace(":", "").lower()[:16]
        self.begins_at = told.not_valid_before_utc.timestamp()
        self.expires_at = told.not_valid_after_utc.timestamp()

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make one connection's end (`IOpenSSLServerConnectionCreator`)."""
        return SSL.Connection(self._options.getContext(), None)


class Unnegotiated(ServerFactory):
    """
    Another factory, under TLS that does not negotiate what is spoken (ALPN).

    HTTP would ask for it, and older Twisteds then change a context that is shared,
    which OpenSSL refuses. What is spoken without it is HTTP/1.1.

    :param factory: makes the protocols.
    """

    noisy = False

    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory = factory

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        self._factory.doStop()

    def buildProtocol(self, addr: Any) -> Any:
        return self._factory.buildProtocol(addr)


def _reason(error: Exception) -> str:
    """Say why in OpenSSL's words, without the places in its source."""
    told = error.args[0] if error.args else ""
    if isinstance(told, list) and told:
        return ", ".join(dict.fromkeys(str(entry[-1]) for entry in told))
    return str(error) or type(error).__name__


_END = b"-----END CERTIFICATE-----"
