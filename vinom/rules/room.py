"""
A room: one game, its seats and its time, on the caller's clock.

Inputs, joins, drops and time go in; effects come out. Nothing that a game
does wrong leaves here as an exception: it ends the room, with a report.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Hashable
from enum import Enum
from math import inf
from typing import Any, Literal

import attrs
import msgspec

from vinom.errors import Code, Refused, Rejected
from vinom.game import Event, Game, Outcome
from vinom.model import MatchEnd, MatchPlan
from vinom.rules.choices import field_of
from vinom.rules.frozen import fingerprint
from vinom.rules.play import GameFault, Play, Recorded, table_of

#: At most this many ticks are caught up at once; then match time slips.
MOST_TICKS = 5
#: A game that asks for more deadlines than this at one moment has no end.
MOST_ADVANCES = 1000
#: Inputs of one seat that may wait for the next tick.
MOST_WAITING = 32
#: How long a match waits, in all, while nobody is connected, seconds.
AWAY_PATIENCE = 30.0
#: How long a match waits for its players to come, seconds.
JOIN_PATIENCE = 10.0

# A game may raise anything, and may even ask to exit: that is its own end only.
_GAME_ERRORS = (Exception, SystemExit)

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class _Presence(Enum):
    """How one seat is connected."""

    AWAITED = "awaited"
    PRESENT = "present"
    DROPPED = "dropped"
    LEFT = "left"


_PRESENT = _Presence.PRESENT


@attrs.frozen
class Started:
    """Match time runs."""


@attrs.frozen
class Emitted:
    """
    The game told something once.

    :ivar version: of the state that it belongs to.
    """

    event: Event
    version: int


@attrs.frozen
class RoundOver:
    """A round has an outcome; the room goes on for its game's linger."""

    outcome: Outcome


@attrs.frozen
class Closed:
    """
    The room is over; nothing follows.

    :ivar report: what went wrong with the game, for its author.
    """

    end: MatchEnd
    report: str | None = None


Effect = Started | Emitted | RoundOver | Closed


def outcome_facts(outcome: Outcome) -> dict[str, Any]:
    """Write an outcome as messages carry it: ``{round, places, scores}``."""
    return attrs.asdict(outcome)


def longest_life(game: Game[Any, Any]) -> float:
    """Tell how long a room of this game can last at most, seconds."""
    return JOIN_PATIENCE + game.time_limit + AWAY_PATIENCE + game.linger


