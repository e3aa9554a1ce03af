"""The queue, as players and operators know it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tests.support.fleets import MemoryFleet
from tests.support.lobbies import (
    Faulty,
    LobbyWorld,
    MemoryLine,
    Party,
    everybody,
    running,
)
from tests.support.logged import watch_events
from vinom.base.model import MatchPlan, SeatPlan
from vinom.base.reactor.figures import WAIT_BOUNDS, cumulated
from vinom.errors import Code, Refused


def states(said: list[dict[str, Any]]) -> list[str]:
    return [m["data"].get("state", m["type"]) for m in said if m["success"]]


class QueueTests(SynchronousTestCase):
    """Waiting."""

    def waiting(self, world: LobbyWorld) -> list[tuple[str, bool]]:
        return [(e.players[0].name, e.suspended) for e in everybody(world.lobby)]

    def test_refusals(self) -> None:
        """
        What cannot be queued is refused by the field at fault.
        """
        line, _ = LobbyWorld().hello("ann")
        for wish, code, field in (
            ({"game": "chess"}, "unknown_game", "data.game"),
            (
                {"game": "duel", "options": {"size": "x"}},
                "bad_options",
                "data.options.size",
            ),
            ({"game": "duel", "loadout": {"a": 1}}, "bad_loadout", "data.loadout.a"),
        ):
            error = line.ask("queue", **wish)[0]["error"]
            self.assertEqual((error["code"], error["details"]["field"]), (code, field))
        self.assertEqual(line.ask("cancel")[0]["error"]["code"], "not_queued")

    def test_twice(self) -> None:
        """
        A player waits once; to ask for something else it cancels first.
        """
        world = LobbyWorld()
        line, _ = world.queued("ann", "duel")
        self.assertEqual(
            line.ask("queue", game="party")[0]["error"]["code"], "already_queued"
        )
        self.assertEqual(states(line.ask("cancel")), ["idle"])
        self.assertEqual(states(line.ask("queue", game="party")), ["waiting"])

    def test_full_table_at_once(self) -> None:
        """
        Four players for a game of four do not wait; the answer comes first.
        """
        world = LobbyWorld()
        lines = [world.hello(name)[0] for name in "abcd"]
        for line in lines:
            self.assertEqual(states(line.ask("queue", game="party")), ["waiting"])
        world.clock.advance(0)
        for line in lines:
            self.assertEqual(states(line.heard()), ["matched", "match_found"])

    def test_matched_before_the_answer(self) -> None:
        """
        A player whom another node matches while its request is answered is not in the
        queue then.
        """
        store = Faulty()
        world = LobbyWorld(store=store)
        line, welcome = world.hello("ann")
        store.held.add("enqueue")
        line.ask("queue", game="duel")
        seats = (SeatPlan(welcome["player_id"], "ann"),)
        store.start(MatchPlan("elsewhere", "duel", seats, 1))
        store.go_on()
        self.assertEqual(line.heard()[0]["error"]["code"], "already_in_match")
        self.assertEqual(self.waiting(world), [])

    def test_at_the_same_time(self) -> None:
        """
        Matches of one queue are made while the store is still asked about the first, so
        many players need not wait for each other.
        """
        store = Faulty()
        store.held.add("start")
        world = LobbyWorld(store=store)
        lines = [world.queued(name, "duel")[0] for name in "abcdef"]
        world.clock.advance(0)
        self.assertEqual(len(store.pending), 3)
        for line in lines:
            self.assertEqual(line.heard(), [])
        store.go_on()
        for line in lines:
            self.assertEqual(states(line.heard()), ["matched", "match_found"])

    def test_one_match_too_many_at_the_same_time(self) -> None:
        """
        Matches that are made at the same time count for their players' address, before
        the store has answered: one too many is refused.
        """
        store = Faulty()
        store.held.add("start")
        world = LobbyWorld(store=store, matches_per_address=2)
        lines = [world.queued(name, "duel")[0] for name in "abcdef"]
        world.clock.advance(0)
        self.assertEqual(len(store.pending), 2)
        store.go_on()
        told = [line.heard() for line in lines]
        found = [states(said) == ["matched", "match_found"] for said in told]
        self.assertEqual(found, [True] * 4 + [False] * 2)
        self.assertEqual(told[4][0]["error"]["code"], "busy")

    def test_minimum_after_five_seconds(self) -> None:
        """
        Two players start without others after five seconds of the first one's wait.
        """
        world = LobbyWorld()
        first, _ = world.queued("ann")
        world.clock.advance(3)
        second, _ = world.queued("bob")
        world.clock.advance(1.9)
        self.assertEqual(states(first.heard() + second.heard()), [])
        world.clock.advance(0.2)
        self.assertEqual(states(first.heard()), ["matched", "match_found"])

    def test_options_apart(self) -> None:
        """
        Other options are another queue, the same ones in other words are not.
        """
        world = LobbyWorld()
        ann, _ = world.queued("ann", "duel", options={"size": 10})
        bob, _ = world.queued("bob", "duel", options={"size": 11})
        world.clock.advance(100)
        self.assertEqual(states(ann.heard() + bob.heard()), [])
        world.queued("cat", "duel", options={})
        world.clock.advance(0)
        self.assertEqual(states(ann.heard()), ["matched", "match_found"])

    def test_positions(self) -> None:
        """
        A player is sent its position, and again when it moves up.
        """
        self.patch(Party, "seats", (4, 4))
        world = LobbyWorld()
        lines: list[MemoryLine] = []
        for place, name in enumerate("abc", 1):
            line, _ = world.hello(name)
            said = line.ask("queue", game="party")
            self.assertEqual(said[0]["data"]["position"], place)
            lines.append(line)
        lines[0].ask("cancel")
        world.clock.advance(2)
        self.assertEqual([m["data"]["position"] for m in lines[1].heard()], [1])
        self.assertEqual([m["data"]["position"] for m in lines[2].heard()], [2])
        world.clock.advance(10)
        self.assertEqual(lines[1].heard(), [])

    def test_positions_of_a_crowd(self) -> None:
        """
        A thousand players who wait all learn that they moved up; those who asked for
        something else are sent nothing.
        """
        self.patch(Party, "seats", (4000, 4000))
        world = LobbyWorld()
        first, _ = world.queued("first")
        lines = [world.queued(f"p{number}")[0] for number in range(1200)]
        other, _ = world.queued("other", options={"size": 7})
        last, _ = world.queued("last")
        first.ask("cancel")
        world.clock.advance(2)
        for place, line in enumerate(lines, 1):
            self.assertEqual([m["data"]["position"] for m in line.heard()], [place])
        self.assertEqual([m["data"]["position"] for m in last.heard()], [1201])
        self.assertEqual(other.heard(), [])

    def test_a_table_late_in_the_queue(self) -> None:
        """
        More tables than are read at once all start, each as soon as it is full.
        """
        self.patch(Party, "seats", (2, 2))
        world = LobbyWorld(fleet=MemoryFleet(capacity=0))
        for number in range(1300):
            world.queued(f"p{number}")
        world.clock.pump([0.0] * 3)
        self.assertEqual(len(world.fleet.hosted), 650)
        self.assertEqual(self.waiting(world), [])

    def test_drained_while_queueing(self) -> None:
        """
        A request to queue that was under way when the node began to drain is refused,
        and leaves nobody waiting.
        """
        store = Faulty()
        store.held.add("enqueue")
        world = LobbyWorld(store=store)
        line, _ = world.hello("ann")
        line.ask("queue", game="duel")
        self.successResultOf(world.requests.drain())
        store.go_on()
        self.assertEqual([m["error"]["code"] for m in line.heard()], ["draining"])
        self.assertEqual(self.waiting(world), [])

    def test_drained_while_away(self) -> None:
        """
        A player who lost its line does not wait on a node that drains.
        """
        world = LobbyWorld()
        line, _ = world.queued("ann")
        line.hang_up()
        self.successResultOf(world.requests.drain())
        self.assertEqual(self.waiting(world), [])

    def test_away_and_back(self) -> None:
        """
        A player whose line closes keeps its place for 10 s, and is not matched.
        """
        world = LobbyWorld()
        line, welcome = world.queued("ann", "duel")
        world.clock.advance(2)
        line.hang_up()
        self.assertEqual(self.waiting(world), [("ann", True)])
        bob, _ = world.queued("bob", "duel")
        world.clock.advance(7)
        self.assertEqual(states(bob.heard()), [])
        back, news = world.back(welcome["player_key"])
        self.assertEqual(news[0]["data"]["position"], 1)
        self.assertEqual(news[0]["data"]["waited"], 9.0)
        world.clock.advance(0)
        self.assertEqual(states(back.heard()), ["matched", "match_found"])
        self.assertEqual(world.fleet.hosted[0].plan.seats[0].name, "ann")

    def test_away_for_good(self) -> None:
        """
        A player who stays away is removed from the queue.
        """
        world = LobbyWorld()
        line, welcome = world.queued("ann", "duel")
        line.hang_up()
        world.clock.advance(10.1)
        self.assertEqual(self.waiting(world), [])
        _, news = world.back(welcome["player_key"])
        self.assertEqual(news, [])

    def test_away_twice(self) -> None:
        """
        Each time away is counted for itself.
        """
        world = LobbyWorld()
        line, welcome = world.queued("ann", "duel")
        for _ in range(3):
            line.hang_up()
            world.clock.advance(9)
            line, news = world.back(welcome["player_key"])
            self.assertEqual(states(news), ["waiting"])
        world.clock.advance(60)
        self.assertEqual(self.waiting(world), [("ann", False)])

    def test_storage_stumbles(self) -> None:
        """
        A round that storage broke off is made again, and nobody is forgotten.
        """
        store = Faulty()
        world = LobbyWorld(store=store)
        lines = [world.queued(name, "duel")[0] for name in ("ann", "bob")]
        store.failures["*"] = 2
        world.clock.advance(0)
        world.clock.pump([1.0] * 3)
        for line in lines:
            self.assertEqual(states(line.heard())[-2:], ["matched", "match_found"])

    def test_outcomes_unknown(self) -> None:
        """
        When storage did its part and the answer was lost, nobody is stuck between
        queue and match, or plays in two.
        """
        store = Faulty()
        world = LobbyWorld(store=store)
        lines = [world.queued(name, "duel")[0] for name in ("ann", "bob")]
        store.lost["start"], store.failures["end"] = 1, 2
        world.clock.advance(0)
        world.clock.pump([1.0] * 5)
        for line in lines:
            self.assertEqual(states(line.heard())[-2:], ["matched", "match_found"])
        self.assertEqual(len(world.fleet.hosted), 1)
        self.assertEqual(len(running(world.lobby)), 1)

    def test_queued_or_not(self) -> None:
        """
        A player who was refused because storage did not answer in time is sent its
        place, if it waits all the same, as soon as storage answers.
        """
        store = Faulty()
        world = LobbyWorld(store=store)
        line, _ = world.hello("ann")
        store.lost["enqueue"] = 1
        store.before["enqueue"] = lambda: store.failures.update(of_player=2)
        (refused,) = line.ask("queue", game="duel")
        self.assertEqual(refused["error"]["code"], "store_unavailable")
        world.clock.pump([1.0] * 2)
        self.assertEqual(states(line.heard()), ["waiting"])
        self.assertEqual(self.waiting(world), [("ann", False)])

    def test_lost_place(self) -> None:
        """
        A player who was sent that it waits keeps its place if storage has lost it.
        """
        world = LobbyWorld()
        line, _ = world.queued("ann", "duel")
        world.clock.advance(3)
        world.lobby.state.leave(everybody(world.lobby)[0].entry_id)
        world.matchmaker.assert_owned()
        world.requests.look_again()
        (status,) = line.heard()
        self.assertEqual((status["data"]["position"], status["data"]["waited"]), (1, 3))

    def test_quiet_while_storage_is_away(self) -> None:
        """
        However many players ask and leave while storage is away, the lobby does not log
        that again for each: the store logs it once, and counts the calls.
        """
        store = Faulty()
        world = LobbyWorld(store=store, accept_seconds=5.0)
        waiting = [world.queued(f"waits {number}")[0] for number in range(10)]
        world.clock.advance(6.0)
        events = watch_events(self)
        store.is_away = True
        for number in range(20):
            line, _ = world.hello(f"asks {number}")
            self.assertEqual(
                line.ask("queue", game="duel")[0]["error"]["code"], "store_unavailable"
            )
        waiting[0].ask("accept")
        for line in waiting:
            line.hang_up()
        world.clock.pump([1.0] * 20)
        lines = [one for one in events if one["log_level"] > LogLevel.debug]
        self.assertEqual([one["log_format"] for one in lines], [])
        store.is_away = False
        world.clock.pump([1.0] * 20)
        self.assertEqual(self.waiting(world), [])

    def test_matched_elsewhere(self) -> None:
        """
        When another node opened a match for one of the two, the other waits on.
        """
        store = Faulty()
        world = LobbyWorld(store=store)
        ann, welcome = world.queued("ann", "duel")
        seats = (SeatPlan(welcome["player_id"], "x"),)
        plan = MatchPlan("elsewhere", "duel", seats, 1)
        store.before["start"] = lambda: store.store.start(plan)
        bob, _ = world.queued("bob", "duel")
        world.clock.advance(0)
        self.assertEqual(self.waiting(world), [("bob", False)])
        self.assertEqual(states(bob.heard()), [])
        self.assertEqual(
            ann.ask("queue", game="duel")[0]["error"]["code"], "already_in_match"
        )

    def test_gone_while_storage_is_away(self) -> None:
        """
        A player who stays away leaves the queue as soon as storage answers.
        """
        store = Faulty()
        world = LobbyWorld(store=store)
        line, _ = world.queued("ann", "duel")
        line.hang_up()
        store.failures["*"] = 3
        world.clock.pump([1.0] * 12)
        self.assertEqual(self.waiting(world), [("ann", True)])
        world.clock.pump([1.0] * 3)
        self.assertEqual(self.waiting(world), [])
        # One line, and no trace for each who waits.
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_void_while_storage_is_away(self) -> None:
        """
        Players of a void match are put back as soon as storage answers.
        """
        store = Faulty()
        world = LobbyWorld(store=store)
        for name in ("ann", "bob"):
            world.queued(name, "duel")
        world.clock.advance(0)
        store.failures["*"] = 2
        world.fleet.end(0, "void", present=(0,))
        self.assertEqual(self.waiting(world), [])
        world.clock.pump([1.0] * 2)
        self.assertEqual(self.waiting(world), [("ann", True)])
        world.clock.pump([1.0] * 11)
        self.assertEqual(self.waiting(world), [])

    def test_claimed_elsewhere(self) -> None:
        """
        When another node takes one of the two, the other goes on waiting.
        """
        store = Faulty()
        world = LobbyWorld(store=store)
        ann, welcome = world.queued("ann", "duel")
        store.before["start"] = lambda: store.store.leave(welcome["player_id"])
        bob, _ = world.queued("bob", "duel")
        world.clock.advance(0)
        self.assertEqual(self.waiting(world), [("bob", False)])
        self.assertEqual(world.fleet.hosted, [])
        world.queued("cat", "duel")
        world.clock.advance(0)
        self.assertEqual(states(bob.heard()), ["matched", "match_found"])
        self.assertEqual(ann.heard(), [])

    def test_stop(self) -> None:
        """
        A stopped matchmaker leaves no timer behind.
        """
        world = LobbyWorld()
        line, _ = world.queued("ann")
        world.queued("bob")
        line.hang_up()
        world.requests.stopService()
        world.matchmaker.stopService()
        self.assertEqual(world.clock.getDelayedCalls(), [])


class ExplainTests(SynchronousTestCase):
    """Explanations about one player, for operators."""

    def explain(self, world: LobbyWorld, player_id: str) -> dict[str, Any]:
        work = Deferred.fromCoroutine(world.matchmaker.explain(player_id))
        facts: dict[str, Any] = self.successResultOf(work)
        return facts

    def test_every_state(self) -> None:
        """
        A player is found wherever it is.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=0))
        line, welcome = world.queued("ann", "duel")
        who = welcome["player_id"]
        self.assertEqual(self.explain(world, who)["state"], "waiting")
        self.assertIn("1 more", self.explain(world, who)["why"])
        line.hang_up()
        facts = self.explain(world, who)
        self.assertEqual((facts["state"], facts["connected"]), ("suspended", False))
        world.back(welcome["player_key"])
        world.queued("bob", "duel")
        world.clock.advance(0)
        self.assertEqual(self.explain(world, who)["state"], "forming")
        world.fleet.answer(0)
        self.assertEqual(self.explain(world, who)["state"], "placed")
        world.fleet.end(0)
        work = Deferred.fromCoroutine(world.matchmaker.explain(who))
        refusal = self.failureResultOf(work, Refused).value
        self.assertEqual(refusal.code, Code.NO_SUCH_PLAYER)
        work = Deferred.fromCoroutine(world.matchmaker.explain("nobody"))
        self.assertEqual(
            self.failureResultOf(work, Refused).value.message,
            "player nobody is in no queue and in no match",
        )

    def test_counts(self) -> None:
        """
        Metrics have the number of waiting players and their waits.
        """
        world = LobbyWorld()
        world.queued("ann", "duel")
        line, _ = world.queued("bob", "party")
        line.hang_up()
        world.clock.advance(3)
        counts = self.successResultOf(Deferred.fromCoroutine(world.matchmaker.counts()))
        self.assertEqual(
            counts,
            {
                "waiting": {"duel": 1, "party": 1},
                "suspended": 1,
                "longest_wait": 3.0,
                "waits": {"duel": {}, "party": {}},
                "backfilled": {"duel": 0, "party": 0},
                "prematches": {"open": 0, "results": {}},
                "parties": {},
            },
        )

    def test_waits(self) -> None:
        """
        How long they waited is counted when players are matched.
        """
        world = LobbyWorld()
        world.queued("ann", "duel")
        world.clock.advance(3)
        world.queued("bob", "duel")
        world.clock.advance(0.1)
        counts = self.successResultOf(Deferred.fromCoroutine(world.matchmaker.counts()))
        buckets, total = cumulated(counts["waits"]["duel"], "wait", WAIT_BOUNDS)
        self.assertEqual(dict(buckets)[2.5], 1)
        self.assertEqual(dict(buckets)[5.0], 2)
        self.assertAlmostEqual(total, 3.0, 0)
