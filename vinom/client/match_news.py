"""A line to the lobby that stays open during a match, for news of its address."""

from __future__ import annotations

from collections.abc import Callable
from random import random

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.messages.envelope import Failed, Push
from vinom.base.messages.lobby import MatchFound
from vinom.client.line import LineLost, LobbyLine, LobbyRefusal
from vinom.client.lobby import LobbyClient

#: Pauses between attempts to open a line, seconds; the last one repeats. Each is longer
#: by up to half at random, so that clients do not all come back at once.
_PAUSES = (1.0, 2.0, 5.0)


class MatchNews:
    """
    Keep a line to the lobby, and pass on the addresses of the match that it sends.

    A player has only one line: another line of the same player closes this one. It is
    opened again after a pause, if it is still needed.

    :param clock: measures and schedules time; the reactor.
    :param lobby: opens lines.
    :param moved: called with each `MatchFound`.
    :param is_needed: is there no other line for the news?
    :param chance: returns random numbers from 0 to 1, for the pauses.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        lobby: LobbyClient,
        moved: Callable[[MatchFound], None],
        is_needed: Callable[[], bool],
        chance: Callable[[], float] = random,
    ) -> None:
        self._clock, self._lobby, self._moved = clock, lobby, moved
        self._is_needed, self._chance = is_needed, chance
        self._line: LobbyLine | None = None
        self._is_over = False
        self._holding: Deferred[None] | None = None

    def start(self) -> None:
        """Keep a line open from now on; called once."""
        self._holding = Deferred.fromCoroutine(self._hold())
        self._holding.addErrback(self._failed)

    def stop(self) -> None:
        """Hang up for good."""
        self._is_over = True
        if self._line is not None:
            self._line.close()
        if self._holding is not None:
            self._holding.cancel()

    async def _hold(self) -> None:
        tries = 0
        while not self._is_over:
            if self._is_needed():
                try:
                    await self._listen()
                    tries = 0
                except (LobbyRefusal, LineLost):
                    tries += 1
            pause = _PAUSES[min(tries, len(_PAUSES) - 1)]
            await deferLater(self._clock, pause * (1 + self._chance() / 2))

    async def _listen(self) -> None:
        """Open a line, and wait until it closes."""
        lost: Deferred[None] = Deferred()

        def gone() -> None:
            if not lost.called:
                lost.callback(None)

        self._line = await self._lobby.open_line(self._receive, gone)
        try:
            await lost
        finally:
            self._line = None

    def _receive(self, push: Push | Failed) -> None:
        if isinstance(push, MatchFound) and not self._is_over:
            self._moved(push)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("no news of the match", failure)
