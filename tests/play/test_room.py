"""Rooms, as players, operators and game authors meet them."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support import games
from tests.support.games import Quiet, Say
from vinom.base.model import MatchPlan, SeatPlan
from vinom.errors import Code, Refused, Rejected
from vinom.game import Game
from vinom.play.clock import longest_life
from vinom.play.play import Recorded
from vinom.play.room import Closed, Emitted, Room, RoundOver, Started


def plan_for(
    game: Game[Any, Any], seats: int = 2, seed: int = 7, options: bytes = b"{}"
) -> MatchPlan:
    """Plan a match of ann, bob and so on."""
    names = ("ann", "bob", "cid", "dan", "eve")[:seats]
    places = tuple(SeatPlan(f"p-{name}", name) for name in names)
    return MatchPlan("m1", game.name, places, seed, options)


class RoomCase(SynchronousTestCase):
    """Opens a room at time 1000 on the caller's clock."""

    def open_room(
        self, game: Game[Any, Any] | None = None, seats: int = 2, join: bool = True
    ) -> Room:
        self.game = game or games.Teller()
        self.recorded: list[Recorded] = []
        room = Room(
            plan_for(self.game, seats), self.game, 1000.0, record=self.recorded.append
        )
        if join:
            for seat in range(seats):
                room.join(seat, 1000.0)
        return room

    def lines(self, room: Room) -> list[str]:
        return msgspec.msgpack.decode(room.view(room.audience_of(None)))["lines"]

    def ended(self, room: Room) -> Closed:
        """The last effect, which must be the end."""
        last = room.take_effects()[-1]
        assert isinstance(last, Closed)
        return last


class GatheringTests(RoomCase):
    def test_starts_when_all_are_there(self) -> None:
        """
        Match time starts the moment the last player joins, not before.
        """
        room = self.open_room(join=False)
        room.join(0, 1001.0)
        self.assertEqual(
            (room.phase, room.version, room.view("all")), ("gathering", 0, b"")
        )
        self.assertEqual(room.view_hash(), "")
        room.join(1, 1004.0)
        self.assertEqual((room.phase, room.version), ("playing", 1))
        self.assertEqual(room.take_effects(), [Started()])
        self.assertEqual(room.match_time(1006.5), 2.5)

    def test_nobody_acts_before(self) -> None:
        """
        An action before the start is refused.
        """
        room = self.open_room(join=False)
        room.join(0, 1001.0)
        with self.assertRaises(Rejected) as caught:
            room.act(0, Say("hi"), 1002.0)
        self.assertEqual(caught.exception.code, "room_gathering")

    def test_the_absent_are_dropped(self) -> None:
        """
        After ten seconds the players who joined play, and the game gets the others as
        dropped.
        """
        room = self.open_room(seats=3, join=False)
        room.join(0, 1001.0)
        room.join(2, 1002.0)
        self.assertEqual(room.deadline(), 1010.0)
        room.alarm(1010.0)
        self.assertEqual(room.phase, "playing")
        self.assertEqual(self.lines(room), ["0.0 1 dropped"])
        room.join(1, 1012.0)
        self.assertEqual(self.lines(room)[-1], "2.0 1 returned")

    def test_too_few_is_void(self) -> None:
        """
        With too few players after ten seconds the match is void, and the end
        names those who came.
        """
        room = self.open_room(seats=3, join=False)
        room.join(2, 1001.0)
        room.alarm(1010.0)
        end = self.ended(room).end
        self.assertEqual((end.reason, end.present, end.version), ("void", (2,), 0))
        self.assertEqual(room.deadline(), None)

    def test_dropped_while_gathering(self) -> None:
        """
        A player whose connection is lost before the start is waited for again.
        """
        room = self.open_room(join=False)
        room.join(0, 1001.0)
        room.drop(0, 1002.0)
        room.join(1, 1003.0)
        self.assertEqual(room.phase, "gathering")
        room.join(0, 1004.0)
        self.assertEqual(room.phase, "playing")

    def test_leaving_while_gathering(self) -> None:
        """
        A player who leaves before the start is not waited for; too few is void at once.
        """
        room = self.open_room(seats=3, join=False)
        room.join(0, 1001.0)
        room.join(1, 1001.0)
        room.leave(2, 1002.0)
        self.assertEqual(room.phase, "playing")
        self.assertEqual(self.lines(room), ["0.0 2 left"])
        room = self.open_room(join=False)
        room.join(0, 1001.0)
        room.leave(1, 1002.0)
        self.assertEqual(self.ended(room).end.reason, "void")

    def test_setup_is_known_at_the_first_join(self) -> None:
        """
        The part that never changes can be sent with the welcome.
        """
        room = self.open_room(join=False)
        self.assertEqual(msgspec.msgpack.decode(room.setup()), {"once": "upon a time"})
        self.assertEqual(self.open_room(games.Cards()).setup(), b"")

    def test_bad_choices(self) -> None:
        """
        Options or seats the game does not take are refused, naming the field.
        """
        from vinom.games.maze import Maze

        maze = Maze()
        with self.assertRaises(Refused) as caught:
            Room(plan_for(maze, options=b'{"rows": 1}'), maze, 0.0)
        self.assertEqual(caught.exception.code, Code.BAD_OPTIONS)
        self.assertEqual(caught.exception.details, {"field": "rows"})
        for seats in (1, 5):
            with self.assertRaises(Refused):
                Room(plan_for(maze, seats), maze, 0.0)
        loaded = MatchPlan("m", "maze", (SeatPlan("a", "a", b"[]"),) * 2, 1)
        with self.assertRaises(Refused) as caught:
            Room(loaded, maze, 0.0)
        self.assertEqual(caught.exception.code, Code.BAD_LOADOUT)


