"""How play goes in a room: its start, what a game did, and what is due next."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from vinom.game import Game, Outcome
from vinom.model import MatchPlan
from vinom.rules.play import GAME_ERRORS, Play
from vinom.rules.room_absent import Absences
from vinom.rules.room_effects import Emitted, RoundOver, Started
from vinom.rules.room_out import RoomOut
from vinom.rules.room_seats import Presence, TickInputs
from vinom.rules.room_time import RoomTime


class RoomPlay(RoomOut):
    """What becomes of all that `vinom.rules.room.Room` lets happen."""

    _absences: Absences
    _waiting: TickInputs
    _armed_for: float | None
    _outcome: Outcome | None

    def __init__(
        self, plan: MatchPlan, game: Game[Any, Any], play: Play, time: RoomTime
    ) -> None:
        super().__init__(plan, game, play, time)
        self._absences = Absences(game)
        self._waiting = TickInputs()
        self._armed_for = None
        self._outcome = None

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
            elif how is Presence.BOT:
                self._absences.begin_bot(seat, 0.0)
                self._arm()
            elif how is not Presence.PRESENT:
                self._seats.presence[seat] = Presence.DROPPED
                self._absences.begin(seat, now, 0.0)
                self._tell_game(self._play.seat_dropped, seat, now)

    def _give_up(self, seat: int, now: float, time: float) -> None:
        """A seat is gone for good, since match *time*."""
        self._seats.presence[seat] = Presence.LEFT
        self._absences.end(seat)
        self._waiting.forget(seat)
        self._tell_game(self._play.seat_left, seat, now, time)
        if not self._seats.staying():
            self._close(self._quiet_end())
        else:
            self._pause_if_empty(now)

    def _tell_game(
        self,
        call: Callable[[int, float], None],
        seat: int,
        now: float,
        time: float | None = None,
    ) -> None:
        if self.phase == "closed":
            return
        try:
            call(seat, self.match_time(now) if time is None else time)
        except GAME_ERRORS as error:
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
            before, self._outcome = self._outcome, outcome
            if outcome is None:
                self.phase, self._time.linger_ends = "playing", inf
            else:
                is_next = self._ended is None or outcome.round > self._ended.round
                if is_next:
                    self._ended = outcome
                    self._effects.append(RoundOver(outcome))
                # A round that is taken up again and ends under its old number
                # is told once, but its room must close all the same.
                if is_next or before is None:
                    self.phase = "over"
                    self._time.linger_ends = now + self.game.linger
        self._arm()

    def _arm(self) -> None:
        play, absences = self._play, self._absences
        self._armed_for = play.due
        self._time.arm(
            play.due, play.next_tick(), absences.bot_at(), absences.forfeit_at()
        )

    def _pause_if_empty(self, now: float) -> None:
        if self.phase != "closed" and self._seats.is_empty():
            self._time.pause(now)
            self._arm()
