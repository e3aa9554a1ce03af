"""Memory behind the storage ports."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.store.contract import (
    ANN,
    BOB,
    CAT,
    Heard,
    NodeStoreContract,
    OnlineStoreContract,
    PlayerStoreContract,
    RatingStoreContract,
    RoomStoreContract,
    ServerStoreContract,
    entry,
    facts,
)
from tests.store.lobby_contract import LobbyStoreContract, party
from tests.support.online_store import Lines, MemoryOnlineStore
from vinom.base.model import Lasting, Player, Rating
from vinom.errors import StoreUnavailable
from vinom.node.stores import memory_stores
from vinom.store.interfaces import (
    ILobbyStore,
    INodeStore,
    IOnlineStore,
    IOwnedStore,
    IPlayerStore,
    IRatingStore,
)
from vinom.store.memory.lobby import MemoryLobbyStore
from vinom.store.memory.nodes import MemoryNodeStore, MemoryOwnedStore, Things
from vinom.store.memory.players import MemoryPlayerStore, MemoryRatingStore


class MemoryLobbyStoreTests(LobbyStoreContract, TestCase):
    """Parties, entries, prematches and matches in memory."""

    now = 1000.0

    def make_store(self) -> MemoryLobbyStore:
        store = MemoryLobbyStore(lambda: self.now)
        verifyObject(ILobbyStore, store)
        return store


class MemoryRatingStoreTests(RatingStoreContract, TestCase):
    """Ratings in memory."""

    now = 1000.0

    def make_store(self, most: int = 100) -> MemoryRatingStore:
        store = MemoryRatingStore(lambda: self.now, most)
        verifyObject(IRatingStore, store)
        return store

    async def test_bounded(self) -> None:
        """
        A flood of players costs bounded memory; the newest ratings are remembered.
        """
        store = self.make_store(most=3)
        for number in range(50):
            one, until = f"p{number}", self.now + 100
            rated = {one: Rating()}, {one: Rating(26.0, 8.0, 1)}, {one: until}
            await store.rate("duel", f"m{number}", 1, *rated)
            await store.met([[one], ["x"]], until)
        found = await store.standings("duel", ["p46", "p47", "p49"])
        self.assertEqual([one.rating.mu for one in found], [25.0, 26.0, 26.0])
        self.assertLessEqual(len(store._recent), 3)
        self.assertEqual(len(store._rounds), 3)


class MemoryPlayerStoreTests(PlayerStoreContract, TestCase):
    """Players in memory."""

    now = 1000.0

    def make_store(self, most: int = 10) -> MemoryPlayerStore:
        store = MemoryPlayerStore(lambda: self.now, most)
        verifyObject(IPlayerStore, store)
        return store

    async def test_bounded(self) -> None:
        """
        A flood of strangers costs bounded memory; the newest are remembered.
        """
        store = self.make_store(most=2)
        for number in range(100):
            await store.put(f"h{number}", ANN, self.now + 10 + number)
        await store.put("h99", BOB, self.now + 200)
        self.assertIsNone(await store.find("h97"))
        self.assertEqual(await store.find("h98"), ANN)
        self.assertEqual(await store.find("h99"), BOB)
        self.assertEqual(len(store._players), 2)

    async def test_many_who_stay_connected(self) -> None:
        """
        Guests of one network who only said hello and stay connected do not make
        somebody else forgotten who came back once.
        """
        store = MemoryPlayerStore(
            lambda: self.now, 300, lambda player_id: player_id.startswith("here")
        )
        later = self.now + 1000
        await store.put("victim", ANN, later, "192.0.2.1")
        for number in range(200):
            here = Player(f"here-{number}", "x")
            await store.put(f"h{number}", here, later, "203.0.113.7", "guest")
        for number in range(300):
            gone = Player(f"gone-{number}", "x")
            host = f"198.51.{number % 100}.7"
            self.assertTrue(await store.put(f"g{number}", gone, later, host, "guest"))
        self.assertEqual(await store.find("victim"), ANN)
        self.assertIsNotNone(await store.find("h0"))

    async def test_who_queues(self) -> None:
        """
        A guest who has queued or joined a party is not forgotten like a stranger.
        """
        stores: Any = memory_stores("n1", lambda: self.now, lambda _: False)
        for one in (ANN, BOB, CAT):
            await stores.players.put(one.player_id, one, 9e9, origin="guest")
        await stores.lobby.enqueue(entry(ANN, 1.0))
        await stores.lobby.open(party("p1", BOB))
        self.assertEqual(list(stores.players._guests), ["cat"])

    async def test_the_largest_needs_all(self) -> None:
        """
        If a network needs all of its players, however many, the next largest gives
        one up; and nobody is admitted only if all are needed.
        """
        needed = {f"school{number}" for number in range(200)}
        store = MemoryPlayerStore(lambda: self.now, 203, needed.__contains__)
        for name in sorted(needed):
            await store.put(name, Player(name, name), 9e9, "203.0.113.1")
        for number, name in enumerate(("old", "new")):
            await store.put(name, Player(name, name), 9e9 + number, "198.51.100.1")
        await store.put("alone", Player("alone", "alone"), 9e9, "192.0.2.1")
        guest = Player("g", "g"), 9e9, "192.0.2.2", "guest"
        self.assertTrue(await store.put("g", *guest))
        self.assertIsNone(await store.find("old"))
        for name in ("new", "alone", "school0", "g"):
            self.assertIsNotNone(await store.find(name), name)
        needed |= {"new", "alone", "g"}
        self.assertFalse(await store.put("h", *guest))

    async def test_a_regular_costs_nothing(self) -> None:
        """
        One player who comes back a thousand times is remembered once.
        """
        store = self.make_store()
        for number in range(1000):
            await store.put("hash", ANN, self.now + 10 + number)
        self.assertLess(len(store._expiry._marks), 100)
        self.assertEqual(await store.find("hash"), ANN)


class MemoryNodeStoreTests(NodeStoreContract, TestCase):
    """Nodes in memory."""

    now = 1000.0

    async def make_store(self) -> MemoryNodeStore:
        store = MemoryNodeStore(lambda: self.now)
        verifyObject(INodeStore, store)
        return store

    async def pass_time(self, seconds: float) -> None:
        """Let the leases' clock go on."""
        self.now += seconds


