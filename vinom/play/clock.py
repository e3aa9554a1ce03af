"""
When a room's things become due: match time laid over the caller's clock.

Match time starts when play starts, stops while nobody is connected, and slips
when ticks come too late to be caught up.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import Any

import attrs

from vinom.game import Game
from vinom.play.play import GameFault

#: How long a match waits, in all, while nobody is connected, seconds.
AWAY_PATIENCE = 30.0
#: How long a match waits for its players to come, seconds.
JOIN_PATIENCE = 10.0
#: More deadlines than this in a second of match time are a fault.
MOST_ADVANCES = 1000
#: One each millisecond is not, whatever rounding makes of them.
_SECOND = 1.0 - 1e-6


def longest_life(game: Game[Any, Any], join_patience: float = JOIN_PATIENCE) -> float:
    """
    Tell how long a room of this game can last at most, seconds.

    Match time that slips, because ticks come too late, is not counted.
    """
    return join_patience + game.time_limit + AWAY_PATIENCE + game.linger


class Due(Enum):
    """What an alarm is for."""

    PATIENCE = "patience"
    DEADLINE = "deadline"
    TICK = "tick"
    BOT = "bot"
    FORFEIT = "forfeit"
    TIME_LIMIT = "time_limit"
    LINGER = "linger"
    AWAY = "away"
    NOTHING = "nothing"


#: What closes a room.
_ENDS = (Due.TIME_LIMIT, Due.AWAY)


@attrs.define(eq=False)
class Advances:
    """
    Tell a game whose deadlines are many from one that crawls for ever.

    For the whole life of a room, because a game may crawl however punctually it is
    rung. Deadlines that are in the past all come at the same match time, and so
    count as crawling too.
    """

    _since: float = -inf
    _count: int = 0
    _version: int = -1

    def add(self, time: float, version: int) -> None:
        """
        A deadline has come at match *time*; the state is still *version*.

        :raises GameFault: too many came in the last second of match time.
        """
        if version != self._version:
            # Something else happened since the last one. That is no crawling, and
            # players who act fast must not be able to end a room.
            return
        if time - self._since >= _SECOND:
            self._since, self._count = time, 0
        self._count += 1
        if self._count > MOST_ADVANCES:
            raise GameFault(
                f"more than {MOST_ADVANCES} deadlines in a second of match time"
            )

    def done(self, version: int) -> None:
        """The game has answered a deadline, and its state is *version* now."""
        self._version = version


@attrs.define(eq=False)
class RoomTime:
    """
    One room's time. ``now`` is seconds on the caller's clock.

    :ivar limit: longest match, seconds of match time.
    :ivar alarm_at: the earliest thing that is due, on the caller's clock.
    :ivar alarm_for: which thing that is.
    :ivar zero: the caller's clock at match time 0.
    :ivar linger_ends: when the room closes after a round.
    :ivar is_running: does match time pass?
    :ivar slipped: match time lost to late ticks so far, seconds.
    :ivar away_left: how long the match still waits while nobody is connected,
        seconds.
    """

    limit: float
    alarm_at: float
    alarm_for: Due = Due.PATIENCE
    zero: float = inf
    linger_ends: float = inf
    slipped: float = 0.0
    is_running: bool = False
    _paused_at: float | None = None
    away_left: float = AWAY_PATIENCE

    def start(self, now: float) -> None:
        """Match time is 0 now."""
        self.zero, self.is_running = now, True

    def stop(self) -> None:
        """Nothing is due any more."""
        self.alarm_at, self.alarm_for = inf, Due.NOTHING

    def match_time(self, now: float) -> float:
        """
        Tell the match time; before `start` it is 0.

        It waits for a game that is behind with its deadlines.
        """
        if self._paused_at is not None:
            now = self._paused_at
        elif self.alarm_for is Due.DEADLINE and self.alarm_at < now:
            now = self.alarm_at
        return now - self.zero if self.zero != inf else 0.0

    def pause(self, now: float) -> None:
        """Nobody is connected: match time stops."""
        if self._paused_at is None:
            self._paused_at, self.is_running = now, False

    def resume(self, now: float) -> None:
        """Somebody is connected again: match time goes on."""
        if self._paused_at is not None:
            away = now - self._paused_at
            self.away_left -= away
            self.zero += away
            self._paused_at, self.is_running = None, self.zero != inf

    def slip(self, now: float, tick_at: float, period: float) -> None:
        """Give up catching up: the tick due at *tick_at* comes a period from now."""
        late = now + period - (self.zero + tick_at)
        self.zero += late
        self.slipped += late

    def arm(
        self,
        deadline: float | None,
        tick_at: float | None,
        bot_at: float,
        forfeit_at: float,
    ) -> None:
        """
        Find the earliest thing that becomes due; a game's own wish comes first.

        :param deadline: the game's, in match time.
        :param tick_at: the next tick's, in match time.
        :param bot_at: the next bot's turn, in match time.
        :param forfeit_at: when a dropped seat is given up, on the caller's clock.
        """
        if self._paused_at is not None:
            at, what = self._paused_at + self.away_left, Due.AWAY
        else:
            first, what = self.limit, Due.TIME_LIMIT
            if bot_at <= first:
                first, what = bot_at, Due.BOT
            if tick_at is not None and tick_at <= first:
                first, what = tick_at, Due.TICK
            if deadline is not None and deadline <= first:
                first, what = deadline, Due.DEADLINE
            at = self.zero + first
        # The game hears of it even if its room closes at that moment.
        if forfeit_at < at or (forfeit_at == at and what in _ENDS):
            at, what = forfeit_at, Due.FORFEIT
        if self.linger_ends < at:
            at, what = self.linger_ends, Due.LINGER
        self.alarm_at, self.alarm_for = at, what
