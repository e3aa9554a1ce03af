"""Both ends of OpenSSL, without our own code around them."""

from __future__ import annotations

import contextlib

from OpenSSL import SSL

from tests.support.certificates import authority, leaf
from tests.support.dtls import DOMAIN
from vinom.net.dtls.context import client_context, server_context


def connected(
    context: SSL.Context | None = None,
) -> tuple[SSL.Connection, SSL.Connection]:
    """
    A client and a server whose handshake is finished.

    :param context: the server's; one with a certificate for `DOMAIN` unless given.
    """
    if context is None:
        certificate = leaf(DOMAIN)
        context = server_context(certificate.certificate, certificate.key)
    server = SSL.Connection(context, None)
    client = SSL.Connection(client_context(authority().anchor), None)
    server.set_accept_state()
    client.set_connect_state()
    for end in (server, client):
        end.set_ciphertext_mtu(1200)
    ends = client, server
    for turn in range(6):
        end, other = ends[turn % 2], ends[1 - turn % 2]
        with contextlib.suppress(SSL.WantReadError):
            end.do_handshake()
        with contextlib.suppress(SSL.WantReadError):
            other.bio_write(end.bio_read(16 * 1024))
    return client, server
