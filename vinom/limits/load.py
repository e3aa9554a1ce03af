"""When a process has more to do than it can, and should take nobody new."""

from __future__ import annotations

from collections.abc import Callable
from math import exp

import attrs

from vinom.errors import Code, Refused

#: When to try again who was turned away, seconds. Clients wait up to half as long
#: again, each as chance has it, so that they do not all come at once.
RETRY_AFTER = 2.0


def busy() -> Refused:
    """Tell somebody new that there is too much to do, and when to come again."""
    return Refused(
        Code.BUSY,
        "too much to do for new players now",
        {"retry_after": RETRY_AFTER},
    )


@attrs.define
class Overload:
    """
    Judge by how long the reactor's turns take, averaged over the last second.

    Times are seconds on a clock that never goes back. What counts is the turn
    that something would meet which arrives at any moment: long turns weigh as
    much as they last, and time without turns counts as turns of no length. So one
    slow call is no overload; a second of slow turns is.

    :ivar bound: average that is too much. Players see each state so much later.
    :ivar relief: average at which it is over.
    :ivar changed: called with the new judgement when it changes.
    :ivar average: of the turns of late.
    """

    bound: float = 0.05
    relief: float = 0.02
    changed: Callable[[bool], None] | None = None
    average: float = attrs.field(default=0.0, init=False)
    _ended: float = attrs.field(default=0.0, init=False)
    _is_high: bool = attrs.field(default=False, init=False)

    def turned(self, took: float, now: float) -> None:
        """A turn of this length ended just now."""
        # Written out, as `_rest` and `_judge`: it is done for each turn.
        rest = now - took - self._ended
        average = self.average
        if rest > 0.0:
            average *= exp(-rest)
        self.average = average = average + (1.0 - exp(-took)) * (took - average)
        self._ended = now
        if average > self.bound:
            if not self._is_high:
                self._judge()
        elif average < self.relief and self._is_high:
            self._judge()

    def is_high(self, now: float) -> bool:
        """Should those who are new come later?"""
        self._rest(now)
        self._judge()
        return self._is_high

    def _rest(self, until: float) -> None:
        """Nothing was done until this moment."""
        if until > self._ended:
            self.average *= exp(self._ended - until)
            self._ended = until

    def _judge(self) -> None:
        was_high = self._is_high
        if self.average > self.bound:
            self._is_high = True
        elif self.average < self.relief:
            self._is_high = False
        if self._is_high is not was_high and self.changed is not None:
            self.changed(self._is_high)
