"""When the matchmaker looks at its queue: soon after a change, never twice at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

#: How soon a round is tried again that failed, seconds.
_RETRY_SECONDS = 1.0


class Rounds:
    """
    Play rounds one after another, when somebody asks.

    :param play: one round; it gives after how many seconds the next is due even
        if nobody asks, or ``None``.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, play: Callable[[], Awaitable[float | None]]
    ) -> None:
        self._clock, self._play = clock, play
        self._next: IDelayedCall | None = None
        self._is_playing = self._is_due = False

    def ask(self, delay: float = 0.0) -> None:
        """
        Have a round soon, or right after this one.

        Never at once: what arrived in one turn of the reactor is matched
        together, and answers go out before the news that they cause.
        """
        if self._is_playing:
            self._is_due = True
            return
        if self._next is not None:
            if self._next.getTime() <= self._clock.seconds() + delay:
                return
            self._next.cancel()
        self._next = self._clock.callLater(delay, self._start)

    def stop(self) -> None:
        """Begin no round that was asked for so far."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _start(self) -> None:
        self._next = None
        self._is_playing, self._is_due = True, False

        def failed(failure: Failure) -> float:
            self._log.failure("a round of matchmaking failed", failure)
            return _RETRY_SECONDS

        def over(delay: float | None) -> None:
            self._is_playing = False
            if self._is_due:
                self.ask()
            elif delay is not None:
                self.ask(delay)

        async def play() -> float | None:
            return await self._play()

        Deferred.fromCoroutine(play()).addErrback(failed).addCallback(over)
