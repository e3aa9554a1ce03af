"""Rooms of games that last for days: they sleep while nobody is connected."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from tests.rooms.test_checkpoints import SECONDS, Node, Nodes, view
from tests.support.live_rooms import Heard, Pair, PlayerLine
from vinom.base.model import MatchPlan
from vinom.errors import Refused, StoreUnavailable
from vinom.game import Step

DAY = 86400.0


class Letters(Pair):
    """Two who write to each other, and have three days for each word."""

    name = "letters"
    clock = "wall"
    time_limit = 30 * DAY
    grace_seconds = 3600.0
    linger = DAY

    def act(self, s: Heard, seat: int, action: Any, now: float) -> Heard | Step[Heard]:
        done = super().act(s, seat, action, now)
        said = done.state if isinstance(done, Step) else done
        return replace(said, due=now + 3 * DAY)

    def advance(self, s: Heard, now: float) -> Heard:
        return replace(s, last=f"late at {now:.0f}", due=None, over=1)

    def turns(self, s: Heard) -> tuple[int, ...]:
        return () if s.over else (s.said % 2,)


class Crowd(Letters):
    """The same for up to four."""

    name = "crowd"
    seats = 2, 4


class Notes:
    """Notes what is reported to the operator."""

    def __init__(self) -> None:
        self.noted: list[tuple[Any, ...]] = []

    def round_over(self, plan: MatchPlan, outcome: Any) -> None:
        self.noted.append(("over", outcome["round"]))

    def match_over(self, plan: MatchPlan, reason: str) -> None:
        self.noted.append(("over", reason))

    def turn_began(
        self, plan: MatchPlan, seat: int, version: int, left: float | None
    ) -> None:
        days = None if left is None else round(left / DAY, 2)
        self.noted.append((plan.seats[seat].name, days))


class SleepTests(SynchronousTestCase):
    """Ann and Bob play by letters, on nodes that share a store."""

    def setUp(self) -> None:
        self.nodes, self.notes = Nodes(), Notes()
        self.patch(Node, "results", self.notes)
        self.first = self.nodes.start("n1", [Letters])
        self.second = self.nodes.start("n2", [Letters])
        for node in (self.first, self.second):
            node.rooms.startService()
            self.addCleanup(node.rooms.stopService)
        self.ann, self.ann_key = self.join(self.first, "ann")
        self.bob, self.bob_key = self.join(self.first, "bob")
        self.assertEqual(self.awake(), 1)

    def join(self, node: Node, name: str) -> tuple[PlayerLine, str]:
        line, welcome = node.hello(name)
        self.enter(node, line)
        return line, welcome["player_key"]

    def enter(self, node: Node, line: PlayerLine, **more: Any) -> list[Any]:
        said = line.ask("join_room", game="letters", room_id="r1", **more)
        self.assertEqual(said[0]["type"], "join_room_result", said)
        node.turn()
        return said + line.heard()

    def back(self, node: Node, key: str) -> tuple[PlayerLine, list[Any]]:
        """Come back by the player key alone."""
        line, _ = node.back(key)
        return line, self.enter(node, line)

    def awake(self) -> int:
        """Count the rooms that are in a node's memory."""
        return sum(
            len(node.rooms.directory.rooms) for node in (self.first, self.second)
        )

    def leave(self, *lines: PlayerLine) -> None:
        """Close connections, and wait until the room sleeps."""
        for line in lines:
            line.hang_up()
        self.nodes.wait(2.0)
        self.assertEqual(self.awake(), 0)

    def test_sleeps_and_wakes_for_a_player(self) -> None:
        """
        When both have gone no node has the room; a day later Ann plays on at another
        node, with her key alone, where the game is as it was.
        """
        self.ann.do(1, word="one")
        self.first.turn()
        self.leave(self.ann, self.bob)
        self.assertEqual(len(self.first.rooms.directory.places), 0)
        self.nodes.skip(DAY)
        ann, said = self.back(self.second, self.ann_key)
        self.assertEqual((self.awake(), said[0]["data"]["seat"]), (1, 0))
        self.assertEqual(view(said)["last"], "one")
        states = [one for one in said if one["type"] == "game_state"]
        self.assertEqual(round(states[-1]["data"]["time"] / DAY, 3), 1.0)
        ann.do(2, word="two")
        self.second.turn()
        _, said = self.back(self.second, self.bob_key)
        self.assertEqual(view(said)["last"], "two")

    def test_deadline(self) -> None:
        """
        The deadline of a room that sleeps comes on time, though nobody is connected;
        after that it sleeps again, and who comes back is shown how it ended.
        """
        self.ann.do(1, word="one")
        self.first.turn()
        self.leave(self.ann, self.bob)
        self.nodes.skip(3 * DAY - 10.0)
        self.nodes.wait(2.0)
        self.assertEqual(self.awake(), 0)
        self.nodes.wait(12.0)
        self.assertEqual(self.awake(), 0)
        _, said = self.back(self.second, self.bob_key)
        self.assertEqual(view(said)["last"], f"late at {3 * DAY:.0f}")
        self.assertEqual(said[0]["data"]["state"], "over")

    def test_deadline_while_all_are_down(self) -> None:
        """
        A deadline that came while no node ran is handled as of its own time.
        """
        self.ann.do(1, word="one")
        self.first.turn()
        self.leave(self.ann, self.bob)
        self.first.die()
        self.second.die()
        self.nodes.skip(4 * DAY)
        third = self.nodes.start("n3", [Letters])
        third.rooms.startService()
        self.addCleanup(third.rooms.stopService)
        self.nodes.wait(3.0)
        self.assertEqual(len(third.rooms.directory.rooms), 0)
        _, said = self.back(third, self.bob_key)
        self.assertEqual(view(said)["last"], f"late at {3 * DAY:.0f}")

    def test_node_dies_with_the_room(self) -> None:
        """
        If the node that has the room dies another one puts it to sleep when the lease
        is over, and its deadline comes on time.
        """
        self.ann.do(1, word="one")
        self.first.turn()
        self.first.die()
        self.nodes.wait(SECONDS - 2.0)
        self.assertEqual(self.nodes.rooms["r1"].node_id, "n1")
        self.nodes.wait(5.0)
        self.assertEqual(self.nodes.rooms["r1"].node_id, "")
        self.nodes.skip(3 * DAY)
        self.nodes.wait(3.0)
        _, said = self.back(self.second, self.bob_key)
        self.assertEqual(view(said)["last"], f"late at {3 * DAY:.0f}")

    def test_stopped_with_players(self) -> None:
        """
        A node that is stopped leaves the room to sleep, connected players or not.
        """
        self.ann.do(1, word="one")
        self.first.turn()
        self.first.rooms.stopService()
        self.nodes.wait(1.0)
        self.assertEqual(self.awake(), 0)
        _, said = self.back(self.second, self.ann_key)
        self.assertEqual(view(said)["last"], "one")

    def test_ends(self) -> None:
        """
        A room that sleeps ends when its time is over, and is forgotten.
        """
        self.leave(self.ann, self.bob)
        self.nodes.skip(31 * DAY)
        self.nodes.wait(2.0)
        line, _ = self.second.hello("eve")
        (said,) = line.ask("join_room", game="letters", room_id="r1")
        self.assertEqual(said["error"]["details"]["reason"], "time_limit")

    def test_one_is_here(self) -> None:
        """
        While Ann is connected the room stays awake, and Bob keeps his seat for days.
        """
        self.bob.hang_up()
        self.nodes.skip(2 * DAY)
        self.nodes.wait(2.0)
        self.assertEqual(self.awake(), 1)
        _, said = self.back(self.first, self.bob_key)
        self.assertEqual(said[0]["data"]["seat"], 1)

    def test_before_play(self) -> None:
        """
        Who opens a room and leaves may be joined later, for the game's grace; then the
        room ends.
        """
        for room_id, wait in (("r2", 3000.0), ("r3", 4000.0)):
            line, _ = self.first.hello("cat")
            line.ask("join_room", game="letters", room_id=room_id)
            self.first.turn()
            line.hang_up()
            self.nodes.wait(2.0)
            self.nodes.skip(wait)
            self.nodes.wait(2.0)
            dan, _ = self.second.hello("dan")
            (said,) = dan.ask("join_room", game="letters", room_id=room_id)
            self.assertEqual(said["data"]["seat"], 1 if room_id == "r2" else 0)

    def test_notices(self) -> None:
        """
        The operator is sent when a turn begins of a player who is away, once however
        often the room wakes, and the end of the round, though nobody is there.
        """
        self.ann.do(1, word="one")
        self.first.turn()
        self.assertEqual(self.notes.noted, [], "Bob is here")
        self.ann.hang_up()
        self.bob.do(1, word="two")
        self.first.turn()
        self.assertEqual(self.notes.noted, [("ann", 3.0)])
        self.leave(self.bob)
        self.nodes.skip(DAY)
        bob, _ = self.back(self.second, self.bob_key)
        self.leave(bob)
        self.assertEqual(len(self.notes.noted), 1)
        self.nodes.skip(2 * DAY)
        self.nodes.wait(2.0)
        self.assertEqual(self.notes.noted[1:], [("over", 1)])

    def test_my_games(self) -> None:
        """
        Each player finds all rooms with a seat of its own, awake or asleep, through any
        node: those first where it has the turn.
        """
        self.ann.do(1, word="one")
        self.first.turn()
        bob, _ = self.second.back(self.bob_key)
        for is_asleep in (False, True):
            (said,) = bob.ask("my_games")
            (game,) = said["data"]["games"]
            self.assertEqual(
                (game["room_id"], game["game"], game["state"], game["seat"]),
                ("r1", "letters", "playing", 1),
            )
            self.assertEqual([one["name"] for one in game["players"]], ["ann", "bob"])
            self.assertTrue(game["is_turn"])
            self.assertEqual(round(game["due"] / DAY, 2), 3.0)
            if not is_asleep:
                self.leave(self.ann, self.bob)
        bob.ask("join_room", game="letters", room_id="r2")
        bob.ask("join_room", game="pair", room_id="r3")
        self.second.turn()
        (said,) = [one for one in bob.ask("my_games") if one["type"] == "own_games"]
        self.assertEqual(
            [one["room_id"] for one in said["data"]["games"]], ["r1", "r2", "r3"]
        )
        bob.ask("leave_room", room_id="r2")
        self.nodes.wait(1.0)
        (said,) = [one for one in bob.ask("my_games") if one["type"] == "own_games"]
        self.assertEqual(
            [one["room_id"] for one in said["data"]["games"]], ["r1", "r3"]
        )

    def test_too_many(self) -> None:
        """
        A player has seats in so many such rooms, asleep or not, and an address opens so
        many; who has a seat always comes back to it.
        """
        self.leave(self.ann, self.bob)
        third = self.nodes.start("n3", [Letters], lasting=2, places=3)
        third.rooms.startService()
        self.addCleanup(third.rooms.stopService)
        cat, _ = third.hello("cat")

        def join(line: PlayerLine, room_id: str) -> str:
            said = line.ask("join_room", game="letters", room_id=room_id)[0]
            third.turn()
            self.nodes.wait(1.0)
            found: str = said.get("error", {}).get("message", said["type"])
            return found

        # At once: the store does not know of one when the next is asked for.
        said = [
            cat.ask("join_room", game="letters", room_id=room_id)[0]["type"]
            for room_id in ("r2", "r3", "r4")
        ]
        self.assertEqual(said, ["join_room_result", "join_room_result", "error"])
        third.turn()
        self.nodes.wait(1.0)
        self.assertIn("too many games that last", join(cat, "r4"))
        cat.hang_up()
        self.nodes.wait(2.0)
        dan, _ = third.hello("dan")
        self.assertIn("of your address opened too many", join(dan, "r4"))
        self.assertEqual(join(dan, "r2"), "join_room_result")
        _, said = self.back(third, self.ann_key)
        self.assertEqual(said[0]["data"]["seat"], 0)

    def test_looked_at(self) -> None:
        """
        Who only looks wakes the room for a moment, and its recording has no gap.
        """
        self.ann.do(1, word="one")
        self.first.turn()
        self.leave(self.ann, self.bob)
        eve, _ = self.second.hello("eve")
        (said,) = eve.ask("peek_room", room_id="r1")
        self.assertEqual(said["data"]["view"]["last"], "one")
        self.enter(self.second, eve, spectate=True)
        self.leave(eve)
        self.back(self.second, self.ann_key)
        (recording,) = self.second.recordings.matches.values()
        (before,) = self.first.recordings.matches
        self.assertEqual(recording.part.before, f"{before}.vinomrec")

    def test_lost_answer(self) -> None:
        """
        A deadline comes on time also if the store's answer to the last player who came
        back was lost, so that the node does not know that it has the room.
        """
        self.ann.do(1, word="one")
        self.first.turn()
        self.leave(self.ann, self.bob)
        claim = self.second.store.store.claim

        def lose(*given: Any) -> Deferred[Any]:
            claim(*given)
            return fail(StoreUnavailable("no answer"))

        line, _ = self.second.back(self.ann_key)
        self.second.store.claim = lose  # type: ignore[attr-defined]
        (said,) = line.ask("join_room", game="letters", room_id="r1")
        self.assertEqual(said["error"]["code"], "store_unavailable", said)
        del self.second.store.claim  # type: ignore[attr-defined]
        line.hang_up()
        self.nodes.skip(3 * DAY)
        self.nodes.wait(3.0)
        self.assertEqual(self.notes.noted[-1:], [("over", 1)])
        self.assertEqual(self.awake(), 0)

    def test_lost_answer_to_sleep(self) -> None:
        """
        Likewise if the store's answer was lost that a room sleeps, and its deadline
        comes before the node knows.
        """
        self.ann.do(1, word="one")
        self.first.turn()
        self.second.rooms.ownership.takes_others = False
        self.nodes.skip(3 * DAY - 1.5)
        release = self.first.store.store.release

        def lose(*given: Any) -> Deferred[Any]:
            release(*given)
            return fail(StoreUnavailable("no answer"))

        self.first.store.release = lose  # type: ignore[method-assign]
        self.ann.hang_up()
        self.bob.hang_up()
        self.nodes.wait(3.0)
        del self.first.store.release
        self.nodes.wait(3.0)
        self.assertEqual(self.notes.noted[-1:], [("over", 1)])
        self.assertEqual(self.awake(), 0)

    def test_node_without_the_game(self) -> None:
        """
        A node without the game gives a room back as it was: another one keeps its
        deadline, a moment later.
        """
        self.ann.do(1, word="one")
        self.first.turn()
        self.leave(self.ann, self.bob)
        for node in (self.first, self.second):
            node.rooms.ownership.takes_others = False
        other = self.nodes.start("n3")
        other.rooms.startService()
        self.addCleanup(other.rooms.stopService)
        self.nodes.skip(3 * DAY)
        self.nodes.wait(1.0)
        self.second.rooms.ownership.takes_others = True
        self.nodes.wait(15.0)
        self.assertEqual(self.notes.noted[-1:], [("over", 1)])

    def test_grace_of_each(self) -> None:
        """
        Before play who left last may come back for the whole grace, with those who left
        earlier; if they are enough, they are waited for as long as for newcomers.
        """
        for node in (self.first, self.second):
            node.rooms.stopService()
        third = self.nodes.start("n3", [Crowd])
        third.rooms.startService()
        self.addCleanup(third.rooms.stopService)
        places = []
        for name in ("cat", "dan"):
            line, welcome = third.hello(name)
            line.ask("join_room", game="crowd", room_id="r2")
            places.append((line, welcome["player_key"]))
        third.turn()
        places[0][0].hang_up()
        self.nodes.wait(2.0)
        places[1][0].hang_up()
        self.nodes.wait(10.0)
        self.nodes.skip(3000.0)
        self.nodes.wait(2.0)
        lines = []
        for seat, (_, key) in enumerate(places):
            line, _ = third.back(key)
            lines.append(line)
            said = line.ask("join_room", game="crowd", room_id="r2", create=False)
            self.assertEqual(said[0]["type"], "join_room_result", said)
            facts = said[0]["data"]
            self.assertEqual((facts["seat"], facts["state"]), (seat, "gathering"))
        self.nodes.wait(6.0)
        self.assertIn("room_started", [one["type"] for one in lines[0].heard()])

    def test_operators(self) -> None:
        """
        Operators list the rooms that sleep, and those of a player, and end one, through
        any node; of a room that another node has they learn where it is.
        """
        found, ownership = self.successResultOf, self.second.rooms.ownership
        later = Deferred.fromCoroutine(ownership.found("r1"))
        self.assertIn("node n1", self.failureResultOf(later, Refused).value.message)
        self.leave(self.ann, self.bob)
        (listed,) = found(Deferred.fromCoroutine(self.second.rooms.asleep()))
        self.assertEqual(
            (listed["room_id"], listed["game"], listed["state"]),
            ("r1", "letters", "playing"),
        )
        for seat in listed["players"]:
            later = Deferred.fromCoroutine(self.first.rooms.asleep(seat["player_id"]))
            self.assertEqual(found(later), [listed])
        room = found(Deferred.fromCoroutine(ownership.found("r1")))
        room.close("ended")
        self.assertEqual(found(Deferred.fromCoroutine(self.first.rooms.asleep())), [])
        self.assertEqual(self.notes.noted, [("over", "ended")])
