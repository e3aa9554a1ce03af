"""A real Redis behind the storage ports."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
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
    Heard,
    NodeStoreContract,
    OnlineStoreContract,
    PlayerStoreContract,
    RatingStoreContract,
    RoomStoreContract,
    ServerStoreContract,
    entry,
    facts,
    plan,
)
from tests.store.lobby_contract import (
    DAN,
    LobbyStoreContract,
    party,
    prematch,
    together,
)
from tests.support.redis_servers import (
    connected,
    make_client,
    make_subscriber,
    shared_server,
    until,
)
from vinom.base.model import (
    Lasting,
    MatchEnd,
    NodeFacts,
    PartyMember,
    Player,
    QueueEntry,
)
from vinom.errors import LeaseLost
from vinom.store.interfaces import (
    ILobbyStore,
    INodeStore,
    IOnlineStore,
    IOwnedStore,
    IPlayerStore,
    IRatingStore,
)
from vinom.store.memory.lobby import MemoryLobbyStore
from vinom.store.redis.client import RedisClient
from vinom.store.redis.lobby import RedisLobbyStore
from vinom.store.redis.nodes import RedisNodeStore, RedisOwnedStore
from vinom.store.redis.players import (
    RedisOnlineStore,
    RedisPlayerStore,
    RedisRatingStore,
)

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
        await connected(self, client)
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


class RedisLobbyStoreTests(LobbyStoreContract, RedisCase):
    """Parties, entries, prematches and matches in Redis."""

    def make_store(self, client: RedisClient | None = None) -> RedisLobbyStore:
        store = RedisLobbyStore(client or self.client, lambda: self.now)
        verifyObject(ILobbyStore, store)
        return store

    async def pass_time(self, seconds: float) -> None:
        """Redis' own clock forgets declines."""
        await pass_real_time(seconds)

    async def other_node(self) -> RedisLobbyStore:
        """Start another node; returns its way to the same store."""
        there = await self.open_client("n2")
        await RedisNodeStore(there).register(NodeFacts("n2", {}, "1"), 60)
        return self.make_store(there)

    async def end_node(self, store: RedisLobbyStore) -> None:
        """A node dies."""
        await RedisNodeStore(store.client).leave("n2", store.client.owner.lease)

    async def test_as_long_as_its_queue(self) -> None:
        """
        An entry whose player came back late has its place as long as it is stored, if
        nobody else has queued since.
        """
        others = set(self.keys())
        store = await self.filled(ANN)
        await store.suspend("e-ann", True)
        own = [key for key in self.keys() if key not in others]
        for key in own:
            self.server.command("PEXPIRE", key, "1000000")
        await store.suspend("e-ann", False)
        for key in own:
            if self.server.command("PTTL", key) <= 1000000:
                self.server.command("DEL", key)
        self.assertEqual(await self.place(store, "e-ann"), 1)
        self.assertTrue(await store.suspend("e-ann", True))
        self.assertTrue(await store.suspend("e-ann", False))
        self.assertTrue(await store.leave("ann", ready=True))

    async def test_a_dead_node(self) -> None:
        """
        If a node dies while it waits for answers, those players who are at other nodes
        get their old places back.
        """
        store, other = self.make_store(), await self.other_node()
        await self.add(other, entry(CAT, 0.5))
        await self.add(store, entry(ANN, 1.0), entry(BOB, 1.0))
        await other.propose(prematch(entry(ANN, 1.0), entry(CAT, 0.5)))
        for player_id in ("ann", "cat"):
            await store.answer("p1", player_id, True)
        await self.end_node(other)
        left = await store.abandon("n2", 100, 10)
        assert left is not None
        (ended,) = left.prematches
        self.assertEqual([one.entry_id for one in ended.entries], ["e-ann", "e-cat"])
        self.assertEqual(left.players, ["cat"])
        self.assertIsNone(await store.abandon("n2", 100, 10))
        self.assertIsNone((await store.of_player("ann")).prematch)
        self.assertEqual(await self.oldest(store), ["Ann", "Bob"])
        self.assertEqual(await self.place(store, "e-cat"), 1)
        await store.suspend("e-cat", False)
        self.assertEqual(await self.oldest(store), ["Cat", "Ann", "Bob"])

    async def test_dead_before_it_began(self) -> None:
        """
        Players of a match whose node dies before it has a place wait again: those who
        are at other nodes can be matched, the others are suspended, and whichever node
        ended the match waits for them, also if it did not get the answer.
        """
        store, other = await self.filled(ANN, BOB), await self.other_node()
        await RedisOnlineStore(self.client).enter("ann")
        await other.start(plan("m1", ANN, BOB), ["e-ann", "e-bob"])
        await self.end_node(other)
        (found,) = await store.matches_of("n2", 9)
        end = MatchEnd("m1", "lost")
        self.assertTrue(await store.end(end, self.now + 60, found.entry_ids))
        self.assertEqual(await self.oldest(store), ["Ann"])
        self.assertEqual(await self.entry_of(store, "bob"), "e-bob")
        own = await store.abandon("", 9, 10)
        self.assertEqual(own and own.players, ["bob"])

    async def test_away_for_how_long(self) -> None:
        """
        Who is away leaves the queue only after that time, and not who has come to
        another node.
        """
        store, other = await self.filled(ANN), await self.other_node()
        here = RedisOnlineStore(self.client)
        await here.enter("ann")
        await here.leave("ann")
        self.assertIsNone(await store.leave("ann", away=60.0))
        there = RedisOnlineStore(other.client)
        await there.enter("ann")
        await pass_real_time(0.02)
        self.assertIsNone(await store.leave("ann", away=0.001))
        await there.leave("ann")
        await pass_real_time(0.02)
        self.assertIsNotNone(await store.leave("ann", away=0.001))

    async def test_stale(self) -> None:
        """
        A node whose lease is over changes nothing.
        """
        store = await self.filled(ANN, BOB)
        await store.open(party("p1", CAT))
        await store.propose(prematch(entry(ANN, 1.0)))
        before = {key: self.server.command("DUMP", key) for key in self.keys()}
        self.client.owner.lease += 1
        steps: list[Callable[[], Any]] = [
            lambda: store.enqueue(entry(DAN, 1.0)),
            lambda: store.leave("bob"),
            lambda: store.suspend("e-bob", True),
            lambda: store.suspend("e-bob", False),
            lambda: store.leave("bob", ready=True),
            lambda: store.open(party("p2", DAN)),
            lambda: store.change(party("p1", CAT, DAN, version=2)),
            lambda: store.close("p1", 1),
            lambda: store.propose(prematch(entry(BOB, 1.0), prematch_id="p2")),
            lambda: store.answer("p1", "ann", True),
            lambda: store.expire("p1", 1000.0),
            lambda: store.expire("p1", None),
            lambda: store.count_decline("ann", 1.0, 2.0),
            lambda: store.start(plan("m1", BOB), ["e-bob"]),
            lambda: store.placed("m1", PLACE),
            lambda: store.adopt(plan("m1", BOB), PLACE),
            lambda: store.restore(plan("m1", BOB), None, ["bob"]),
            lambda: store.end(MatchEnd("m1", "lost"), self.now + 9),
            lambda: store.release("m1", "bob"),
            lambda: store.abandon("n2", 9, 1.0),
        ]
        for step in steps:
            with self.assertRaises(LeaseLost):
                await step()
        after = {key: self.server.command("DUMP", key) for key in self.keys()}
        self.assertEqual(after, before)

    async def test_what_expired(self) -> None:
        """
        An entry whose lifetime ends during a prematch does not come back with it; a
        party whose lifetime is over is not listed.
        """
        store = await self.filled(ANN, BOB)
        await store.propose(prematch(entry(ANN, 1.0), entry(BOB, 1.0)))
        await store.open(party("p1", CAT, is_open=True, game="maze"))
        await store.open(party("p2", DAN, is_open=True, game="maze"))
        for name in ("entry:e-ann", "entry-of:ann", "party:p2", "party-of:dan"):
            self.server.command("DEL", self.client.prefix + name)
        await store.expire("p1", None)
        self.assertEqual(await self.oldest(store), ["Bob"])
        self.assertEqual((await store.counts()).players, {"maze": 1})
        for game in (None, "maze"):
            found = await store.listed(game, 9)
            self.assertEqual([one.party_id for one in found], ["p1"])
        self.assertTrue(await store.open(party("p3", DAN)))

    async def test_members_are_remembered(self) -> None:
        """
        A flood of strangers makes Vinom forget nobody who is in a party.
        """
        players = RedisPlayerStore(self.client, lambda: self.now, 1)
        await players.put("h1", ANN, self.now + 10, origin="guest")
        await self.make_store().open(party("p1", ANN))
        self.assertFalse(await players.put("h2", BOB, self.now + 10, origin="guest"))
        self.assertEqual(await players.find("h1"), ANN)

    async def test_restore_of_others(self) -> None:
        """
        A match that another node has by now stays there; if that dies, others find it
        among what it has left.
        """
        store, other = self.make_store(), await self.other_node()
        one = plan("m1", ANN, BOB)
        self.assertTrue(await other.restore(one, None, ["ann"]))
        self.assertFalse(await store.restore(one, PLACE, ["ann", "bob"]))
        self.assertEqual(await store.owner("m1"), "n2")
        self.assertEqual(await self.match_of(store, "ann"), (one, None))
        self.assertIsNone(await self.match_of(store, "bob"))
        (found,) = await store.matches_of("n2", 10)
        self.assertEqual(found.plan, one)
        self.assertTrue(await store.adopt(one, PLACE))
        self.assertEqual(await store.owner("m1"), "")
        self.assertEqual(list(await store.matches_of("n2", 10)), [])


