"""Memory behind the storage ports."""

from __future__ import annotations

from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.store.contract import (
    ANN,
    BOB,
    EntryStoreContract,
    MatchStoreContract,
    PlayerStoreContract,
)
from tests.store.prematches import PartyStoreContract, PrematchStoreContract
from vinom.model import Player
from vinom.ports import (
    IEntryStore,
    IMatchStore,
    IPartyStore,
    IPlayerStore,
    IPrematchStore,
)
from vinom.store.memory import MemoryEntryStore, MemoryMatchStore, MemoryPlayerStore
from vinom.store.parties import MemoryPartyStore


class MemoryEntryStoreTests(EntryStoreContract, TestCase):
    """Entries in memory."""

    def make_store(self) -> MemoryEntryStore:
        store = MemoryEntryStore()
        verifyObject(IEntryStore, store)
        return store


class MemoryPrematchStoreTests(PrematchStoreContract, TestCase):
    """Prematches in memory."""

    def make_store(self) -> MemoryEntryStore:
        store = MemoryEntryStore()
        verifyObject(IPrematchStore, store)
        return store


class MemoryPartyStoreTests(PartyStoreContract, TestCase):
    """Parties in memory."""

    def make_store(self) -> MemoryPartyStore:
        store = MemoryPartyStore()
        verifyObject(IPartyStore, store)
        return store


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
            await store.keep(f"h{number}", ANN, self.now + 10 + number)
        await store.keep("h99", BOB, self.now + 200)
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
        await store.keep("victim", ANN, later, "192.0.2.1")
        for number in range(200):
            here = Player(f"here-{number}", "x")
            await store.add_guest(f"h{number}", here, later, "203.0.113.7")
        for number in range(300):
            gone = Player(f"gone-{number}", "x")
            host = f"198.51.{number % 100}.7"
            self.assertTrue(await store.add_guest(f"g{number}", gone, later, host))
        self.assertEqual(await store.find("victim"), ANN)
        self.assertIsNotNone(await store.find("h0"))

    async def test_a_regular_costs_nothing(self) -> None:
        """
        One player who comes back a thousand times is remembered once.
        """
        store = self.make_store()
        for number in range(1000):
            await store.keep("hash", ANN, self.now + 10 + number)
        self.assertLess(len(store._expiry._marks), 100)
        self.assertEqual(await store.find("hash"), ANN)


class MemoryMatchStoreTests(MatchStoreContract, TestCase):
    """Matches in memory."""

    now = 1000.0

    def make_store(self) -> MemoryMatchStore:
        store = MemoryMatchStore(lambda: self.now)
        verifyObject(IMatchStore, store)
        return store
