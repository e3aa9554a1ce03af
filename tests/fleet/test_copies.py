"""Matches outlive their machine: by copies in the store that nodes share."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.store.contract import facts
from tests.support.lobbies import silent
from tests.support.supply import FleetWorld
from vinom.errors import NoCapacity
from vinom.fleet.control.messages import Kept, KeptTaken, OpenRoom
from vinom.fleet.records import MatchCopy
from vinom.store.memory.nodes import MemoryNodeStore, MemoryOwnedStore, Things


class CopyTests(SynchronousTestCase):
    """A node, and the one that goes on with its match."""

    def setUp(self) -> None:
        self.taken, self.leases = list[str](), dict[str, int]()
        self.world = FleetWorld(stored=frozenset({"maze"}))
        self.rooms = Things(self.world.clock.seconds)
        self.nodes = MemoryNodeStore(self.world.clock.seconds)
        self.join("n1", self.world)
        self.hosting = self.world.host("m1")
        self.keep(1, b"state")
        self.world.wait(1)

    def join(self, node_id: str, world: FleetWorld) -> None:
        """Give a node a lease, and a way to the store."""
        lease = self.successResultOf(self.nodes.register(facts(node_id), 5.0))
        self.leases[node_id] = lease
        store = MemoryOwnedStore(
            self.nodes, node_id, lambda: self.leases[node_id], self.rooms
        )
        taken = self.taken.append
        world.fleet.continuity.copy_of = partial(
            MatchCopy, store, owned_elsewhere=taken
        )

    def keep(self, number: int, data: bytes) -> None:
        """The game server sends a checkpoint."""
        self.hosting.say(Kept("m1", number, 0, data, version=number))

    def copy(self, world: FleetWorld) -> Any:
        return world.fleet.continuity.copy_of("m1", fence=0)

    def test_goes_on(self) -> None:
        """
        When its node's lease is over, another node goes on with the match from the
        newest checkpoint and tells the players that it went back. The first node learns
        of this and ends its own game server silently. Nothing is left in the store.
        """
        other = FleetWorld(seed=8)
        self.join("n2", other)
        self.failureResultOf(self.copy(other).read(), NoCapacity)
        self.world.wait(5)
        self.join("n2", other)
        copy = self.copy(other)
        match = self.successResultOf(copy.read())
        other.fleet.continuity.go_on(match, copy, other.watch)
        other.settle()
        hosting = other.supply.hosting("m1")
        (order,) = [one for one in hosting.heard if isinstance(one, OpenRoom)]
        self.assertEqual((order.checkpoint, order.number), (b"state", 1))
        self.assertGreaterEqual(order.forgotten, 10_000)
        self.assertTrue(other.watch.resumptions[0].went_back)
        self.assertEqual(other.fleet.status().went_on["machine"], 1)
        self.join("n1", self.world)
        self.keep(2, b"late")
        self.world.wait(1)
        self.assertEqual({*self.taken}, {"m1"})
        self.world.fleet.continuity.take_away("m1")
        self.world.settle()
        self.assertFalse(self.hosting.is_alive)
        self.assertEqual(self.world.reasons(), {})
        hosting.end_room()
        other.settle()
        self.assertEqual(other.reasons(), {"m1": "finished"})
        self.assertEqual(self.rooms["m1"].data, b"")

    def test_store_is_away(self) -> None:
        """
        Copies get old while the store does not answer, which is counted, and are new
        when it does.
        """
        away = self.patch(MemoryOwnedStore, "put", silent)
        self.keep(2, b"new")
        self.world.wait(1)
        self.assertEqual(self.world.fleet.status().old_copies, 1)
        away.restore()
        self.world.wait(1)
        self.assertEqual(self.world.fleet.status().old_copies, 0)
        self.rooms.clear()
        self.world.fleet.continuity.write_copies()
        self.assertIn(b"new", self.rooms["m1"].data)

    def test_waits_for_the_store(self) -> None:
        """
        A game with durability "store" may show a state when the store has it.
        """
        late: Deferred[bool] = Deferred()

        def taken() -> list[int]:
            heard = self.hosting.heard
            return [one.number for one in heard if isinstance(one, KeptTaken)]

        self.patch(MemoryOwnedStore, "put", lambda *_: late)
        self.keep(2, b"new")
        self.world.settle()
        self.assertNotIn(2, taken())
        late.callback(True)
        self.world.settle()
        self.assertIn(2, taken())

    def test_gone_before_it_has_a_link(self) -> None:
        """
        A match goes on from its copy if its game server dies while the next node waits
        for its link; after the lease of the node before.
        """
        other = FleetWorld(seed=8)
        self.join("n2", other)
        other.after(self.world)
        self.hosting.exit(signal=9)
        other.wait(3)
        self.assertEqual(other.watch.resumptions, [])
        self.world.wait(5)
        self.join("n2", other)
        other.wait(3)
        self.assertEqual((other.reasons(), len(other.watch.resumptions)), ({}, 1))

    def test_stops_meanwhile(self) -> None:
        """
        A node that stops while it waits for a copy leaves the match to the next one.
        """
        other = FleetWorld(seed=8)
        self.join("n2", other)
        other.after(self.world)
        self.hosting.exit(signal=9)
        other.wait(1)
        other.fleet.stopService()
        other.wait(2)
        self.assertEqual(other.reasons(), {})
        self.assertIn(b"state", self.rooms["m1"].data)

    def test_given_up(self) -> None:
        """
        A node that gives a game server to another one leaves the copies to that.
        """
        self.world.fleet.continuity.give_up(self.hosting.server_id)
        self.assertEqual(self.rooms, {})
