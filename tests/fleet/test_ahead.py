"""Game servers that have ports before they have matches, and what must not suffer."""

from __future__ import annotations

from collections import Counter
from functools import partial

from twisted.internet.defer import fail
from twisted.trial.unittest import SynchronousTestCase

from tests.store.contract import facts
from tests.support.supply import FakeGameServer, FleetWorld, match_plan, ticket
from vinom.base.model import Placement
from vinom.errors import StoreUnavailable
from vinom.fleet.control.messages import AddTicket, Kept, Kick, SeatChanged, Stop
from vinom.fleet.fleet import Continuity
from vinom.fleet.records import MatchCopy, MatchRecord, StoredMatch
from vinom.store.memory.nodes import MemoryNodeStore, MemoryOwnedStore, Things


def shared(world: FleetWorld, node_id: str = "n1") -> Continuity:
    """Give a node the store that nodes share."""
    nodes = MemoryNodeStore(world.clock.seconds)
    registered, things = list[int](), Things(world.clock.seconds)
    nodes.register(facts(node_id), 1e6).addCallback(registered.append)
    store = MemoryOwnedStore(nodes, node_id, lambda: registered[0], things)
    copy_of = partial(MatchCopy, store, owned_elsewhere=lambda _: None)
    world.fleet.continuity.copy_of = copy_of
    return world.fleet.continuity


def go_on(world: FleetWorld, match_id: str) -> None:
    """Go on from the copy of a match whose machine is gone."""
    placement = Placement("gone", "play.example", 1, "ANCHOR")
    record = MatchRecord(match_plan(match_id), 0.0)
    stored = StoredMatch(record, "gone", placement, 0.0, b"state", 1, 1, 1, True, 1e6)
    copy = shared(FleetWorld(seed=9), "n2").copy_of(match_id, fence=1)
    assert copy is not None
    world.fleet.continuity.go_on(stored, copy, world.watch)
    world.settle()


def played(world: FleetWorld, match_id: str) -> FakeGameServer:
    """Have a match with a player, and a checkpoint."""
    server = world.host(match_id)
    server.say(SeatChanged(match_id, 0, "joined"))
    server.say(Kept(match_id, 1, 0, b"kept"))
    return server


class BoundTests(SynchronousTestCase):
    """What waits for matches has ports, and certificates."""

    def bound(self, world: FleetWorld) -> list[FakeGameServer]:
        return [fake for fake in world.supply.alive if fake.port is not None]

    def test_before_a_match(self) -> None:
        """
        A match starts on a game server that players can reach already. Half of them
        keep no port; for operators, all of them are warm, and their ports free.
        """
        world = FleetWorld(warm=4)
        first, _ = self.bound(world)
        self.assertEqual(world.counts(), (4, 0, 0))
        status = world.fleet.status()
        stages = Counter(one.stage for one in status.game_servers.values())
        self.assertEqual((stages["warm"], status.servers["warm"]), (4, 4))
        world.place("m1")
        self.assertIs(world.supply.hosting("m1"), first)
        self.assertEqual(self.bound(FleetWorld(warm=1)), [])

    def test_other_certificates(self) -> None:
        """
        Those with an older authority's end one by one; one with a match stays.
        """
        world = FleetWorld(warm=5, ports=9)
        playing = world.host("m1")
        world.refill()
        before = self.bound(world)
        world.fleet.renew_certificates()
        world.wait(1)
        self.assertEqual(sum(fake.is_alive for fake in before), len(before) - 1)
        world.wait(10)
        self.assertEqual([fake for fake in before if fake.is_alive], [playing])

    def test_authority_cannot_sign(self) -> None:
        """
        Nobody is killed for lack of a certificate, and those that wait are of use.
        """
        world = FleetWorld(8, warm=3, most=9)
        world.issuer.has_expired = True
        world.clock.advance(86_401)
        world.settle()
        placed = [world.place(name) for name in "abc"]
        world.wait(30)
        self.assertEqual([one.called for one in placed], [True] * 3)
        self.assertEqual(world.supply.killed, [])

    def test_one_program_is_broken(self) -> None:
        """
        A node is not stuck because one of its games has no program.
        """
        world = FleetWorld(8, warm=2, most=9, own=("pong",))
        pong = world.supplies["pong"]
        pong.problem, pong.refuses = "no program", True
        for one in pong.alive:
            one.exit(signal=9)
        world.wait(5)
        self.assertTrue(world.fleet.status().problem)
        self.assertFalse(world.fleet.status().is_stuck)

    def test_others_keep_theirs(self) -> None:
        """
        For one match that waits for a port, one game server of another program ends.
        """
        world = FleetWorld(12, warm=3, most=12, own=("pong", "tag", "go"))
        for supply in world.supplies.values():
            for one in supply.started:
                one.ignores.add(Stop)
        for number in range(12):
            world.place(f"m{number}")
        world.wait(3)
        status = world.fleet.status()
        self.assertEqual((status.waiting, status.servers["leaving"]), (3, 3))

    def test_given_up(self) -> None:
        """
        A game server that is another node's by now gets no more matches.
        """
        world = FleetWorld(8, warm=1, most=9, rooms_per_process=4)
        world.fleet.continuity.give_up(world.host("a").server_id)
        placed = world.place("b")
        world.wait(30)
        self.successResultOf(placed)

    def test_ordered_while_it_waits(self) -> None:
        """
        What is ordered about a match without a game server reaches its first one.
        """
        world = FleetWorld(8)
        world.supply.is_slow = True
        world.place("c")
        added = world.fleet.add_ticket(ticket("c", 1, "b"))
        world.fleet.kick("c", 0)
        world.supply.alive[0].dial()
        world.wait(1)
        self.successResultOf(added)
        heard = world.supply.hosting("c").heard
        self.assertIn(Kick("c", 0), heard)
        self.assertIn(AddTicket(ticket("c", 1, "b")), heard)


