"""The storage ports in memory, for one node; everything is lost when it stops."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from vinom.limits.addresses import Crowd
from vinom.model import (
    EntryPage,
    MatchEnd,
    MatchPlan,
    Placement,
    Player,
    Prematch,
    QueueCounts,
    QueueEntry,
    Rating,
    Standing,
    Waiting,
)
from vinom.ports import (
    IEntryStore,
    IMatchStore,
    IPlayerStore,
    IPrematchStore,
    IRatingStore,
    RatingAnswer,
)

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
    _forgiven: _Expiry = attrs.field(factory=_Expiry, init=False)

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
        """Forget an entry."""
        if entry_id not in self._places:
            return succeed(False)
        self._forget(entry_id)
        return succeed(True)

    def suspend(self, entry_id: str) -> Deferred[bool]:
        """Make an entry unmatchable."""
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
        """Make an entry matchable again."""
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
        self, game: str, options: bytes, most: int, queue: str = ""
    ) -> Deferred[Sequence[QueueEntry]]:
        """List the matchable entries of a queue with the longest waits."""
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
        """Count the entries and players of a queue."""
        found = self._queues.get((game, options, queue))
        if found is None:
            return succeed(Waiting())
        since = found.matchable[0][0] if found.matchable else None
        return succeed(Waiting(found.players, found.ready, since))

    def counts(self) -> Deferred[QueueCounts]:
        """Count the entries and players of all queues."""
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
        """Find the prematch of this player's entry."""
        prematch_id = self._prematch_of.get(self._by_player.get(player_id, ""), "")
        return succeed(self._prematches.get(prematch_id))

    def begin(self, prematch_id: str, node: str) -> Deferred[bool]:
        """Note which node makes the match."""
        prematch = self._prematches.get(prematch_id)
        if prematch is None or prematch.declined or not prematch.is_accepted:
            return succeed(False)
        if not prematch.started_by:
            prematch = attrs.evolve(prematch, started_by=node)
            self._prematches[prematch_id] = prematch
        return succeed(prematch.started_by == node)

    def finish(self, prematch_id: str, node: str) -> Deferred[bool]:
        """Forget a prematch and its entries."""
        prematch = self._prematches.get(prematch_id)
        if prematch is None or prematch.started_by != node:
            return succeed(False)
        self._end(prematch, [entry.entry_id for entry in prematch.entries])
        return succeed(True)

    def dissolve(self, prematch_id: str, now: float) -> Deferred[Prematch | None]:
        """Put back the entries of those who did not decline."""
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
        """Put back the entries of a prematch."""
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
        """Count one more decline."""
        for forgiven in self._forgiven.take_expired(now):
            del self._declines[forgiven]
        count = self._declines.get(player_id, (0, 0.0))[0] + 1
        self._declines[player_id] = count, now
        self._forgiven.set(player_id, forget_at)
        return succeed(count)

    def declines(
        self, player_ids: Sequence[str]
    ) -> Deferred[Sequence[tuple[int, float]]]:
        """Count the declines of some players."""
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


#: How many opponents of a player are remembered, the latest.
_MOST_RECENT = 16
#: How long it is remembered that a round was rated, seconds.
_ROUND_SECONDS = 86400.0


@implementer(IRatingStore)
@attrs.define
class MemoryRatingStore:
    """
    Ratings, and who met whom lately.

    Above the limit the ratings that were not used for longest are forgotten.

    :ivar now: the time, seconds since the Unix epoch.
    :ivar most: ratings kept, and players of whom it is known whom they met.
    """

    _now: Callable[[], float]
    _most: int = 500_000
    # By list and player id, the one that was used last at the end.
    _ratings: dict[tuple[str, str], tuple[Rating, float]] = attrs.field(
        factory=dict, init=False
    )
    _recent: dict[str, tuple[tuple[str, ...], float]] = attrs.field(
        factory=dict, init=False
    )
    _rounds: dict[tuple[str, int], float] = attrs.field(factory=dict, init=False)

    def standings(
        self, ratings: str, player_ids: Sequence[str]
    ) -> Deferred[Sequence[Standing]]:
        """Find ratings, and whom these players met."""
        now = self._now()
        return succeed([self._standing(ratings, one, now) for one in player_ids])

    def rate(
        self,
        ratings: str,
        match_id: str,
        round: int,
        before: Mapping[str, Rating],
        after: Mapping[str, Rating],
        expires_at: Mapping[str, float],
    ) -> Deferred[RatingAnswer]:
        """Replace ratings, if they are still those of *before*."""
        now = self._now()
        if self._rounds.get((match_id, round), 0.0) > now:
            return succeed("known")
        for player_id, rating in before.items():
            if self._standing(ratings, player_id, now).rating != rating:
                return succeed("changed")
        _renew(self._rounds, (match_id, round), now + _ROUND_SECONDS, self._most)
        for player_id, rating in after.items():
            kept = rating, expires_at[player_id]
            _renew(self._ratings, (ratings, player_id), kept, self._most)
        return succeed("done")

    def met(self, sides: Sequence[Sequence[str]], expires_at: float) -> Deferred[None]:
        """Note who plays against whom."""
        for side in sides:
            others = [one for other in sides if other is not side for one in other]
            for player_id in side:
                recent, _ = self._recent.get(player_id, ((), 0.0))
                latest = tuple(dict.fromkeys((*others, *recent)))[:_MOST_RECENT]
                _renew(self._recent, player_id, (latest, expires_at), self._most)
        return succeed(None)

    def _standing(self, ratings: str, player_id: str, now: float) -> Standing:
        rating, expires_at = self._ratings.get((ratings, player_id), (None, 0.0))
        recent, met_until = self._recent.get(player_id, ((), 0.0))
        return Standing(
            Rating() if rating is None or expires_at <= now else rating,
            recent if met_until > now else (),
        )


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _renew(kept: dict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    """Put a value at the end of a dict; above the limit the first one goes."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]


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