class MemoryOnlineStoreTests(OnlineStoreContract, TestCase):
    """Lines in memory."""

    async def make_stores(self) -> list[tuple[MemoryOnlineStore, Heard]]:
        self.nodes = {"n1", "n2"}
        lines = Lines(self.nodes.__contains__)
        made = []
        for node_id in ("n1", "n2"):
            store, heard = MemoryOnlineStore(lines, node_id), Heard()
            verifyObject(IOnlineStore, store)
            store.watch(heard)
            made.append((store, heard))
        return made

    async def settle(self) -> None:
        """Messages arrive at once."""

    async def kill_second(self) -> None:
        """End a lease."""
        self.nodes.remove("n2")

    async def hold(self, player_id: str) -> None:
        """This store does not know queues."""


class _TwoLeases:
    """The leases of two nodes, each with a store of its own over the same entries."""

    now = 1000.0

    kind: tuple[str, ...]

    async def make_stores(self) -> list[MemoryOwnedStore]:
        self.nodes = MemoryNodeStore(lambda: self.now)
        self.leases: dict[str, int] = {}
        entries = Things(lambda: self.now)
        stores = []
        for node_id in ("n1", "n2"):
            lease = partial(self.leases.__getitem__, node_id)
            stores.append(
                MemoryOwnedStore(self.nodes, node_id, lease, entries, *self.kind)
            )
            verifyObject(IOwnedStore, stores[-1])
            self.leases[node_id] = await self.nodes.register(facts(node_id), 60.0)
        return stores

    async def end_lease(self) -> None:
        """Let n1 be silent."""
        self.now += 60.0
        self.leases["n2"] = await self.nodes.register(facts("n2"), 60.0)

    async def renew_lease(self) -> None:
        """Let n1 wake up."""
        self.leases["n1"] = await self.nodes.register(facts("n1"), 60.0)

    async def renew_late(self) -> None:
        """Let a lease pass, and renew both."""
        await self.end_lease()
        await self.renew_lease()


