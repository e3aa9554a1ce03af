"""What ``vinom doctor`` reports about the store."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.redis_servers import RedisServer
from vinom.doctor.findings import Finding
from vinom.doctor.store import examine_shared_store
from vinom.node.settings import Settings
from vinom.store.redis.address import read_store_address


class StoreTests(SynchronousTestCase):
    """Findings about a Redis."""

    def examine(self, server: RedisServer) -> Finding:
        path = self.mktemp()
        found = examine_shared_store(
            Settings(
                store=read_store_address(server.url),
                authority_certificate_file=path,  # type: ignore[arg-type]
                authority_key_file=path,  # type: ignore[arg-type]
            )
        )
        return found[0]

    def test_redis(self) -> None:
        """
        A Redis is good while it answers and keeps everything; else the remedy is named.
        """
        server = RedisServer()
        self.addCleanup(server.kill)
        self.assertEqual(self.examine(server).verdict, "ok")
        server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        found = self.examine(server)
        self.assertEqual(found.verdict, "failure")
        self.assertIn("allkeys-lru", found.told)
        self.assertIn("noeviction", found.remedy or "")
        server.command("CONFIG", "SET", "requirepass", "x")
        found = self.examine(server)
        self.assertIn("NOAUTH", found.told)
        self.assertIn("store_password_file", found.remedy or "")
        server.kill()
        found = self.examine(server)
        self.assertEqual(found.verdict, "failure")
        self.assertIn("does not answer", found.told)

    def test_memory(self) -> None:
        """
        Memory needs nothing.
        """
        (found,) = examine_shared_store(Settings())
        self.assertEqual(found.verdict, "ok")
