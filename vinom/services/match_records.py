"""What the store of matches has to hear, however long that takes."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from vinom.errors import StoreUnavailable
from vinom.interfaces import IMatchStore
from vinom.model import MatchEnd


class MatchRecords:
    """
    Tell the store of ends and of leavers until it answers.

    A player whose match is over, or who left it, must not stay in it.

    :param memory_seconds: how long the end of a match is remembered.
    """

    _log = Logger()

    def __init__(
        self, matches: IMatchStore, clock: IReactorTime, memory_seconds: float
    ) -> None:
        self._matches, self._clock = matches, clock
        self._memory_seconds = memory_seconds

    async def end(self, end: MatchEnd) -> None:
        """A match is over."""
        expires_at = self._clock.seconds() + self._memory_seconds
        await self._surely(lambda: self._matches.end(end, expires_at))

    async def release(self, match_id: str, player_id: str) -> None:
        """A player is no longer in a match that goes on."""
        await self._surely(lambda: self._matches.release(match_id, player_id))

    async def _surely(self, step: Callable[[], Deferred[bool]]) -> None:
        while True:
            try:
                await step()
            except StoreUnavailable as error:
                self._log.error("storage does not answer: {error}", error=error)
                await deferLater(self._clock, 1.0)
            else:
                return
