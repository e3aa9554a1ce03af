"""Wrong answers of a game: they end its own room, in words, and nothing else."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from msgspec.structs import replace

from tests.play.test_room import RoomCase
from tests.support import games
from tests.support.games import Say, Tale
from vinom.errors import Rejected
from vinom.game import Event, Outcome, Step, Table
from vinom.play.room import Room, RoundOver


class Answering(games.Teller):
    """Answers what its tests put here, as soon as anybody has spoken."""

    due: Any = None
    said: Any = ()
    ended: Any = None
    public: Any = "all"

    def act(self, s: Tale, seat: int, action: Any, now: float) -> Any:
        return Step(replace(s, lines=(*s.lines, "x")), self.said)

    def deadline(self, s: Tale) -> Any:
        return self.due if s.lines else None

    def outcome(self, s: Tale) -> Any:
        return self.ended if s.lines else None

    def audience(self, s: Tale, seat: int | None) -> Hashable:
        return self.public if s.lines else "all"


class AnswerTests(RoomCase):
    def report_on(self, **answers: Any) -> str:
        """Let a game give these answers; the report of its crash."""
        room = self.open_room(type("Wrong", (Answering,), answers)())
        room.act(0, Say("hi"), 1001.0)
        room.view(room.audience_of(0))
        room.drop(1, 1002.0)
        return self.ended(room).report or ""

    def test_outcomes(self) -> None:
        """
        An outcome that cannot be sent ends the room when it is made, not later, in the
        code that sends it.
        """
        for outcome, why in (
            ({"places": []}, "return an Outcome whose round is an int"),
            (Outcome("one", ((0,),)), "return an Outcome whose round is an int"),
            (Outcome(1, (0, 1)), "places must be a tuple of tuples"),
            (
                Outcome(1, ((0,), (7,))),
                "outcome() ranks seat 7, which does not exist; "
                "this table has seats 0 to 1",
            ),
            (Outcome(1, ((0,),), ("ten",)), "the score 'ten'"),
            (Outcome(1, ((0,),), [1, 2]), "scores a tuple of numbers"),
        ):
            self.assertIn(why, self.report_on(ended=outcome))

    def test_events(self) -> None:
        """
        An event that cannot be sent ends the room too.
        """
        for said, why in (
            (("told",), "the event 'told'; each event must be an Event"),
            ((Event(3),), "an Event whose kind is a str"),
            ((Event("told", object()),), "'told' cannot be sent"),
            ((Event("told", 1 << 70),), "'told' cannot be sent"),
            (
                (Event("psst", to=2),),
                "event 'psst' is addressed to seat 2, but this table has seats 0 to 1",
            ),
            ((Event("psst", to=(0, 2)),), "is addressed to seat 2, but this table has"),
            ((Event("psst", to=(0, "red")),), "is addressed to seat 'red', but this"),
            (
                (Event("psst", to="red"),),
                "event 'psst' is addressed to 'red'; name a seat, a tuple of seats, or "
                "an audience, which is one of 'all' here",
            ),
            ((Event("psst", to=[0, 1]),), "'psst' is addressed to [0, 1]; name a seat"),
            (5, "not iterable"),
        ):
            self.assertIn(why, self.report_on(said=said))

    def test_deadlines(self) -> None:
        """
        A deadline is a number.
        """
        for due in ("soon", float("inf"), float("nan"), 1 << 5000, 1j):
            self.assertNotEqual(self.report_on(due=due), "", due)
        why = "return a match time, or None for no deadline"
        self.assertIn(why, self.report_on(due=float("nan")))

    def test_audiences(self) -> None:
        """
        An audience that cannot be distinguished from others ends the room, and its
        members are shown nothing.
        """
        self.assertIn("unhashable", self.report_on(public=["all"]))
        room = self.open_room(type("Wrong", (Answering,), {"public": [1]})())
        room.act(0, Say("hi"), 1001.0)
        self.assertEqual(room.view(room.audience_of(0)), b"")
        # A game may call an audience None; this is none of its audiences.
        self.assertIsNot(room.audience_of(0), None)

    def test_no_first_state(self) -> None:
        """
        If start() has no return, the report names that.
        """

        class Forgetful(games.Teller):
            def start(self, table: Table) -> Any:
                return None

        room = self.open_room(Forgetful(), join=False)
        self.assertIn("start() returned no state", self.ended(room).report or "")

    def test_rejected_too_late(self) -> None:
        """
        Only an action is refused: what the rules forbid after the state has
        changed is a crash, never a refusal that changed something.
        """

        class Late(games.Teller):
            def outcome(self, s: Tale) -> Outcome | None:
                if s.lines:
                    raise Rejected("no", "too late")
                return None

        room = self.open_room(Late())
        room.act(0, Say("hi"), 1001.0)
        self.assertIn("raised Rejected; only act() may", self.ended(room).report or "")


class Metronome(games.Teller):
    """Wants to be called again and again, `step` seconds apart."""

    step = 0.1

    def start(self, table: Table) -> Tale:
        return Tale(wake_at=0.0)

    def advance(self, s: Tale, now: float) -> Tale:
        return replace(s, wake_at=s.wake_at + self.step, rounds=s.rounds + 1)


class StallTests(RoomCase):
    def test_catching_up(self) -> None:
        """
        A game that asked for many deadlines survives a long stall.
        """

        class Quick(Metronome):
            step = 0.03125

        room = self.open_room(Quick())
        while (room.deadline() or 0) <= 1090.0:
            room.alarm(1090.0)
        self.assertEqual(room.phase, "playing")
        self.assertEqual(room.state.rounds, 90 * 32 + 1)
        self.assertGreater(room.deadline() or 0, 1090.0)

    def test_too_many_for_anybody(self) -> None:
        """
        More than a thousand deadlines per second are a fault; so are as many in the
        past.
        """

        class Frantic(Metronome):
            step = 0.0005

        class Ancient(Metronome):
            step = 5.0

            def start(self, table: Table) -> Tale:
                return Tale(wake_at=-1e9)

        for game in (Frantic(), Ancient()):
            room = self.open_room(game)
            while room.phase == "playing":
                room.alarm(1002.0)
            self.assertIn("1000 deadlines", self.ended(room).report or "")


class RoundTests(RoomCase):
    def finish(self, room: Room, word: str, now: float) -> None:
        room.act(0, Say(word), now)

    def test_a_round_under_its_old_number(self) -> None:
        """
        A round that is resumed and ends again is reported once, and its room still
        closes after the linger.
        """

        class Undoing(games.Teller):
            def outcome(self, s: Tale) -> Outcome | None:
                return Outcome(1, ((0,), (1,))) if s.over else None

        room = self.open_room(Undoing())
        self.finish(room, "end", 1001.0)
        self.finish(room, "again", 1002.0)
        self.assertEqual((room.phase, room.deadline()), ("playing", 1100.0))
        self.finish(room, "end", 1003.0)
        self.assertEqual((room.phase, room.deadline()), ("over", 1007.0))
        told = [one for one in room.take_effects() if isinstance(one, RoundOver)]
        self.assertEqual(len(told), 1)
        room.alarm(1007.0)
        self.assertEqual(self.ended(room).end.reason, "finished")
