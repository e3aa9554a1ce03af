"""TLS of links to nodes: certificates of the deployment's authority on both ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from twisted.internet.interfaces import ITCPTransport
from twisted.logger import Logger

from vinom.base.model import Issued
from vinom.errors import Misconfigured
from vinom.net.keys.authority import NODE_PURPOSE
from vinom.net.keys.files import read_file
from vinom.net.keys.peers import check_peer, link_context
from vinom.net.lines.tls import OfContexts

_log = Logger()


@attrs.define(eq=False)
class LinkTls:
    """
    A gateway's end of such links.

    The files are read for each link, so that a certificate can be renewed while the
    gateway runs; if they cannot be used, the last valid ones stay in use.

    :ivar certificate_file: the gateway's certificate, PEM.
    :ivar key_file: its key, PEM.
    :ivar authority_file: certificates of the authority, PEM.
    :raises Misconfigured: the files cannot be used at the start.
    """

    certificate_file: Path
    key_file: Path
    authority_file: Path
    _texts: tuple[bytes, bytes, bytes] = attrs.field(init=False)
    _context: Any = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # They are read again later, after twistd has changed its working directory.
        self.certificate_file = self.certificate_file.absolute()
        self.key_file = self.key_file.absolute()
        self.authority_file = self.authority_file.absolute()
        self._texts = self._read()
        self._context = _made(self._texts)

    def __call__(self) -> OfContexts:
        """Make what `twisted.internet.endpoints.wrapClientTLS` takes."""
        try:
            texts = self._read()
            if texts != self._texts:
                self._context, self._texts = _made(texts), texts
        except Misconfigured as error:
            _log.error(
                "links still use the previous certificate: {why}", why=str(error)
            )
        return OfContexts(lambda: self._context)

    def check(self, transport: ITCPTransport) -> None:
        """
        Check that the peer of a link is a node.

        :raises PeerError: it is not a node.
        """
        check_peer(transport, NODE_PURPOSE)

    def _read(self) -> tuple[bytes, bytes, bytes]:
        return (
            read_file(self.certificate_file, "link_certificate_file"),
            read_file(self.key_file, "link_key_file"),
            read_file(self.authority_file, "link_authority_file"),
        )


def _made(texts: tuple[bytes, bytes, bytes]) -> Any:
    certificate, key, anchors = texts
    try:
        return link_context(Issued(certificate, key), anchors)
    except Exception as error:
        # OpenSSL raises many types of errors.
        raise Misconfigured(
            f"link_certificate_file, link_key_file and link_authority_file cannot be "
            f"used together ({error}): make them with vinom link-certificate"
        ) from error
