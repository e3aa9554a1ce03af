"""Many bots at once, for a limited time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vinom.client.line import LineLost, LobbyRefusal
from vinom.client.load.bot import Bot
from vinom.client.load.tally import Tally

#: Most bots that log in at the same time.
_AT_ONCE = 20


class Crowd:
    """
    Log bots in, let them play, and wait for them to finish.

    :param clock: measures and schedules time; the reactor.
    :param newcomers: each logs in, and gives a bot that is ready.
    :param tally: counts the bots that cannot log in.
    :param seconds: when to stop queueing; ``None``: never.
    :param grace: how long matches may continue after that, seconds.
    :ivar bots: those that have logged in.
    """

    def __init__(
        self,
        clock: IReactorTime,
        newcomers: Sequence[Callable[[], Deferred[Bot]]],
        tally: Tally,
        seconds: float | None = None,
        grace: float = 60.0,
    ) -> None:
        self._clock, self._newcomers, self._tally = clock, newcomers, tally
        self._seconds, self._grace = seconds, grace
        self._timers: list[IDelayedCall] = []
        self._is_stopping = False
        self.bots: list[Bot] = []

    def run(self) -> Deferred[None]:
        """Play; fires when the last bot has left."""
        if self._seconds is not None:
            self._after(self._seconds, self.stop)
        door = DeferredSemaphore(_AT_ONCE)
        runs = [self._bring(door, newcomer) for newcomer in self._newcomers]

        def done(results: list[tuple[bool, Any]]) -> None:
            for timer in self._timers:
                if timer.active():
                    timer.cancel()
            for worked, failure in results:
                if not worked:
                    failure.raiseException()

        return DeferredList(runs, consumeErrors=True).addCallback(done)

    def stop(self) -> None:
        """Stop queueing; matches may continue for the time of grace."""
        if not self._is_stopping:
            self._is_stopping = True
            self._after(self._grace, self.leave)
            for bot in self.bots:
                bot.stop()

    def leave(self) -> None:
        """Stop, and leave all matches at once."""
        self._is_stopping = True
        for bot in self.bots:
            bot.leave()

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._timers.append(self._clock.callLater(seconds, act))

    def _bring(
        self, door: DeferredSemaphore, newcomer: Callable[[], Deferred[Bot]]
    ) -> Deferred[None]:
        return door.run(self._greet, newcomer).addCallback(self._play)

    def _greet(self, newcomer: Callable[[], Deferred[Bot]]) -> Deferred[Bot | None]:
        if self._is_stopping:
            return succeed(None)

        def turned_away(failure: Any) -> None:
            failure.trap(LobbyRefusal, LineLost)
            refusal = failure.value
            if isinstance(refusal, LobbyRefusal):
                self._tally.went_wrong(refusal.code, refusal.message)
            else:
                self._tally.went_wrong("line_lost", str(refusal))

        return newcomer().addErrback(turned_away)

    def _play(self, bot: Bot | None) -> Deferred[None]:
        if bot is None:
            return succeed(None)
        self.bots.append(bot)
        if self._is_stopping:
            bot.stop()
        return bot.run()