class PlayTests(RoomCase):
    def test_each_change_is_one_version(self) -> None:
        """
        A state that changed has the next version; one that did not keeps it.
        """
        room = self.open_room()
        room.act(0, Say("hi"), 1001.0)
        room.act(1, Quiet(), 1002.0)
        room.act(1, Say("ho"), 1003.0)
        self.assertEqual(room.version, 3)
        self.assertEqual(self.lines(room), ["1.0 0 hi", "3.0 1 ho"])

    def test_rejected_changes_nothing(self) -> None:
        """
        A refused action leaves version, view and recording as they were.
        """
        room = self.open_room()
        before = room.view("all")
        with self.assertRaises(Rejected):
            room.act(0, Say("no"), 1001.0)
        self.assertEqual((room.version, room.view("all")), (1, before))
        self.assertEqual(self.recorded, [])

    def test_events(self) -> None:
        """
        Each event of the game comes out once, in order, with its version.
        """
        room = self.open_room()
        room.act(1, Say("tell"), 1001.0)
        _, told, psst = room.take_effects()
        assert isinstance(told, Emitted)
        assert isinstance(psst, Emitted)
        self.assertEqual(
            (told.event.kind, told.event.to, told.version), ("told", None, 2)
        )
        self.assertEqual((psst.event.kind, psst.event.to), ("psst", 1))
        self.assertEqual(room.take_effects(), [])

    def test_a_view_is_encoded_once(self) -> None:
        """
        Everybody in one audience gets the very same bytes.
        """
        room = self.open_room()
        self.assertIs(room.view("all"), room.view("all"))
        digest = hashlib.sha256(room.view("all")).hexdigest()[:16]
        self.assertEqual(room.view_hash(), digest)

    def test_audiences_differ(self) -> None:
        """
        Each player sees its own card and nobody else's.
        """
        room = self.open_room(games.Cards())
        mine = msgspec.msgpack.decode(room.view(room.audience_of(0)))["cards"]
        public = msgspec.msgpack.decode(room.view(room.audience_of(None)))["cards"]
        self.assertEqual(mine, [room.state.cards[0], None])
        self.assertEqual(public, [None, None])

    def test_deadline_runs_before_a_late_input(self) -> None:
        """
        What was due before an input happens before it, at its own time.
        """
        room = self.open_room()
        room.act(0, Say("wake 3.0"), 1001.0)
        self.assertEqual(room.deadline(), 1003.0)
        room.act(1, Say("late"), 1005.0)
        self.assertEqual(self.lines(room)[1:], ["3.0 woke", "5.0 1 late"])

    def test_deadline_in_the_past(self) -> None:
        """
        A deadline that is already over is due at once; time never goes back.
        """
        room = self.open_room()
        room.act(0, Say("wake 0.5"), 1002.0)
        room.alarm(1002.0)
        self.assertEqual(self.lines(room)[-1], "2.0 woke")

    def test_unknown_action(self) -> None:
        """
        Bytes that aren't an action are refused with the field's name.
        """
        room = self.open_room()
        data = msgspec.msgpack.encode({"type": "say", "word": 3})
        with self.assertRaises(Refused) as caught:
            room.decode_action(data)
        self.assertEqual(caught.exception.code, Code.BAD_ACTION)
        self.assertEqual(caught.exception.details, {"field": "word"})
        self.assertEqual(
            room.decode_action(msgspec.msgpack.encode(Say("hi"))), Say("hi")
        )

    @given(st.binary(max_size=200))
    @settings(max_examples=300, deadline=None)
    def test_any_bytes(self, data: bytes) -> None:
        """
        No bytes from a player do more than be refused.
        """
        room = self.open_room()
        try:
            room.decode_action(data)
        except Refused as refused:
            self.assertEqual(refused.code, Code.BAD_ACTION)

    def test_deep_nesting(self) -> None:
        """
        A thousand nested lists are refused like any other nonsense.
        """
        room = self.open_room()
        for data in (
            b"\x91" * 100_000,
            b"\x82\xa4type\xa3say\xa1x" + b"\x91" * 100_000,
        ):
            with self.assertRaises(Refused):
                room.decode_action(data)


