"""The storage ports in memory, for one node; everything is lost when it stops."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from vinom.limits.addresses import Crowd
from vinom.model import (
    MatchEnd,
    MatchPlan,
    Placement,
    Player,
    QueueCounts,
    QueueEntry,
    Waiting,
)
from vinom.ports import IEntryStore, IMatchStore, IPlayerStore

#: Where an entry stands: start of its wait, number of its arrival, its id.
_Position = tuple[float, int, str]


@attrs.define
class _Queue:
    """
    Entries with the same game and options.

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


@implementer(IEntryStore)
@attrs.define
class MemoryEntryStore:
    """Queue entries in a dict, with their places in sorted lists."""

    _entries: dict[str, QueueEntry] = attrs.field(factory=dict, init=False)
    _by_player: dict[str, str] = attrs.field(factory=dict, init=False)
    _places: dict[str, _Position] = attrs.field(factory=dict, init=False)
    _queues: dict[tuple[str, bytes], _Queue] = attrs.field(factory=dict, init=False)
    _players: Counter[str] = attrs.field(factory=Counter, init=False)
    _suspended: int = attrs.field(default=0, init=False)
    _number: int = attrs.field(default=0, init=False)

    def add(self, entry: QueueEntry) -> Deferred[int]:
        """Keep *entry*, unless one of its players has an entry already."""
        entry_id, by_player = entry.entry_id, self._by_player
        if entry_id in self._entries or any(
            player.player_id in by_player for player in entry.players
        ):
            return succeed(0)
        self._number += 1
        place = (entry.since, self._number, entry_id)
        self._entries[entry_id], self._places[entry_id] = entry, place
        for player in entry.players:
            by_player[player.player_id] = entry_id
        self._players[entry.game] += len(entry.players)
        queue = self._queues.get((entry.game, entry.options))
        if queue is None:
            queue = self._queues[entry.game, entry.options] = _Queue()
        insort(queue.places, place)
        queue.players += len(entry.players)
        if entry.suspended:
            self._suspended += 1
        else:
            insort(queue.matchable, place)
            queue.ready += len(entry.players)
        return succeed(bisect_left(queue.places, place) + 1)

    def remove(self, entry_id: str) -> Deferred[bool]:
        """Forget an entry."""
        if entry_id not in self._entries:
            return succeed(False)
        self._forget(entry_id)
        return succeed(True)

    def suspend(self, entry_id: str) -> Deferred[bool]:
        """Make an entry unmatchable."""
        entry = self._entries.get(entry_id)
        if entry is None:
            return succeed(False)
        if not entry.suspended:
            queue = self._queues[entry.game, entry.options]
            del queue.matchable[bisect_left(queue.matchable, self._places[entry_id])]
            queue.ready -= len(entry.players)
            self._suspended += 1
            self._entries[entry_id] = attrs.evolve(entry, suspended=True)
        return succeed(True)

    def resume(self, entry_id: str) -> Deferred[bool]:
        """Make an entry matchable again."""
        entry = self._entries.get(entry_id)
        if entry is None:
            return succeed(False)
        if entry.suspended:
            queue = self._queues[entry.game, entry.options]
            insort(queue.matchable, self._places[entry_id])
            queue.ready += len(entry.players)
            self._suspended -= 1
            self._entries[entry_id] = attrs.evolve(entry, suspended=False)
        return succeed(True)

    def claim(self, entry_ids: Sequence[str]) -> Deferred[bool]:
        """Remove all these entries, or none."""
        found = [self._entries.get(entry_id) for entry_id in entry_ids]
        if any(entry is None or entry.suspended for entry in found):
            return succeed(False)
        for entry_id in set(entry_ids):
            self._forget(entry_id)
        return succeed(True)

    def entry_of(self, player_id: str) -> Deferred[QueueEntry | None]:
        """Find the entry that has this player."""
        return succeed(self._entries.get(self._by_player.get(player_id, "")))

    def has(self, player_id: str) -> bool:
        """Has this player an entry?"""
        return player_id in self._by_player

    def place(self, entry_id: str) -> Deferred[int]:
        """Find an entry's place in its queue."""
        return succeed(self._place(entry_id))

    def places(self, entry_ids: Sequence[str]) -> Deferred[Sequence[int]]:
        """Find several entries' places."""
        return succeed([self._place(entry_id) for entry_id in entry_ids])

    def oldest(
        self, game: str, options: bytes, most: int
    ) -> Deferred[Sequence[QueueEntry]]:
        """List the matchable entries of a queue with the longest waits."""
        queue = self._queues.get((game, options))
        if queue is None:
            return succeed(())
        found = queue.matchable[:most]
        return succeed([self._entries[entry_id] for _, _, entry_id in found])

    def waiting(self, game: str, options: bytes) -> Deferred[Waiting]:
        """Count the entries and players of a queue."""
        queue = self._queues.get((game, options))
        if queue is None:
            return succeed(Waiting())
        since = queue.matchable[0][0] if queue.matchable else None
        return succeed(Waiting(queue.players, queue.ready, since))

    def counts(self) -> Deferred[QueueCounts]:
        """Count the entries and players of all queues."""
        oldest = (queue.places[0][0] for queue in self._queues.values())
        since = min(oldest, default=None)
        return succeed(QueueCounts(dict(self._players), self._suspended, since))

    def _place(self, entry_id: str) -> int:
        entry = self._entries.get(entry_id)
        if entry is None:
            return 0
        places = self._queues[entry.game, entry.options].places
        return bisect_left(places, self._places[entry_id]) + 1

    def _forget(self, entry_id: str) -> None:
        entry, place = self._entries.pop(entry_id), self._places.pop(entry_id)
        for player in entry.players:
            del self._by_player[player.player_id]
        self._players[entry.game] -= len(entry.players)
        queue = self._queues[entry.game, entry.options]
        del queue.places[bisect_left(queue.places, place)]
        queue.players -= len(entry.players)
        if entry.suspended:
            self._suspended -= 1
        else:
            del queue.matchable[bisect_left(queue.matchable, place)]
            queue.ready -= len(entry.players)
        if not queue.places:
            del self._queues[entry.game, entry.options]


