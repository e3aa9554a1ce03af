"""
A room: one game, its seats and its time, on the caller's clock.

Inputs, joins, drops and time go in; effects come out. Nothing that a game
does wrong leaves here as an exception: it ends the room, with a report.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf
from typing import Any, Literal, TypeVar

import attrs

from vinom.errors import Code, Refused, Rejected
from vinom.game import Game, Outcome
from vinom.model import MatchEnd, MatchPlan
from vinom.rules.choices import action_reader
from vinom.rules.frozen import fingerprint
from vinom.rules.play import GameFault, Play, Recorded, table_of
from vinom.rules.room_effects import (
    Closed,
    Effect,
    Emitted,
    RoundOver,
    Started,
    crash_report,
    outcome_facts,
)
from vinom.rules.room_seats import Presence, RoomSeats, TickInputs
from vinom.rules.room_time import JOIN_PATIENCE, Due, RoomTime, longest_life
from vinom.rules.room_views import Views

__all__ = [
    "Closed",
    "Effect",
    "Emitted",
    "Recorded",
    "Room",
    "RoundOver",
    "Started",
    "longest_life",
    "outcome_facts",
]

#: At most this many ticks are caught up at once; then match time slips.
MOST_TICKS = 5
#: A game that asks for more deadlines than this at one moment has no end.
MOST_ADVANCES = 1000

# A game may raise anything, and may even ask to exit: that is its own end only.
_GAME_ERRORS = (Exception, SystemExit)


_PRESENT = Presence.PRESENT
_T = TypeVar("_T")


@attrs.define(eq=False, init=False)
class Room:
    """
    One match. Times are seconds on the caller's clock, which never goes back.

    Before play starts the version is 0 and there is no view.

    :ivar phase: "gathering", "playing", "over" (a round has ended), "closed".
    :ivar decode_action: reads an action from MessagePack; raises `Refused`,
        `Code.BAD_ACTION`, naming the field.
    """

    plan: MatchPlan
    game: Game[Any, Any]
    phase: Literal["gathering", "playing", "over", "closed"]
    decode_action: Callable[[bytes], Any]
    _play: Play
    _time: RoomTime
    _views: Views
    _seats: RoomSeats
    _effects: list[Effect]
    _waiting: TickInputs
    _armed_for: float | None
    _outcome: Outcome | None
    _ended: Outcome | None

    def __init__(
        self,
        plan: MatchPlan,
        game: Game[Any, Any],
        now: float,
        join_patience: float = JOIN_PATIENCE,
        record: Callable[[Recorded], None] | None = None,
    ) -> None:
        """
        Open a room and lay its table.

        :param record: see `vinom.rules.play.Play`.
        :raises Refused: the options, a loadout or the number of seats is not
            what the game takes.
        """
        table = table_of(plan, game)
        self.plan, self.game = plan, game
        self.phase = "gathering"
        self._play = Play(game, record)
        self._time = RoomTime(limit=game.time_limit, alarm_at=now + join_patience)
        self._views = Views(game)
        self._seats = RoomSeats([Presence.AWAITED] * len(plan.seats))
        self._effects = []
        self._waiting = TickInputs()
        self._armed_for = None
        self._outcome = self._ended = None
        self.decode_action = action_reader(game)
        try:
            self._play.lay(table)
        except _GAME_ERRORS as error:
            self._crash(error)

    # What the caller may ask.

    @property
    def version(self) -> int:
        """Count the changes of state; 0 before play starts."""
        return self._play.version

    @property
    def state(self) -> Any:
        """The game's current state, which nobody can change."""
        return self._play.state

    @property
    def slipped(self) -> float:
        """Tell how much match time was lost because ticks came too late, seconds."""
        return self._time.slipped

    def match_time(self, now: float) -> float:
        """Tell the match time, seconds; it stops while nobody could play."""
        if self.phase == "closed":
            return self._play.time
        return max(self._play.time, self._time.match_time(now))

    def deadline(self) -> float | None:
        """When to call `alarm` next."""
        return None if self.phase == "closed" else self._time.alarm_at

    def present(self) -> tuple[int, ...]:
        """Name the seats that are connected now."""
        return self._seats.present()

    def take_effects(self) -> list[Effect]:
        """Hand over what happened since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def audience_of(self, seat: int | None) -> Hashable:
        """Tell which view a seat sees; a spectator is ``None``."""
        return self._guarded(self._views.audience_of, self._play.state, seat)

    def view(self, audience: Hashable) -> bytes:
        """
        Show the current state to an audience: MessagePack, made once.

        Empty before play starts, and if the game fails at it (the room is
        closed then).
        """
        play = self._play
        if play.version == 0:
            return b""
        show = self._views.show
        return self._guarded(show, play.state, play.version, audience) or b""

    def setup(self) -> bytes:
        """Show what never changes: MessagePack, empty if there is nothing."""
        return self._guarded(self._views.setup, self._play.state) or b""

    def view_hash(self) -> str:
        """Name the public view: sha256, its first 16 hexadecimal digits."""
        shown = self.view(self.audience_of(None))
        return fingerprint(shown) if shown else ""

    # What can happen to a room.

    def act(self, seat: int, action: Any, now: float) -> None:
        """
        A seat acts; a game with ticks sees it at the next one.

        :raises Rejected: not now, or the game says no; nothing has changed.
        """
        if now >= self._time.alarm_at:
            self.alarm(now)
        phase = self.phase
        if phase == "gathering" or phase == "closed":
            raise Rejected(f"room_{phase}", f"the room is {phase}")
        if self._seats.presence[seat] is not _PRESENT:
            raise Rejected("not_seated", f"seat {seat} is not connected")
        if self.game.tick_hz:
            self._waiting.keep(seat, action)
            return
        play = self._play
        time = now - self._time.zero
        try:
            play.act(seat, action, time if time > play.time else play.time)
        except Rejected:
            raise
        except _GAME_ERRORS as error:
            self._crash(error)
        else:
            # Most inputs change nothing but the state.
            if (
                play.events
                or play.outcome is not self._outcome
                or play.due != self._armed_for
            ):
                self._after_change(now)

    def join(self, seat: int, now: float) -> None:
        """
        A seat's player connected, for the first time or again.

        :raises Refused: the room is closed, or the seat was given up.
        """
        self.alarm(now)
        if self.phase == "closed":
            raise Refused(Code.NO_SUCH_MATCH, "this match is over")
        how = self._seats.presence[seat]
        if how is Presence.LEFT:
            raise Refused(Code.WRONG_SEAT, "this seat was given up")
        self._seats.presence[seat] = _PRESENT
        if self.phase == "gathering":
            self._start_if_complete(now)
        elif how is not _PRESENT:
            self._time.resume(now)
            self._tell_game(self._play.seat_returned, seat, now)

    def drop(self, seat: int, now: float) -> None:
        """A seat's connection was lost; the seat is kept."""
        self.alarm(now)
        if self.phase == "closed" or self._seats.presence[seat] is not _PRESENT:
            return
        self._seats.presence[seat] = Presence.DROPPED
        if self.phase != "gathering":
            self._tell_game(self._play.seat_dropped, seat, now)
            self._pause_if_empty(now)

    def leave(self, seat: int, now: float) -> None:
        """A seat's player is gone for good."""
        self.alarm(now)
        if self.phase == "closed" or self._seats.presence[seat] is Presence.LEFT:
            return
        self._seats.presence[seat] = Presence.LEFT
        if self.phase == "gathering":
            if self._seats.staying() < self.game.seats[0]:
                self._close("void")
            else:
                self._start_if_complete(now)
            return
        self._tell_game(self._play.seat_left, seat, now)
        if not self._seats.staying():
            self._close(self._quiet_end())
        else:
            self._pause_if_empty(now)

    def close(self, reason: str, now: float) -> None:
        """End the match, for one of the reasons of `vinom.model.EndReason`."""
        self.alarm(now)
        self._close(reason)

    def alarm(self, now: float) -> None:
        """Do what has become due; harmless if nothing has."""
        ticks, advances = MOST_TICKS, MOST_ADVANCES
        try:
            while now >= self._time.alarm_at:
                match self._time.alarm_for:
                    case Due.DEADLINE:
                        advances -= 1
                        self._run_deadline(now, advances)
                    case Due.TICK:
                        ticks -= 1
                        self._run_tick(now, ticks)
                    case Due.PATIENCE:
                        if len(self.present()) >= self.game.seats[0]:
                            self._start(now)
                        else:
                            self._close("void")
                    case Due.TIME_LIMIT:
                        over = self.phase == "over"
                        self._close("finished" if over else "time_limit")
                    case Due.LINGER | Due.AWAY:
                        self._close(self._quiet_end())
                    case Due.NOTHING:
                        return
        except _GAME_ERRORS as error:
            self._crash(error)

    # Time.

    def _run_deadline(self, now: float, more: int) -> None:
        if more <= 0:
            raise GameFault(f"more than {MOST_ADVANCES} deadlines at one moment")
        # The game sees the time it asked for, however late the alarm came,
        # but never sees time go back.
        self._play.advance(max(self._play.due or 0.0, self._play.time))
        self._after_change(now)

    def _run_tick(self, now: float, more: int) -> None:
        at = self._play.next_tick() or 0.0
        if more < 0:
            self._time.slip(now, at, 1.0 / self.game.tick_hz)
            self._arm()
            return
        self._play.tick(self._waiting.take(), max(at, self._play.time))
        self._after_change(now)

    def _arm(self) -> None:
        self._armed_for = self._play.due
        self._time.arm(self._play.due, self._play.next_tick())

    def _pause_if_empty(self, now: float) -> None:
        if self.phase != "closed" and self._seats.is_empty():
            self._time.pause(now)
            self._arm()

    # Play.

    def _start_if_complete(self, now: float) -> None:
        if self._seats.is_complete():
            self._start(now)

    def _start(self, now: float) -> None:
        self.phase = "playing"
        self._time.start(now)
        self._play.begin()
        self._effects.append(Started())
        self._after_change(now)
        for seat, how in enumerate(self._seats.presence):
            if how is Presence.LEFT:
                self._tell_game(self._play.seat_left, seat, now)
            elif how is not _PRESENT:
                self._seats.presence[seat] = Presence.DROPPED
                self._tell_game(self._play.seat_dropped, seat, now)

    def _tell_game(
        self, call: Callable[[int, float], None], seat: int, now: float
    ) -> None:
        if self.phase == "closed":
            return
        try:
            call(seat, self.match_time(now))
        except _GAME_ERRORS as error:
            self._crash(error)
        else:
            self._after_change(now)

    def _after_change(self, now: float) -> None:
        """Turn what the game did into effects, and find the next deadline."""
        play = self._play
        if play.events:
            version = play.version
            self._effects += [Emitted(event, version) for event in play.events]
            play.events.clear()
        outcome = play.outcome
        if outcome is not self._outcome:
            self._outcome = outcome
            if outcome is None:
                self.phase, self._time.linger_ends = "playing", inf
            elif self._ended is None or outcome.round > self._ended.round:
                self._ended = outcome
                self.phase = "over"
                self._time.linger_ends = now + self.game.linger
                self._effects.append(RoundOver(outcome))
        self._arm()

    # The end.

    def _guarded(self, call: Callable[..., _T], *args: Any) -> _T | None:
        """Ask the game something; if it fails the room ends."""
        try:
            return call(*args)
        except _GAME_ERRORS as error:
            self._crash(error)
            return None

    def _quiet_end(self) -> str:
        """Name the end of a room that nobody needs any more."""
        return "abandoned" if self._ended is None else "finished"

    def _fails_to_show(self) -> bool:
        self.view_hash()
        return self.phase == "closed"

    def _crash(self, error: BaseException) -> None:
        report = crash_report(self.plan, self.version, self._play.time, error)
        self._close("crashed", report)

    def _close(self, reason: str, report: str | None = None) -> None:
        # The last view is part of the end: a game that fails at it has crashed,
        # whatever the room was to be closed for.
        if self.phase == "closed" or (reason != "crashed" and self._fails_to_show()):
            return
        self.phase = "closed"
        self._time.stop()
        end = MatchEnd(
            match_id=self.plan.match_id,
            reason=reason,
            outcome=None if self._ended is None else outcome_facts(self._ended),
            present=self.present(),
            version=self.version,
            view_hash=self.view_hash(),
        )
        self._effects.append(Closed(end, report))
