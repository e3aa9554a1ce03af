"""How much time rooms may take to start, so that the others go on."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

#: Rooms that start may take so long in one turn of the reactor, seconds; the one that
#: is being started is not interrupted.
_SECONDS = 0.02


class StartPacing:
    """Let rooms start in turn: a table may take long to lay, as a large maze does."""

    def __init__(self, clock: IReactorTime, seconds: Callable[[], float]) -> None:
        """
        Begin with the whole time.

        :param clock: rings at the next turn of the reactor.
        :param seconds: a clock that never goes back.
        """
        self._clock, self._seconds = clock, seconds
        self._spent = 0.0

    @property
    def may_start(self) -> bool:
        """Is there time to start one more in this turn?"""
        return self._spent < _SECONDS

    def start(self, call: Callable[[float], None], now: float) -> None:
        """
        Start a room, and count how long it took.

        :param call: starts it, and takes the time.
        :param now: the time that it takes.
        """
        began = self._seconds()
        try:
            call(now)
        finally:
            spent = self._seconds() - began
            if spent > 0:
                if not self._spent:
                    self._clock.callLater(0, self._renew)
                self._spent += spent

    def _renew(self) -> None:
        self._spent = 0.0