class SuccessorTests(SynchronousTestCase):
    """Matches go on though game servers wait for others with ports."""

    def test_no_more_processes(self) -> None:
        """
        Where no other process may be started, a match goes on at one that waits, and
        at its port: all processes are in use, or a quota is.
        """
        world = FleetWorld(8, warm=2, most=4, longest=1e4)
        for name in ("a", "b"):
            played(world, name)
        world.wait(2)
        go_on(world, "c")
        go_on(world, "d")
        world.wait(100)
        self.assertEqual((world.reasons(), len(world.watch.resumptions)), ({}, 2))
        world = FleetWorld(20, warm=4, longest=1e4)
        servers = [played(world, f"m{number}") for number in range(3)]
        world.wait(2)
        world.supply.refuses, world.supply.problem = True, "exceeded quota"
        for server in servers:
            server.exit(signal=9)
        world.wait(100)
        self.assertEqual((world.reasons(), len(world.watch.resumptions)), ({}, 3))

    def test_no_other_port(self) -> None:
        """
        The last port is that of one that waits: a match of another machine, and one
        whose own port somebody else took, go on there.
        """
        world = FleetWorld(2, warm=2, most=9, longest=1e4)
        server = played(world, "a")
        world.wait(2)
        self.assertTrue(world.fleet.continuity.has_address)
        go_on(world, "c")
        world.wait(10)
        self.assertEqual(len(world.watch.resumptions), 1)
        world = FleetWorld(2, warm=2, most=9)
        server = played(world, "a")
        world.wait(2)
        world.supply.taken_ports.add(server.port or 0)
        server.exit(signal=9)
        world.wait(20)
        self.assertEqual(len(world.watch.resumptions), 1)

    def test_went_back_once(self) -> None:
        """
        Players who went back with a machine are not told so again after a move.
        """
        world = FleetWorld(8, warm=2, most=9)
        go_on(world, "c")
        world.wait(2)
        server = world.supply.hosting("c")
        server.say(Kept("c", 2, 0, b"newer", version=9))
        server.exit(signal=9)
        world.wait(3)
        went_back = [one.went_back for one in world.watch.resumptions]
        self.assertEqual(went_back, [True, False])

    def test_taken_and_back(self) -> None:
        """
        A match that another node took, and that comes back before its old process is
        gone, is reported again.
        """
        world = FleetWorld(8, warm=2, most=9, longest=1e4)
        server = played(world, "c")
        world.supply.is_stubborn = True
        world.fleet.continuity.take_away("c")
        go_on(world, "c")
        world.wait(1)
        server.exit(signal=9)
        world.wait(5)
        self.assertEqual(len(world.watch.resumptions), 1)

    def test_lost_at_once(self) -> None:
        """
        A match that began here, and is lost without a checkpoint, is over at once: no
        store that is away is asked for a copy.
        """
        self.patch(MemoryOwnedStore, "claim", lambda *_: fail(StoreUnavailable("away")))
        for game in ("maze", "pong"):
            world = FleetWorld(own=("pong",))
            shared(world)
            world.place("m1", game)
            world.supplies[game].hosting("m1").exit(signal=9)
            world.wait(2)
            self.assertEqual(world.reasons(), {"m1": "lost"})