class TimeTests(RoomCase):
    def test_time_stops_while_nobody_can_play(self) -> None:
        """
        While all players are away, match time stops; it continues when one is back.
        """
        room = self.open_room()
        room.drop(0, 1001.0)
        room.drop(1, 1002.0)
        self.assertEqual(room.match_time(1009.0), 2.0)
        room.join(1, 1010.0)
        self.assertEqual(room.match_time(1011.0), 3.0)
        self.assertEqual(self.lines(room)[-1], "2.0 1 returned")

    def test_away_too_long(self) -> None:
        """
        A room in which nobody is left waits thirty seconds in all, not more.
        """
        room = self.open_room()
        room.leave(0, 1001.0)
        room.drop(1, 1002.0)
        room.join(1, 1022.0)
        room.drop(1, 1023.0)
        self.assertEqual(room.deadline(), 1033.0)
        room.alarm(1033.0)
        self.assertEqual(self.ended(room).end.reason, "abandoned")

    def test_everybody_left(self) -> None:
        """
        When the last player leaves, the room closes at once.
        """
        room = self.open_room()
        room.leave(0, 1001.0)
        room.leave(1, 1002.0)
        self.assertEqual(self.ended(room).end.reason, "abandoned")

    def test_time_limit(self) -> None:
        """
        A match that runs beyond its game's limit is ended.
        """
        room = self.open_room()
        self.assertEqual(room.deadline(), 1100.0)
        room.alarm(1100.0)
        end = self.ended(room).end
        self.assertEqual((end.reason, end.present), ("time_limit", (0, 1)))
        self.assertEqual(longest_life(self.game), 10.0 + 100.0 + 30.0 + 4.0)
        self.assertEqual(longest_life(self.game, 60.0), 60.0 + 100.0 + 30.0 + 4.0)

    def test_late_alarm_keeps_the_order(self) -> None:
        """
        However late the alarm, what was due earlier happens first.
        """
        room = self.open_room()
        room.act(0, Say("wake 99.0"), 1001.0)
        room.alarm(2000.0)
        self.assertEqual(self.lines(room)[-1], "99.0 woke")
        self.assertEqual(self.ended(room).end.reason, "time_limit")

    def test_ticks(self) -> None:
        """
        Inputs reach a game with ticks at its next step, all together.
        """
        room = self.open_room(games.Ticking())
        room.act(0, Say("a"), 1000.01)
        room.act(1, Say("b"), 1000.02)
        self.assertEqual(room.version, 1)
        room.alarm(1000.1)
        self.assertEqual(self.lines(room), ["#1 0 a", "#1 1 b"])
        self.assertEqual(room.version, 2)

    def test_late_ticks(self) -> None:
        """
        At most five steps are caught up; then match time slips.
        """
        room = self.open_room(games.Ticking())
        room.alarm(1003.0)
        self.assertEqual(room.state.rounds, 5)
        self.assertAlmostEqual(room.time.slipped, 2.5)
        self.assertAlmostEqual(room.deadline() or 0, 1003.1)

    def test_inputs_of_a_tick_are_bounded(self) -> None:
        """
        One player cannot pile up inputs for a step; others are not affected.
        """
        room = self.open_room(games.Ticking())
        for _ in range(32):
            room.act(0, Say("x"), 1000.01)
        with self.assertRaises(Rejected):
            room.act(0, Say("x"), 1000.02)
        room.act(1, Say("y"), 1000.02)

    @given(st.lists(st.floats(0, 5), max_size=30), st.floats(0, 1e9))
    @settings(max_examples=100, deadline=None)
    def test_alarms_settle(self, waits: list[float], now: float) -> None:
        """
        At any time an alarm leaves nothing due: no busy loop.
        """
        game = games.Ticking()
        room = Room(plan_for(game), game, now)
        room.join(0, now)
        room.join(1, now)
        for wait in waits:
            now += wait
            room.alarm(now)
            deadline = room.deadline()
            self.assertTrue(deadline is None or deadline > now)


