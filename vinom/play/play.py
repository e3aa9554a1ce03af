"""
One game being played, on match time alone: what a room and a replay share.

`Play` calls the game, keeps its state and counts its versions. It has no connections
and no clock. All calls to the game pass through here and are recorded, so that a
recording plays to the same states. Everything that a game returns is checked here: an
invalid value is the game's fault and ends its room, and must not fail later, in the
code that sends it to players.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import attrs
import msgspec
from msgspec import Struct

from vinom.base.model import MatchPlan, SeatPlan
from vinom.errors import Code, Refused, Rejected, Unreadable, VinomError
from vinom.game import Chance, Event, Game, Input, Outcome, Seat, Step, Table, Vacate
from vinom.play.choices import read_claims, read_loadout, read_options, seats_for
from vinom.play.guard import Guard, TooSlow
from vinom.play.seats import teams_of
from vinom.play.states import ensure_storable
from vinom.play.views import Recipients

_encode = msgspec.msgpack.Encoder().encode


class GameFault(VinomError):
    """A game returned something invalid; its room ends."""


def ensure_deadline(due: Any, what: str = "deadline() returned") -> float:
    """
    Check a deadline that a game returned.

    :param due: the deadline.
    :param what: says where it was found.
    :raises GameFault: it is not a finite number.
    """
    if not isinstance(due, float | int) or not math.isfinite(due):
        raise GameFault(f"{what} {due!r}; return a match time, or None for no deadline")
    return due


def ensure_timers(timers: Any) -> dict[str, float]:
    """
    Check the timers that a game returned, and leave out those that are not set.

    :raises GameFault: they are not match times by name.
    """
    if not isinstance(timers, Mapping):
        raise GameFault(f"timers() returned {timers!r}; return match times by name")
    for name in timers:
        if not isinstance(name, str) or not name:
            raise GameFault(f"timers() has the name {name!r}; a name must be a text")
    return {
        name: ensure_deadline(at, f"timers() has for {name!r}")
        for name, at in timers.items()
        if at is not None
    }


def ensure_turns(turns: Any, seats: int) -> tuple[int, ...]:
    """
    Check the seats that a game waits for.

    :param turns: what `turns` returned.
    :param seats: how many seats the table has.
    :raises GameFault: they are not seats.
    """
    if type(turns) is not tuple or not set(turns) <= set(range(seats)):
        raise GameFault(
            f"turns() returned {turns!r}; return a tuple of seats, 0 to {seats - 1}"
        )
    return turns


def ensure_event(event: Any, seats: int) -> Event:
    """
    Check an event that a game returned.

    :param event: the event.
    :param seats: how many seats the table has.
    :raises GameFault: it cannot be sent, or is addressed to a seat that does not exist.
    """
    if not isinstance(event, Event) or not isinstance(event.kind, str):
        raise GameFault(
            f"a Step has the event {event!r}; "
            f"each event must be an Event whose kind is a str"
        )
    to = event.to
    for seat in (to,) if isinstance(to, int) else to if isinstance(to, tuple) else ():
        if not _is_seat(seat, seats):
            raise GameFault(
                f"event {event.kind!r} is addressed to seat {seat!r}, "
                f"but this table has seats 0 to {seats - 1}"
            )
    try:
        _encode(event.data)
    except Exception as error:
        raise GameFault(f"event {event.kind!r} cannot be sent: {error}") from error
    return event


def ensure_vacated(seat: Any, seats: int) -> int:
    """
    Check a seat that a game gives up.

    :raises GameFault: there is no such seat.
    """
    if not _is_seat(seat, seats):
        raise GameFault(
            f"a Step gives up seat {seat!r}, but this table has seats 0 to {seats - 1}"
        )
    return seat


def ensure_outcome(outcome: Any, seats: int) -> None:
    """
    Check an outcome that a game returned.

    :param outcome: the outcome.
    :param seats: how many seats the table has.
    :raises GameFault: it is not the outcome of a round at this table.
    """
    if not isinstance(outcome, Outcome) or not isinstance(outcome.round, int):
        raise GameFault(
            f"outcome() returned {outcome!r}; "
            f"return an Outcome whose round is an int, or None"
        )
    for place in _items(outcome.places, "places"):
        for seat in _items(place, "places"):
            if not _is_seat(seat, seats):
                raise GameFault(
                    f"outcome() ranks seat {seat!r}, which does not exist; "
                    f"this table has seats 0 to {seats - 1}"
                )
    for score in _items(outcome.scores, "scores"):
        if not isinstance(score, int | float):
            raise GameFault(f"outcome() has the score {score!r}, which isn't a number")


def _is_seat(number: Any, seats: int) -> TypeGuard[int]:
    return isinstance(number, int) and 0 <= number < seats


def _items(value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise GameFault(
            f"outcome() has {value!r} in its {name}; places must be a tuple of tuples "
            f"of seats, scores a tuple of numbers"
        )
    return value


#: Most further calls of one tick that rejects inputs; then it gets none of them.
MOST_RETRIES = 64

# A game may raise anything, even SystemExit: that ends its own room only.
GAME_ERRORS = (Exception, SystemExit, TooSlow)


class Recorded(Struct, frozen=True, array_like=True, gc=False):
    """
    One call to a game.

    :ivar kind: "act", "tick", "advance", "joined", "dropped", "returned" or "left".
    :ivar time: match time, seconds.
    :ivar seat: the seat; -1 if there is none.
    :ivar data: the action; for a tick, its ``(seat, action)`` pairs, each with the tick
        that was shown as third if the game has `past_ticks`; for "joined", the
        newcomer; for "advance", the timer's name, ``None`` for the deadline.
    """

    kind: str
    time: float
    seat: int = -1
    data: Any = None


@attrs.frozen
class Point:
    """
    A point of a play, from which it can go on elsewhere.

    :ivar state: the game's.
    :ivar version: of the state.
    :ivar time: match time, seconds.
    :ivar ticks: how many fixed steps were made.
    """

    state: Any
    version: int
    time: float
    ticks: int = 0


def table_of(plan: MatchPlan, game: Game[Any, Any]) -> Table:
    """
    Make the table from which a game starts.

    :raises Refused: the game does not accept the plan's options, a loadout, a team,
        or the number of seats.
    """
    fewest, most = seats_for(game, plan.options)
    if not fewest <= len(plan.seats) <= most:
        raise Refused(
            Code.BAD_OPTIONS,
            f"{plan.game} is for {fewest} to {most} players, not {len(plan.seats)}",
        )
    return Table(
        seats=tuple(
            _seated(seat, team, game)
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
    Make one seat as `table_of` would.

    :raises Refused: the game does not accept its loadout or team.
    """
    seat = seats[number]
    team = teams_of(seats, game.teams)[number]
    return _seated(seat, team, game)


