"""What a node does with the matches of the one before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from msgspec.structs import replace
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.store.contract import facts
from tests.support.supply import FleetWorld
from vinom.base.model import MatchEnd, MatchPlan, Placement
from vinom.errors import LeaseLost
from vinom.fleet.records import MatchCopy, ServerRecords, StoredMatch
from vinom.node.adoption import Adoption, Shared
from vinom.node.claims import Claims
from vinom.store.memory.nodes import MemoryNodeStore, MemoryOwnedStore, Things


class Found:
    """The processes, and the matches of the node."""

    def __init__(self) -> None:
        self.ends, self.adopted = list[MatchEnd](), list[str]()

    def clear(self) -> None:
        pass

    def adopt(self, plan: MatchPlan, placement: Placement, *_: Any, **__: Any) -> None:
        self.adopted.append(plan.match_id)

    def ended(self, end: MatchEnd) -> None:
        self.ends.append(end)

    def seat_changed(self, *_: Any) -> None:
        pass


class AdoptionTests(SynchronousTestCase):
    """`Adoption`."""

    def begin(self, is_relayed: bool) -> tuple[FleetWorld, Found]:
        """Kill a node with a match, and start the next one."""
        dead = FleetWorld()
        dead.place("m1")
        world = FleetWorld(seed=8)
        world.supply.started += dead.supply.started
        for fake in world.supply.started:
            fake.transport.is_lost = True
        files, found = ServerRecords(Path(self.mktemp()), lambda: 0.0), Found()
        files.write(*dead.records.written.values())
        node: Any = found
        Adoption(
            files,
            world.fleet.continuity,
            node,
            node,
            node,
            lambda: 0.0,
            60.0,
            is_relayed,
        ).begin()
        self.assertEqual(found.adopted, ["m1"])
        if not is_relayed:
            world.supply.hosting("m1").dial_again()
        world.settle()
        return world, found

    def test_goes_on(self) -> None:
        """
        A match goes on.
        """
        world, found = self.begin(is_relayed=False)
        self.assertEqual((found.ends, world.fleet.status().rooms), ([], 1))

    def test_relayed(self) -> None:
        """
        If its players were connected to the node that ended, none of them can come
        back, unless it has a copy: it ends, and they are free.
        """
        world, found = self.begin(is_relayed=True)
        self.assertEqual([end.reason for end in found.ends], ["lost"])
        self.assertEqual(world.fleet.status().rooms, 0)


@attrs.define
class Lease:
    """The lease of a node."""

    nodes: MemoryNodeStore
    node_id: str
    number: int

    @property
    def is_current(self) -> bool:
        return self.nodes.is_current(self.node_id, self.number)


class SharedTests(SynchronousTestCase):
    """`Adoption` of what another node has left."""

    def setUp(self) -> None:
        self.root, self.clock = Path(self.mktemp()), Clock()
        self.nodes, self.servers = (
            MemoryNodeStore(self.clock.seconds),
            Things(self.clock.seconds),
        )
        self.leases: dict[str, Lease] = {}
        self.over: set[str] = set()
        self.brought: list[tuple[str, Path]] = []
        self.looked = 0
        self.moved: list[str] = []
        self.is_reached, self.why = True, ""
        self.rooms = Things(self.clock.seconds)
        self.fault: Exception | None = None
        self.dead = FleetWorld(rooms_per_process=2)
        for match_id in ("m1", "m2"):
            self.dead.place(match_id)
        (record,) = self.dead.records.written.values()
        self.first, self.second = self.claims("n1"), self.claims("n2")
        self.first.write(record)
        self.server_id = record.server_id
        self.world = FleetWorld(rooms_per_process=2, seed=8)
        self.world.supply.started += self.dead.supply.started
        for fake in self.world.supply.started:
            fake.transport.is_lost = True
        found: Any = self
        self.adopted: list[str] = []
        self.disowned: list[str] = []
        self.adoption = Adoption(
            ServerRecords(self.root / "n2", lambda: 1.0),
            self.world.fleet.continuity,
            found,
            found,
            found,
            lambda: 0.0,
            60.0,
            claims=self.second,
            shared=Shared(
                {"maze"},
                lambda server_id, handle: succeed(self.is_reached),
                lambda *moved: self.brought.append(moved),
                self.copies("n2"),
                lambda plan, data: self.why,
                self.look,
                self.moved.append,
            ),
        )
        self.adoption.begin()

    def copies(self, node_id: str) -> MemoryOwnedStore:
        """Give a node a way to the copies of matches."""
        return MemoryOwnedStore(
            self.nodes, node_id, lambda: self.leases[node_id].number, self.rooms
        )

    def claims(self, node_id: str) -> Claims:
        found = self.nodes.register(facts(node_id), 10.0)
        lease = Lease(self.nodes, node_id, self.successResultOf(found))
        self.leases[node_id] = lease
        return Claims(
            ServerRecords(self.root / node_id, lambda: 1.0),
            MemoryOwnedStore(
                self.nodes, node_id, lambda: lease.number, self.servers, "server"
            ),
            lease,
            node_id,
            str(self.root.absolute()),
            self.clock,
        )

    # The matches and processes of the node.

    async def own(self, plan: MatchPlan, placement: Placement) -> bool:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return plan.match_id not in self.over

    def adopt(self, plan: MatchPlan, placement: Placement, *_: Any, **__: Any) -> None:
        self.adopted.append(plan.match_id)

    def disown(self, match_id: str) -> None:
        self.disowned.append(match_id)

    def resumed(self, match_id: str, placement: Placement) -> None:
        self.moved.append(match_id)

    def seat_changed(self, *_: Any) -> None:
        pass

    def clear(self) -> None:
        pass

    def look(self) -> None:
        self.looked += 1

    def adopt_left(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.adoption.adopt_left("n1")))

    def end_lease(self) -> None:
        """The first node is silent for longer than its lease."""
        self.clock.advance(10.0)
        found = self.nodes.register(facts("n2"), 10.0)
        self.leases["n2"].number = self.successResultOf(found)
        self.second.check_owned()

    def test_goes_on(self) -> None:
        """
        When the lease of a node is over, its matches go on here: but for one that is
        over. Its file is gone before its game server is called, and there is one here.
        """
        self.over.add("m2")
        self.adopt_left()
        self.assertEqual((self.adopted, self.looked), ([], 0))
        self.end_lease()
        self.adopt_left()
        self.adopt_left()
        self.assertEqual((self.adopted, self.looked), (["m1"], 1))
        self.assertEqual(self.brought, [("m1", self.root.absolute())])
        self.assertEqual(list((self.root / "n1").iterdir()), [])
        (name,) = [one.name for one in (self.root / "n2").iterdir()]
        self.assertEqual(name, f"{self.server_id}.json")
        self.assertEqual(self.world.supply.called, [self.server_id])
        self.world.supply.hosting("m1").dial_again()
        self.world.settle()
        self.assertEqual(self.world.fleet.status().rooms, 1)

    def test_machine_is_gone(self) -> None:
        """
        A match goes on from its copy at a node that can read it; its node, when the
        machine is back, has its game server no more.
        """
        record = self.first._files.read()[0]
        one = record.matches[0]
        placement = Placement("s1", "play.example", 46000, "ANCHOR")
        copy = StoredMatch(
            one, self.server_id, placement, 0.0, b"kept", 3, 4, 1, True, 99.0
        )
        MatchCopy(self.copies("n1"), "m1", 1, self.moved.append).write(copy)
        self.end_lease()

        def go_on() -> bool | None:
            return self.successResultOf(self.adoption.go_on(one.plan))

        self.why = "its schema is another one"
        self.assertEqual((go_on(), self.rooms["m1"].node_id), (None, ""))
        self.why = ""
        self.assertEqual((go_on(), self.rooms["m1"].node_id), (True, "n2"))
        self.world.settle()
        self.assertEqual((self.adopted, self.moved), (["m1"], ["m1"]))
        again = self.claims("n1")
        again.found(record)
        self.assertFalse(self.successResultOf(again.settled(self.server_id)))

    def test_one_fails(self) -> None:
        """
        A fault with one game server does not cost the matches of the others, which are
        this node's by then.
        """
        record = self.first._files.read()[0]
        self.first.write(replace(record, server_id="other"))
        # The other one comes first.
        self.servers[self.server_id] = self.servers.pop(self.server_id)
        self.end_lease()
        self.fault = ZeroDivisionError("a fault")
        self.adopt_left()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.adopted, ["m1", "m2"])

    def test_lease_ends_meanwhile(self) -> None:
        """
        If its lease ends while a node takes a game server over, it goes on with that
        under its next lease.
        """
        self.end_lease()
        self.fault = LeaseLost("over")
        self.adopt_left()
        self.assertEqual(self.adopted, [])
        self.end_lease()
        self.adopt_left()
        self.assertEqual(self.adopted, ["m1", "m2"])

    def test_taken_meanwhile(self) -> None:
        """
        Not if another node was faster: its matches are that one's.
        """
        self.end_lease()
        self.fault = LeaseLost("over")
        self.adopt_left()
        self.clock.advance(10.0)
        third = self.claims("n3")
        left = Deferred.fromCoroutine(third.left("n2", lambda _: succeed(True)))
        self.assertEqual(len(self.successResultOf(left)), 1)
        self.end_lease()
        self.adopt_left()
        self.assertEqual(self.adopted, [])
        self.assertEqual(self.servers[self.server_id].node_id, "n3")

    def test_out_of_reach(self) -> None:
        """
        A game server that this node cannot link to is left to others.
        """
        self.is_reached = False
        self.end_lease()
        self.adopt_left()
        self.assertEqual(self.adopted, [])
        self.assertEqual(self.servers[self.server_id].node_id, "n1")

    def test_all_over(self) -> None:
        """
        If all its matches are over, it is left to end by itself, and forgotten.
        """
        self.over |= {"m1", "m2"}
        self.end_lease()
        self.adopt_left()
        self.assertEqual((self.adopted, self.world.supply.called), ([], []))
        self.assertEqual(self.servers[self.server_id].data, b"")

    def test_taken(self) -> None:
        """
        What another node has taken from this one goes on there: its matches are
        forgotten here without an end, and their players are sent there.
        """
        self.end_lease()
        self.adopt_left()
        self.world.supply.hosting("m1").dial_again()
        self.world.settle()
        third = self.claims("n3")
        self.adoption.offer()
        left = Deferred.fromCoroutine(third.left("", lambda _: succeed(True)))
        self.assertEqual(len(self.successResultOf(left)), 1)
        self.adoption.offer()
        self.assertEqual((self.disowned, self.moved), (["m1", "m2"], ["m1", "m2"]))
        self.assertEqual(self.world.fleet.status().rooms, 0)
        self.assertTrue(self.dead.supply.hosting("m1").is_alive)

    def test_stopped_before_it_has_a_link(self) -> None:
        """
        A node that is stopped before a game server has linked to it goes on calling it,
        and offers it then: if nobody else is there the match must not end for that.
        """
        self.end_lease()
        self.adopt_left()
        third = self.claims("n3")
        self.adoption.offer()
        self.world.wait(2)
        self.assertEqual(self.world.supply.called, [self.server_id] * 3)
        left = Deferred.fromCoroutine(third.left("", lambda _: succeed(True)))
        self.assertEqual(self.successResultOf(left), [])
        self.world.supply.hosting("m1").dial_again()
        self.world.settle()
        self.adoption.offer()
        left = Deferred.fromCoroutine(third.left("", lambda _: succeed(True)))
        self.assertEqual(len(self.successResultOf(left)), 1)