class SameAsMemoryTests(RedisCase):
    """Redis and memory, asked the same."""

    async def test_any_life(self) -> None:
        """
        Whatever is done in whatever order, players have the same places, parties,
        answers and matches in Redis as in the memory of one node.
        """
        online = RedisOnlineStore(self.client)
        for seed in range(3):
            for number in range(8):
                await online.enter(f"p{number}")
            await self.live(Random(seed), 300)
            for key in self.keys():
                if not key.removeprefix(self.client.prefix).startswith("node"):
                    self.server.command("DEL", key)

    async def live(self, chance: Random, steps: int) -> None:
        """Do the same at random in both."""
        memory = MemoryLobbyStore(lambda: self.now)
        redis = RedisLobbyStore(self.client, lambda: self.now)
        players = [Player(f"p{number}", "P") for number in range(8)]

        async def both(step: str, *args: Any) -> Any:
            expected = await getattr(memory, step)(*args)
            found = await getattr(redis, step)(*args)
            if step == "listed":
                # Those that one step lists again are in any order.
                expected, found = (
                    sorted(one, key=lambda its: its.party_id)
                    for one in (expected, found)
                )
            if step == "places":
                expected, found = list(expected), list(found)
            if step == "counts":
                # Memory also lists games that nobody waits for.
                some_wait = {one: n for one, n in expected.players.items() if n}
                expected = attrs.evolve(expected, players=some_wait)
            self.assertEqual(found, expected, (step, args))
            return expected

        for number in range(steps):
            one = chance.choice(players)
            some = chance.sample(players, chance.choice((1, 1, 2)))
            where = await both("of_player", one.player_id)
            its, now = where.party, float(number)
            parties = [*memory.state.parties.values()]
            waits = [*memory.state.entries] or ["none"]
            asked = [*memory.state.prematches] or ["none"]
            running = [*memory.state.running] or ["none"]
            page = await memory.page("maze", b"{}", "", "", 9)
            entry_id, match_id = chance.choice(waits), chance.choice(running)
            match chance.randrange(16):
                case 0 | 1:
                    new = QueueEntry(
                        f"e{number}",
                        tuple(some),
                        "maze",
                        float(chance.randrange(3)),
                        suspended=chance.random() < 0.2,
                    )
                    await both("enqueue", new)
                case 2:
                    is_open = chance.random() < 0.5
                    await both("open", party(f"t{number}", *some, is_open=is_open))
                case 3 | 4 if parties:
                    its = chance.choice(parties)
                    entered = attrs.evolve(
                        its,
                        state="in_queue",
                        entry_id=f"e{number}",
                        version=its.version + chance.choice((1, 1, 1, 2)),
                    )
                    ids = [member.player for member in its.members]
                    new = together(its.party_id, float(chance.randrange(3)), *ids)
                    new = attrs.evolve(new, entry_id=f"e{number}")
                    if its.state == "idle":
                        await both("enqueue", new, entered)
                case 5 if its is not None:
                    after = attrs.evolve(
                        its.in_state("idle") if its.entry_id in waits else its,
                        members=chance.choice(
                            (its.members[:1], (*its.members[:1], PartyMember(some[-1])))
                        ),
                        version=its.version + 1,
                    )
                    if len(set(after.player_ids)) == len(after.members):
                        await both("change", after)
                case 6 if its is not None and chance.random() < 0.3:
                    await both("close", its.party_id, its.version)
                case 7:
                    await both("leave", one.player_id)
                case 8:
                    await both("suspend", entry_id, chance.random() < 0.5)
                case 9:
                    await both("leave", one.player_id, "", 0.0, True)
                case 10:
                    chosen = chance.sample(page.entries, min(len(page.entries), 2))
                    if chosen:
                        until = now + 20.0
                        new_id = f"q{number}"
                        await both(
                            "propose",
                            prematch(*chosen, prematch_id=new_id, until=until),
                        )
                case 11 | 12 if where.prematch is not None:
                    is_yes = chance.random() < 0.9
                    of = where.prematch.prematch_id
                    await both("answer", of, one.player_id, is_yes)
                case 13:
                    await both("expire", chance.choice(asked), now)
                    if chance.random() < 0.2:
                        await both("expire", chance.choice(asked), None)
                case 14:
                    ready = [
                        found
                        for found in memory.state.prematches.values()
                        if found.is_accepted
                    ]
                    of = chance.choice(ready).prematch_id if ready else ""
                    made = (
                        list(ready[0].entries)
                        if ready and of == ready[0].prematch_id
                        else chance.sample(page.entries, min(len(page.entries), 2))
                    )
                    if not ready or of != ready[0].prematch_id:
                        of = ""
                    who = [player for each in made for player in each.players]
                    if chance.random() < 0.2:
                        made, of, who = [], "", some
                    if who:
                        ids = [each.entry_id for each in made]
                        await both("start", plan(f"m{number}", *who), ids, of)
                case _:
                    again = [
                        each.entry_id
                        for each in getattr(
                            memory.state.running.get(match_id), "entries", ()
                        )
                        if chance.random() < 0.6
                    ]
                    if chance.random() < 0.4:
                        await both("release", match_id, one.player_id)
                    else:
                        reason = "void" if again else "finished"
                        end = MatchEnd(match_id, reason)
                        await both("end", end, self.now + 60, again)
            await both("waiting", "maze", b"{}")
            await both("counts")
            await both("of_player", one.player_id)
            await both("listed", None, 99)
            await both("places", [entry_id])


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
        store = self.make_store(3)
        entries = RedisLobbyStore(self.client, lambda: self.now)
        guests = [Player(f"g{number}", "G") for number in range(6)]

        async def add(number: int) -> bool:
            one, expires_at = guests[number], self.now + 10
            return await store.put(f"h{number}", one, expires_at, origin="guest")

        async def known() -> list[int]:
            return [n for n in range(6) if await store.find(f"h{n}") is not None]

        for number in range(3):
            self.assertTrue(await add(number))
        store.settle("g0")
        await entries.enqueue(entry(guests[1], 1.0))
        await entries.leave("g1")
        self.assertTrue(await add(3))
        # Guest 2 has only said hello, and is older than guest 3.
        self.assertEqual(await known(), [0, 1, 3])
        for number in (1, 3):
            await entries.enqueue(entry(guests[number], 2.0))
        self.assertTrue(await add(4))
        self.assertEqual(await known(), [1, 3, 4])
        await entries.enqueue(entry(guests[4], 3.0))
        self.assertFalse(await add(5))
        await store.put("account", ANN, self.now + 10)
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
            await store.put(f"h{number}", one, self.now + 0.001, origin="guest")
        await until(lambda: not any(":player:" in key for key in self.keys()))
        store = self.make_store(2)
        await store.put("account", ANN, self.now + 60)
        await store.put("h1", BOB, self.now + 60, origin="guest")
        await store.put("h2", CAT, self.now + 60, origin="guest")
        self.assertEqual(await store.find("account"), ANN)
        self.assertIsNone(await store.find("h1"))
        for key in self.keys():
            self.assertLess(self.server.command("MEMORY", "USAGE", key), 1000, key)

    async def test_guest_with_an_account(self) -> None:
        """
        Who comes back with its key is not forgotten like a stranger.
        """
        store = self.make_store(2)
        await store.put("h1", ANN, self.now + 10, origin="guest")
        await store.put("h2", BOB, self.now + 10, origin="guest")
        self.assertEqual(await store.find("h1", self.now + 10), ANN)
        await store.put("h3", CAT, self.now + 10, origin="guest")
        self.assertEqual(await store.find("h1"), ANN)
        self.assertIsNone(await store.find("h2"))


