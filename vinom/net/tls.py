"""TLS for lines and HTTP, from PEM files, by OpenSSL's own defaults."""

from __future__ import annotations

from OpenSSL import SSL, crypto
from twisted.internet.ssl import CertificateOptions, TLSVersion

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
            f"the lobby's TLS certificate and key cannot be used: {error}"
        ) from error
    return options


_END = b"-----END CERTIFICATE-----"
