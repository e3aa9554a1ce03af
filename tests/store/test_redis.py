"""A real Redis behind the storage ports."""

from __future__ import annotations

import re
import time
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import attrs
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.store.contract import (
    ANN,
    BOB,
    CAT,
    PLACE,
    CheckpointStoreContract,
    EntryStoreContract,
    Heard,
    MatchStoreContract,
    NodeStoreContract,
    OnlineStoreContract,
    PlayerStoreContract,
    RatingStoreContract,
    ServerStoreContract,
    entry,
    facts,
    plan,
)
from tests.store.prematches import (
    PartyStoreContract,
    PrematchStoreContract,
    party,
    prematch,
)
from tests.support.redis_servers import (
    make_client,
    make_subscriber,
    shared_server,
    until,
)
from vinom.base.model import NodeFacts, Player, QueueEntry
from vinom.errors import LeaseLost
from vinom.store.interfaces import (
    ICheckpointStore,
    IEntryStore,
    IMatchStore,
    INodeStore,
    IOnlineStore,
    IPartyStore,
    IPlayerStore,
    IPrematchStore,
    IRatingStore,
    IServerStore,
)
from vinom.store.memory.entries import MemoryEntryStore
from vinom.store.redis.client import RedisClient
from vinom.store.redis.entries import RedisEntryStore, RedisPrematchStore
from vinom.store.redis.matches import (
    RedisEstateStore,
    RedisMatchStore,
    RedisServerStore,
)
from vinom.store.redis.nodes import RedisNodeStore
from vinom.store.redis.parties import RedisPartyStore
from vinom.store.redis.players import (
    RedisOnlineStore,
    RedisPlayerStore,
    RedisRatingStore,
)
from vinom.store.redis.rooms import RedisCheckpointStore

ROOT = Path(__file__).resolve().parents[2]


@cache
def documented() -> list[re.Pattern[str]]:
    """Read the names of keys that the manual lists."""
    page = ROOT / "docs" / "reference" / "redis.rst"
    names = re.findall(r'^   "``(.*?)``"', page.read_text(encoding="utf-8"), re.M)
    return [re.compile(re.sub("<[a-z]+>", "[^:]+", name)) for name in names]


async def pass_real_time(seconds: float) -> None:
    """Wait for clocks that tests do not set."""
    until_then = time.monotonic() + seconds
    await until(lambda: time.monotonic() >= until_then)


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

    async def test_as_long_as_its_queue(self) -> None:
        """
        An entry whose player came back late has its place as long as it is stored, if
        nobody else has queued since.
        """
        others = set(self.keys())
        store = self.make_store()
        await store.add(entry(ANN, 1.0))
        await store.suspend("e-ann")
        own = [key for key in self.keys() if key not in others]
        for key in own:
            self.server.command("PEXPIRE", key, "1000000")
        await store.resume("e-ann")
        for key in own:
            if self.server.command("PTTL", key) <= 1000000:
                self.server.command("DEL", key)
        self.assertEqual(await store.place("e-ann"), 1)
        self.assertTrue(await store.suspend("e-ann"))
        self.assertTrue(await store.resume("e-ann"))
        self.assertTrue(await store.claim(["e-ann"]))


class _EntriesAndPrematches:
    """Both stores of a client, as the memory has them in one."""

    def __init__(self, client: RedisClient) -> None:
        self._stores = RedisEntryStore(client), RedisPrematchStore(client)

    def __getattr__(self, name: str) -> Any:
        entries, prematches = self._stores
        return getattr(entries if name in IEntryStore else prematches, name)


