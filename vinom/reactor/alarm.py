"""Call something at a deadline that keeps moving."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Alarm:
    """
    Ring when a deadline has come.

    Moving the deadline away costs nothing: the old call happens, finds that it
    is early, and is made again. That matters where each packet moves it.

    :param seconds: the clock of the deadlines; *clock*'s own unless given.
    :param deadline: names the next one; ``None`` is never.
    :param ring: called at that time; it must move the deadline.
    :ivar callee: the same; whoever measures calls names it instead of us.
    """

    def __init__(
        self,
        clock: IReactorTime,
        deadline: Callable[[], float | None],
        ring: Callable[[], None],
        seconds: Callable[[], float] | None = None,
    ) -> None:
        self._clock, self._deadline, self.callee = clock, deadline, ring
        self._seconds = seconds or clock.seconds
        self._call: IDelayedCall | None = None
        self._at = 0.0
        self._is_stopped = False

    def arm(self) -> None:
        """The deadline may have moved."""
        deadline = self._deadline()
        if deadline is None or self._is_stopped:
            return
        if self._call is not None:
            if self._at <= deadline:
                return
            self._call.cancel()
        self._at = deadline
        self._call = self._clock.callLater(
            max(0.0, deadline - self._seconds()), self._due
        )

    def stop(self) -> None:
        """Never ring again."""
        self._is_stopped = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _due(self) -> None:
        self._call = None
        deadline = self._deadline()
        if deadline is not None and deadline <= self._seconds():
            self.callee()
        self.arm()
