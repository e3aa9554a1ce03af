"""Detect that a process has too much to do, and refuse newcomers then."""

from __future__ import annotations

from collections.abc import Callable
from math import exp

import attrs

from vinom.errors import Code, Refused

#: When a refused newcomer may try again, seconds. Clients add a random delay of up to
#: half of it, so that they do not all come at once.
RETRY_AFTER = 2.0


def busy() -> Refused:
    """Make the refusal for a newcomer; its details say when to try again."""
    return Refused(
        Code.BUSY,
        f"this server is overloaded; try again in {RETRY_AFTER:g} s",
        {"retry_after": RETRY_AFTER},
    )


@attrs.define
class Overload:
    """
    Judge by how long the reactor's turns take, averaged over the last second.

    Times are seconds on a clock that never goes back. The average is over time: long
    turns weigh as much as they last, and time without turns counts as turns of no
    length. So one slow call isn't an overload; a second of slow turns is.

    :ivar bound: average above which there is an overload. Players see each state later
        by about this time.
    :ivar relief: average below which the overload is over.
    :ivar short: turns shorter than this need not be counted.
    :ivar changed: called with the new judgement when it changes.
    :ivar average: length of the last second's turns.
    """

    bound: float = 0.05
    relief: float = 0.02
    short: float = 0.002
    changed: Callable[[bool], None] | None = None
    average: float = attrs.field(default=0.0, init=False)
    _ended: float = attrs.field(default=0.0, init=False)
    _is_high: bool = attrs.field(default=False, init=False)

    def turned(self, took: float, now: float) -> None:
        """Count a turn that *took* this long and ended *now*."""
        # `_rest` and `_judge` written out: this runs for each turn.
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
        self._rest(now)
        self._judge()
        return self._is_high

    def _rest(self, until: float) -> None:
        """Count the time without turns *until* this moment."""
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