@attrs.define(eq=False, init=False)
class Room:
    """
    One match. Times are seconds on the caller's clock, which never goes back.

    Before play starts the version is 0 and there is no view.

    :ivar phase: "gathering", "playing", "over" (a round has ended), "closed".
    :ivar slipped: match time lost because ticks came too late, seconds.
    """

    plan: MatchPlan
    game: Game[Any, Any]
    phase: Literal["gathering", "playing", "over", "closed"]
    slipped: float
    _play: Play
    _presence: list[_Presence]
    _effects: list[Effect]
    _patience_ends: float
    _zero: float
    _paused_at: float | None
    _away_left: float
    _linger_ends: float
    _alarm_at: float
    _armed_due: float | None
    _ended: Outcome | None
    _last_outcome: Outcome | None
    _waiting: list[tuple[int, Any]]
    _views: dict[Hashable, bytes]
    _views_version: int
    _one_audience: bool
    _setup: bytes | None
    _read_action: Callable[[bytes], Any]

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

        :raises Refused: the options, a loadout or the number of seats is not
            what the game takes.
        """
        table = table_of(plan, game)
        self.plan, self.game = plan, game
        self.phase = "gathering"
        self.slipped = 0.0
        self._play = Play(game, record)
        self._presence = [_Presence.AWAITED] * len(plan.seats)
        self._effects = []
        self._patience_ends = now + join_patience
        self._zero = now
        self._paused_at = None
        self._away_left = AWAY_PATIENCE
        self._linger_ends = inf
        self._alarm_at = self._patience_ends
        self._armed_due = None
        self._ended = None
        self._last_outcome = None
        self._waiting = []
        self._views, self._views_version = {}, 0
        self._one_audience = type(game).audience is Game.audience
        self._setup = None
        self._read_action = msgspec.msgpack.Decoder(game.actions).decode
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

    def match_time(self, now: float) -> float:
        """Tell the match time, seconds; it stops while nobody could play."""
        if self.phase in ("gathering", "closed"):
            return self._play.time
        if self._paused_at is not None:
            now = self._paused_at
        return max(self._play.time, now - self._zero)

    def deadline(self) -> float | None:
        """When to call `alarm` next."""
        return None if self._alarm_at == inf else self._alarm_at

    def present(self) -> tuple[int, ...]:
        """Name the seats that are connected now."""
        return tuple(seat for seat, how in enumerate(self._presence) if how is _PRESENT)

    def take_effects(self) -> list[Effect]:
        """Hand over what happened since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def audience_of(self, seat: int | None) -> Hashable:
        """Tell which view a seat sees; a spectator is ``None``."""
        if self._one_audience:
            return "all"
        try:
            return self.game.audience(self._play.state, seat)
        except _GAME_ERRORS as error:
            self._crash(error)
            return None

    def view(self, audience: Hashable) -> bytes:
        """
        Show the current state to an audience: MessagePack, made once.

        Empty before play starts, and if the game fails at it (the room is
        closed then).
        """
        play = self._play
        if play.version != self._views_version:
            self._views = {}
            self._views_version = play.version
        encoded = self._views.get(audience)
        if encoded is None:
            if play.version == 0:
                return b""
            try:
                encoded = _encode(self.game.view(play.state, audience))
            except _GAME_ERRORS as error:
                # Kept first: closing asks for the public view's hash.
                self._views[audience] = encoded = b""
                self._crash(error)
            else:
                self._views[audience] = encoded
        return encoded

    def setup(self) -> bytes:
        """Show what never changes: MessagePack, empty if there is nothing."""
        if self._setup is None:
            self._setup = b""
            try:
                shown = self.game.setup(self._play.state)
                self._setup = b"" if shown is None else _encode(shown)
            except _GAME_ERRORS as error:
                self._crash(error)
        return self._setup

    def view_hash(self) -> str:
        """Name the public view: sha256, its first 16 hexadecimal digits."""
        shown = self.view(self.audience_of(None))
        return fingerprint(shown) if shown else ""

    def decode_action(self, data: bytes) -> Any:
        """
        Read an action from MessagePack.

        :raises Refused: `Code.BAD_ACTION`, naming the field.
        """
        try:
            return self._read_action(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(
                Code.BAD_ACTION, str(error), {"field": field_of(error)}
            ) from error

    # What can happen to a room.

    def act(self, seat: int, action: Any, now: float) -> None:
        """
        A seat acts; a game with ticks sees it at the next one.

        :raises Rejected: not now, or the game says no; nothing has changed.
        """
        if now >= self._alarm_at:
            self.alarm(now)
        phase = self.phase
        if phase == "gathering" or phase == "closed":
            raise Rejected(f"room_{phase}", f"the room is {phase}")
        if self._presence[seat] is not _PRESENT:
            raise Rejected("not_seated", f"seat {seat} is not connected")
        if self.game.tick_hz:
            self._keep_for_tick(seat, action)
            return
        play = self._play
        time = now - self._zero
        try:
            play.act(seat, action, time if time > play.time else play.time)
        except Rejected:
            raise
        except _GAME_ERRORS as error:
            self._crash(error)
        else:
            if (
                play.events
                or play.outcome is not self._last_outcome
                or play.due != self._armed_due
            ):
                self._after_change(now)

    def join(self, seat: int, now: float) -> None:
        """
        A seat's player connected, for the first time or again.

        :raises Refused: the room is closed, or the seat was given up.
        """
        self._catch_up(now)
        how = self._presence[seat]
        if self.phase == "closed":
            raise Refused(Code.NO_SUCH_MATCH, "this match is over")
        if how is _Presence.LEFT:
            raise Refused(Code.WRONG_SEAT, "this seat was given up")
        self._presence[seat] = _PRESENT
        if self.phase == "gathering":
            self._start_if_complete(now)
        elif how is not _PRESENT:
            self._resume(now)
            self._tell_game(self._play.seat_returned, seat, now)

    def drop(self, seat: int, now: float) -> None:
        """A seat's connection was lost; the seat is kept."""
        self._catch_up(now)
        if self.phase == "closed" or self._presence[seat] is not _PRESENT:
            return
        self._presence[seat] = _Presence.DROPPED
        if self.phase != "gathering":
            self._tell_game(self._play.seat_dropped, seat, now)
            self._pause_if_empty(now)

    def leave(self, seat: int, now: float) -> None:
        """A seat's player is gone for good."""
        self._catch_up(now)
        if self.phase == "closed" or self._presence[seat] is _Presence.LEFT:
            return
        self._presence[seat] = _Presence.LEFT
        if self.phase == "gathering":
            staying = sum(how is not _Presence.LEFT for how in self._presence)
            if staying < self.game.seats[0]:
                self.close("void", now)
            else:
                self._start_if_complete(now)
            return
        self._tell_game(self._play.seat_left, seat, now)
        if all(how is _Presence.LEFT for how in self._presence):
            self.close(self._quiet_end(), now)
        else:
            self._pause_if_empty(now)

    def close(self, reason: str, now: float) -> None:
        """End the match, for one of the reasons of `vinom.model.EndReason`."""
        if self.phase != "closed":
            self._close(reason, None)

    def alarm(self, now: float) -> None:
        """Do what has become due; harmless if nothing has."""
        ticks, advances = MOST_TICKS, MOST_ADVANCES
        try:
            while now >= self._alarm_at:
                # The alarm is the earliest of all, so equal means "this one".
                if self.phase == "gathering":
                    self._patience_is_over(now)
                elif self._alarm_at == self._linger_ends:
                    self._close("finished", None)
                elif self._paused_at is not None:
                    self._close(self._quiet_end(), None)
                elif self._alarm_at == self._zero + self.game.time_limit:
                    over = self.phase == "over"
                    self._close("finished" if over else "time_limit", None)
                elif self._tick_comes_first():
                    if ticks:
                        ticks -= 1
                        self._run_tick(now)
                    else:
                        self._slip(now)
                else:
                    advances -= 1
                    if not advances:
                        raise GameFault(
                            f"more than {MOST_ADVANCES} deadlines at one moment"
                        )
                    self._run_deadline(now)
        except _GAME_ERRORS as error:
            self._crash(error)

    # Time.

    def _catch_up(self, now: float) -> None:
        if now >= self._alarm_at:
            self.alarm(now)

    def _arm(self) -> None:
        """Find the earliest thing that becomes due."""
        self._armed_due = due = self._play.due
        if self._paused_at is not None:
            self._alarm_at = min(self._paused_at + self._away_left, self._linger_ends)
            return
        first = self.game.time_limit
        if due is not None and due < first:
            first = due
        if self.game.tick_hz:
            first = min(first, self._next_tick())
        self._alarm_at = min(self._zero + first, self._linger_ends)

    def _next_tick(self) -> float:
        return (self._play.ticks + 1) / self.game.tick_hz

    def _tick_comes_first(self) -> bool:
        if not self.game.tick_hz:
            return False
        return self._play.due is None or self._next_tick() < self._play.due

    def _run_tick(self, now: float) -> None:
        inputs, self._waiting = tuple(self._waiting), []
        self._play.tick(inputs, max(self._next_tick(), self._play.time))
        self._after_change(now)

    def _run_deadline(self, now: float) -> None:
        # The game sees the time it asked for, however late the alarm came:
        # a replay then needs no clock. It never sees time go back.
        self._play.advance(max(self._play.due or 0.0, self._play.time))
        self._after_change(now)

    def _slip(self, now: float) -> None:
        period = 1.0 / self.game.tick_hz
        late = now + period - (self._zero + self._next_tick())
        self._zero += late
        self.slipped += late
        self._arm()

    def _pause_if_empty(self, now: float) -> None:
        if self.phase != "closed" and _PRESENT not in self._presence:
            self._paused_at = now
            self._arm()

    def _resume(self, now: float) -> None:
        if self._paused_at is not None:
            away = now - self._paused_at
            self._away_left -= away
            self._zero += away
            self._paused_at = None
            self._arm()

    # Play.

    def _keep_for_tick(self, seat: int, action: Any) -> None:
        if sum(whose == seat for whose, _ in self._waiting) >= MOST_WAITING:
            raise Rejected("too_many", "too many inputs for one tick")
        self._waiting.append((seat, action))

    def _start_if_complete(self, now: float) -> None:
        if all(how in (_PRESENT, _Presence.LEFT) for how in self._presence):
            self._start(now)

    def _patience_is_over(self, now: float) -> None:
        if len(self.present()) >= self.game.seats[0]:
            self._start(now)
        else:
            self._close("void", None)

    def _start(self, now: float) -> None:
        self.phase = "playing"
        self._zero = now
        self._play.begin()
        self._effects.append(Started())
        self._after_change(now)
        for seat, how in enumerate(self._presence):
            if how is _Presence.LEFT:
                self._tell_game(self._play.seat_left, seat, now)
            elif how is not _PRESENT:
                self._presence[seat] = _Presence.DROPPED
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
        if outcome is not self._last_outcome:
            self._last_outcome = outcome
            if outcome is None:
                self.phase, self._linger_ends = "playing", inf
            elif self._ended is None or outcome.round > self._ended.round:
                self._ended = outcome
                self.phase = "over"
                self._linger_ends = now + self.game.linger
                self._effects.append(RoundOver(outcome))
        self._arm()

    # The end.

    def _quiet_end(self) -> str:
        """Name the end of a room whose players are gone."""
        return "abandoned" if self._ended is None else "finished"

    def _crash(self, error: BaseException) -> None:
        if self.phase != "closed":
            about = (
                f"match {self.plan.match_id}, game {self.plan.game}, "
                f"version {self.version}, match time {self._play.time:.3f} s\n\n"
            )
            self._close("crashed", about + "".join(traceback.format_exception(error)))

    def _close(self, reason: str, report: str | None) -> None:
        self.phase = "closed"
        self._alarm_at = inf
        self._waiting.clear()
        end = MatchEnd(
            match_id=self.plan.match_id,
            reason=reason,
            outcome=None if self._ended is None else outcome_facts(self._ended),
            present=self.present(),
            version=self.version,
            view_hash=self.view_hash(),
        )
        self._effects.append(Closed(end, report))
