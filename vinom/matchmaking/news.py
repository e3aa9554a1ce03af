"""What waiting players hear of their place in the queue."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vinom.conversation.presence import Presence
from vinom.matchmaking.rules import position
from vinom.messages.catalogue import QueueStatus
from vinom.model import QueueEntry
from vinom.ports import IEntryStore


class QueueNews:
    """
    Tell players when they move up; many moves make one piece of news.

    :param pause: least time between two rounds of news, seconds.
    """

    _log = Logger()

    def __init__(
        self,
        entries: IEntryStore,
        presence: Presence,
        clock: IReactorTime,
        pause: float,
    ) -> None:
        self._entries, self._presence = entries, presence
        self._clock, self._pause = clock, pause
        self._told: dict[str, int] = {}
        self._next: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._told)

    async def status(self, entry: QueueEntry) -> QueueStatus:
        """Say where *entry* is now, and remember that its players know."""
        place = position(entry, await self._entries.waiting())
        for player in entry.players:
            self._told[player.player_id] = place
        return self._waiting(entry, place)

    def forget(self, player_id: str) -> None:
        """This player does not wait, or not here."""
        self._told.pop(player_id, None)

    def changed(self) -> None:
        """Somebody left the queue: tell those behind, soon."""
        if self._next is None and self._told:
            self._next = self._clock.callLater(self._pause, self._tell)

    def stop(self) -> None:
        """No more news."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _tell(self) -> None:
        self._next = None
        Deferred.fromCoroutine(self._tell_all()).addErrback(
            lambda failure: self._log.failure("positions not told", failure)
        )

    async def _tell_all(self) -> None:
        """Tell everybody whose position changed, in one walk of the queue."""
        places: dict[tuple[str, bytes], int] = {}
        for entry in await self._entries.waiting():
            wish = (entry.game, entry.options)
            places[wish] = place = places.get(wish, 0) + 1
            for player in entry.players:
                if self._told.get(player.player_id, place) != place:
                    self._told[player.player_id] = place
                    self._presence.tell(player.player_id, self._waiting(entry, place))

    def _waiting(self, entry: QueueEntry, place: int) -> QueueStatus:
        waited = max(0.0, self._clock.seconds() - entry.since)
        return QueueStatus("waiting", entry.game, place, round(waited, 3))