@attrs.define
class _Expiry:
    """
    Find expired keys without walking the others.

    Moving an expiry leaves its old mark in the heap; only the mark set last counts.
    """

    _marks: list[tuple[float, str]] = attrs.field(factory=list)
    _set: dict[str, float] = attrs.field(factory=dict)

    def set(self, key: str, expires_at: float) -> None:
        self._set[key] = expires_at
        heapq.heappush(self._marks, (expires_at, key))
        if len(self._marks) > 64 and len(self._marks) > 4 * len(self._set):
            self._marks = [(at, key) for key, at in self._set.items()]
            heapq.heapify(self._marks)

    def drop(self, key: str) -> None:
        del self._set[key]

    def take_expired(self, now: float) -> list[str]:
        """Take expired keys."""
        expired = []
        while self._marks and self._marks[0][0] <= now:
            at, key = heapq.heappop(self._marks)
            if self._set.get(key) == at:
                del self._set[key]
                expired.append(key)
        return expired


#: Known players of one network who are asked about, at most, to find one who may be
#: forgotten; and of how many networks. The next time others are asked.
_MOST_ASKED, _MOST_SITES = 8, 32


@implementer(IPlayerStore)
@attrs.define
class MemoryPlayerStore:
    """
    Players who have said hello, by the hash of the secret key.

    Above the limit players are forgotten: guests who only said hello first, then
    others; of each sort the oldest of the network that has most of them, or of the next
    one, if it needs its own. Players who are needed are never forgotten.

    :ivar now: the time, seconds since the Unix epoch.
    :ivar most: players kept.
    :ivar is_needed: by a player's id: has it a line, a seat, or a place in a queue?
    """

    _now: Callable[[], float]
    _most: int = 200_000
    _is_needed: Callable[[str], bool] = lambda _: False
    # With the address that each came from last.
    _players: dict[str, tuple[Player, str]] = attrs.field(factory=dict, init=False)
    _expiry: _Expiry = attrs.field(factory=_Expiry, init=False)
    # Keys of guests who only said hello, and of all others.
    _idle: Crowd = attrs.field(factory=Crowd, init=False)
    _known: Crowd = attrs.field(factory=Crowd, init=False)
    # By player id, the key of each guest who only said hello.
    _guests: dict[str, str] = attrs.field(factory=dict, init=False)

    def add_guest(
        self, key_hash: str, player: Player, expires_at: float, host: str
    ) -> Deferred[bool]:
        """Remember a new guest, if one who is remembered can be forgotten for it."""
        self._sweep()
        if not self._make_room():
            return succeed(False)
        self._players[key_hash] = player, host
        self._guests[player.player_id] = key_hash
        self._idle.add(key_hash, host)
        self._expiry.set(key_hash, expires_at)
        return succeed(True)

    def keep(
        self, key_hash: str, player: Player, expires_at: float, host: str = ""
    ) -> Deferred[None]:
        """Remember *player*; a later call moves the expiry."""
        self._sweep()
        if key_hash not in self._players:
            # Who has proved an account is remembered in any case.
            self._make_room()
        self._players[key_hash] = player, host
        if self._idle.discard(key_hash):
            del self._guests[player.player_id]
        self._known.add(key_hash, host)
        self._expiry.set(key_hash, expires_at)
        return succeed(None)

    def settle(self, player_id: str) -> None:
        """Note that a guest has done more than say hello."""
        key_hash = self._guests.pop(player_id, None)
        if key_hash is not None:
            self._idle.discard(key_hash)
            self._known.add(key_hash, self._players[key_hash][1])

    def find(self, key_hash: str) -> Deferred[Player | None]:
        """Find a player; ``None`` when expired."""
        self._sweep()
        found = self._players.get(key_hash)
        return succeed(None if found is None else found[0])

    def _sweep(self) -> None:
        for key_hash in self._expiry.take_expired(self._now()):
            self._forget(key_hash)

    def _make_room(self) -> bool:
        """Forget players until one more can be kept; ``False`` if all are needed."""
        while len(self._players) >= self._most:
            key_hash = self._least_needed()
            if key_hash is None:
                return False
            self._expiry.drop(key_hash)
            self._forget(key_hash)
        return True

    def _least_needed(self) -> str | None:
        while (key_hash := self._idle.first()) is not None:
            player_id = self._players[key_hash][0].player_id
            if not self._is_needed(player_id):
                return key_hash
            # Asked about once only; or those who stay connected would be in the way.
            self.settle(player_id)
        for key_hash in self._known.firsts(_MOST_ASKED, _MOST_SITES):
            if not self._is_needed(self._players[key_hash][0].player_id):
                return key_hash
            self._known.spare(key_hash)
        return None

    def _forget(self, key_hash: str) -> None:
        player, _ = self._players.pop(key_hash)
        if self._idle.discard(key_hash):
            del self._guests[player.player_id]
        self._known.discard(key_hash)