class RedisPrematchStoreTests(PrematchStoreContract, RedisCase):
    """Prematches in Redis."""

    def make_store(self) -> _EntriesAndPrematches:
        verifyObject(IPrematchStore, RedisPrematchStore(self.client))
        return _EntriesAndPrematches(self.client)

    async def pass_time(self, seconds: float) -> None:
        """Redis' own clock forgets declines."""
        await pass_real_time(seconds)

    async def test_a_dead_node(self) -> None:
        """
        If a node dies while it waits for answers, or makes a match, those players who
        are at other nodes get their old places back.
        """
        there = await self.open_client("n2")
        await RedisNodeStore(there).register(NodeFacts("n2", {}, "1"), 60)
        store, other = self.make_store(), _EntriesAndPrematches(there)
        await other.add(entry(CAT, 0.5))
        for player in (ANN, BOB):
            await store.add(entry(player, 1.0))
        await other.propose(prematch(entry(ANN, 1.0), entry(CAT, 0.5)))
        for player_id in ("ann", "cat"):
            await store.answer("p1", player_id, True)
        # Whoever makes the match is the owner.
        self.assertTrue(await other.begin("p1", "n2"))
        await RedisNodeStore(there).leave("n2", there.owner.lease)
        estates = RedisEstateStore(self.client)
        left = await estates.abandon("n2", 100, 10)
        (ended,) = left.prematches
        self.assertEqual((ended.prematch_id, ended.started_by), ("p1", "n2"))
        self.assertEqual([one.entry_id for one in ended.entries], ["e-ann", "e-cat"])
        self.assertEqual(left.alone, ["cat"])
        self.assertIsNone(await estates.abandon("n2", 100, 10))
        self.assertIsNone(await store.prematch_of("ann"))
        self.assertEqual(await self.waiting(store), ["Ann", "Bob"])
        self.assertEqual(await store.place("e-cat"), 1)
        await store.resume("e-cat")
        self.assertEqual(await self.waiting(store), ["Cat", "Ann", "Bob"])

    async def test_owner_is_who_begins(self) -> None:
        """
        A prematch goes on if the node that proposed it dies after another began.
        """
        there = await self.open_client("n2")
        await RedisNodeStore(there).register(NodeFacts("n2", {}, "1"), 60)
        store, other = await self.filled(ANN), _EntriesAndPrematches(there)
        await other.propose(prematch(entry(ANN, 1.0)))
        await store.answer("p1", "ann", True)
        self.assertTrue(await store.begin("p1", "n1"))
        left = await RedisEstateStore(self.client).abandon("n2", 100, 10)
        self.assertIsNone(left)
        self.assertTrue(await store.finish("p1", "n1"))
        self.assertIsNone(await store.entry_of("ann"))

    async def test_stale(self) -> None:
        """
        A node whose lease is over changes no prematch.
        """
        store = await self.filled(ANN, BOB)
        await store.propose(prematch(entry(ANN, 1.0)))
        self.client.owner.lease += 1
        for step in (
            lambda: store.propose(prematch(entry(BOB, 1.0), prematch_id="p2")),
            lambda: store.answer("p1", "ann", True),
            lambda: store.begin("p1", "n1"),
            lambda: store.finish("p1", "n1"),
            lambda: store.dissolve("p1", 1000.0),
            lambda: store.give_back("p1", "n1"),
            lambda: store.count_decline("ann", 1.0, 2.0),
        ):
            with self.assertRaises(LeaseLost):
                await step()
        found = await store.prematch_of("ann")
        self.assertEqual((found.accepted, found.started_by), (frozenset(), ""))

    async def test_an_entry_that_expired(self) -> None:
        """
        An entry whose lifetime ends during a prematch does not come back with it.
        """
        store = await self.filled(ANN, BOB)
        await store.propose(prematch(entry(ANN, 1.0), entry(BOB, 1.0)))
        for name in ("entry:e-ann", "entry-of:ann"):
            self.server.command("DEL", self.client.prefix + name)
        await store.give_back("p1", "n1")
        self.assertEqual(await self.waiting(store), ["Bob"])
        self.assertEqual((await store.counts()).players, {"maze": 1})


