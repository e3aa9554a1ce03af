"""Calls into games that take long, on a simulated clock."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from tests.support.games import Say, Tale, TaleView, Teller
from vinom.base.model import MatchPlan, SeatPlan
from vinom.play.guard import PAUSE, Guard, SlowCall, TooSlow
from vinom.play.room import BotFailed, Closed, Room


class Time:
    """A clock and its only alarm, which rings in the code that takes time."""

    def __init__(self) -> None:
        self.now = self.worked = 0.0
        self.rings_at: float | None = None
        self.told: list[SlowCall] = []
        self.guard = Guard(
            lambda: self.now, lambda: self.worked, self.set_alarm, self.told.append
        )

    def set_alarm(self, seconds: float) -> None:
        self.rings_at = self.now + seconds

    def pass_by(self, seconds: float) -> None:
        """Take time in Python, where the alarm interrupts."""
        end = self.now + seconds
        while self.rings_at is not None and self.rings_at <= end:
            self.worked += self.rings_at - self.now
            self.now, self.rings_at = self.rings_at, None
            self.guard.look()
        self.worked += end - self.now
        self.now = end

    def block(self, seconds: float, works: bool) -> None:
        """Take time in code that no alarm interrupts."""
        self.now += seconds
        self.worked += seconds if works else 0.0
        if self.rings_at is not None and self.rings_at <= self.now:
            self.rings_at = None
            self.guard.look()


class Dawdler(Teller):
    """
    A teller that takes its time.

    :ivar slow: seconds that each call takes.
    """

    absent = "bot"

    def __init__(self, time: Time, **slow: float) -> None:
        self.time, self.slow = time, slow

    def dawdle(self, call: str) -> None:
        self.time.pass_by(self.slow.get(call, 0.0))

    def start(self, table: Any) -> Tale:
        self.dawdle("start")
        return replace(super().start(table), wake_at=7.0)

    def act(self, s: Tale, seat: int, action: Any, now: float) -> Any:
        match action.word.split():
            case ["block", seconds]:
                self.time.block(float(seconds), works=True)
            case ["stopped", seconds]:
                self.time.block(float(seconds), works=False)
            case ["take", seconds]:
                self.time.pass_by(float(seconds))
            case ["swallow"]:
                for _ in range(3):
                    try:
                        self.time.pass_by(5.0)
                    except BaseException:
                        continue
        return super().act(s, seat, action, now)

    def deadline(self, s: Tale) -> float | None:
        self.dawdle("deadline")
        return super().deadline(s)

    def outcome(self, s: Tale) -> Any:
        self.dawdle("outcome")
        return super().outcome(s)

    def advance(self, s: Tale, now: float) -> Any:
        self.dawdle("advance")
        return super().advance(s, now)

    def dropped(self, s: Tale, seat: int, now: float) -> Any:
        self.dawdle("dropped")
        return super().dropped(s, seat, now)

    def audience(self, s: Tale, seat: int | None) -> Any:
        self.dawdle("audience")
        return seat

    def view(self, s: Tale, audience: Any) -> TaleView:
        self.dawdle("view")
        return super().view(s, audience)

    def setup(self, s: Tale) -> Any:
        self.dawdle("setup")
        return super().setup(s)

    def bot(self, view: Any, seat: int, chance: Any, setup: Any) -> Any:
        self.dawdle("bot")
        return Say("hello")


class GuardTests(SynchronousTestCase):
    """A room whose game takes its time."""

    def open(self, **slow: float) -> Room:
        self.time = Time()
        plan = MatchPlan("m1", "teller", (SeatPlan("a", "a"), SeatPlan("b", "b")), 1)
        game = Dawdler(self.time, **slow)
        return Room(plan, game, 0.0, guard=self.time.guard)

    def play(self, **slow: float) -> Room:
        room = self.open(**slow)
        for seat in (0, 1):
            room.join(seat, 0.0)
        return room

    def end_of(self, room: Room) -> Closed:
        ends = [one for one in room.take_effects() if isinstance(one, Closed)]
        self.assertEqual(1, len(ends), room.phase)
        self.assertIsNone(self.time.guard.call)
        return ends[0]

    def test_slow_call(self) -> None:
        """
        A call over 50 ms is reported with match, game and name; a faster one is not.
        """
        room = self.play()
        room.act(0, Say("take 0.04"), 1.0)
        room.act(0, Say("take 0.04"), 1.0)
        self.assertEqual([], self.time.told)
        room.act(1, Say("take 0.06"), 1.0)
        (slow,) = self.time.told
        self.assertEqual(("m1", "teller", "act"), (slow.match_id, slow.game, slow.call))
        self.assertAlmostEqual(0.06, slow.seconds)
        self.assertEqual("playing", room.phase)

    def test_any_slow_call_is_seen(self) -> None:
        """
        However the alarm happens to fall, no call over 50 ms is missed.
        """
        for before in range(0, 60, 3):
            room = self.play()
            room.act(0, Say(f"take {before / 1000}"), 1.0)
            room.act(0, Say("take 0.051"), 1.0)
            self.assertIn(51, [round(one.seconds * 1000) for one in self.time.told])

    def test_endless_calls(self) -> None:
        """
        Any call that takes forever ends its room after a second, and the report names
        it.
        """
        for call in ("start", "outcome", "deadline", "dropped", "advance", "bot"):
            room = self.play()
            room.game.slow = {call: 100.0}
            if call == "start":
                room = self.open(start=100.0)
            else:
                room.drop(1, 1.0)
                room.alarm(9.0)
            closed = self.end_of(room)
            self.assertEqual("crashed", closed.end.reason)
            self.assertIn(f"TooSlow: {call}() took more than 1 s", closed.report or "")
            self.assertAlmostEqual(1.0, self.time.now)
            self.assertEqual([call], [one.call for one in self.time.told])

    def test_endless_act(self) -> None:
        """
        An action that takes forever ends the room.
        """
        room = self.play()
        room.act(0, Say("take 9"), 1.0)
        self.assertIn("TooSlow: act()", self.end_of(room).report or "")

    def test_endless_views(self) -> None:
        """
        A game that never shows its state is asked once, not once for each player.
        """
        for call in ("audience", "view", "setup"):
            room = self.play(**{call: 100.0})
            for seat in (0, 1, None):
                room.view(room.audience_of(seat))
                room.setup()
            self.assertIn(f"TooSlow: {call}()", self.end_of(room).report or "")
            self.assertAlmostEqual(1.0, self.time.now)

    def test_swallowed(self) -> None:
        """
        A game that catches everything is struck again at once.
        """
        room = self.play()
        room.act(0, Say("swallow"), 1.0)
        self.assertAlmostEqual(1.0, self.time.now, places=3)
        self.assertEqual("playing", room.phase)
        room.act(0, Say("take 3"), 2.0)
        closed = self.end_of(room)
        self.assertNotIn("During handling", closed.report or "")

    def test_deaf(self) -> None:
        """
        A call that works for long where nothing interrupts it ends its room
        as soon as it is over.
        """
        room = self.play()
        room.act(0, Say("block 3"), 1.0)
        report = self.end_of(room).report or ""
        self.assertIn("TooSlow: act() took 3.0 s in code that cannot be", report)

    def test_stopped_process(self) -> None:
        """
        A process that was stopped for a while, in the middle of a call, ends
        no match for that.
        """
        room = self.play()
        room.act(0, Say("stopped 60"), 1.0)
        self.assertEqual("playing", room.phase)
        self.assertEqual(60.0, self.time.told[0].seconds)

    def test_long_work_of_many(self) -> None:
        """
        Many calls that are within the limit do not add up.
        """
        room = self.play()
        for _ in range(50):
            room.act(0, Say("take 0.9"), 1.0)
            room.act(0, Say("block 0.9"), 1.0)
        self.assertEqual("playing", room.phase)
        self.assertEqual(100, len(self.time.told))

    def test_quiet(self) -> None:
        """
        Where nothing is played no alarm rings.
        """
        self.play()
        self.time.pass_by(PAUSE)
        self.assertIsNone(self.time.rings_at)
        self.time.pass_by(60.0)
        self.assertFalse(self.time.guard.is_set)

    def test_bot_that_fails(self) -> None:
        """
        A bot that only fails is given up as usual: the match continues.
        """
        room = self.play()
        room.game.bot = lambda *_: 1 / 0
        room.drop(1, 1.0)
        room.alarm(3.0)
        self.assertEqual([BotFailed], [type(one) for one in room.take_effects()][-1:])
        self.assertEqual("playing", room.phase)

    def test_nobody_rings(self) -> None:
        """
        Without an alarm, as in a replay, calls take as long as they take.
        """
        plan = MatchPlan("m1", "teller", (SeatPlan("a", "a"), SeatPlan("b", "b")), 1)
        self.time = Time()
        room = Room(plan, Dawdler(self.time), 0.0)
        room.join(0, 0.0)
        room.join(1, 0.0)
        room.act(0, Say("take 60"), 1.0)
        self.assertEqual("playing", room.phase)

    def test_no_exception(self) -> None:
        """
        A game that catches every exception does not catch this one.
        """
        self.assertFalse(issubclass(TooSlow, Exception))