class EndTests(RoomCase):
    def test_a_round_ends_and_the_room_lingers(self) -> None:
        """
        After a round the winners may continue until the linger is over.
        """
        room = self.open_room()
        room.act(0, Say("end"), 1001.0)
        over = room.take_effects()[-1]
        assert isinstance(over, RoundOver)
        self.assertEqual((room.phase, over.outcome.round), ("over", 1))
        room.act(1, Say("dance"), 1002.0)
        self.assertEqual(room.deadline(), 1005.0)
        room.alarm(1005.0)
        closed = self.ended(room)
        self.assertEqual(closed.end.reason, "finished")
        self.assertEqual(
            closed.end.outcome, {"round": 1, "places": [[0], [1]], "scores": []}
        )
        self.assertEqual(closed.end.view_hash, room.view_hash())
        self.assertEqual(closed.end.version, room.version)

    def test_another_round(self) -> None:
        """
        A rematch keeps the room open and ends with another round.
        """
        room = self.open_room()
        room.act(0, Say("end"), 1001.0)
        room.act(0, Say("again"), 1002.0)
        self.assertEqual((room.phase, room.deadline()), ("playing", 1100.0))
        room.act(0, Say("end"), 1050.0)
        rounds = [e.outcome.round for e in room.take_effects() if type(e) is RoundOver]
        self.assertEqual(rounds, [1, 2])
        room.leave(0, 1051.0)
        room.leave(1, 1051.0)
        self.assertEqual(self.ended(room).end.reason, "finished")

    def test_closed_is_closed(self) -> None:
        """
        After the end nothing is accepted and nothing more happens.
        """
        room = self.open_room()
        room.close("ended", 1001.0)
        self.assertEqual(self.ended(room).end.reason, "ended")
        with self.assertRaises(Rejected):
            room.act(0, Say("hi"), 1002.0)
        with self.assertRaises(Refused):
            room.join(0, 1002.0)
        room.drop(0, 1003.0)
        room.leave(1, 1003.0)
        room.alarm(9999.0)
        room.close("ended", 9999.0)
        self.assertEqual(room.take_effects(), [])

    def test_player_who_left_does_not_come_back(self) -> None:
        """
        A seat that was given up stays so.
        """
        room = self.open_room(seats=3)
        room.leave(1, 1001.0)
        with self.assertRaises(Refused):
            room.join(1, 1002.0)
        with self.assertRaises(Rejected):
            room.act(1, Say("hi"), 1002.0)


