"""Queue entries and their prematches in memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Sequence

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from vinom.base.model import (
    EntryPage,
    Prematch,
    QueueCounts,
    QueueEntry,
    Waiting,
)
from vinom.store.interfaces import (
    IEntryStore,
    IPrematchStore,
)
from vinom.store.memory.expiry import Expiry

#: Where an entry stands: start of its wait, number of its arrival, its id.
_Position = tuple[float, int, str]

#: Which queue an entry is in, see `QueueEntry.pool`.
_Pool = tuple[str, bytes, str]


@attrs.define
class _Queue:
    """
    Entries with the same game, options and name.

    The lists are sorted, and ``bisect`` searches them. Removing an entry moves all
    entries behind it: 0.8 MB of memory for 100,000.

    :ivar places: of all entries, sorted.
    :ivar matchable: of those that are not suspended.
    :ivar players: players of all entries.
    :ivar ready: players of the entries that are not suspended.
    """

    places: list[_Position] = attrs.field(factory=list)
    matchable: list[_Position] = attrs.field(factory=list)
    players: int = 0
    ready: int = 0


@implementer(IEntryStore, IPrematchStore)
@attrs.define
class MemoryEntryStore:
    """
    Queue entries in a dict, with their places in sorted lists; and their prematches.

    An entry that is in a prematch has no place.
    """

    _entries: dict[str, QueueEntry] = attrs.field(factory=dict, init=False)
    _by_player: dict[str, str] = attrs.field(factory=dict, init=False)
    _places: dict[str, _Position] = attrs.field(factory=dict, init=False)
    _queues: dict[_Pool, _Queue] = attrs.field(factory=dict, init=False)
    _players: Counter[str] = attrs.field(factory=Counter, init=False)
    _suspended: int = attrs.field(default=0, init=False)
    _number: int = attrs.field(default=0, init=False)
    _prematches: dict[str, Prematch] = attrs.field(factory=dict, init=False)
    _prematch_of: dict[str, str] = attrs.field(factory=dict, init=False)
    # How often each player declined, and when last.
    _declines: dict[str, tuple[int, float]] = attrs.field(factory=dict, init=False)
    _forgiven: Expiry = attrs.field(factory=Expiry, init=False)

    def add(self, entry: QueueEntry) -> Deferred[int]:
        """Keep *entry*, unless one of its players has an entry already."""
        entry_id, by_player = entry.entry_id, self._by_player
        if entry_id in self._entries or any(
            player.player_id in by_player for player in entry.players
        ):
            return succeed(0)
        if not entry.number:
            self._number += 1
            entry = attrs.evolve(entry, number=self._number)
        self._entries[entry_id] = entry
        for player in entry.players:
            by_player[player.player_id] = entry_id
        place = self._list(entry)
        queue = self._queues[entry.pool]
        return succeed(bisect_left(queue.places, place) + 1)

    def remove(self, entry_id: str) -> Deferred[bool]:
        if entry_id not in self._places:
            return succeed(False)
        self._forget(entry_id)
        return succeed(True)

    def suspend(self, entry_id: str) -> Deferred[bool]:
        entry = self._entries.get(entry_id)
        if entry is None:
            return succeed(False)
        if not entry.suspended:
            place = self._places.get(entry_id)
            if place is not None:
                queue = self._queues[entry.pool]
                del queue.matchable[bisect_left(queue.matchable, place)]
                queue.ready -= len(entry.players)
                self._suspended += 1
            self._entries[entry_id] = attrs.evolve(entry, suspended=True)
        return succeed(True)

    def resume(self, entry_id: str) -> Deferred[bool]:
        entry = self._entries.get(entry_id)
        if entry is None:
            return succeed(False)
        if entry.suspended:
            place = self._places.get(entry_id)
            if place is not None:
                queue = self._queues[entry.pool]
                insort(queue.matchable, place)
                queue.ready += len(entry.players)
                self._suspended -= 1
            self._entries[entry_id] = attrs.evolve(entry, suspended=False)
        return succeed(True)

    def claim(self, entry_ids: Sequence[str]) -> Deferred[bool]:
        """Remove all these entries, or none."""
        if not all(map(self._is_matchable, entry_ids)):
            return succeed(False)
        for entry_id in set(entry_ids):
            self._forget(entry_id)
        return succeed(True)

    def entry_of(self, player_id: str) -> Deferred[QueueEntry | None]:
        return succeed(self._entries.get(self._by_player.get(player_id, "")))

    def has(self, player_id: str) -> bool:
        return player_id in self._by_player

    def place(self, entry_id: str) -> Deferred[int]:
        return succeed(self._place(entry_id))

    def places(self, entry_ids: Sequence[str]) -> Deferred[Sequence[int]]:
        return succeed([self._place(entry_id) for entry_id in entry_ids])

    def oldest(
        self, game: str, options: bytes, most: int, queue: str = ""
    ) -> Deferred[Sequence[QueueEntry]]:
        found = self._queues.get((game, options, queue))
        if found is None:
            return succeed(())
        places = found.matchable[:most]
        return succeed([self._entries[entry_id] for _, _, entry_id in places])

    def page(
        self, game: str, options: bytes, queue: str, after: str, most: int
    ) -> Deferred[EntryPage]:
        """Read a part of a queue; where the next one begins is the last place."""
        found = self._queues.get((game, options, queue))
        if found is None:
            return succeed(EntryPage(()))
        start = bisect_right(found.matchable, _read_place(after)) if after else 0
        places = found.matchable[start : start + most]
        rest = _write_place(places[-1]) if len(places) == most else ""
        entries = self._entries
        return succeed(EntryPage([entries[place[2]] for place in places], rest))

    def waiting(self, game: str, options: bytes, queue: str = "") -> Deferred[Waiting]:
        found = self._queues.get((game, options, queue))
        if found is None:
            return succeed(Waiting())
        since = found.matchable[0][0] if found.matchable else None
        return succeed(Waiting(found.players, found.ready, since))

    def counts(self) -> Deferred[QueueCounts]:
        oldest = (queue.places[0][0] for queue in self._queues.values())
        since = min(oldest, default=None)
        return succeed(QueueCounts(dict(self._players), self._suspended, since))

    def _place(self, entry_id: str) -> int:
        place = self._places.get(entry_id)
        if place is None:
            return 0
        entry = self._entries[entry_id]
        places = self._queues[entry.pool].places
        return bisect_left(places, place) + 1

    # Prematches.

    def propose(self, prematch: Prematch) -> Deferred[bool]:
        """Take all entries of a prematch out of the queue, or none."""
        entry_ids = [entry.entry_id for entry in prematch.entries]
        if (
            prematch.prematch_id in self._prematches
            or len(set(entry_ids)) < len(entry_ids)
            or not all(map(self._is_matchable, entry_ids))
        ):
            return succeed(False)
        for entry_id in entry_ids:
            self._unlist(entry_id)
            self._prematch_of[entry_id] = prematch.prematch_id
        self._prematches[prematch.prematch_id] = prematch
        return succeed(True)

    def answer(
        self, prematch_id: str, player_id: str, is_yes: bool
    ) -> Deferred[Prematch | None]:
        """Note an answer, unless there is one, or the match is being made."""
        prematch = self._prematches.get(prematch_id)
        if prematch is None or all(
            player.player_id != player_id for player in prematch.players
        ):
            return succeed(None)
        answered = prematch.accepted | prematch.declined
        if not prematch.started_by and player_id not in answered:
            field = "accepted" if is_yes else "declined"
            players = {field: getattr(prematch, field) | {player_id}}
            prematch = attrs.evolve(prematch, **players)
            self._prematches[prematch_id] = prematch
        return succeed(prematch)

    def prematch_of(self, player_id: str) -> Deferred[Prematch | None]:
        prematch_id = self._prematch_of.get(self._by_player.get(player_id, ""), "")
        return succeed(self._prematches.get(prematch_id))

    def begin(self, prematch_id: str, node: str) -> Deferred[bool]:
        prematch = self._prematches.get(prematch_id)
        if prematch is None or prematch.declined or not prematch.is_accepted:
            return succeed(False)
        if not prematch.started_by:
            prematch = attrs.evolve(prematch, started_by=node)
            self._prematches[prematch_id] = prematch
        return succeed(prematch.started_by == node)

    def finish(self, prematch_id: str, node: str) -> Deferred[bool]:
        prematch = self._prematches.get(prematch_id)
        if prematch is None or prematch.started_by != node:
            return succeed(False)
        self._end(prematch, [entry.entry_id for entry in prematch.entries])
        return succeed(True)

    def dissolve(self, prematch_id: str, now: float) -> Deferred[Prematch | None]:
        prematch = self._prematches.get(prematch_id)
        if (
            prematch is None
            or prematch.started_by
            or not (prematch.declined or now >= prematch.until)
        ):
            return succeed(None)
        gone = [
            entry.entry_id
            for entry in prematch.entries
            if prematch.has_left(entry, now)
        ]
        self._end(prematch, gone)
        return succeed(prematch)

    def give_back(
        self, prematch_id: str, node: str, without: Sequence[str] = ()
    ) -> Deferred[Prematch | None]:
        prematch = self._prematches.get(prematch_id)
        if prematch is None or prematch.started_by not in ("", node):
            return succeed(None)
        self._end(prematch, without)
        return succeed(prematch)

    def _end(self, prematch: Prematch, gone: Sequence[str]) -> None:
        """Forget some entries of a prematch, and put the others back."""
        del self._prematches[prematch.prematch_id]
        for entry in prematch.entries:
            if entry.entry_id in gone:
                self._forget(entry.entry_id)
            else:
                del self._prematch_of[entry.entry_id]
                # As it is now: a player may have come or gone meanwhile.
                self._list(self._entries[entry.entry_id])

    def count_decline(
        self, player_id: str, now: float, forget_at: float
    ) -> Deferred[int]:
        for forgiven in self._forgiven.take_expired(now):
            del self._declines[forgiven]
        count = self._declines.get(player_id, (0, 0.0))[0] + 1
        self._declines[player_id] = count, now
        self._forgiven.set(player_id, forget_at)
        return succeed(count)

    def declines(
        self, player_ids: Sequence[str]
    ) -> Deferred[Sequence[tuple[int, float]]]:
        return succeed([self._declines.get(each, (0, 0.0)) for each in player_ids])

    def _is_matchable(self, entry_id: str) -> bool:
        return entry_id in self._places and not self._entries[entry_id].suspended

    def _list(self, entry: QueueEntry) -> _Position:
        """Give an entry its place."""
        place = (entry.since, entry.number, entry.entry_id)
        self._places[entry.entry_id] = place
        self._players[entry.game] += len(entry.players)
        queue = self._queues.get(entry.pool)
        if queue is None:
            queue = self._queues[entry.pool] = _Queue()
        insort(queue.places, place)
        queue.players += len(entry.players)
        if entry.suspended:
            self._suspended += 1
        else:
            insort(queue.matchable, place)
            queue.ready += len(entry.players)
        return place

    def _unlist(self, entry_id: str) -> None:
        """Take an entry's place away."""
        entry, place = self._entries[entry_id], self._places.pop(entry_id)
        self._players[entry.game] -= len(entry.players)
        queue = self._queues[entry.pool]
        del queue.places[bisect_left(queue.places, place)]
        queue.players -= len(entry.players)
        if entry.suspended:
            self._suspended -= 1
        else:
            del queue.matchable[bisect_left(queue.matchable, place)]
            queue.ready -= len(entry.players)
        if not queue.places:
            del self._queues[entry.pool]

    def _forget(self, entry_id: str) -> None:
        if entry_id in self._places:
            self._unlist(entry_id)
        self._prematch_of.pop(entry_id, None)
        for player in self._entries.pop(entry_id).players:
            del self._by_player[player.player_id]


def _write_place(place: _Position) -> str:
    since, number, entry_id = place
    return f"{since!r} {number} {entry_id}"


def _read_place(text: str) -> _Position:
    since, number, entry_id = text.split(" ", 2)
    return float(since), int(number), entry_id
