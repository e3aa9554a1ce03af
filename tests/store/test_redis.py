"""A real Redis behind the storage ports."""

from __future__ import annotations

import re
import time
from functools import cache
from pathlib import Path

from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.store.contract import (
    ANN,
    BOB,
    CAT,
    CheckpointStoreContract,
    EntryStoreContract,
    MatchStoreContract,
    NodeStoreContract,
    PlayerStoreContract,
    entry,
)
from tests.support.redis_servers import (
    make_client,
    shared_server,
    until,
)
from vinom.model import NodeFacts, Player
from vinom.ports import (
    ICheckpointStore,
    IEntryStore,
    IMatchStore,
    INodeStore,
    IPlayerStore,
)
from vinom.store.redis.client import RedisClient
from vinom.store.redis.entries import RedisEntryStore
from vinom.store.redis.matches import RedisMatchStore
from vinom.store.redis.nodes import RedisNodeStore
from vinom.store.redis.players import RedisPlayerStore
from vinom.store.redis.rooms import RedisCheckpointStore

ROOT = Path(__file__).resolve().parents[2]


@cache
def documented() -> list[re.Pattern[str]]:
    """Read the names of keys that the manual lists."""
    page = ROOT / "docs" / "reference" / "redis.rst"
    names = re.findall(r"^   \* - ``(.*)``$", page.read_text(encoding="utf-8"), re.M)
    return [re.compile(re.sub("<[a-z]+>", "[^:]+", name)) for name in names]


class RedisCase(TestCase):
    """A client with a lease, and keys of its own in the shared server."""

    timeout = 60
    now = 1000.0

    async def setUp(self) -> None:
        self.server = shared_server()
        self.client = await self.open_client("n1")
        await RedisNodeStore(self.client).register(NodeFacts("n1", {}, "1"), 60)

    async def open_client(self, node_id: str, **given: object) -> RedisClient:
        """Connect another node to the same keys."""
        prefix = self.client.prefix if hasattr(self, "client") else None
        client = make_client(self.server.port, prefix, node_id, **given)
        client.startService()
        self.addCleanup(client.stopService)
        await until(lambda: client.is_available)
        return client

    def keys(self) -> list[str]:
        """List the keys of this test."""
        found: list[str] = self.server.command("KEYS", f"{self.client.prefix}*")
        return found

    def tearDown(self) -> None:
        for key in self.keys():
            name = key.removeprefix(self.client.prefix)
            self.assertTrue(any(one.fullmatch(name) for one in documented()), name)
        lasting = [key for key in self.keys() if self.server.command("PTTL", key) < 0]
        self.assertEqual(lasting, [], "every key has a lifetime")


class RedisEntryStoreTests(EntryStoreContract, RedisCase):
    """Entries in Redis."""

    def make_store(self) -> RedisEntryStore:
        store = RedisEntryStore(self.client)
        verifyObject(IEntryStore, store)
        return store


class RedisPlayerStoreTests(PlayerStoreContract, RedisCase):
    """Players in Redis."""

    def make_store(self, most: int = 10) -> RedisPlayerStore:
        store = RedisPlayerStore(self.client, lambda: self.now, most)
        verifyObject(IPlayerStore, store)
        return store

    async def test_bounded(self) -> None:
        """
        A flood of strangers costs bounded memory: the oldest who did nothing but say
        hello are forgotten, not those who wait or play.
        """
        store, entries = self.make_store(3), RedisEntryStore(self.client)
        guests = [Player(f"g{number}", "G") for number in range(6)]

        async def add(number: int) -> bool:
            kept: bool = await store.add_guest(
                f"h{number}", guests[number], self.now + 10, "192.0.2.1"
            )
            return kept

        async def known() -> list[int]:
            return [n for n in range(6) if await store.find(f"h{n}") is not None]

        for number in range(3):
            self.assertTrue(await add(number))
        store.settle("g0")
        await entries.add(entry(guests[1], 1.0))
        self.assertTrue(await add(3))
        # Guest 2 has only said hello, and is older than guest 3.
        self.assertEqual(await known(), [0, 1, 3])
        await entries.add(entry(guests[3], 2.0))
        self.assertTrue(await add(4))
        self.assertEqual(await known(), [1, 3, 4])
        await entries.add(entry(guests[4], 3.0))
        self.assertFalse(await add(5))
        await store.keep("account", ANN, self.now + 10)
        self.assertEqual(await store.find("account"), ANN)
        self.assertEqual(await known(), [1, 3, 4])

    async def test_guest_with_an_account(self) -> None:
        """
        Who comes back with its key is not forgotten like a stranger.
        """
        store = self.make_store(2)
        await store.add_guest("h1", ANN, self.now + 10, "192.0.2.1")
        await store.add_guest("h2", BOB, self.now + 10, "192.0.2.1")
        await store.keep("h1", ANN, self.now + 10)
        await store.add_guest("h3", CAT, self.now + 10, "192.0.2.1")
        self.assertEqual(await store.find("h1"), ANN)
        self.assertIsNone(await store.find("h2"))


class RedisMatchStoreTests(MatchStoreContract, RedisCase):
    """Matches in Redis."""

    def make_store(self) -> RedisMatchStore:
        store = RedisMatchStore(self.client, lambda: self.now)
        verifyObject(IMatchStore, store)
        return store


class RedisCheckpointStoreTests(CheckpointStoreContract, RedisCase):
    """Checkpoints in Redis."""

    async def make_stores(self) -> list[RedisCheckpointStore]:
        other = await self.open_client("n2")
        await RedisNodeStore(other).register(NodeFacts("n2", {}, "1"), 60)
        stores = [RedisCheckpointStore(one) for one in (self.client, other)]
        for store in stores:
            verifyObject(ICheckpointStore, store)
        return stores

    async def end_lease(self) -> None:
        """End the lease of n1, which does not know it."""
        before = (int(self.server.command("TIME")[0]) - 1) * 10**6
        self.server.command("HSET", f"{self.client.prefix}node:n1", "ends", str(before))

    async def renew_lease(self) -> None:
        """Let n1 wake up."""
        await RedisNodeStore(self.client).register(NodeFacts("n1", {}, "1"), 60)

    async def test_a_node_is_listed_while_it_has_rooms(self) -> None:
        """
        The sweep finds the rooms of a dead node until the last one has ended.
        """
        first, second = await self.make_stores()
        nodes = RedisNodeStore(second.client)
        await first.put("r1", 1, b"one", 60.0)
        lease = self.client.owner.lease
        await self.end_lease()
        self.server.command("ZADD", f"{self.client.prefix}nodes", "1", "n1")
        for _ in range(2):
            self.assertFalse(await nodes.leave("n1", lease))
            (gone,) = await nodes.expired()
            self.assertEqual(gone.node.node_id, "n1")
        await second.claim("r1", False)
        self.assertTrue(await nodes.leave("n1", lease))
        self.assertEqual(list(await nodes.expired()), [])


class RedisNodeStoreTests(NodeStoreContract, RedisCase):
    """Nodes in Redis."""

    async def make_store(self) -> RedisNodeStore:
        store = RedisNodeStore(self.client)
        verifyObject(INodeStore, store)
        await store.leave("n1", self.client.owner.lease)
        return store

    async def pass_time(self, seconds: float) -> None:
        """Redis' own clock ends leases."""
        until_then = time.monotonic() + seconds
        await until(lambda: time.monotonic() >= until_then)
