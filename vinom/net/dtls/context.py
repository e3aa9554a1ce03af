"""
OpenSSL's settings for both ends of a DTLS association.

In one place, because each setting was hard to find out (decision 0001).
"""

from __future__ import annotations

from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto

from vinom.base.model import Ticket
from vinom.errors import Misconfigured

#: DTLS 1.2's number on the wire; pyOpenSSL has no constant for it.
_DTLS_1_2 = 0xFEFD

#: Forward secrecy and authenticated encryption, with any kind of certificate.
#: Every stack we know (OpenSSL, GnuTLS, mbedTLS) has one of these.
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"

#: At most one; see `prepare_server_context`.
_spare: list[SSL.Context] = []


def prepare_server_context() -> None:
    """
    Make the context for one server's end, before its process is forked.

    It holds no secret: tickets and resumption are off. Its two thirds of a megabyte
    are shared with each forked child until the child uses them.
    """
    if not _spare:
        _spare.append(_server_context())


def server_context(certificate: bytes, key: bytes) -> SSL.Context:
    """
    Prepare the server's end.

    :param certificate: leaf and chain, PEM.
    :param key: the leaf's private key, PEM.
    :raises Misconfigured: they cannot be read or do not belong together.
    """
    context = _spare.pop() if _spare else _server_context()
    try:
        leaf, *chain = x509.load_pem_x509_certificates(certificate)
        private = load_pem_private_key(key, password=None)
        if not isinstance(private, EllipticCurvePrivateKey | RSAPrivateKey):
            raise ValueError("the key must be an elliptic curve key or an RSA key")
        context.use_certificate(leaf)
        for issuer in chain:
            context.add_extra_chain_cert(issuer)
        context.use_privatekey(private)
        context.check_privatekey()
    except (ValueError, TypeError, SSL.Error) as error:
        raise Misconfigured(
            "the game server's certificate and key must be PEM and belong together"
        ) from error
    return context


class ServerCertificates:
    """
    The certificates of a port: the current one, and those that matches keep, whose
    players were sent the authority of an older one.
    """

    def __init__(self, certificate: bytes, key: bytes) -> None:
        """
        :param certificate: leaf and chain, PEM.
        :param key: the leaf's private key, PEM.
        :raises Misconfigured: they are not usable.
        """
        self._current = server_context(certificate, key)
        self._kept: dict[str, SSL.Context] = {}

    def use(self, certificate: bytes, key: bytes) -> None:
        """
        Use another certificate, except for matches that keep theirs.

        :raises Misconfigured: certificate or key are not usable.
        """
        self._current = server_context(certificate, key)

    def keep(self, match_id: str) -> None:
        """Use the certificate of now for all handshakes with tickets of a match."""
        self._kept[match_id] = self._current

    def forget(self, match_id: str) -> None:
        """Keep no certificate for a match: it is over."""
        self._kept.pop(match_id, None)

    def of(self, ticket: Ticket | None) -> SSL.Context:
        """Return the server's end for a client that shows this ticket, or none."""
        if ticket is None:
            return self._current
        return self._kept.get(ticket.match_id, self._current)


def _server_context() -> SSL.Context:
    context = _context(SSL.DTLS_SERVER_METHOD)
    # Nothing is stored for a client that has left: no tickets (an encrypted blob
    # per handshake) and no session cache.
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # The cookie was checked before a connection was made (`Admission`).
    # OpenSSL must still be made to expect message number 1; `DTLSv1_listen` with
    # callbacks that accept any cookie does that.
    context.set_cookie_generate_callback(lambda _connection: b"unused")
    context.set_cookie_verify_callback(lambda _connection, _cookie: True)
    return context


@lru_cache(maxsize=16)
def client_context(authority: bytes) -> SSL.Context:
    """
    Prepare the client's end; many clients of one process share it.

    :param authority: the trust anchors, PEM.
    :raises Misconfigured: they cannot be read.
    """
    context = _context(SSL.DTLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_PEER)
    store = context.get_cert_store()
    try:
        anchors = x509.load_pem_x509_certificates(authority)
    except ValueError as error:
        raise Misconfigured("the game server's trust anchor must be PEM") from error
    if store is not None:
        for anchor in anchors:
            store.add_cert(crypto.X509.from_cryptography(anchor))
    return context


def _context(method: int) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_options(
        # We set the path's MTU: OpenSSL cannot query it through a memory BIO.
        SSL.OP_NO_QUERY_MTU
        # Renegotiation would let a peer make us work.
        | SSL.OP_NO_RENEGOTIATION
        | SSL.OP_NO_COMPRESSION
    )
    context.set_cipher_list(_CIPHERS)
    return context