class CrashTests(RoomCase):
    def test_failing_act(self) -> None:
        """
        A game that fails ends its room with a report, and the caller lives on.
        """
        for word, error in (("boom", "ZeroDivisionError"), ("exit", "SystemExit")):
            room = self.open_room()
            room.act(0, Say("hi"), 1001.0)
            room.act(0, Say(word), 1002.0)
            closed = self.ended(room)
            self.assertEqual((closed.end.reason, closed.end.version), ("crashed", 2))
            self.assertIn(error, closed.report or "")
            self.assertIn("match m1, game teller, version 2", closed.report or "")
            self.assertEqual([r.data.word for r in self.recorded], ["hi", word])

    def test_failing_view(self) -> None:
        """
        A view that fails ends the room as well, also if it is asked only when the room
        is closed; nothing is sent.
        """
        for look in (
            lambda room: room.view("all"),
            lambda room: room.close("ended", 1002.0),
        ):
            room = self.open_room()
            room.act(0, Say("blind"), 1001.0)
            self.assertFalse(look(room))
            closed = self.ended(room)
            self.assertEqual((closed.end.reason, closed.end.view_hash), ("crashed", ""))
            self.assertIn("LookupError", closed.report or "")

    def test_failing_anywhere(self) -> None:
        """
        Whichever part of a game fails, its room ends and the caller lives on.
        """
        room = self.open_room(games.Clumsy())
        self.assertEqual(room.setup(), b"")
        self.assertIn("OverflowError: setup", self.ended(room).report or "")
        for word in ("audience", "outcome", "dropped"):
            room = self.open_room(games.Clumsy())
            room.act(0, Say(word), 1001.0)
            room.audience_of(0)
            room.drop(1, 1002.0)
            self.assertEqual(room.phase, "closed", word)
            self.assertIn(f"OverflowError: {word}", self.ended(room).report or "")

    def test_failing_while_the_game_learns_of_absent_seats(self) -> None:
        """
        A failure at the very start is a crash like any other.
        """

        class Fragile(games.Teller):
            def dropped(self, s: games.Tale, seat: int, now: float) -> games.Tale:
                raise OverflowError("dropped")

        room = self.open_room(Fragile(), seats=3, join=False)
        room.join(0, 1001.0)
        room.join(1, 1001.0)
        room.alarm(1010.0)
        self.assertEqual(self.ended(room).end.reason, "crashed")

    def test_no_state(self) -> None:
        """
        A forgotten return gets an error that names it.
        """
        room = self.open_room()
        room.act(0, Say("nothing"), 1001.0)
        self.assertIn("is a return missing", self.ended(room).report or "")

    def test_deadlines_must_move_on(self) -> None:
        """
        A game cannot keep its room busy forever.
        """
        for game, why in (
            (games.Stuck(), "deadline() is still 1.0 after advance()"),
            (games.Crawling(), "deadlines"),
        ):
            room = self.open_room(game)
            room.act(0, Say("wake 1.0"), 1000.5)
            while room.phase == "playing":
                room.alarm(1002.0)
            closed = self.ended(room)
            self.assertEqual(closed.end.reason, "crashed")
            self.assertIn(why, closed.report or "")

    def test_failing_start(self) -> None:
        """
        A game that cannot even start is over before anybody joined.
        """
        for game in (games.Changeable(), games.Smuggling()):
            room = self.open_room(game, join=False)
            self.assertEqual(room.phase, "closed")
            self.assertIn("items", self.ended(room).report or "")
            self.assertEqual(room.setup(), b"")
            with self.assertRaises(Refused):
                room.join(0, 1001.0)

    def test_failing_recording(self) -> None:
        """
        A recording that fails stops; the game does not.
        """

        def full(recorded: Recorded) -> None:
            raise OSError("disk full")

        game = games.Teller()
        room = Room(plan_for(game), game, 1000.0, record=full)
        room.join(0, 1000.0)
        room.join(1, 1000.0)
        room.act(0, Say("hi"), 1001.0)
        room.act(0, Say("ho"), 1002.0)
        self.assertEqual((room.phase, room.version), ("playing", 3))


class ImmutabilityTests(RoomCase):
    def test_a_game_cannot_change_what_others_hold(self) -> None:
        """
        A game that writes into a state fails, and the state others hold is as
        it was.
        """
        room = self.open_room(games.Meddling())
        held, shown = room.state, room.view("all")
        room.act(0, Say("hi"), 1001.0)
        self.assertIn("immutable type", self.ended(room).report or "")
        self.assertIs(room.state, held)
        self.assertEqual((held.lines, room.view("all")), ((), shown))
