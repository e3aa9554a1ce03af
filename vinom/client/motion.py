"""
Motion between the states of a game with ticks: others a little late and smooth, one's
own at once.

The same as ``/boards/motion.js`` in the browser; see docs/howto/ticks.rst. Times are
seconds on the caller's clock; a moment is a number of ticks with a fraction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from math import floor, hypot, inf
from typing import Any, Generic, TypeVar

import attrs

#: How many of the latest states are looked at.
_KEPT = 40
#: How much faster or slower than time the picture may run to reach its delay.
_HASTE = 0.1
#: How far to continue a movement beyond the newest state, ticks.
_BEYOND = 2
#: By which part of its error the round trip is corrected with each answer.
_RATE = 1 / 8

State = TypeVar("State")
Body = TypeVar("Body", bound=Mapping[str, Any])
Action = TypeVar("Action")


def mix(before: Any, after: Any, part: float) -> Any:
    """
    Mix two values: numbers in proportion, lists and dicts part by part; what does not
    mix, such as a text, is the later one.

    :param before: the earlier value.
    :param after: the later value.
    :param part: 0 is *before*, 1 is *after*; above 1 the change goes on.
    """
    if _is_number(before) and _is_number(after):
        return before + (after - before) * part
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        known = [*before[: len(after)], *after[len(before) :]]
        return [mix(was, one, part) for was, one in zip(known, after, strict=True)]
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return {key: mix(before.get(key), after[key], part) for key in after}
    return after


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class TickClock:
    """
    When to draw which tick, learnt from when states arrive.

    :ivar step: seconds per tick.
    """

    def __init__(self, hz: float, least: float = 0.1, most: float = 0.25) -> None:
        """
        Begin without states.

        :param hz: ticks per second.
        :param least: the shortest drawing delay, seconds. It is the largest delay of
            the latest states, plus one and a half ticks, so that one can be lost.
        :param most: the longest drawing delay, seconds.
        """
        self.step = 1 / hz
        self._least, self._most = least, most
        # For each of the latest states, when tick 0 would have arrived with its delay.
        self._starts: deque[float] = deque(maxlen=_KEPT)
        self._newest = -1
        # When tick 0 is drawn.
        self._origin = self._added_at = 0.0

    def arrived(self, tick: int, now: float) -> None:
        """A state arrived."""
        if tick == self._newest:
            return
        if tick < self._newest:
            # Another match counts from 0 again.
            self._starts.clear()
        starts, self._newest = self._starts, tick
        starts.append(now - tick * self.step)
        earliest = min(starts)
        late = max(starts) - earliest + 1.5 * self.step
        origin = earliest + min(self._most, max(self._least, late))
        most = _HASTE * (now - self._added_at) if len(starts) > 1 else inf
        self._origin += max(-most, min(most, origin - self._origin))
        self._added_at = now

    def tick_at(self, now: float) -> float:
        """Return the moment to draw: mostly there are states before and after it."""
        return (now - self._origin) / self.step

    def newest_at(self, now: float) -> float:
        """Return the moment whose state would arrive now with the shortest delay."""
        return (now - min(self._starts)) / self.step if self._starts else 0.0


class Interpolator(Generic[State]):
    """What others did, between two states."""

    def __init__(
        self,
        clock: TickClock,
        mixer: Callable[[State, State, float], State] = mix,
    ) -> None:
        """
        Begin without states.

        :param clock: says which moment to draw.
        :param mixer: mixes two states, such as `mix`.
        """
        self._clock, self._mixer = clock, mixer
        self._states: deque[tuple[int, State]] = deque(maxlen=_KEPT)

    def add(self, tick: int, state: State) -> None:
        """A state arrived, which the clock knows."""
        states = self._states
        if states and tick < states[-1][0]:
            states.clear()
        if states and tick == states[-1][0]:
            states.pop()
        states.append((tick, state))

    def at(self, now: float) -> State | None:
        """Return what to draw; ``None`` before the first state."""
        states = self._states
        if not states:
            return None
        tick = min(self._clock.tick_at(now), states[-1][0] + _BEYOND)
        after = len(states) - 1
        while after > 0 and states[after - 1][0] > tick:
            after -= 1
        (first, before), (last, state) = states[max(0, after - 1)], states[after]
        span = last - first
        return self._mixer(
            before, state, max(0.0, (tick - first) / span) if span else 1
        )


@attrs.define
class _Waiting:
    """
    An input without an answer, the tick in which it should take effect, and what was
    taken for the round trip when it was sent.
    """

    action: Any
    number: int
    at: int
    lead: float


class Predictor(Generic[Body, Action]):
    """
    What we do, drawn where the server will have it when our input of this moment
    arrives there: the newest state, with the inputs that it does not answer applied
    again.
    """

    def __init__(
        self,
        step: Callable[[Body], Body],
        apply: Callable[[Body, Action], Body],
        clock: TickClock,
        *,
        fields: tuple[str, ...] = ("x", "y"),
        far: float = inf,
        most: float = 12,
        half: float = 0.07,
    ) -> None:
        """
        Begin without a body.

        :param step: moves a body by one tick, as the game does.
        :param apply: what an input changes.
        :param clock: knows when states arrive.
        :param fields: numbers of the body that are corrected smoothly.
        :param far: a correction this long is a jump.
        :param most: how far ahead of the newest state to draw, ticks.
        :param half: the half-life of a correction, seconds.
        """
        self._step, self._apply, self._clock = step, apply, clock
        self._fields, self._far, self._most, self._half = fields, far, most, half
        self._newest: tuple[int, Body] | None = None
        self._waiting: list[_Waiting] = []
        self._acked = 0
        # How many ticks what is drawn is ahead of the newest state: one round trip.
        self._lead, self._is_measured = 1.0, False
        # The correction that is not shown yet, at a moment.
        self._off: list[float] = []
        self._off_at = 0.0

    def act(self, action: Action, number: int, now: float) -> None:
        """We acted; *number* is what ``Match.act`` returned."""
        at = floor(self.tick_at(now)) + 1
        before = self.at(now)
        self._waiting.append(_Waiting(action, number, at, self._lead))
        self._fade(before, now)

    def confirm(self, tick: int, body: Body | None, acked: int, now: float) -> None:
        """
        A state arrived, which the clock knows.

        :param tick: of the state.
        :param body: ours in it; ``None`` if we have none.
        :param acked: number of our latest action that it answers.
        :param now: when it arrived.
        """
        shown, before = self.at(now), self._newest
        if body is None or (before is not None and tick < before[0]):
            self._waiting.clear()
        self._newest = None if body is None else (tick, body)
        done = [one for one in self._waiting if one.number <= acked]
        if done and acked > self._acked:
            # The last of them took effect between the two states.
            at, first = done[-1].at, tick if before is None else before[0] + 1
            late = max(min(at, tick), first) - at
            # Inputs on their way still count with the lead that they were sent with.
            more = done[-1].lead + late - self._lead
            lead = self._lead + (_RATE * more if self._is_measured else more)
            self._lead, self._is_measured = min(self._most, max(0.0, lead)), True
        self._acked = acked
        # An input without an answer for a second is lost.
        oldest = tick - 1 / self._clock.step
        self._waiting = [
            one for one in self._waiting if one.number > acked and one.at > oldest
        ]
        self._fade(shown, now)

    def tick_at(self, now: float) -> float:
        """Return the moment that is drawn."""
        if self._newest is None:
            return 0.0
        tick = self._newest[0]
        ahead = self._clock.newest_at(now) + self._lead
        return min(max(tick, ahead), tick + self._most)

    def at(self, now: float) -> dict[str, Any] | None:
        """Return our body to draw; ``None`` if we have none."""
        shown = self._right(now)
        if shown is not None:
            left: float = 0.5 ** ((now - self._off_at) / self._half)
            for key, off in zip(self._fields, self._off, strict=False):
                shown[key] += off * left
        return shown

    def _right(self, now: float) -> dict[str, Any] | None:
        """Return our body by the rules, without corrections."""
        if self._newest is None:
            return None
        until = self.tick_at(now)
        tick, body = self._newest
        before, waiting = body, iter(self._waiting)
        coming = next(waiting, None)
        while tick < until:
            tick += 1
            before = body
            while coming is not None and coming.at <= tick:
                body = self._apply(body, coming.action)
                coming = next(waiting, None)
            body = self._step(body)
        part = 1 - (tick - until)
        mixed = {key: mix(before[key], body[key], part) for key in self._fields}
        return {**body, **mixed}

    def _fade(self, before: Mapping[str, Any] | None, now: float) -> None:
        """Keep what was drawn *before* a change; the difference fades."""
        after = self._right(now)
        self._off, self._off_at = [], now
        if before is not None and after is not None:
            off = [before[key] - after[key] for key in self._fields]
            if hypot(*off) < self._far:
                self._off = off
