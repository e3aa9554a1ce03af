"""
A room's deadlines: match time on top of the caller's clock.

Match time starts when play starts, stops while no player is connected, and slips if
ticks come too late to be caught up. By the clock "wall" it does neither.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import Any

import attrs

from vinom.game import Game
from vinom.play.play import GameFault

#: How long a match waits, in total, while no player is connected, seconds.
AWAY_TIMEOUT = 30.0
#: How long a match waits for its players before the start, seconds.
JOIN_TIMEOUT = 10.0
#: More deadlines than this per second of match time are a fault.
MOST_ADVANCES = 1000
#: One per millisecond is not a fault, whatever the rounding errors.
_SECOND = 1.0 - 1e-6


def longest_life(game: Game[Any, Any], join_timeout: float = JOIN_TIMEOUT) -> float:
    """
    Return how long a room of this game can last at most, seconds.

    Match time that slips because ticks come too late is not counted.

    :param game: the rules.
    :param join_timeout: how long the room waits for its players.
    """
    return join_timeout + game.time_limit + AWAY_TIMEOUT + game.linger


class Due(Enum):
    """What is due when an alarm rings."""

    JOIN_TIMEOUT = "join_timeout"
    DEADLINE = "deadline"
    TICK = "tick"
    BOT = "bot"
    FORFEIT = "forfeit"
    TIME_LIMIT = "time_limit"
    LINGER = "linger"
    AWAY = "away"
    NOTHING = "nothing"


#: These close a room.
_ENDS = (Due.TIME_LIMIT, Due.AWAY)


@attrs.define(eq=False)
class Advances:
    """
    Find a game that sets deadline after deadline without making progress.

    It counts for the whole life of a room, because such a game may be served on time.
    Deadlines in the past all come at the same match time, and so count, too.
    """

    _since: float = -inf
    _count: int = 0
    _version: int = -1

    def add(self, time: float, version: int) -> None:
        """
        Count a deadline at match *time*, before the state changes from *version*.

        :raises GameFault: too many came in the last second of match time.
        """
        if version != self._version:
            # Something else happened since the last deadline. That is progress, and
            # players who act fast must not be able to end a room.
            return
        if time - self._since >= _SECOND:
            self._since, self._count = time, 0
        self._count += 1
        if self._count > MOST_ADVANCES:
            raise GameFault(
                f"the game set more than {MOST_ADVANCES} deadlines within a second of "
                f"match time; deadline() must name later times"
            )

    def done(self, version: int) -> None:
        """Note the *version* of the state after a deadline was handled."""
        self._version = version


@attrs.define(eq=False)
class RoomTime:
    """
    One room's time. Each ``now`` is seconds on the caller's clock.

    :ivar limit: longest match, seconds of match time.
    :ivar is_wall: does match time go on while no player is connected?
    :ivar alarm_at: when something is due next, on the caller's clock.
    :ivar alarm_for: what is due then.
    :ivar zero: the caller's clock at match time 0.
    :ivar linger_ends: when the room closes after a round.
    :ivar is_running: whether match time passes.
    :ivar slipped: match time lost to late ticks so far, seconds.
    :ivar away_left: how long the match still waits while no player is connected,
        seconds.
    """

    limit: float
    alarm_at: float
    alarm_for: Due = Due.JOIN_TIMEOUT
    zero: float = inf
    linger_ends: float = inf
    slipped: float = 0.0
    is_running: bool = False
    _paused_at: float | None = None
    _frozen_at: float | None = None
    away_left: float = AWAY_TIMEOUT
    is_wall: bool = False
    _is_empty: bool = False

    def start(self, now: float) -> None:
        """Start match time at 0."""
        self.zero, self.is_running = now, True

    def stop(self) -> None:
        """Set no more alarms."""
        self.alarm_at, self.alarm_for = inf, Due.NOTHING

    def match_time(self, now: float) -> float:
        """
        Return the match time; before `start` it is 0.

        It stands still while a game is behind with its deadlines.
        """
        if self._paused_at is not None:
            now = self._paused_at
        elif self._frozen_at is not None:
            now = self._frozen_at
        elif self.alarm_for is Due.DEADLINE and self.alarm_at < now:
            now = self.alarm_at
        return now - self.zero if self.zero != inf else 0.0

    def pause(self, now: float) -> None:
        """Stop match time, or just bots, because no player is connected."""
        self._is_empty = True
        if self._paused_at is None and not self.is_wall:
            self._paused_at, self.is_running = self._standing(now), False

    def resume(self, now: float) -> None:
        """Continue match time, because a player is connected again."""
        self._is_empty = False
        if self._paused_at is not None:
            away = self._standing(now) - self._paused_at
            self.away_left -= away
            self.zero += away
            self._paused_at = None
            self.is_running = self.zero != inf and self._frozen_at is None

    def freeze(self, now: float) -> None:
        """Stop everything, because nothing that happens could be kept."""
        if self._frozen_at is None:
            self._frozen_at, self.is_running = now, False

    def thaw(self, now: float) -> float | None:
        """
        Go on as if no time had passed since `freeze`, unless time is the wall's.

        :returns: for how long time stood, seconds; ``None`` if it was not frozen.
        """
        if self._frozen_at is None:
            return None
        frozen, self._frozen_at = now - self._frozen_at, None
        frozen = 0.0 if self.is_wall else frozen
        self.zero += frozen
        self.linger_ends += frozen
        if self._paused_at is not None:
            self._paused_at += frozen
        else:
            self.is_running = self.zero != inf
        return frozen

    def _standing(self, now: float) -> float:
        return now if self._frozen_at is None else self._frozen_at

    def slip(self, now: float, tick_at: float, period: float) -> None:
        """Stop catching up: the tick due at *tick_at* comes a *period* from now."""
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
        Find what is due first; at the same time, a game's own deadline comes first.

        :param deadline: the game's, in match time.
        :param tick_at: the next tick's, in match time.
        :param bot_at: the next bot's turn, in match time.
        :param forfeit_at: when a dropped seat is given up, on the caller's clock.
        """
        if self._frozen_at is not None:
            self.stop()
            return
        if self._paused_at is not None:
            at, what = self._paused_at + self.away_left, Due.AWAY
        else:
            first, what = self.limit, Due.TIME_LIMIT
            if bot_at <= first and not self._is_empty:
                first, what = bot_at, Due.BOT
            if tick_at is not None and tick_at <= first:
                first, what = tick_at, Due.TICK
            if deadline is not None and deadline <= first:
                first, what = deadline, Due.DEADLINE
            at = self.zero + first
        # The game is called for a forfeit even if its room closes at that moment.
        if forfeit_at < at or (forfeit_at == at and what in _ENDS):
            at, what = forfeit_at, Due.FORFEIT
        if self.linger_ends < at:
            at, what = self.linger_ends, Due.LINGER
        self.alarm_at, self.alarm_for = at, what