def _seated(seat: SeatPlan, team: int | None, game: Game[Any, Any]) -> Seat:
    return Seat(
        seat.name,
        read_loadout(game, seat.loadout),
        team,
        seat.player_id,
        read_claims(seat.claims),
    )


@attrs.define(eq=False)
class Play:
    """
    The current state of one game; no method catches the game's errors.

    :ivar game: the rules.
    :ivar record: called with each call to the game; if it fails, the recording ends,
        but the game continues.
    :ivar guard: interrupts calls that take too long.
    :ivar plan: of the match, for the guard's reports.
    :ivar state: the game's state.
    :ivar version: 0 before `begin`, then +1 per change of state.
    :ivar time: match time of the latest call, seconds; never goes back.
    :ivar ticks: how many fixed steps were made.
    :ivar due: match time at which `advance` is due.
    :ivar due_for: name of the timer that is due then; empty for the deadline.
    :ivar has_timers: does the game name its deadlines?
    :ivar outcome: of the round that ended; ``None`` while one is played.
    :ivar turns: seats that the game waits for, if its clock is the wall's.
    :ivar events: the game's events that the caller has not taken yet.
    :ivar vacated: seats that the game gave up, and the caller has not taken yet.
    :ivar refused: inputs that ticks rejected, each with its seat, that the caller has
        not taken yet.
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
    due_for: str = attrs.field(default="", init=False)
    has_timers: bool = attrs.field(default=False, init=False)
    outcome: Outcome | None = attrs.field(default=None, init=False)
    turns: tuple[int, ...] = attrs.field(default=(), init=False)
    events: list[Event] = attrs.field(factory=list, init=False)
    vacated: list[int] = attrs.field(factory=list, init=False)
    refused: list[tuple[int, Rejected]] = attrs.field(factory=list, init=False)
    _proven: type | None = attrs.field(default=None, init=False)
    _asks: bool = attrs.field(default=False, init=False)
    _asks_deadline: bool = attrs.field(default=False, init=False)
    _asks_outcome: bool = attrs.field(default=False, init=False)
    _timers: dict[str, float] = attrs.field(factory=dict, init=False)
    _asks_turns: bool = attrs.field(default=False, init=False)
    _seats: int = attrs.field(default=0, init=False)
    # The states after the latest ticks, oldest first, if the game looks at them.
    _past: tuple[Any, ...] | None = attrs.field(default=None, init=False)

    def lay(self, table: Table) -> None:
        """Make the first state, which is not shown before `begin`."""
        self._prepare(len(table.seats))
        result = self.ask("start", self.game.start, table)
        state = result.state if type(result) is Step else result
        if state is None:
            raise GameFault("start() returned no state; is a return missing?")
        try:
            self._take(result, 0.0)
            if self.vacated:
                raise GameFault("start() gives up a seat; give it up in a later step")
        finally:
            self.version = 0
        self._remember()

    def resume(self, point: Point, seats: int) -> None:
        """
        Go on from a point of an earlier play, in place of `lay` and `begin`.

        :param point: the state, and when it was reached.
        :param seats: how many the table has.
        """
        self._prepare(seats)
        self._proven = type(point.state)
        self.state, self.version = point.state, point.version
        self.time, self.ticks = point.time, point.ticks
        self._remember()
        if self._asks:
            self._ask_ahead(point.state)

    def _prepare(self, seats: int) -> None:
        kind = type(self.game)
        self._asks_deadline = kind.deadline is not Game.deadline
        self._asks_outcome = kind.outcome is not Game.outcome
        self.has_timers = kind.timers is not Game.timers
        self._asks_turns = self.game.clock == "wall" and kind.turns is not Game.turns
        self._asks = self._asks_deadline or self._asks_outcome or self.has_timers
        self._asks = self._asks or self._asks_turns
        self._seats = seats
        if self.game.past_ticks:
            self._past = ()

    def begin(self) -> None:
        """Start match time: the first state becomes version 1."""
        self.version = 1

    def next_tick(self) -> float | None:
        """Return the match time of the next fixed step, if the game has any."""
        hz = self.game.tick_hz
        return (self.ticks + 1) / hz if hz else None

    def act(self, seat: int, action: Any, time: float) -> None:
        """
        Let a seat act.

        :raises Rejected: the rules forbid it; nothing has changed.
        """
        guard = self.guard
        seconds = guard.seconds
        guard.plan, guard.began, guard.call = self.plan, seconds(), "act"
        try:
            # `ask` written out, because a room does nothing else as often.
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
            # `_note` written out.
            try:
                record(Recorded("act", time, seat, action))
            except Exception:
                self.record = None
        try:
            if type(result) is not self._proven:
                self._take(result, time)
            elif result is not self.state:
                # A state of the same type and no events: `_take` written out.
                self.time = time
                self.state = result
                self.version += 1
                if self._asks:
                    self._ask_ahead(result)
            else:
                self.time = time
        except Rejected as error:
            # Too late to refuse the action: the state has changed.
            raise GameFault(
                "deadline() or outcome() raised Rejected; only act() may"
            ) from error

    def inputs_of(self, given: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """
        Return what the next tick gets: `Input`, if the game has `Game.past_ticks`.

        :param given: seats and their actions; the tick that was shown may be third.
        """
        past = self._past
        if past is None:
            return tuple([one[:2] for one in given])
        inputs = []
        for seat, action, *shown in given:
            # Unknown, or from the future: what is newest.
            tick, seen = self.ticks, self.state
            if shown and 0 < shown[0] < tick:
                tick = max(shown[0], tick - len(past) + 1)
                # The newest may have changed since its tick.
                seen = seen if tick == self.ticks else past[tick - self.ticks - 1]
            inputs.append(Input(seat, action, seen, tick))
        return tuple(inputs)

    def _remember(self) -> None:
        """Keep the state after a tick, for players who were shown it."""
        if self._past is not None:
            self._past = (*self._past[-self.game.past_ticks :], self.state)

    def tick(self, given: Sequence[tuple[Any, ...]], time: float) -> None:
        """
        Make one fixed step, with the actions since the one before.

        If the game raises `Rejected`, the input at which it does is left out, and the
        step is made with the others. The recording has only those.

        :param given: as for `inputs_of`.
        :param time: match time, seconds.
        """
        inputs = self.inputs_of(given)
        self.ticks += 1
        try:
            result = self._make_tick(inputs)
        except Rejected as error:
            inputs, result = self._without_rejected(inputs, error)
        except BaseException:
            self._note_tick(inputs, time)
            raise
        self._note_tick(inputs, time)
        self._take(result, time)
        self._remember()

    def _note_tick(self, inputs: tuple[Any, ...], time: float) -> None:
        if self._past is not None:
            inputs = tuple([(*one, one.tick) for one in inputs])
        self._note(Recorded("tick", time, -1, inputs))

    def _make_tick(self, inputs: tuple[Any, ...]) -> Any:
        return self.ask("tick", self.game.tick, self.state, inputs, self.ticks)

    def _without_rejected(
        self, inputs: tuple[Any, ...], error: Rejected
    ) -> tuple[tuple[Any, ...], Any]:
        """
        Leave out the inputs that a tick rejects.

        A game handles its inputs in order and is pure. So the first input that it
        rejects is the last one of the shortest beginning that raises; halving finds it.

        :param error: raised for all *inputs*.
        :returns: the inputs that are left, and the result of the tick with them.
        :raises GameFault: the tick is rejected even without inputs.
        """
        calls = 0
        while inputs:
            fits, fails = 0, len(inputs)
            while fails - fits > 1 and calls < MOST_RETRIES:
                middle = (fits + fails) // 2
                calls += 1
                try:
                    self._make_tick(inputs[:middle])
                except Rejected as earlier:
                    fails, error = middle, earlier
                else:
                    fits = middle
            if calls >= MOST_RETRIES:
                # The other rooms wait too.
                self.refused += [(seat, error) for seat, _ in inputs]
                inputs = ()
            else:
                self.refused.append((inputs[fits][0], error))
                inputs = (*inputs[:fits], *inputs[fails:])
            calls += 1
            try:
                return inputs, self._make_tick(inputs)
            except Rejected as next_one:
                error = next_one
        raise GameFault(
            f"tick() raised Rejected ({error.code!r}) without any input; "
            f"only an input can be rejected"
        ) from error

    def advance(self, time: float, name: str = "") -> None:
        """
        Call the game at its deadline, or at the time of a timer.

        :param name: of the timer; empty for the deadline.
        :raises GameFault: its next time is not later.
        """
        before = self._time_of(name)
        self._note(Recorded("advance", time, -1, name or None))
        args = self.advance_args(time, name)
        self._take(self.ask("advance", self.game.advance, self.state, *args), time)
        after = self._time_of(name)
        if before is not None and after is not None and after <= before:
            what = f"timer {name!r}" if name else "deadline()"
            raise GameFault(
                f"{what} is still {after} after advance() at {time}: handle "
                f"everything that is due then in one advance(), and return a later "
                f"time or None"
            )

    def advance_args(self, time: float, name: str) -> tuple[Any, ...]:
        """Return what the game's `advance` gets after the state."""
        return (time, name) if self.has_timers else (time,)

    def _time_of(self, name: str) -> float | None:
        return self._timers.get(name) if self.has_timers else self.due

    def seat_joined(self, seat: int, time: float, newcomer: Seat) -> None:
        """Seat a newcomer after the start: at the next number, or a given-up seat's."""
        self._note(Recorded("joined", time, seat, newcomer))
        self._seats = max(self._seats, seat + 1)
        joined = self.game.joined
        self._take(self.ask("joined", joined, self.state, seat, time, newcomer), time)

    def seat_dropped(self, seat: int, time: float) -> None:
        """Call the game for a seat that lost its connection."""
        self._note(Recorded("dropped", time, seat))
        self._take(self.ask("dropped", self.game.dropped, self.state, seat, time), time)

    def seat_returned(self, seat: int, time: float) -> None:
        """Call the game for a dropped seat that is connected again."""
        self._note(Recorded("returned", time, seat))
        self._take(
            self.ask("returned", self.game.returned, self.state, seat, time), time
        )

    def seat_left(self, seat: int, time: float) -> None:
        """Call the game for a seat that was given up for good."""
        self._note(Recorded("left", time, seat))
        self._take(self.ask("left", self.game.left, self.state, seat, time), time)

    def recipients(self, event: Event) -> Recipients:
        """
        Find who gets an event that came with the present state.

        :raises GameFault: it is addressed to an audience that nobody is.
        """
        to = event.to
        if to is None or isinstance(to, int | tuple):
            return to
        audiences = {
            -1 if seat is None else seat: self.ask(
                "audience", self.game.audience, self.state, seat
            )
            for seat in (*range(self._seats), None)
        }
        found = tuple(seat for seat, audience in audiences.items() if audience == to)
        if not found:
            known = ", ".join(map(repr, dict.fromkeys(audiences.values())))
            raise GameFault(
                f"event {event.kind!r} is addressed to {to!r}; name a seat, a tuple of "
                f"seats, or an audience, which is one of {known} here"
            )
        return None if len(found) == len(audiences) else found

    def repeat(self, recorded: Recorded) -> None:
        """
        Make a recorded call to the game again.

        :raises Unreadable: its kind does not exist.
        """
        time, seat = recorded.time, recorded.seat
        match recorded.kind:
            case "act":
                self.act(seat, recorded.data, time)
            case "tick":
                refused = len(self.refused)
                self.tick(recorded.data, time)
                if len(self.refused) > refused:
                    raise GameFault(
                        "tick() rejects an input that it accepted in the recording"
                    ) from self.refused[-1][1]
            case "advance":
                self.advance(time, recorded.data or "")
            case "joined":
                self.seat_joined(seat, time, recorded.data)
            case "dropped":
                self.seat_dropped(seat, time)
            case "returned":
                self.seat_returned(seat, time)
            case "left":
                self.seat_left(seat, time)
            case other:
                raise Unreadable(f"the recording has a call of unknown kind {other!r}")

    def ask(self, name: str, call: Callable[..., Any], *args: Any) -> Any:
        """
        Call the game, under the guard.

        :param name: of the game's method, for the log.
        :param call: the method.
        :param args: its arguments.
        :raises TooSlow: it took too long.
        """
        guard = self.guard
        seconds = guard.seconds
        guard.plan, guard.began, guard.call = self.plan, seconds(), name
        try:
            # Only after the call is marked: an alarm that finds no mark is not set
            # again.
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
        """Make *result*, which the game returned, the current state."""
        if type(result) is Step:
            for event in result.events:
                if type(event) is Vacate:
                    self.vacated.append(ensure_vacated(event.seat, self._seats))
                else:
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
            # Later states are proven by their type only; reading the first one from its
            # bytes finds a list where a tuple is declared.
            ensure_storable(state)
            self._proven = type(state)
        self.state = state
        self.version += 1
        if self._asks:
            self._ask_ahead(state)

    def _ask_ahead(self, state: Any) -> None:
        """Ask what is due, how the round ended, and who has the turn."""
        if self._asks_deadline:
            due = self.ask("deadline", self.game.deadline, state)
            if due is not None and not (type(due) is float and math.isfinite(due)):
                due = ensure_deadline(due)
            self.due = due
        if self.has_timers:
            # The deadline comes first at the same time, then the timers as listed.
            times = (
                {} if self.due is None or not self._asks_deadline else {"": self.due}
            )
            times |= ensure_timers(self.ask("timers", self.game.timers, state))
            self._timers = times
            self.due_for = min(times, key=times.__getitem__, default="")
            self.due = times.get(self.due_for)
        if self._asks_outcome:
            outcome = self.ask("outcome", self.game.outcome, state)
            if outcome is not None and outcome != self.outcome:
                ensure_outcome(outcome, self._seats)
            self.outcome = outcome
        if self._asks_turns:
            turns = self.ask("turns", self.game.turns, state)
            if turns != self.turns:
                self.turns = ensure_turns(turns, self._seats)