class _TwoLeases(RedisCase):
    """The leases of two nodes, each with a client of its own."""

    kind: tuple[str, ...]

    async def make_stores(self) -> list[RedisOwnedStore]:
        other = await self.open_client("n2")
        await RedisNodeStore(other).register(NodeFacts("n2", {}, "1"), 60)
        both = (self.client, other)
        stores = [RedisOwnedStore(one, None, *self.kind) for one in both]
        for one in stores:
            verifyObject(IOwnedStore, one)
        return stores

    async def end_lease(self) -> None:
        """End the lease of n1, which does not know it."""
        before = (int(self.server.command("TIME")[0]) - 1) * 10**6
        self.server.command("HSET", f"{self.client.prefix}node:n1", "ends", str(before))

    async def renew_lease(self) -> None:
        """Let n1 wake up."""
        await RedisNodeStore(self.client).register(NodeFacts("n1", {}, "1"), 60)

    async def renew_late(self) -> None:
        """Let a lease of n1 pass, and be renewed: its rooms must be looked at."""
        free = f"{self.client.prefix}rooms-free"
        for room_id in self.server.command("ZRANGE", free, "0", "99"):
            self.server.command("ZADD", free, "1", room_id)
        # The one that waits for longest is found all the same.
        await self.renew_lease()


