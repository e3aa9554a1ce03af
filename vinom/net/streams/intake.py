"""Reading from a connection, which stops while there is a reason not to read."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Bytes that may come at once, in seconds of the rate.
_BURST_SECONDS = 1.0


@attrs.define
class Pace:
    """
    Counts the bytes of one client. Times: seconds on the caller's clock.

    :ivar rate: bytes per second.
    """

    rate: float
    _paid_until: float = attrs.field(default=-1e300, init=False)

    def wait(self, size: int, now: float) -> float:
        """Count received bytes; returns how long to stop reading, 0 for not at all."""
        began = max(self._paid_until, now - _BURST_SECONDS)
        self._paid_until = began + size / self.rate
        return max(0.0, self._paid_until - now)


def pace_of(rate: float) -> Pace | None:
    """Make the limit of a new client; ``None`` for a *rate* of 0, which is no limit."""
    return Pace(rate) if rate else None


class Intake:
    """The reading side of one connection."""

    __slots__ = ("_clock", "_is_over", "_pace", "_slowed", "_transport", "holds")

    def __init__(
        self, transport: Any, clock: IReactorTime, pace: Pace | None = None
    ) -> None:
        """
        :param transport: is read from now.
        :param clock: for clients that send too fast.
        :param pace: limits how fast the peer may send; ``None`` for no limit.
        """
        self._transport, self._clock, self._pace = transport, clock, pace
        #: Why nothing is read.
        self.holds: set[str] = set()
        self._slowed: IDelayedCall | None = None
        self._is_over = False

    def hold(self, why: str) -> bool:
        """Read nothing until `let_go` gets the same reason; was it read until now?"""
        is_first = not (self.holds or self._is_over)
        self.holds.add(why)
        if is_first:
            self._transport.pauseProducing()
        return is_first

    def let_go(self, why: str) -> bool:
        """Read again, unless there is another reason not to: is it read now?"""
        if why not in self.holds:
            return False
        self.holds.discard(why)
        if self.holds or self._is_over:
            return False
        self._transport.resumeProducing()
        return True

    def received(self, size: int, wait: float = 0.0) -> None:
        """
        Bytes came: read no more for a while if they came too fast.

        :param wait: seconds for which to read nothing in any case.
        """
        if self._pace is not None:
            wait = max(wait, self._pace.wait(size, self._clock.seconds()))
        if wait and self._slowed is None and not self._is_over:
            self.hold("pace")
            self._slowed = self._clock.callLater(wait, self._go_on)

    def end(self) -> None:
        """The connection is over: nobody waits for anything."""
        self._is_over = True
        if self._slowed is not None:
            self._slowed.cancel()
            self._slowed = None

    def _go_on(self) -> None:
        self._slowed = None
        self.let_go("pace")
