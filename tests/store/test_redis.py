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
    EntryStoreContract,
    Heard,
    MatchStoreContract,
    NodeStoreContract,
    OnlineStoreContract,
    PlayerStoreContract,
    entry,
)
from tests.support.redis_servers import (
    make_client,
    make_subscriber,
    shared_server,
    until,
)
from vinom.errors import LeaseLost
from vinom.model import NodeFacts, Player
from vinom.ports import (
    IEntryStore,
    IMatchStore,
    INodeStore,
    IOnlineStore,
    IPlayerStore,
)
from vinom.store.redis.client import RedisClient
from vinom.store.redis.entries import RedisEntryStore
from vinom.store.redis.matches import RedisMatchStore
from vinom.store.redis.nodes import RedisNodeStore
from vinom.store.redis.online import RedisOnlineStore
from vinom.store.redis.players import RedisPlayerStore

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


class RedisOnlineStoreTests(OnlineStoreContract, RedisCase):
    """Lines in Redis, and messages by publish and subscribe."""

    async def make_stores(self) -> list[tuple[RedisOnlineStore, Heard]]:
        self.other = await self.open_client("n2")
        await RedisNodeStore(self.other).register(NodeFacts("n2", {}, "1"), 60)
        self.made = [await self.make_one(one) for one in (self.client, self.other)]
        return self.made

    async def make_one(self, client: RedisClient) -> tuple[RedisOnlineStore, Heard]:
        """Make the store of one node."""
        store, heard = RedisOnlineStore(client), Heard()
        verifyObject(IOnlineStore, store)
        store.watch(heard)
        subscriber = make_subscriber(self.server.port, store)
        subscriber.startService()
        self.addCleanup(subscriber.stopService)
        await until(lambda: subscriber.is_subscribed)
        return store, heard

    async def settle(self) -> None:
        """One more message to each node comes last."""
        for store, heard in self.made:
            self.server.command("PUBLISH", store.channel, "send\nlast\n\n")
            await until(lambda heard=heard: (["last"], b"") in heard.passed_on)
            heard.passed_on.remove((["last"], b""))

    async def kill_second(self) -> None:
        """End a lease."""
        await RedisNodeStore(self.other).leave("n2", self.other.owner.lease)

    async def test_strange_messages(self) -> None:
        """
        What a node cannot read is skipped, and what follows arrives.
        """
        (store, heard), _ = await self.make_stores()
        for message in ("", "send", "replaced\nann\nmany", "jump\nann", "send\n\xff"):
            self.server.command("PUBLISH", store.channel, message)
        await self.settle()
        self.assertEqual(heard.closed, [])

    async def test_subscribes_again(self) -> None:
        """
        A node whose subscription is cut has it again soon.
        """
        (store, heard), _ = await self.make_stores()
        self.server.command("CLIENT", "KILL", "TYPE", "pubsub")
        await until(
            lambda: self.server.command("PUBLISH", store.channel, "send\na\n\n")
        )
        await until(lambda: heard.passed_on)

    async def test_suspended_by_its_old_node(self) -> None:
        """
        A player who came back to another node is not taken out of play by the node of
        the line that was cut.
        """
        (one, _), (two, _) = await self.make_stores()
        entries = RedisEntryStore(self.client)
        await entries.add(entry(ANN, 1.0))
        epoch = await one.enter("ann")
        await two.enter("ann")
        self.assertFalse(await one.leave("ann", epoch))
        self.assertFalse(await entries.suspend("e-ann"))
        self.assertTrue(await entries.claim(["e-ann"]))

    async def test_a_silent_node(self) -> None:
        """
        A node whose lease is over takes no line from another, and sends nothing.
        """
        (one, first), (two, second) = await self.make_stores()
        await two.enter("ann")
        await RedisNodeStore(self.client).leave("n1", self.client.owner.lease)
        for call in (one.enter("ann"), one.send(["ann"], b"x"), one.keep([("ann", 9)])):
            with self.assertRaises(LeaseLost):
                await call
        await self.settle()
        self.assertEqual((first.closed, second.closed), ([], []))
        self.assertEqual(second.passed_on, [])