class RedisRoomTests(_TwoLeases, RoomStoreContract):
    """Rooms in Redis."""

    async def test_keys_of_sleepers(self) -> None:
        """
        The key of a player lives as long as a room sleeps in which it has a seat, also
        if it is used meanwhile; nobody else's does.
        """
        first, _ = await self.make_stores()
        now = time.time()
        players = RedisPlayerStore(self.client, lambda: now)
        await players.put("h1", ANN, now + 60.0)
        await players.put("h2", BOB, now + 60.0)
        await first.release("r1", 1, b"one", 90 * 86400.0, Lasting(("ann",)))
        for _ in range(2):
            for key, least, most in (("h1", 119, 121), ("h2", 0, 1)):
                left = self.server.command("PTTL", f"{self.client.prefix}player:{key}")
                self.assertTrue(least <= left / 86400e3 <= most, key)
            self.assertEqual(await players.find("h1", now + 60.0), ANN)
        now += 100 * 86400.0
        self.assertEqual(await players.find("h1", now + 60.0), ANN)

    async def test_key_of_who_is_away(self) -> None:
        """
        A player who is away keeps the key while the room is awake, for another one is
        connected for days.
        """
        first, _ = await self.make_stores()
        now = time.time()
        players = RedisPlayerStore(self.client, lambda: now)
        await players.put("h1", ANN, now + 60.0)
        await first.put("r1", 1, b"one", lasting=Lasting(("ann", "bob")))
        now += 20 * 86400.0
        self.assertEqual(await players.find("h1", now + 60.0), ANN)

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
            (gone,) = await nodes.nodes(expired=True)
            self.assertEqual(gone.node.node_id, "n1")
        await second.claim("r1", False)
        self.assertTrue(await nodes.leave("n1", lease))
        self.assertEqual(list(await nodes.nodes(expired=True)), [])


