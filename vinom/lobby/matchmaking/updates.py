"""Messages to waiting players about their places in the queue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
from msgspec import UNSET
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.base.limits.logged import in_background
from vinom.base.messages.lobby import QueueStatus
from vinom.base.model import QueueEntry
from vinom.base.reactor.alarm import Timer
from vinom.lobby.conversation.online import Online
from vinom.store.interfaces import ILobbyStore

#: Players whose places are looked up in one turn of the reactor.
_MOST_AT_ONCE = 500


@attrs.define(eq=False)
class _Listed:
    """A waiting player of this node, and the last place sent to them."""

    entry: QueueEntry
    place: int


class QueueUpdates:
    """
    Send players their places when they move up; many moves make one message.

    Each round looks only at queues that an entry has left, and there only at players
    of this node.
    """

    _log = Logger()

    def __init__(
        self,
        store: ILobbyStore,
        online: Online,
        clock: IReactorTime,
        pause: float,
    ) -> None:
        """
        :param store: finds places.
        :param online: sends messages to players.
        :param clock: for pauses, and for how long players have waited.
        :param pause: least time between two rounds of them, seconds.
        """
        self._store, self._online = store, online
        self._clock, self._pause = clock, pause
        self._listed: dict[str, _Listed] = {}
        self._queues: dict[tuple[str, bytes, str], dict[str, None]] = {}
        self._changed: set[tuple[str, bytes, str]] = set()
        self._unsent: list[str] = []
        self._next = Timer(self._clock)

    def follow(self, entry: QueueEntry, place: int) -> QueueStatus:
        """
        Send those players of *entry* who are here changes of its place from now on.

        :param place: 0 in a prematch: who waits again after it is sent the place.
        """
        # The players may have waited for something else before.
        self.forget(entry.player_ids)
        here = filter(self._online.find, entry.player_ids)
        for player_id in here if place else ():
            self._listed[player_id] = _Listed(entry, place)
            self._queues.setdefault(entry.pool, {})[player_id] = None
        return self._waiting(entry, place or None)

    def forget(self, player_ids: Iterable[str]) -> None:
        """Stop sending to these players: they do not wait, or not at this node."""
        for player_id in player_ids:
            listed = self._listed.pop(player_id, None)
            if listed is not None:
                key = listed.entry.pool
                queue = self._queues[key]
                del queue[player_id]
                if not queue:
                    del self._queues[key]

    def listed(self) -> dict[str, QueueEntry]:
        """List the players whose places are sent, with their entries."""
        return {player_id: one.entry for player_id, one in self._listed.items()}

    def changed(self, pool: tuple[str, bytes, str]) -> None:
        """Places in this queue changed: the next round sends them."""
        if pool in self._queues:
            self._changed.add(pool)
            self._next.ensure(self._pause, self._begin)

    def stop(self) -> None:
        """Stop sending."""
        self._next.cancel()

    def _begin(self) -> None:
        changed, self._changed = sorted(self._changed), set()
        self._unsent = [
            player_id for key in changed for player_id in self._queues.get(key, ())
        ]
        self._send_some()

    def _send_some(self) -> None:
        some, self._unsent = (
            self._unsent[:_MOST_AT_ONCE],
            self._unsent[_MOST_AT_ONCE:],
        )
        in_background(self._log, self._send(some), "places were not sent")
        if self._unsent:
            self._next.start(0, self._send_some)
        elif self._changed:
            self._next.start(self._pause, self._begin)

    async def _send(self, player_ids: Sequence[str]) -> None:
        listed = [
            (player_id, self._listed[player_id])
            for player_id in player_ids
            if player_id in self._listed
        ]
        places = await self._store.places([one.entry.entry_id for _, one in listed])
        for (player_id, one), place in zip(listed, places, strict=True):
            # It may have left the queue while the store was asked.
            if place == one.place or self._listed.get(player_id) is not one:
                continue
            if place and self._online.waits(player_id):
                one.place = place
                self._online.send((player_id,), self._waiting(one.entry, place))
            else:
                # Matched, perhaps by another node: it no longer waits.
                self.forget((player_id,))

    def _waiting(self, entry: QueueEntry, place: int | None) -> QueueStatus:
        waited = max(0.0, self._clock.seconds() - entry.since)
        return QueueStatus(
            "waiting", entry.game, place, round(waited, 3), entry.queue or UNSET
        )
