"""The server's end of OpenSSL, prepared before a fork; and memory that goes back."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import leaf
from tests.support.dtls import DOMAIN
from tests.support.dtls_pair import connected
from vinom.errors import Misconfigured
from vinom.net.dtls import context as dtls_context
from vinom.net.dtls.association import FreedMemory, return_freed_memory
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


class FreedMemoryTests(SynchronousTestCase):
    """When freed memory goes back to the system."""

    def test_many(self) -> None:
        """
        A few handshakes that led to nothing are not worth it. Many are, at once; and
        then not more often than once per second.
        """
        freed = FreedMemory(least=3)
        for _ in range(2):
            freed.add(1.0)
        self.assertIsNone(freed.deadline())
        self.assertFalse(freed.is_due(100.0))
        for _ in range(3):
            freed.add(1.0)
        self.assertEqual(freed.deadline(), 1.0)
        self.assertTrue(freed.is_due(1.0))
        self.assertFalse(freed.is_due(1.0))
        for _ in range(3):
            freed.add(1.1)
        self.assertEqual(freed.deadline(), 2.0)
        self.assertFalse(freed.is_due(1.9))
        self.assertTrue(freed.is_due(2.0))
        self.assertIsNone(freed.deadline())

    def test_return(self) -> None:
        """
        It can be done anywhere, also where it does nothing.
        """
        return_freed_memory()
