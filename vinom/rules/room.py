"""
A room: one game, its seats and its time, on the caller's clock.

Inputs, joins, drops and time go in; effects come out. Nothing that a game
does wrong leaves here as an exception: it ends the room, with a report.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import attrs

from vinom.errors import Code, Refused, Rejected
from vinom.game import Game
from vinom.model import MatchPlan, SeatPlan
from vinom.rules.choices import action_reader
from vinom.rules.guard import Guard, TooSlow
from vinom.rules.play import GAME_ERRORS, Play, Recorded, seat_at, table_of
from vinom.rules.room_absent import StandIns
from vinom.rules.room_effects import (
    BotFailed,
    Closed,
    Effect,
    Emitted,
    Forfeited,
    RoundOver,
    Started,
    outcome_facts,
)
from vinom.rules.room_play import RoomPlay
from vinom.rules.room_seats import Presence
from vinom.rules.room_time import (
    AWAY_PATIENCE,
    JOIN_PATIENCE,
    Advances,
    Due,
    RoomTime,
    longest_life,
)

__all__ = [
    "BotFailed",
    "Closed",
    "Effect",
    "Emitted",
    "Forfeited",
    "Recorded",
    "Room",
    "RoundOver",
    "Started",
    "longest_life",
    "outcome_facts",
]

#: At most this many ticks are caught up at once; then match time slips.
MOST_TICKS = 5
#: So many deadlines are made up for at once; then other rooms have their turn.
MOST_AT_ONCE = 10

_PRESENT = Presence.PRESENT


class Room(RoomPlay):
    """
    One match. Times are seconds on the caller's clock, which never goes back.

    Before play starts the version is 0 and there is no view.

    :ivar decode_action: reads an action from MessagePack; raises `Refused`,
        `Code.BAD_ACTION`, naming the field.
    """

    decode_action: Callable[[bytes], Any]
    _advances: Advances
    _stand_ins: StandIns
    _ticks: bool

    def __init__(
        self,
        plan: MatchPlan,
        game: Game[Any, Any],
        now: float,
        join_patience: float = JOIN_PATIENCE,
        record: Callable[[Recorded], None] | None = None,
        guard: Guard | None = None,
        away_patience: float = AWAY_PATIENCE,
    ) -> None:
        """
        Open a room and lay its table.

        :param away_patience: how long it waits, in all, while nobody is connected.

        :param record: see `vinom.rules.play.Play`.
        :param guard: likewise; the process's, or calls may take for ever.
        :raises Refused: the options, a loadout, a team or the number of seats
            is not what the game takes.
        """
        table = table_of(plan, game)
        time = RoomTime(
            limit=game.time_limit,
            alarm_at=now + join_patience,
            away_left=away_patience,
        )
        play = Play(game, record, guard or Guard(), plan)
        super().__init__(plan, game, play, time)
        self.decode_action = action_reader(game)
        self._advances = Advances()
        self._stand_ins = StandIns(game, self.decode_action, plan.seed, play.ask)
        # Kept, because asking a class for it costs a search each time.
        self._ticks = bool(game.tick_hz)
        try:
            self._play.lay(table)
        except GAME_ERRORS as error:
            self._crash(error)

    # What can happen to a room.

    def act(self, seat: int, action: Any, now: float) -> None:
        """
        A seat acts; a game with ticks sees it at the next one.

        :raises Rejected: not now, or the game says no; nothing has changed.
        """
        room_time = self._time
        at = now
        if now >= room_time.alarm_at:
            self.alarm(now)
            # An input does not overtake a deadline of a game that is behind.
            at = min(now, room_time.alarm_at)
        phase = self.phase
        if phase != "playing" and phase != "over":
            raise Rejected(f"room_{phase}", f"the room is {phase}")
        if self._seats.presence[seat] is not _PRESENT:
            raise Rejected("not_seated", f"seat {seat} is not connected")
        if self._ticks:
            self._waiting.keep(seat, action)
            return
        play, time = self._play, at - room_time.zero
        if time < play.time:
            time = play.time
        try:
            play.act(seat, action, time)
        except Rejected:
            raise
        except GAME_ERRORS as error:
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
        self._absences.end(seat)
        if self.phase == "gathering":
            self._start_if_complete(now)
        elif how is not _PRESENT:
            self._time.resume(now)
            self._tell_game(self._play.seat_returned, seat, now)

    def add_seat(self, seat: SeatPlan, now: float) -> int:
        """
        Seat a newcomer after the start; its player counts as connected.

        :returns: the seat's number: the next one, or one that was given up.
        :raises Refused: the room is closed, takes no newcomers, or is full; or the
            game does not take this loadout or team.
        """
        self.alarm(now)
        if self.phase == "closed":
            raise Refused(Code.NO_SUCH_MATCH, "this match is over")
        if self.phase == "gathering" or not self.game.late_join:
            raise Refused(Code.ROOM_STARTED, "this game takes no newcomers now")
        presence = self._seats.presence
        seats = list(self.plan.seats)
        if len(seats) < self.game.seats[1]:
            number = len(seats)
        elif Presence.LEFT in presence:
            number = presence.index(Presence.LEFT)
        else:
            raise Refused(Code.ROOM_FULL, "every seat is taken")
        seats[number : number + 1] = [seat]
        newcomer = seat_at(seats, number, self.game)
        presence[number : number + 1] = [_PRESENT]
        self.plan = attrs.evolve(self.plan, seats=tuple(seats))
        self._time.resume(now)
        self._tell_game(partial(self._play.seat_joined, newcomer=newcomer), number, now)
        return number

    def seat_bot(self, seat: int, now: float) -> None:
        """Let the game's bot have a seat for good, in place of a player."""
        self.alarm(now)
        if self.phase == "closed":
            return
        self._seats.presence[seat] = Presence.BOT
        if self.phase == "gathering":
            self._start_if_complete(now)
        else:
            self._absences.begin_bot(seat, self.match_time(now))
            self._pause_if_empty(now)
            self._arm()

    def drop(self, seat: int, now: float) -> None:
        """A seat's connection was lost; the seat is kept."""
        self.alarm(now)
        if self.phase == "closed" or self._seats.presence[seat] is not _PRESENT:
            return
        self._seats.presence[seat] = Presence.DROPPED
        if self.phase != "gathering":
            self._absences.begin(seat, now, self.match_time(now))
            self._tell_game(self._play.seat_dropped, seat, now)
            self._pause_if_empty(now)

    def leave(self, seat: int, now: float) -> None:
        """A seat's player is gone for good."""
        self.alarm(now)
        if self.phase == "closed" or self._seats.presence[seat] is Presence.LEFT:
            return
        if self.phase == "gathering":
            self._seats.presence[seat] = Presence.LEFT
            if self._seats.staying() < self.game.seats[0]:
                self._close("void")
            else:
                self._start_if_complete(now)
        else:
            self._give_up(seat, now, self.match_time(now))

    def close(self, reason: str, now: float) -> None:
        """End the match, for one of the reasons of `vinom.model.EndReason`."""
        self.alarm(now)
        self._close(reason)

    def alarm(self, now: float) -> None:
        """
        Do what has become due; harmless if nothing has.

        A game whose deadlines pile up stays behind: `deadline` is in the past.
        """
        if now < self._time.alarm_at:
            return
        ticks, advances = MOST_TICKS, MOST_AT_ONCE
        try:
            while now >= self._time.alarm_at:
                match self._time.alarm_for:
                    case Due.DEADLINE:
                        if not advances:
                            return
                        advances -= 1
                        self._run_deadline(now)
                    case Due.TICK:
                        ticks -= 1
                        self._run_tick(now, ticks)
                    case Due.BOT:
                        self._run_bot(now)
                    case Due.FORFEIT:
                        self._run_forfeit(now)
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
        except GAME_ERRORS as error:
            self._crash(error)

    # Time.

    def _run_deadline(self, now: float) -> None:
        play = self._play
        # The game sees the time it asked for, however late the alarm came,
        # but never sees time go back.
        time = max(play.due or 0.0, play.time)
        self._advances.add(time, play.version)
        play.advance(time)
        self._advances.done(play.version)
        self._after_change(now)

    def _run_tick(self, now: float, more: int) -> None:
        at = self._play.next_tick() or 0.0
        if more < 0:
            self._time.slip(now, at, 1.0 / self.game.tick_hz)
            self._absences.slipped(self.match_time(now))
            self._arm()
            return
        self._play.tick(self._waiting.take(), max(at, self._play.time))
        self._after_change(now)

    def _run_bot(self, now: float) -> None:
        """Let a bot act, as of when its turn came, for a seat that is dropped."""
        seat, at = self._absences.take_bot(self.match_time(now))
        # What the game fails at is a crash, what its bot fails at is not.
        view, setup = self.view(self.audience_of(seat)), self.setup()
        if self.phase == "closed":
            return
        try:
            action = self._stand_ins.choose(seat, view, setup)
        except TooSlow:
            # Everybody waited, so this is no longer the bot's own affair.
            raise
        except GAME_ERRORS as error:
            self._absences.give_up_bot(seat)
            self._effects.append(BotFailed(seat, self._report(error)))
            action = None
        if action is not None:
            with suppress(Rejected):
                if self.game.tick_hz:
                    self._waiting.keep(seat, action)
                else:
                    self._play.act(seat, action, max(at, self._play.time))
        self._after_change(now)

    def _run_forfeit(self, now: float) -> None:
        seat, at = self._absences.take_forfeit()
        self._effects.append(Forfeited(seat))
        self._give_up(seat, now, self.match_time(at))