class RedisServerTests(_TwoLeases, ServerStoreContract):
    """Game servers in Redis."""

    async def test_before_the_placement(self) -> None:
        """
        What another node must know of a game server is there before players learn of
        its match, though nothing waits for it.
        """
        store = RedisOwnedStore(self.client, None, "server", "here")
        matches = RedisLobbyStore(self.client, lambda: self.now)
        await matches.start(plan("m1", ANN, BOB))
        # Redis knows the script from here on.
        await store.put("s0", 1, b"zero")
        put = store.put("s1", 1, b"one")
        await matches.placed("m1", PLACE)
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
        await RedisLobbyStore(self.client, lambda: self.now).enqueue(
            entry(Player(player_id, "x"), 1.0)
        )

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

    async def test_stopped_while_it_connects(self) -> None:
        """
        A node that ends while its subscription is on its way leaves no connection.
        """
        store = RedisOnlineStore(self.client)
        for _ in range(3):
            subscriber = make_subscriber(self.server.port, store)
            subscriber.startService()
            await subscriber.stopService()

    async def test_suspended_by_its_old_node(self) -> None:
        """
        A player who came back to another node is not taken out of play by the node of
        the line that was cut.
        """
        (one, _), (two, _) = await self.make_stores()
        entries = RedisLobbyStore(self.client, lambda: self.now)
        await entries.enqueue(entry(ANN, 1.0))
        await one.enter("ann")
        await two.enter("ann")
        self.assertEqual(await one.leave("ann"), "replaced")
        self.assertFalse(await entries.suspend("e-ann", True))
        self.assertTrue(await entries.leave("ann", ready=True))

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
