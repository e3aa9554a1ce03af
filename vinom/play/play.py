"""
One game being played, on match time alone: what a room and a replay share.

`Play` calls the game, keeps its state and counts its versions. It knows no
connection and no clock; whatever reaches the game passes through here and is
recorded, so that a recording plays to the same states.

What a game may answer, proven before anybody else relies on it.

A wrong answer is the game's own fault and ends its room; it must not surface
later, in whoever sends it to players.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import msgspec
from msgspec import Struct

from vinom.errors import Code, Refused, Rejected, Unreadable, VinomError
from vinom.game import Chance, Event, Game, Outcome, Seat, Step, Table
from vinom.model import MatchPlan, SeatPlan
from vinom.play.choices import read_loadout, read_options
from vinom.play.frozen import ensure_frozen, ensure_frozen_type
from vinom.play.guard import Guard, TooSlow
from vinom.play.seats import teams_of

_encode = msgspec.msgpack.Encoder().encode


class GameFault(VinomError):
    """A game broke the rules for games; its room ends."""


def ensure_deadline(due: Any) -> float:
    """
    Take a match time from a game.

    :raises GameFault: it is not a finite number.
    """
    if not isinstance(due, float | int) or not math.isfinite(due):
        raise GameFault(f"deadline() is {due!r}; give a number; use None for never")
    return due


def ensure_event(event: Any, seats: int) -> Event:
    """
    Take an event from a game with so many *seats*.

    :raises GameFault: it could not be sent, or to nobody who is there.
    """
    if not isinstance(event, Event) or not isinstance(event.kind, str):
        raise GameFault(f"{event!r} is not an Event with a text as its kind")
    if event.to is not None and not _is_seat(event.to, seats):
        raise GameFault(f"event {event.kind!r} is for seat {event.to!r}, which is not")
    try:
        _encode(event.data)
    except Exception as error:
        raise GameFault(f"event {event.kind!r} cannot be sent: {error}") from error
    return event


def ensure_outcome(outcome: Any, seats: int) -> None:
    """
    Look at an outcome of a game with so many *seats*.

    :raises GameFault: it does not tell how a round ended.
    """
    if not isinstance(outcome, Outcome) or not isinstance(outcome.round, int):
        raise GameFault(f"outcome() is {outcome!r}, not an Outcome with a round")
    for place in _items(outcome.places, "places"):
        for seat in _items(place, "places"):
            if not _is_seat(seat, seats):
                raise GameFault(f"outcome() places seat {seat!r}, which is not")
    for score in _items(outcome.scores, "scores"):
        if not isinstance(score, int | float):
            raise GameFault(f"outcome() has the score {score!r}, which is no number")


def _is_seat(number: Any, seats: int) -> bool:
    return isinstance(number, int) and 0 <= number < seats


def _items(value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise GameFault(
            f"outcome() has {value!r} in its {name}: places are tuples of tuples "
            f"of seats, scores a tuple of numbers"
        )
    return value


# A game may raise anything, and may even ask to exit: that is its own end only.
GAME_ERRORS = (Exception, SystemExit, TooSlow)


class Recorded(Struct, frozen=True, array_like=True, gc=False):
    """
    One thing that reached a game.

    :ivar kind: "act", "tick", "advance", "joined", "dropped", "returned" or "left".
    :ivar time: match time, seconds.
    :ivar seat: whose; -1 if nobody's.
    :ivar data: the action; for a tick its ``(seat, action)`` pairs; who joined.
    """

    kind: str
    time: float
    seat: int = -1
    data: Any = None


def table_of(plan: MatchPlan, game: Game[Any, Any]) -> Table:
    """
    Lay out what a game starts from.

    :raises Refused: the plan's options, a loadout, a team, or the number of its
        seats is not what the game takes.
    """
    fewest, most = game.seats
    if not fewest <= len(plan.seats) <= most:
        raise Refused(
            Code.BAD_OPTIONS,
            f"{plan.game} takes {fewest} to {most} players, not {len(plan.seats)}",
        )
    return Table(
        seats=tuple(
            Seat(seat.name, read_loadout(game, seat.loadout), team)
            for seat, team in zip(
                plan.seats, teams_of(plan.seats, game.teams), strict=True
            )
        ),
        options=read_options(game, plan.options),
        chance=Chance(plan.seed),
        host=plan.host,
    )


def seat_at(seats: Sequence[SeatPlan], number: int, game: Game[Any, Any]) -> Seat:
    """
    Show one of these seats as the table would.

    :raises Refused: its loadout or team is not what the game takes.
    """
    seat = seats[number]
    team = teams_of(seats, game.teams)[number]
    return Seat(seat.name, read_loadout(game, seat.loadout), team)


@attrs.define(eq=False)
class Play:
    """
    The current state of one game; every method lets the game's errors through.

    :ivar version: 0 before `begin`, then +1 per change of state.
    :ivar time: match time of the latest call, seconds; never goes back.
    :ivar due: match time at which the game wants `advance`.
    :ivar events: what happened and was not yet taken by the caller.
    :ivar record: called with all that reaches the game; an error of its own
        ends the recording, never the game.
    :ivar guard: looks after calls that do not end.
    :ivar plan: of the match, for the guard's words.
    """

    game: Game[Any, Any]
    record: Callable[[Recorded], None] | None = None
    guard: Guard = attrs.field(factory=Guard)
    plan: MatchPlan | None = None
    state: Any = attrs.field(default=None, init=False)
    version: int = attrs.field(default=0, init=False)
    time: float = attrs.field(default=0.0, init=False)
    ticks: int = attrs.field(default=0, init=False)
    due: float | None = attrs.field(default=None, init=False)
    outcome: Outcome | None = attrs.field(default=None, init=False)
    events: list[Event] = attrs.field(factory=list, init=False)
    _proven: type | None = attrs.field(default=None, init=False)
    _asks: bool = attrs.field(default=False, init=False)
    _asks_deadline: bool = attrs.field(default=False, init=False)
    _asks_outcome: bool = attrs.field(default=False, init=False)
    _seats: int = attrs.field(default=0, init=False)

    def lay(self, table: Table) -> None:
        """Make the first state, which nobody sees before `begin`."""
        kind = type(self.game)
        self._asks_deadline = kind.deadline is not Game.deadline
        self._asks_outcome = kind.outcome is not Game.outcome
        self._asks = self._asks_deadline or self._asks_outcome
        self._seats = len(table.seats)
        result = self.ask("start", self.game.start, table)
        state = result.state if type(result) is Step else result
        if state is None:
            raise GameFault("start() returned no state; is a return missing?")
        # Later states are proven by their type only; one look at the values
        # of the first finds a list where a tuple is declared.
        ensure_frozen(state)
        try:
            self._take(result, 0.0)
        finally:
            self.version = 0

    def begin(self) -> None:
        """Match time starts: the first state becomes version 1."""
        self.version = 1

    def next_tick(self) -> float | None:
        """Tell the match time of the next fixed step, if the game has any."""
        hz = self.game.tick_hz
        return (self.ticks + 1) / hz if hz else None

    def act(self, seat: int, action: Any, time: float) -> None:
        """
        One seat acts.

        :raises Rejected: the game says no; nothing has changed.
        """
        guard = self.guard
        seconds = guard.seconds
        guard.plan, guard.began, guard.call = self.plan, seconds(), "act"
        try:
            # Written out, because it is what a room does most: see `ask`.
            try:
                if not guard.is_set:
                    guard.start()
                result = self.game.act(self.state, seat, action, time)
            finally:
                guard.call = None
                if guard.looks:
                    guard.settle("act")
        except Rejected:
            raise
        except BaseException:
            self._note(Recorded("act", time, seat, action))
            raise
        record = self.record
        if record is not None:
            # As `_note`.
            try:
                record(Recorded("act", time, seat, action))
            except Exception:
                self.record = None
        try:
            if type(result) is not self._proven:
                self._take(result, time)
            elif result is not self.state:
                # A state like the one before and no events: as `_take`.
                self.time = time
                self.state = result
                self.version += 1
                if self._asks:
                    self._ask_ahead(result)
            else:
                self.time = time
        except Rejected as error:
            # Too late to refuse the action: the state has changed.
            raise GameFault("only act() may raise Rejected") from error

    def tick(self, inputs: tuple[tuple[int, Any], ...], time: float) -> None:
        """One fixed step, with what arrived since the one before."""
        self._note(Recorded("tick", time, -1, inputs))
        self.ticks += 1
        self._take(
            self.ask("tick", self.game.tick, self.state, inputs, self.ticks), time
        )

    def advance(self, time: float) -> None:
        """
        The game's deadline has come.

        :raises GameFault: the game names no later one.
        """
        before = self.due
        self._note(Recorded("advance", time))
        self._take(self.ask("advance", self.game.advance, self.state, time), time)
        if before is not None and self.due is not None and self.due <= before:
            raise GameFault(
                f"deadline() stays at {self.due} after advance() at {time}; "
                f"it must name a later time or None"
            )

    def seat_joined(self, seat: int, time: float, newcomer: Seat) -> None:
        """A seat came after the start: the next number, or one that was given up."""
        self._note(Recorded("joined", time, seat, newcomer))
        self._seats = max(self._seats, seat + 1)
        joined = self.game.joined
        self._take(self.ask("joined", joined, self.state, seat, time, newcomer), time)

    def seat_dropped(self, seat: int, time: float) -> None:
        """A seat lost its connection."""
        self._note(Recorded("dropped", time, seat))
        self._take(self.ask("dropped", self.game.dropped, self.state, seat, time), time)

    def seat_returned(self, seat: int, time: float) -> None:
        """A dropped seat came back."""
        self._note(Recorded("returned", time, seat))
        self._take(
            self.ask("returned", self.game.returned, self.state, seat, time), time
        )

    def seat_left(self, seat: int, time: float) -> None:
        """A seat is gone for good."""
        self._note(Recorded("left", time, seat))
        self._take(self.ask("left", self.game.left, self.state, seat, time), time)

    def repeat(self, recorded: Recorded) -> None:
        """
        Do again what was recorded.

        :raises Unreadable: nothing of this kind is ever recorded.
        """
        time, seat = recorded.time, recorded.seat
        match recorded.kind:
            case "act":
                self.act(seat, recorded.data, time)
            case "tick":
                self.tick(recorded.data, time)
            case "advance":
                self.advance(time)
            case "joined":
                self.seat_joined(seat, time, recorded.data)
            case "dropped":
                self.seat_dropped(seat, time)
            case "returned":
                self.seat_returned(seat, time)
            case "left":
                self.seat_left(seat, time)
            case other:
                raise Unreadable(f"nothing recorded is called {other!r}")

    def ask(self, name: str, call: Callable[..., Any], *args: Any) -> Any:
        """
        Call the game, under the guard.

        :param name: of what is called, for the log.
        :raises TooSlow: it took too long.
        """
        guard = self.guard
        seconds = guard.seconds
        guard.plan, guard.began, guard.call = self.plan, seconds(), name
        try:
            # Only now that the call is marked: an alarm that finds no mark is
            # not set again.
            if not guard.is_set:
                guard.start()
            return call(*args)
        finally:
            guard.call = None
            if guard.looks:
                guard.settle(name)

    def _note(self, recorded: Recorded) -> None:
        if self.record is None:
            return
        try:
            self.record(recorded)
        except Exception:
            self.record = None

    def _take(self, result: Any, time: float) -> None:
        """Make what the game answered the current state."""
        if type(result) is Step:
            for event in result.events:
                self.events.append(ensure_event(event, self._seats))
            state = result.state
        else:
            state = result
        self.time = time
        if state is self.state:
            return
        if type(state) is not self._proven:
            if state is None:
                raise GameFault("the game returned no state; is a return missing?")
            ensure_frozen_type(type(state))
            self._proven = type(state)
        self.state = state
        self.version += 1
        if self._asks:
            self._ask_ahead(state)

    def _ask_ahead(self, state: Any) -> None:
        """Ask a game that can tell when it is due, and whether it is over."""
        if self._asks_deadline:
            due = self.ask("deadline", self.game.deadline, state)
            if due is not None and not (type(due) is float and math.isfinite(due)):
                due = ensure_deadline(due)
            self.due = due
        if self._asks_outcome:
            outcome = self.ask("outcome", self.game.outcome, state)
            if outcome is not None and outcome != self.outcome:
                ensure_outcome(outcome, self._seats)
            self.outcome = outcome
