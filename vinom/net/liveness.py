"""One round for all connections: who is to be asked for a sign of life, and when."""

from __future__ import annotations

from typing import Protocol as Shape

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Steps of a round. So few connections are visited in one that nobody waits for it.
_STEPS = 100


class Visited(Shape):
    """A connection that is visited once in each round."""

    def visit(self) -> None:
        """A round is over since the last time."""


class Rounds:
    """
    Visit each connection once in each period, a hundredth of them at a time.

    A timer for each connection would cost more than the visit; visiting all at
    once would hold up those who play.

    :param period: length of a round, seconds.
    """

    def __init__(self, clock: IReactorTime, period: float) -> None:
        self._clock, self._step_seconds = clock, period / _STEPS
        self._steps: list[dict[Visited, None]] = [{} for _ in range(_STEPS)]
        self._places: dict[Visited, int] = {}
        self._at = 0
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._places)

    def join(self, visited: Visited) -> None:
        """Visit it from now on; the first time when a period is over."""
        self._places[visited] = self._at
        self._steps[self._at][visited] = None
        if self._call is None:
            self._call = self._clock.callLater(self._step_seconds, self._step)

    def leave(self, visited: Visited) -> None:
        """Visit it no more."""
        place = self._places.pop(visited, None)
        if place is not None:
            del self._steps[place][visited]
        if not self._places and self._call is not None:
            self._call.cancel()
            self._call = None

    def _step(self) -> None:
        self._call = self._clock.callLater(self._step_seconds, self._step)
        self._at = (self._at + 1) % _STEPS
        for visited in tuple(self._steps[self._at]):
            visited.visit()