class SameAsMemoryTests(RedisCase):
    """Redis and memory, asked the same."""

    async def test_entries_and_prematches(self) -> None:
        """
        Whatever is done in whatever order, players have the same places, answers and
        matches in Redis as in the memory of one node.
        """
        for seed in range(2):
            await self.live(Random(seed), 300)
            for key in self.keys():
                if not key.removeprefix(self.client.prefix).startswith("node"):
                    self.server.command("DEL", key)

    async def live(self, chance: Random, steps: int) -> None:
        """Do the same at random in both."""
        memory, redis = MemoryEntryStore(), _EntriesAndPrematches(self.client)
        players = [Player(f"p{number}", "P") for number in range(8)]
        taken: list[QueueEntry] = []
        proposed = 0

        async def both(step: str, *args: Any) -> Any:
            expected = await getattr(memory, step)(*args)
            found = await getattr(redis, step)(*args)
            if step == "oldest":
                expected, found = list(expected), list(found)
            if step == "counts":
                # Memory also lists games that nobody waits for.
                some_wait = {one: n for one, n in expected.players.items() if n}
                expected = attrs.evolve(expected, players=some_wait)
            self.assertEqual(found, expected, (step, args))
            return expected

        for number in range(steps):
            which = chance.randrange(12)
            some = chance.sample(players, chance.choice((1, 1, 1, 2)))
            known = [f"e{chance.randrange(max(1, number))}" for _ in range(2)]
            known += [one.entry_id for one in memory._entries.values()]
            entry_id = chance.choice(known)
            prematch_id = f"m{max(0, proposed - chance.randrange(3))}"
            node = chance.choice(("", "n1", "n2"))
            if which < 3:
                await both(
                    "add",
                    QueueEntry(
                        f"e{number}",
                        tuple(some),
                        "maze",
                        float(chance.randrange(3)),
                        suspended=chance.random() < 0.2,
                    ),
                )
            elif which == 3:
                await both(chance.choice(("remove", "suspend")), entry_id)
            elif which == 4:
                await both("resume", entry_id)
            elif which == 5:
                taken = list(await both("oldest", "maze", b"{}", 2))
                await both("claim", [one.entry_id for one in taken[:1]] + known[:1])
            elif which == 6:
                found = await both("oldest", "maze", b"{}", 9)
                numbers = [one.number for one in found]
                again = await redis.oldest("maze", b"{}", 9)
                self.assertEqual([one.number for one in again], numbers)
                chosen = chance.sample(found, min(len(found), 2))
                if chosen:
                    proposed += 1
                    given = chance.choice(("", "", "n1"))
                    await both(
                        "propose",
                        prematch(
                            *chosen,
                            prematch_id=f"m{proposed}",
                            until=number + 20.0,
                            started_by=given,
                        ),
                    )
            elif which < 9:
                asked = await both("prematch_of", some[0].player_id)
                of = asked.prematch_id if asked else prematch_id
                await both("answer", of, some[0].player_id, chance.random() < 0.9)
            elif which == 9:
                for one in tuple(memory._prematches):
                    await both("begin", one, chance.choice(("n1", "n2")))
            elif which == 10:
                if await both("finish", prematch_id, node) and taken:
                    await both("add", taken[0])
            else:
                await both("dissolve", prematch_id, float(number))
                if chance.random() < 0.3:
                    await both("give_back", prematch_id, node, chance.sample(known, 2))
            await both("waiting", "maze", b"{}")
            await both("counts")
            await both("entry_of", some[0].player_id)
            await both("place", entry_id)


