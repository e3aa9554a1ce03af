"""Contexts of OpenSSL that were begun before a game server's process was."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import leaf
from tests.support.dtls import DOMAIN
from tests.support.dtls_pair import connected
from vinom.errors import Misconfigured
from vinom.net.dtls import context as dtls_context
from vinom.net.dtls.context import prepare_server_context, server_context


def seen_by_client(context: SSL.Context) -> str | None:
    """Whose certificate a client sees behind this context."""
    client, _ = connected(context)
    seen = client.get_peer_certificate()
    return None if seen is None else seen.get_subject().CN


class PreparedTests(SynchronousTestCase):
    """What the fork server has ready for its children."""

    def setUp(self) -> None:
        self.patch(dtls_context, "_spare", [])

    def test_one_is_ready(self) -> None:
        """
        The first server takes it, however often one was prepared; the next one makes
        its own, so that no two servers ever share a key.
        """
        prepare_server_context()
        prepare_server_context()
        (ready,) = dtls_context._spare
        certificate = leaf(DOMAIN)
        keys = certificate.certificate, certificate.key
        self.assertIs(server_context(*keys), ready)
        self.assertIsNot(server_context(*keys), ready)

    def test_players_see_no_difference(self) -> None:
        """
        A server with a prepared context proves the same as one without.
        """
        certificate = leaf(DOMAIN)
        keys = certificate.certificate, certificate.key
        prepare_server_context()
        self.assertEqual(
            seen_by_client(server_context(*keys)), seen_by_client(server_context(*keys))
        )
        self.assertIsNotNone(seen_by_client(server_context(*keys)))

    def test_bad_key_uses_it_up(self) -> None:
        """
        What a wrong key was put into is never used for a right one.
        """
        prepare_server_context()
        certificate = leaf(DOMAIN)
        with self.assertRaises(Misconfigured):
            server_context(certificate.certificate, b"no key")
        self.assertEqual(dtls_context._spare, [])
