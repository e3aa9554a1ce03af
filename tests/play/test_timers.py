"""Games with named timers beside the one deadline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from tests.play.test_recording import RecordingCase
from tests.play.test_room import RoomCase, plan_for
from tests.support.games import Say, Tale, Teller
from vinom.errors import Rejected
from vinom.game import Event, Game, Outcome, Seat, State, Step, Table
from vinom.play.play import Recorded
from vinom.play.recording import History, play_again, read_recording, replay
from vinom.play.room import Room
from vinom.testing import play
from vinom.tools.check.trial import try_game


class Weather(State, frozen=True):
    """What has come, and when what comes next."""

    came: tuple[str, ...] = ()
    dusk: float | None = None
    storm: float | None = None
    tide: float | None = 4.0
    at: tuple[tuple[str, float], ...] = ()


class Wait(Struct, frozen=True):
    """Let a storm come at a time."""

    until: float


class Sea(Game[Weather, Wait]):
    """A tide each four seconds until dusk at ten, and storms when asked for."""

    name = "sea"
    actions = Wait
    seats = (2, 2)

    def start(self, table: Table) -> Weather:
        return Weather(dusk=10.0)

    def act(self, s: Weather, seat: int, action: Wait, now: float) -> Weather:
        return s.with_(storm=max(action.until, now + 1.0))

    def deadline(self, s: Weather) -> float | None:
        return s.dusk

    def timers(self, s: Weather) -> Mapping[str, float | None]:
        return {"tide": s.tide, "storm": s.storm}

    def advance(self, s: Weather, now: float, name: str = "") -> Weather:
        s = s.with_(at=(*s.at, (name or "dusk", now)))
        match name:
            case "tide":
                return s.with_(tide=now + 4.0 if s.dusk else None)
            case "storm":
                return s.with_(storm=None)
        return s.with_(dusk=None)

    def outcome(self, s: Weather) -> Outcome | None:
        return None if s.dusk else Outcome(1, ((0, 1),))


class Obeying(Teller):
    """Returns what a test wants for its timers."""

    wanted: Any = None

    def timers(self, s: Tale) -> Any:
        return self.wanted if s.lines else {}

    def advance(self, s: Tale, now: float, name: str = "") -> Tale:
        return self._noted(s, now, name)


class TimerTests(SynchronousTestCase):
    def test_each_at_its_time(self) -> None:
        """
        A game is called with a timer's name at its time, and without one at its
        deadline; what was set to ``None`` does not come.
        """
        match = play(Sea)
        match.act(0, Wait(6.5))
        match.wait(30.0)
        self.assertEqual(
            match.state.at,
            (("tide", 4.0), ("storm", 6.5), ("tide", 8.0), ("dusk", 10.0),
             ("tide", 12.0)),
        )  # fmt: skip

    def test_at_the_same_time(self) -> None:
        """
        At the same time the deadline comes first, then the timers as they are listed.
        """
        match = play(Sea)
        match.act(0, Wait(4.0))
        match.wait(4.0)
        self.assertEqual(match.state.at, (("tide", 4.0), ("storm", 4.0)))
        match.wait(4.0)
        match.act(0, Wait(10.0))
        match.wait(2.0)
        self.assertEqual(match.state.at[-2:], (("dusk", 10.0), ("storm", 10.0)))

    def test_without_a_deadline(self) -> None:
        """
        A game may have timers only; while none is set, nothing is due.
        """

        class Storms(Game[Weather, Wait]):
            actions = Wait
            start, act, timers, advance = Sea.start, Sea.act, Sea.timers, Sea.advance

        match = play(Storms)
        match.wait(4.5)
        match.act(1, Wait(5.5))
        match.wait(1.0)
        self.assertEqual(match.state.at, (("tide", 4.0), ("storm", 5.5)))

    def test_played_again(self) -> None:
        """
        When an author saves better rules, timers come by their names once more.
        """
        history = History(plan_for(Sea()), lambda call: None)
        history.add(Recorded("advance", 4.0, -1, "tide"))
        history.add(Recorded("act", 5.0, 0, Wait(7.0)))
        again = play_again(history, Sea())
        self.assertEqual((again.kept, again.wrong), (2, ""))
        self.assertEqual(again.play.state.at, (("tide", 4.0),))
        self.assertEqual((again.play.due, again.play.due_for), (7.0, "storm"))

    def test_newcomers_stay(self) -> None:
        """
        Where better rules refuse an input, a newcomer's leaving still counts, although
        it came after the first state.
        """

        class Farewell(Sea):
            def act(self, s: Weather, seat: int, action: Wait, now: float) -> Any:
                raise Rejected("calm", "no storms")

            def left(self, s: Weather, seat: int, now: float) -> Any:
                return Step(s.with_(came=("left",)), (Event("bye", to=seat),))

        history = History(plan_for(Sea()), lambda call: None)
        history.add(Recorded("joined", 1.0, 2, Seat("late")))
        history.add(Recorded("act", 2.0, 0, Wait(7.0)))
        history.add(Recorded("left", 3.0, 2))
        again = play_again(history, Farewell())
        self.assertEqual((again.kept, again.play.state.came), (1, ("left",)))

    def test_the_check(self) -> None:
        """
        ``vinom check`` plays the timers of a game, and finds nothing wrong with them.
        """
        trial = try_game(Sea(), "sea", 2, 5)
        self.assertEqual(trial.findings, [])
        called = {line.split()[2] for line in trial.trace if " advance " in line}
        self.assertLessEqual({"tide", "-1"}, called)


class TimerFaultTests(RoomCase):
    def test_unusable_timers(self) -> None:
        """
        What is not match times by name ends the room, and its author is told what.
        """
        for wanted, why in (
            (3.0, "timers() returned 3.0; return match times by name"),
            ({"": 3.0}, "timers() has the name ''; a name must be a text"),
            ({7: 3.0}, "timers() has the name 7; a name must be a text"),
            ({"storm": "soon"}, "timers() has for 'storm' 'soon'; return a match time"),
            ({"storm": 1.5}, "timer 'storm' is still 1.5 after advance() at 1.5"),
        ):
            game = Obeying()
            game.wanted = wanted
            room = self.open_room(game)
            room.act(0, Say("hi"), 1001.0)
            room.alarm(1002.0)
            self.assertIn(why, self.ended(room).report or "")


class TimerRecordingTests(RecordingCase):
    def test_replayed_by_name(self) -> None:
        """
        A recording has the name of each timer that came, and replays to the same.
        """
        data = self.play(Sea(), [(1.0, "act", 0, Wait(6.5))])
        result = replay(read_recording(data), Sea())
        self.assertIsNone(result.differing)
        self.assertEqual(result.time, 12.0)

    def test_gone_on_elsewhere(self) -> None:
        """
        A room that goes on from a checkpoint calls its timers when they are due.
        """
        first = Room(plan_for(Sea()), Sea(), 1000.0)
        for seat in (0, 1):
            first.join(seat, 1000.0)
        first.act(0, Wait(6.5), 1001.0)
        first.alarm(1005.0)
        room = Room(first.plan, Sea(), 2000.0, resumed=first.resumed_from(1005.0))
        room.join(0, 2000.0)
        room.alarm(2001.5)
        self.assertEqual(room.state.at, (("tide", 4.0), ("storm", 6.5)))