class RedisPartyStoreTests(PartyStoreContract, RedisCase):
    """Parties in Redis."""

    def make_store(self) -> RedisPartyStore:
        store = RedisPartyStore(self.client)
        verifyObject(IPartyStore, store)
        return store

    async def test_two_nodes(self) -> None:
        """
        A party is the same at every node; a node whose lease is over changes none.
        """
        there = await self.open_client("n2")
        await RedisNodeStore(there).register(NodeFacts("n2", {}, "1"), 60)
        here, there_too = self.make_store(), RedisPartyStore(there)
        await here.open(party("p1", ANN, is_open=True))
        self.assertEqual(
            await there_too.party_of("ann"), party("p1", ANN, is_open=True)
        )
        self.assertTrue(await there_too.change(party("p1", ANN, BOB, version=2)))
        self.assertFalse(await here.change(party("p1", ANN, CAT, version=2)))
        self.client.owner.lease += 10
        for step in (
            lambda: here.open(party("p2", CAT)),
            lambda: here.change(party("p1", ANN, version=3)),
            lambda: here.close("p1", 2),
        ):
            with self.assertRaises(LeaseLost):
                await step()
        self.assertEqual((await here.find("p1")).player_ids, ("ann", "bob"))

    async def test_one_that_expired(self) -> None:
        """
        A party whose lifetime is over is not listed.
        """
        store = self.make_store()
        await store.open(party("p1", ANN, is_open=True, game="maze"))
        await store.open(party("p2", BOB, is_open=True, game="maze"))
        for name in ("party:p2", "party-of:bob"):
            self.server.command("DEL", self.client.prefix + name)
        for game in (None, "maze"):
            found = await store.listed(game, 9)
            self.assertEqual([one.party_id for one in found], ["p1"])
        self.assertTrue(await store.open(party("p3", BOB)))

    async def test_another_game(self) -> None:
        """
        A party is listed for the game that it is for now.
        """
        store = self.make_store()
        await store.open(party("p1", ANN, is_open=True, game="maze"))
        await store.change(party("p1", ANN, is_open=True, game="duel", version=2))
        self.assertEqual(await store.listed("maze", 9), [])
        self.assertEqual(len(await store.listed("duel", 9)), 1)

    async def test_members_are_remembered(self) -> None:
        """
        A flood of strangers makes Vinom forget nobody who is in a party.
        """
        players = RedisPlayerStore(self.client, lambda: self.now, 1)
        await players.add_guest("h1", ANN, self.now + 10, "192.0.2.1")
        await self.make_store().open(party("p1", ANN))
        self.assertFalse(await players.add_guest("h2", BOB, self.now + 10, "192.0.2.1"))
        self.assertEqual(await players.find("h1"), ANN)


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

    async def test_guests_who_left(self) -> None:
        """
        Guests of the past take no memory, and if the store is full then, a guest of
        today is forgotten before a player with an account.
        """
        store = self.make_store(1000)
        for number in range(100):
            one = Player(f"g{number}", "G")
            await store.add_guest(f"h{number}", one, self.now + 0.001, "192.0.2.1")
        await until(lambda: not any(":player:" in key for key in self.keys()))
        store = self.make_store(2)
        await store.keep("account", ANN, self.now + 60)
        await store.add_guest("h1", BOB, self.now + 60, "192.0.2.1")
        await store.add_guest("h2", CAT, self.now + 60, "192.0.2.1")
        self.assertEqual(await store.find("account"), ANN)
        self.assertIsNone(await store.find("h1"))
        for key in self.keys():
            self.assertLess(self.server.command("MEMORY", "USAGE", key), 1000, key)

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

    async def test_restore_of_others(self) -> None:
        """
        A match that another node has by now stays there; and a node without a lease
        brings nothing back.
        """
        there = await self.open_client("n2")
        await RedisNodeStore(there).register(NodeFacts("n2", {}, "1"), 60)
        store = self.make_store()
        other = RedisMatchStore(there, lambda: self.now)
        one = plan("m1", ANN, BOB)
        self.assertTrue(await other.restore(one, None, ["ann"]))
        self.assertFalse(await store.restore(one, PLACE, ["ann", "bob"]))
        self.assertEqual(await store.owner("m1"), "n2")
        self.assertEqual(await store.match_of("ann"), (one, None))
        self.assertIsNone(await store.match_of("bob"))
        self.client.owner.lease += 100
        with self.assertRaises(LeaseLost):
            await store.restore(plan("m2", CAT), None, ["cat"])
        self.assertIsNone(await store.match_of("cat"))

    async def test_restored_for_other_nodes(self) -> None:
        """
        If the node that has brought a match back dies, others find it among what it
        has left.
        """
        store = self.make_store()
        one = plan("m1", ANN, BOB)
        await store.restore(one, None, ["ann", "bob"])
        self.assertEqual(
            await RedisEstateStore(self.client).matches_of("n1", 10), [one]
        )


class _TwoLeases(RedisCase):
    """The leases of two nodes, each with a client of its own."""

    async def of_each(self, store: Any, port: Any) -> list[Any]:
        """Make the stores: a class that implements this port."""
        other = await self.open_client("n2")
        await RedisNodeStore(other).register(NodeFacts("n2", {}, "1"), 60)
        stores = [store(one) for one in (self.client, other)]
        for one in stores:
            verifyObject(port, one)
        return stores

    async def end_lease(self) -> None:
        """End the lease of n1, which does not know it."""
        before = (int(self.server.command("TIME")[0]) - 1) * 10**6
        self.server.command("HSET", f"{self.client.prefix}node:n1", "ends", str(before))

    async def renew_lease(self) -> None:
        """Let n1 wake up."""
        await RedisNodeStore(self.client).register(NodeFacts("n1", {}, "1"), 60)