class MemoryRoomTests(_TwoLeases, RoomStoreContract, TestCase):
    """Rooms in memory."""

    async def test_file(self) -> None:
        """
        What is in the file is there for the next process: rooms that sleep, and the
        keys of their players until they have left; ends are forgotten a day later.
        """
        path = Path(self.mktemp())
        nodes = MemoryNodeStore(lambda: self.now)

        async def start(node_id: str) -> tuple[MemoryOwnedStore, MemoryPlayerStore]:
            things = Things(lambda: self.now, path)
            self.addCleanup(things.close)
            players = MemoryPlayerStore(lambda: self.now, kept=things.known)
            lease = await nodes.register(facts(node_id), 1e9)
            store = MemoryOwnedStore(
                nodes, node_id, lambda: lease, things, players=players
            )
            return store, players

        first, players = await start("n1")
        await players.put("hash", ANN, self.now + 60.0, "192.0.2.1")
        self.assertTrue(await first.put("r1", 1, b"one", lasting=Lasting(("ann",))))
        await first.release("r1", 1, b"two", 90.0, Lasting(("ann",)))
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        first.things.close()
        self.now += 100.0
        second, players = await start("n2")
        self.assertEqual(await players.find("hash", self.now + 60.0), ANN)
        self.assertEqual(list(await second.left("", 9)), [b"r1"])
        claim = await second.claim("r1")
        self.assertEqual((claim.kind, claim.data, claim.age), ("adopted", b"two", 100))
        await second.remove("r1", 2, "finished")
        self.assertEqual((await second.claim("r1")).kind, "ended")
        second.things.close()
        self.now += 2 * 86400.0
        third, players = await start("n3")
        self.assertIsNone(await players.find("hash"))
        self.assertEqual(list(await third.left("", 9)), [])
        self.assertEqual((await third.claim("r1")).kind, "gone")

    async def test_clock_set_back(self) -> None:
        """
        When the machine's clock is set back, deadlines come as soon as they did.
        """
        store, _ = await self.make_stores()
        one = Lasting(("ann",))
        self.now += 1e6
        await store.seats_of("ann")
        self.now -= 1e6
        await store.release("r1", 1, b"one", 50.0, one)
        self.assertEqual(list(await store.left("", 9)), [])
        self.now += 55.0
        self.assertEqual(list(await store.left("", 9)), [b"r1"])

    async def test_damaged_file(self) -> None:
        """
        A damaged file is put aside, and the node begins with another one.
        """
        path = Path(self.mktemp())
        path.write_bytes(b"garbage" * 1000)
        things = Things(lambda: self.now, path)
        self.addCleanup(things.close)
        self.assertIn("was moved to", things.check())
        self.assertEqual(things.opened("192.0.2.1"), 0)
        self.assertEqual(things.check(), "")

    async def test_file_is_busy(self) -> None:
        """
        A file that could not be opened at first is used as soon as it can be.
        """
        path = Path(self.mktemp())
        other = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN EXCLUSIVE")
        things = Things(lambda: self.now, path)
        self.addCleanup(things.close)
        with self.assertRaises(StoreUnavailable):
            things.opened("192.0.2.1")
        other.execute("ROLLBACK")
        self.assertEqual(things.opened("192.0.2.1"), 0)


class MemoryServerTests(_TwoLeases, ServerStoreContract, TestCase):
    """Game servers in memory."""
