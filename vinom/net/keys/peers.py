"""Links between programs of one deployment, which certificates identify."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    TLSVersion,
    trustRootFromCertificates,
)

from vinom.base.model import Issued
from vinom.errors import PeerError


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


_END = b"-----END CERTIFICATE-----"


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
