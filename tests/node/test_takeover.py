"""What happens to the matches and players of a node that died."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.store.contract import ANN, BOB, CAT, entry, facts, plan
from tests.store.lobby_contract import prematch
from tests.support.lobbies import running
from vinom.base.model import Estate, LeftMatch, MatchEnd, MatchPlan, Prematch
from vinom.errors import StoreUnavailable
from vinom.fleet.local.process import this_process
from vinom.node.store_watch import Takeover
from vinom.store.memory.lobby import MemoryLobbyStore
from vinom.store.memory.nodes import MemoryNodeStore


@attrs.define
class Estates:
    """
    What the nodes of a test left.

    :ivar matches: in which they play.
    :ivar entries: how many entries each has.
    :ivar prematches: those of each.
    :ivar lines: the players who are connected to each.
    :ivar silent: the store does not answer.
    :ivar are_placed: had their matches begun?
    :ivar unanswered: how many answers to an end get lost.
    :ivar expected: for whom the node that looks waits.
    """

    store: MemoryLobbyStore
    plans: dict[str, list[MatchPlan]] = attrs.field(factory=dict)
    entries: dict[str, int] = attrs.field(factory=dict)
    prematches: dict[str, list[Prematch]] = attrs.field(factory=dict)
    lines: dict[str, list[str]] = attrs.field(factory=dict)
    silent: bool = False
    are_placed: bool = True
    unanswered: int = 0
    expected: list[str] = attrs.field(factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def matches_of(self, node_id: str, most: int) -> Deferred[Sequence[LeftMatch]]:
        if self.silent:
            return fail(StoreUnavailable("silent"))
        known = [one.match_id for one, _ in running(self.store)]
        plans = self.plans.get(node_id, [])
        left = [
            LeftMatch(one, self.are_placed, (f"e-{one.match_id}",))
            for one in plans
            if one.match_id in known
        ]
        return succeed(left[:most])

    def end(self, end: MatchEnd, *given: Any) -> Deferred[bool]:
        done = self.store.end(end, *given)
        if self.unanswered:
            self.unanswered -= 1
            self.expected += [one.player_id for one in end.seats]
            return fail(StoreUnavailable("its answer is lost"))
        return done

    def abandon(
        self, node_id: str, most: int, seconds: float
    ) -> Deferred[Estate | None]:
        if not node_id:
            return succeed(Estate((), self.expected))
        count = min(most, self.entries.get(node_id, 0))
        self.entries[node_id] = self.entries.get(node_id, 0) - count
        lines = self.lines.pop(node_id, [])
        self.lines[node_id] = lines[most:]
        alone = [*([f"alone{count}"] if count else []), *lines[:most]]
        left = Estate(self.prematches.pop(node_id, []), alone)
        return succeed(left if alone else None)


class Noted:
    """A node that notes what it is told of others."""

    def __init__(self) -> None:
        self.ends: list[MatchEnd] = []
        self.lost: list[str] = []
        self.dissolved: list[Prematch] = []
        self.nothing_left = lambda: None
        self.match_lost, self.player_lost = self.ends.append, self.lost.append

    async def prematch_over(self, prematch: Prematch) -> None:
        self.dissolved.append(prematch)

    async def end_rooms(self, node_id: str) -> int:
        return 0

    async def adopt_left(self, node_id: str) -> None:
        pass

    async def go_on(self, plan: MatchPlan) -> bool | None:
        return False


class TakeoverTests(SynchronousTestCase):
    """A node looks after the others."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.nodes = MemoryNodeStore(self.clock.seconds)
        self.matches = MemoryLobbyStore(self.clock.seconds)
        self.estates = Estates(self.matches)
        self.noted = Noted()
        self.ends, self.lost = self.noted.ends, self.noted.lost
        self.takeover = self.start()
        self.clock.advance(6.0)

    def start(self, noted: Any = None, match_seconds: float = 0.0) -> Takeover:
        takeover = Takeover(
            self.nodes,
            self.estates,
            self.clock,
            noted or self.noted,
            5.0,
            match_seconds,
        )
        takeover.startService()
        self.addCleanup(takeover.stopService)
        return takeover

    def die(self) -> None:
        """A node opens two matches, has waiting players, and is not heard of again."""
        self.successResultOf(self.nodes.register(facts("dead"), 5.0))
        self.estates.plans["dead"] = [plan("m1", ANN, BOB), plan("m2", CAT)]
        self.estates.entries["dead"] = 250
        self.estates.prematches["dead"] = [prematch(entry(ANN, 1.0))]
        self.estates.lines["dead"] = [f"p{number}" for number in range(150)]
        for one in self.estates.plans["dead"]:
            self.successResultOf(self.matches.start(one))

    def running(self) -> int:
        return len(running(self.matches))

    def test_after_the_lease(self) -> None:
        """
        When its lease is over the matches are lost, entries are taken over, prematches
        are over, and its players are known to be disconnected; not before.
        """
        self.die()
        self.clock.pump([0.5] * 8)
        self.assertEqual((self.running(), self.ends, self.lost), (2, [], []))
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.running(), 0)
        self.assertEqual([end.reason for end in self.ends], ["lost"] * 2)
        self.assertEqual(self.ends[0].seats[0].name, "Ann")
        self.assertEqual(self.estates.entries["dead"], 0)
        lines = [f"p{number}" for number in range(150)]
        alone = ["alone100", *lines[:100], "alone100", *lines[100:], "alone50"]
        self.assertEqual(self.lost, alone)
        self.assertEqual([one.prematch_id for one in self.noted.dissolved], ["p1"])
        self.assertEqual(self.successResultOf(self.nodes.nodes(expired=True)), [])
        end = self.successResultOf(self.matches.of_player("ann")).ended
        self.assertEqual(end and end.reason, "lost")

    def test_matches_that_are_played_on(self) -> None:
        """
        Matches have as long as their game servers may play without a node; all else is
        taken over at once. One that was adopted meanwhile is not lost.
        """
        self.takeover._match_seconds = 10.0
        self.die()
        self.clock.pump([0.5] * 20)
        self.assertEqual((self.running(), self.estates.entries["dead"]), (2, 0))
        self.assertEqual(len(self.successResultOf(self.nodes.nodes(expired=True))), 1)
        # Its node has it now.
        del self.estates.plans["dead"][1]
        self.clock.pump([0.5] * 12)
        self.assertEqual([end.match_id for end in self.ends], ["m1"])
        self.assertEqual(self.running(), 1)
        self.assertEqual(self.successResultOf(self.nodes.nodes(expired=True)), [])

    def test_matches_that_had_not_begun(self) -> None:
        """
        Players of a match that had no place yet wait again: this node waits for those
        who are gone, and finds them although the answer was lost.
        """
        self.die()
        self.estates.are_placed, self.estates.unanswered = False, 1
        self.clock.pump([0.5] * 14)
        self.assertEqual([end.match_id for end in self.ends], ["m2"])
        self.assertEqual(self.lost[:3], ["ann", "bob", "cat"])

    def test_process_has_ended(self) -> None:
        """
        Nobody waits for the lease of a node of this machine whose process has ended.
        """
        with subprocess.Popen(["true"]) as child:
            this = this_process()
        gone = f"{this.partition(chr(10))[0]}\n{child.pid}\n"
        for node_id, process in (("here", this), ("dead", gone), ("there", f"x{gone}")):
            node = attrs.evolve(facts(node_id), process=process)
            self.successResultOf(self.nodes.register(node, 100.0))
        self.clock.pump([1.0] * 3)
        left = self.successResultOf(self.nodes.nodes())
        self.assertEqual({one.node.node_id for one in left}, {"here", "there"})

    def test_machine_is_gone(self) -> None:
        """
        A match that has a copy goes on; others may do so elsewhere for a minute.
        """

        async def go_on(plan: MatchPlan) -> bool | None:
            if plan.match_id == "m2":
                return None
            self.estates.plans["dead"].remove(plan)
            return True

        self.noted.go_on = go_on
        self.die()
        self.clock.pump([0.5] * 12)
        self.assertEqual((self.running(), self.ends), (2, []))
        self.clock.pump([0.5] * 120)
        self.assertEqual([end.match_id for end in self.ends], ["m2"])

    def test_adopts(self) -> None:
        """
        At each look a node goes on with matches that others offer, and with those of
        dead nodes as soon as their leases are over; players who wait for a match look
        again when nothing is left of a node, at any time. A mistake stops nothing else.
        """
        asked: list[str] = []
        looked: list[float] = []

        async def adopt(node_id: str) -> None:
            asked.append(node_id)
            if node_id:
                self.estates.plans[node_id].clear()
                raise RuntimeError("a mistake of ours")

        self.takeover.stopService()
        noted: Any = self.noted
        noted.adopt_left = adopt
        noted.nothing_left = lambda: looked.append(self.clock.seconds())
        taking = self.start(match_seconds=50.0)
        self.clock.pump([0.5] * 12)
        self.assertEqual((set(asked), looked), ({""}, []))
        self.die()
        self.clock.pump([0.5] * 16)
        self.assertEqual(asked.count("dead"), 1)
        self.assertEqual((self.ends, len(looked)), ([], 1))
        lease = self.successResultOf(self.nodes.register(facts("other"), 50.0))
        taking.wait()
        self.clock.pump([0.5] * 4)
        self.successResultOf(self.nodes.leave("other", lease))
        self.clock.pump([0.5] * 4)
        self.assertEqual(len(looked), 2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_itself(self) -> None:
        """
        A node that was stopped for longer than its lease leaves its own matches and
        players alone.
        """
        self.takeover._node_id = "dead"
        self.die()
        self.clock.pump([0.5] * 20)
        self.assertEqual((self.running(), self.ends, self.lost), (2, [], []))

    def test_mistakes(self) -> None:
        """
        A mistake while one node is cleared up after is logged, and keeps nobody from
        the rest: other players, other nodes.
        """
        asked: list[str] = []
        seen: list[str] = []

        async def end_rooms(node_id: str) -> int:
            asked.append(node_id)
            if node_id == "dead":
                raise RuntimeError("a mistake of ours")
            return 0

        def lost(player_id: str) -> None:
            seen.append(player_id)
            if player_id == "p0":
                raise RuntimeError("a mistake of ours")

        self.die()
        self.successResultOf(self.nodes.register(facts("other"), 5.0))
        self.takeover.stopService()
        noted: Any = self.noted
        noted.player_lost, noted.end_rooms = lost, end_rooms
        self.start()
        self.clock.pump([0.5] * 14)
        lines = [player_id for player_id in seen if player_id.startswith("p")]
        self.assertEqual(len(lines), 150)
        # A step of 100 entries each, with somebody who has no line.
        self.assertEqual(len(seen) - len(lines), 3)
        self.assertEqual(set(asked), {"dead", "other"})
        self.assertGreaterEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        (left,) = self.successResultOf(self.nodes.nodes(expired=True))
        self.assertEqual(left.node.node_id, "dead")

    def test_store_was_away(self) -> None:
        """
        After the store was away its nodes have one lease to come back.
        """
        self.die()
        self.estates.silent = True
        self.clock.pump([0.5] * 20)
        self.assertEqual(self.running(), 2)
        self.estates.silent = False
        self.takeover.wait()
        self.clock.pump([0.5] * 8)
        self.assertEqual(self.running(), 2)
        self.successResultOf(self.nodes.register(facts("dead"), 5.0))
        self.clock.pump([0.5] * 8)
        self.assertEqual(self.running(), 2)
        self.clock.pump([0.5] * 8)
        self.assertEqual(self.running(), 0)
