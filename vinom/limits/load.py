"""
When a process has more to do than it can, and should take nobody new.

When to look at a busy port again: at once, or when more has come.
"""

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


@attrs.define
class Pacing:
    """
    Judge by how much of the last moments turns took. Times: seconds.

    A turn costs much by itself and each datagram in it little. A port that is woken
    by each one would spend most of its time on turns, so one that has little time
    left is looked at now and then instead; all others answer at once.

    :ivar pause: from one look to the next; what comes meanwhile waits so long.
    :ivar window: how long turns are counted.
    :ivar busy: share of a window above which there are pauses.
    :ivar calm: share below which there are none any more; pauses themselves make
        it less.
    :ivar most: datagrams in one look above which the next one comes at once: the
        operating system does not keep many.
    """

    pause: float = 0.002
    window: float = 0.05
    busy: float = 0.5
    calm: float = 0.15
    most: int = 96
    is_paced: bool = False
    _since: float = 0.0
    _spent: float = 0.0

    def turned(self, datagrams: int, took: float, now: float) -> float:
        """
        A turn is over that took so many datagrams, and so long.

        :returns: how long to wait before the next look; 0 is not at all.
        """
        if now - self._since >= self.window:
            share = self._spent / (now - self._since)
            self.is_paced = share >= (self.calm if self.is_paced else self.busy)
            self._since, self._spent = now, 0.0
        self._spent += took
        return self.pause if self.is_paced and datagrams <= self.most else 0.0