class RedisCheckpointStoreTests(_TwoLeases, CheckpointStoreContract):
    """Checkpoints in Redis."""

    async def make_stores(self) -> list[RedisCheckpointStore]:
        return await self.of_each(RedisCheckpointStore, ICheckpointStore)

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


class RedisServerStoreTests(_TwoLeases, ServerStoreContract):
    """Game servers in Redis."""

    async def make_stores(self) -> list[RedisServerStore]:
        return await self.of_each(RedisServerStore, IServerStore)

    async def test_before_the_placement(self) -> None:
        """
        What another node must know of a game server is there before players learn of
        its match, though nothing waits for it.
        """
        store = RedisServerStore(self.client)
        matches = RedisMatchStore(self.client, lambda: self.now)
        await matches.open(plan("m1", ANN, BOB))
        # Redis knows the script from here on.
        await store.put("s0", 1, "here", b"zero")
        put = store.put("s1", 1, "here", b"one")
        await matches.place("m1", PLACE)
        self.assertTrue(self.successResultOf(put))


class RedisRatingStoreTests(RatingStoreContract, RedisCase):
    """Ratings in Redis."""

    def make_store(self) -> RedisRatingStore:
        store = RedisRatingStore(self.client, lambda: self.now)
        verifyObject(IRatingStore, store)
        return store

    async def test_clears_up(self) -> None:
        """
        Redis forgets ratings by itself.
        """
        await self.rate(self.make_store(), seconds=0.05)
        await until(lambda: not any("rating:" in key for key in self.keys()))


class RedisNodeStoreTests(NodeStoreContract, RedisCase):
    """Nodes in Redis."""

    async def make_store(self) -> RedisNodeStore:
        store = RedisNodeStore(self.client)
        verifyObject(INodeStore, store)
        await store.leave("n1", self.client.owner.lease)
        return store

    async def pass_time(self, seconds: float) -> None:
        """Redis' own clock ends leases."""
        await pass_real_time(seconds)

    async def test_emptied(self) -> None:
        """
        A Redis that has lost everything has another name afterwards, for all nodes.
        """
        store = await self.make_store()
        await store.register(facts("n1"), self.LONG)
        before = store.epoch
        self.server.command("DEL", *self.keys())
        self.assertFalse(await store.renew(facts("n1"), 1, self.LONG))
        await store.register(facts("n2"), self.LONG)
        self.assertEqual(store.epoch, before, "it is the name at its own registration")
        await store.register(facts("n1"), self.LONG)
        self.assertNotEqual(store.epoch, before)

    async def test_restoring(self) -> None:
        """
        A node that starts while others put back what Redis has lost is sent for how
        long they do; one that starts with a new Redis need not wait for anybody.
        """
        store = await self.make_store()
        other = RedisNodeStore(await self.open_client("n2"))
        await store.register(facts("n1"), self.LONG, 5.0)
        self.assertEqual(store.restoring, 0.0)
        self.server.command("DEL", *self.keys())
        lease = await other.register(facts("n2"), self.LONG, 5.0)
        self.assertEqual(other.restoring, 0.0)
        await store.register(facts("n1"), self.LONG, 5.0)
        self.assertTrue(0.0 < store.restoring <= 5.0, store.restoring)
        # The one that was first finds out when it renews its lease.
        self.assertTrue(await other.renew(facts("n2"), lease, self.LONG))
        self.assertTrue(0.0 < other.restoring <= 5.0, other.restoring)
        third = RedisNodeStore(await self.open_client("n3"))
        await third.register(facts("n3"), self.LONG, 5.0)
        self.assertTrue(0.0 < third.restoring <= 5.0, third.restoring)


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

    async def hold(self, player_id: str) -> None:
        """Put a player in a queue."""
        await RedisEntryStore(self.client).add(entry(Player(player_id, "x"), 1.0))

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
        await one.enter("ann")
        await two.enter("ann")
        self.assertEqual(await one.leave("ann"), "replaced")
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