@attrs.define
class _Running:
    """A match that is forming or playing."""

    plan: MatchPlan
    players: set[str]
    placement: Placement | None = None


@implementer(IMatchStore)
@attrs.define
class MemoryMatchStore:
    """
    Running matches and, for a while, ended ones.

    :ivar now: the time, seconds since the Unix epoch.
    """

    _now: Callable[[], float]
    _running: dict[str, _Running] = attrs.field(factory=dict, init=False)
    _match_of: dict[str, str] = attrs.field(factory=dict, init=False)
    _ends: dict[str, MatchEnd] = attrs.field(factory=dict, init=False)
    _expiry: _Expiry = attrs.field(factory=_Expiry, init=False)

    def open(self, plan: MatchPlan) -> Deferred[bool]:
        """Record a match, unless one of its players is in another running one."""
        players = {seat.player_id for seat in plan.seats}
        if (
            plan.match_id in self._running
            or len(players) < len(plan.seats)
            or any(player_id in self._match_of for player_id in players)
        ):
            return succeed(False)
        self._running[plan.match_id] = _Running(plan, players)
        for player_id in players:
            self._match_of[player_id] = plan.match_id
        return succeed(True)

    def place(self, match_id: str, placement: Placement) -> Deferred[bool]:
        """Record where it is played."""
        running = self._running.get(match_id)
        if running is None:
            return succeed(False)
        running.placement = placement
        return succeed(True)

    def end(self, end: MatchEnd, expires_at: float) -> Deferred[bool]:
        """Record that it is over, for the players still in it."""
        running = self._running.pop(end.match_id, None)
        if running is None:
            return succeed(False)
        for player_id in running.players:
            del self._match_of[player_id]
            self._ends[player_id] = end
            self._expiry.set(player_id, expires_at)
        self._sweep()
        return succeed(True)

    def release(self, match_id: str, player_id: str) -> Deferred[bool]:
        """Record that a player left a running match."""
        running = self._running.get(match_id)
        if running is None or player_id not in running.players:
            return succeed(False)
        running.players.remove(player_id)
        del self._match_of[player_id]
        return succeed(True)

    def match_of(
        self, player_id: str
    ) -> Deferred[tuple[MatchPlan, Placement | None] | None]:
        """Find the running match of a player."""
        running = self._running.get(self._match_of.get(player_id, ""))
        return succeed(None if running is None else (running.plan, running.placement))

    def owner(self, match_id: str) -> Deferred[str | None]:
        """Find the node of a running match: always this one."""
        return succeed("" if match_id in self._running else None)

    def has(self, player_id: str) -> bool:
        """Is this player in a running match?"""
        return player_id in self._match_of

    def last_end(self, player_id: str) -> Deferred[MatchEnd | None]:
        """Find how this player's latest match ended; ``None`` once that has expired."""
        self._sweep()
        return succeed(self._ends.get(player_id))

    def running(self) -> Deferred[Sequence[tuple[MatchPlan, Placement | None]]]:
        """List the running matches, oldest first."""
        return succeed(
            tuple((match.plan, match.placement) for match in self._running.values())
        )

    def _sweep(self) -> None:
        for player_id in self._expiry.take_expired(self._now()):
            self._ends.pop(player_id, None)
