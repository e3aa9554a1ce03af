"""Links between programs of one deployment: what they are, by their certificates."""

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

from vinom.errors import PeerError
from vinom.model import Issued


def check_peer(transport: ITCPTransport, purpose: str) -> None:
    """
    Check what the peer of a link is.

    Its chain was verified in the handshake; the certificates that the authority signs
    differ in their purpose.

    :param purpose: such as `vinom.keys.authority.NODE_PURPOSE`.
    :raises PeerError: it is something else.
    """
    try:
        peer = Certificate.peerFromTransport(transport)
    except Exception as error:
        raise PeerError(f"the peer has no certificate: {error}") from None
    name = peer.getSubject().get("commonName", b"").decode("utf-8", "replace")
    if name != purpose:
        raise PeerError(
            f"the peer's certificate is that of a {name!r}, not a {purpose}"
        )


def link_context(own: Issued, anchors: bytes) -> Any:
    """
    Make the context of either end of a link: both show a certificate.

    :param own: ours.
    :param anchors: the authorities that sign those of peers, PEM.
    :raises ValueError: these are no certificates, or the key is another one's.
    """
    ours = PrivateCertificate.loadPEM(own.key + own.certificate)
    return CertificateOptions(
        privateKey=ours.privateKey.original,
        certificate=ours.original,
        trustRoot=trustRootFromCertificates(_certificates(anchors)),
        raiseMinimumTo=TLSVersion.TLSv1_3,
    ).getContext()


_END = b"-----END CERTIFICATE-----"


def serving_context(own: Issued) -> Any:
    """
    Make a node's end of links to programs that have no certificate: pods.

    :param own: the node's; a chain, the leaf first.
    :raises ValueError: these are no certificates, or the key is another one's.
    """
    leaf, *chain = _certificates(own.certificate)
    ours = PrivateCertificate.loadPEM(own.key + leaf.dumpPEM())
    return CertificateOptions(
        privateKey=ours.privateKey.original,
        certificate=ours.original,
        extraCertChain=[one.original for one in chain],
        raiseMinimumTo=TLSVersion.TLSv1_3,
    ).getContext()


def dialing_context(anchors: bytes) -> Any:
    """
    Make the other end, which verifies the node's certificate.

    :param anchors: the authorities that sign it, PEM.
    :raises ValueError: these are no certificates.
    """
    return CertificateOptions(
        trustRoot=trustRootFromCertificates(_certificates(anchors)),
        raiseMinimumTo=TLSVersion.TLSv1_3,
    ).getContext()


def _certificates(texts: bytes) -> list[Certificate]:
    return [
        Certificate.loadPEM(text + _END) for text in texts.split(_END) if text.strip()
    ]
