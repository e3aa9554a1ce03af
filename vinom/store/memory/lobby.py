"""Where players are, in memory: for one node, and lost when it stops."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from vinom.base.model import (
    Enqueued,
    EntryPage,
    Estate,
    Left,
    LeftMatch,
    LobbyCounts,
    MatchEnd,
    MatchPlan,
    Party,
    PartyChange,
    PartyState,
    Placement,
    Prematch,
    QueueEntry,
    Started,
    Waiting,
    Whereabouts,
)
from vinom.store.interfaces import ILobbyStore
from vinom.store.memory.players import Expiry

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
class _Queues:
    """
    The places of entries that wait.

    :ivar of_entries: by id.
    :ivar queues: none is empty.
    """

    of_entries: dict[str, _Position] = attrs.field(factory=dict)
    queues: dict[_Pool, _Queue] = attrs.field(factory=dict)
    players: Counter[str] = attrs.field(factory=Counter)
    suspended: int = 0

    def add(self, entry: QueueEntry) -> None:
        """Give an entry its place."""
        place = (entry.since, entry.number, entry.entry_id)
        self.of_entries[entry.entry_id] = place
        self.players[entry.game] += len(entry.players)
        pool = entry.pool
        queue = self.queues.get(pool)
        if queue is None:
            queue = self.queues[pool] = _Queue()
        insort(queue.places, place)
        queue.players += len(entry.players)
        if entry.suspended:
            self.suspended += 1
        else:
            insort(queue.matchable, place)
            queue.ready += len(entry.players)

    def remove(self, entry: QueueEntry) -> None:
        """Take an entry's place away."""
        place = self.of_entries.pop(entry.entry_id)
        self.players[entry.game] -= len(entry.players)
        pool = entry.pool
        queue = self.queues[pool]
        del queue.places[bisect_left(queue.places, place)]
        queue.players -= len(entry.players)
        if entry.suspended:
            self.suspended -= 1
        else:
            del queue.matchable[bisect_left(queue.matchable, place)]
            queue.ready -= len(entry.players)
        if not queue.places:
            del self.queues[pool]

    def rank(self, entry: QueueEntry | None) -> int:
        """Count the entries up to this one; 0 if it does not wait."""
        place = None if entry is None else self.of_entries.get(entry.entry_id)
        if entry is None or place is None:
            return 0
        return bisect_left(self.queues[entry.pool].places, place) + 1

    def waiting(self, pool: _Pool) -> Waiting:
        queue = self.queues.get(pool)
        if queue is None:
            return Waiting()
        since = queue.matchable[0][0] if queue.matchable else None
        return Waiting(queue.players, queue.ready, since)


@attrs.define
class _Running:
    """A match that is forming or playing; its entries wait again if it is void."""

    plan: MatchPlan
    players: set[str]
    placement: Placement | None = None
    entries: tuple[QueueEntry, ...] = ()


@attrs.define
class LobbyState:
    """
    Where players are now, and how they come from one place to another.

    :ivar now: the time, seconds since the Unix epoch.
    :ivar settle: called with the id of a player who queues or is in a party.
    :ivar entries: those that wait, in a queue or in a prematch.
    :ivar by_player: their ids.
    :ivar prematch_of: ids of prematches by entry.
    :ivar declines: how often each player declined, and when last.
    :ivar listed: ids of parties that are listed, oldest first.
    """

    now: Callable[[], float]
    settle: Callable[[str], None] = lambda _: None
    entries: dict[str, QueueEntry] = attrs.field(factory=dict)
    by_player: dict[str, str] = attrs.field(factory=dict)
    queues: _Queues = attrs.field(factory=_Queues)
    number: int = 0
    prematches: dict[str, Prematch] = attrs.field(factory=dict)
    prematch_of: dict[str, str] = attrs.field(factory=dict)
    declines: dict[str, tuple[int, float]] = attrs.field(factory=dict)
    forgiven: Expiry = attrs.field(factory=Expiry)
    parties: dict[str, Party] = attrs.field(factory=dict)
    party_of: dict[str, str] = attrs.field(factory=dict)
    listed: dict[str, None] = attrs.field(factory=dict)
    running: dict[str, _Running] = attrs.field(factory=dict)
    match_of: dict[str, str] = attrs.field(factory=dict)
    ends: dict[str, MatchEnd] = attrs.field(factory=dict)
    expiry: Expiry = attrs.field(factory=Expiry)

    def has(self, player_id: str) -> bool:
        """Is this player in a party, a queue or a match?"""
        return (
            player_id in self.by_player
            or player_id in self.party_of
            or player_id in self.match_of
        )

    def has_others(self, party: Party) -> bool:
        """Is one of its new members in another party, or does it wait alone?"""
        for player_id in party.player_ids:
            other = self.party_of.get(player_id)
            if other is None and player_id in self.by_player:
                return True
            if other not in (None, party.party_id):
                return True
        return False

    def may_change(self, party: Party) -> bool:
        """Is the one before still the one that was read, and no new member taken?"""
        before = self.parties.get(party.party_id)
        is_read = before is not None and before.version == party.version - 1
        return is_read and not self.has_others(party)

    def put_party(self, party: Party) -> None:
        before = self.parties.get(party.party_id)
        if before is not None:
            for player_id in before.player_ids:
                del self.party_of[player_id]
        self.parties[party.party_id] = party
        for player_id in party.player_ids:
            self.party_of[player_id] = party.party_id
            self.settle(player_id)
        if party.is_listed:
            # One that is listed already keeps its place.
            self.listed[party.party_id] = None
        else:
            self.listed.pop(party.party_id, None)

    def drop_party(self, party_id: str) -> None:
        for player_id in self.parties.pop(party_id).player_ids:
            del self.party_of[player_id]
        self.listed.pop(party_id, None)

    def follow(self, entry: QueueEntry, state: PartyState) -> None:
        """Give the party of an entry the state that the entry brings it to."""
        party = self.parties.get(entry.party_id)
        if (
            party is not None
            and party.entry_id == entry.entry_id
            and party.state != state
        ):
            self.put_party(party.in_state(state))

    def suspend(self, entry_id: str, suspended: bool) -> bool:
        entry = self.entries.get(entry_id)
        if entry is None:
            return False
        if entry.suspended != suspended:
            is_in_queue = entry_id in self.queues.of_entries
            if is_in_queue:
                self.queues.remove(entry)
            entry = self.entries[entry_id] = attrs.evolve(entry, suspended=suspended)
            if is_in_queue:
                self.queues.add(entry)
        return True

    def are_matchable(self, *entry_ids: str) -> bool:
        """Do these wait in their queues, and is none suspended, or there twice?"""
        waiting, entries = self.queues.of_entries, self.entries
        return len(set(entry_ids)) == len(entry_ids) and all(
            one in waiting and not entries[one].suspended for one in entry_ids
        )

    def wait(self, entry: QueueEntry) -> None:
        """Put an entry in its queue."""
        self.entries[entry.entry_id] = entry
        for player_id in entry.player_ids:
            self.by_player[player_id] = entry.entry_id
            self.settle(player_id)
        self.queues.add(entry)
        if entry.party_id:
            self.follow(entry, "in_queue")

    def take(self, entry_id: str, state: PartyState) -> QueueEntry:
        """Take an entry out of its queue or prematch; its players wait no more."""
        entry = self.entries.pop(entry_id)
        for player_id in entry.player_ids:
            del self.by_player[player_id]
        if self.prematch_of.pop(entry_id, None) is None:
            self.queues.remove(entry)
        if entry.party_id:
            self.follow(entry, state)
        return entry

    def leave(self, entry_id: str, state: PartyState = "idle") -> Left | None:
        """Take an entry out, and end its prematch."""
        entry = self.entries.get(entry_id)
        if entry is None:
            return None
        prematch = self.prematches.get(self.prematch_of.get(entry_id, ""))
        if prematch is None:
            self.take(entry_id, state)
        else:
            self.end_prematch(prematch, [entry_id], state)
        return Left(entry, prematch)

    def end_prematch(
        self, prematch: Prematch, gone: Sequence[str], state: PartyState = "idle"
    ) -> None:
        """Let some entries of a prematch leave, and put the others back."""
        del self.prematches[prematch.prematch_id]
        for entry in prematch.entries:
            if entry.entry_id in gone:
                self.take(entry.entry_id, state)
            else:
                del self.prematch_of[entry.entry_id]
                # As it is now: a player may have come or gone meanwhile.
                self.wait(self.entries[entry.entry_id])

    def may_wait(self, entry: QueueEntry) -> bool:
        """Has no player of an entry found something else?"""
        party = self.parties.get(entry.party_id)
        its = None if party is None else (party.entry_id, party.player_ids)
        return its in (None, (entry.entry_id, entry.player_ids)) and not any(
            one in self.by_player
            or one in self.match_of
            or self.party_of.get(one, "") != entry.party_id
            for one in entry.player_ids
        )

    def sweep(self) -> None:
        for player_id in self.expiry.take_expired(self.now()):
            self.ends.pop(player_id, None)


@implementer(ILobbyStore)
@attrs.define
class MemoryLobbyStore:
    """
    Everything in dicts.

    :ivar state: made with a function that tells the time, seconds since the Unix epoch.
    """

    state: LobbyState = attrs.field(converter=LobbyState)

    def of_player(
        self, player_id: str, with_lines: bool = False
    ) -> Deferred[Whereabouts]:
        """Find everything about one player; there is no other node."""
        self.state.sweep()
        entry_id = self.state.by_player.get(player_id, "")
        entry = self.state.entries.get(entry_id)
        running = self.state.running.get(self.state.match_of.get(player_id, ""))
        return succeed(
            Whereabouts(
                self.state.parties.get(self.state.party_of.get(player_id, "")),
                entry,
                self.state.prematches.get(self.state.prematch_of.get(entry_id, "")),
                None if running is None else running.plan,
                None if running is None else running.placement,
                self.state.ends.get(player_id),
                self.state.queues.rank(entry),
            )
        )

    # Parties.

    def open(self, party: Party) -> Deferred[bool]:
        if party.party_id in self.state.parties or self.state.has_others(party):
            return succeed(False)
        self.state.put_party(party)
        return succeed(True)

    def change(self, party: Party) -> Deferred[PartyChange]:
        """Replace a party, if it is still the one that was read."""
        if not self.state.may_change(party):
            return succeed(PartyChange(False))
        left = None
        if party.state == "idle":
            left = self.state.leave(self.state.parties[party.party_id].entry_id)
        self.state.put_party(party)
        return succeed(PartyChange(True, left))

    def close(self, party_id: str, version: int) -> Deferred[PartyChange]:
        """Forget a party, if it is still the one that was read."""
        party = self.state.parties.get(party_id)
        if party is None or party.version != version:
            return succeed(PartyChange(False))
        left = self.state.leave(party.entry_id)
        self.state.drop_party(party_id)
        return succeed(PartyChange(True, left))

    def find(self, party_id: str) -> Deferred[Party | None]:
        return succeed(self.state.parties.get(party_id))

    def listed(self, game: str | None, most: int) -> Deferred[Sequence[Party]]:
        found: list[Party] = []
        for party_id in reversed(self.state.listed):
            if len(found) == most:
                break
            party = self.state.parties[party_id]
            if game is None or party.game == game:
                found.append(party)
        return succeed(found)

    # Waiting.

    def enqueue(
        self, entry: QueueEntry, party: Party | None = None
    ) -> Deferred[Enqueued]:
        """Keep *entry*, unless one of its players has an entry already."""
        entry_id, player_ids = entry.entry_id, entry.player_ids
        if entry_id not in self.state.entries:
            if any(one in self.state.by_player for one in player_ids):
                return succeed(Enqueued(refusal="queued"))
            for player_id in player_ids:
                if player_id in self.state.match_of:
                    return succeed(Enqueued(refusal="playing", player_id=player_id))
            if party is None:
                is_changed = any(one in self.state.party_of for one in player_ids)
            else:
                is_changed = not self.state.may_change(party)
            if is_changed:
                return succeed(Enqueued(refusal="changed"))
            if party is not None:
                self.state.put_party(party)
            self.state.number += 1
            self.state.wait(attrs.evolve(entry, number=self.state.number))
        kept = self.state.entries[entry_id]
        return succeed(
            # In a prematch it has none.
            Enqueued(
                self.state.queues.rank(kept) or 1, self.state.queues.waiting(kept.pool)
            )
        )

    def leave(
        self, player_id: str, entry_id: str = "", away: float = 0.0, ready: bool = False
    ) -> Deferred[Left | None]:
        """Take an entry out; there is no other node that its player may be at."""
        own = self.state.by_player.get(player_id, "")
        if entry_id in ("", own) and (not ready or self.state.are_matchable(own)):
            return succeed(self.state.leave(own))
        return succeed(None)

    def suspend(self, entry_id: str, is_suspended: bool) -> Deferred[bool]:
        return succeed(self.state.suspend(entry_id, is_suspended))

    def page(
        self, game: str, options: bytes, queue: str, after: str, most: int
    ) -> Deferred[EntryPage]:
        """Read a part of a queue; where the next one begins is the last place."""
        found = self.state.queues.queues.get((game, options, queue))
        if found is None:
            return succeed(EntryPage(()))
        start = bisect_right(found.matchable, _read_place(after)) if after else 0
        places = found.matchable[start : start + most]
        rest = _write_place(places[-1]) if len(places) == most else ""
        entries = self.state.entries
        return succeed(EntryPage([entries[place[2]] for place in places], rest))

    def places(self, entry_ids: Sequence[str]) -> Deferred[Sequence[int]]:
        found = map(self.state.entries.get, entry_ids)
        return succeed([self.state.queues.rank(entry) for entry in found])

    def waiting(self, game: str, options: bytes, queue: str = "") -> Deferred[Waiting]:
        return succeed(self.state.queues.waiting((game, options, queue)))

    def counts(self) -> Deferred[LobbyCounts]:
        queues = self.state.queues
        since = min((one.places[0][0] for one in queues.queues.values()), default=None)
        states = Counter[str](party.state for party in self.state.parties.values())
        return succeed(
            LobbyCounts(dict(queues.players), queues.suspended, since, dict(states))
        )

    # Prematches.

    def propose(self, prematch: Prematch) -> Deferred[bool]:
        """Take all entries of a prematch out of the queue, or none."""
        entry_ids = [entry.entry_id for entry in prematch.entries]
        if prematch.prematch_id in self.state.prematches:
            return succeed(True)
        if not self.state.are_matchable(*entry_ids):
            return succeed(False)
        for entry_id in entry_ids:
            entry = self.state.entries[entry_id]
            self.state.queues.remove(entry)
            self.state.prematch_of[entry_id] = prematch.prematch_id
            self.state.follow(entry, "prematch")
        self.state.prematches[prematch.prematch_id] = prematch
        return succeed(True)

    def answer(
        self, prematch_id: str, player_id: str, is_yes: bool
    ) -> Deferred[Prematch | None]:
        """Note an answer, unless there is one."""
        prematch = self.state.prematches.get(prematch_id)
        if prematch is None or all(
            player.player_id != player_id for player in prematch.players
        ):
            return succeed(None)
        if player_id not in prematch.accepted:
            field = "accepted" if is_yes else "declined"
            players = {field: getattr(prematch, field) | {player_id}}
            prematch = attrs.evolve(prematch, **players)
            self.state.prematches[prematch_id] = prematch
            if not is_yes:
                self.state.end_prematch(prematch, [self.state.by_player[player_id]])
        return succeed(prematch)

    def expire(self, prematch_id: str, now: float | None) -> Deferred[Prematch | None]:
        prematch = self.state.prematches.get(prematch_id)
        if prematch is None or (now is not None and now < prematch.until):
            return succeed(None)
        if now is None:
            self.state.end_prematch(prematch, ())
        elif not prematch.is_accepted:
            its = prematch.entries
            gone = [one.entry_id for one in its if prematch.has_left(one, now)]
            self.state.end_prematch(prematch, gone)
        return succeed(prematch)

    def count_decline(
        self, player_id: str, now: float, forget_at: float
    ) -> Deferred[int]:
        for forgiven in self.state.forgiven.take_expired(now):
            del self.state.declines[forgiven]
        count = self.state.declines.get(player_id, (0, 0.0))[0] + 1
        self.state.declines[player_id] = count, now
        self.state.forgiven.set(player_id, forget_at)
        return succeed(count)

    def declines(
        self, player_ids: Sequence[str]
    ) -> Deferred[Sequence[tuple[int, float]]]:
        return succeed([self.state.declines.get(each, (0, 0.0)) for each in player_ids])

    # Matches.

    def start(
        self, plan: MatchPlan, entry_ids: Sequence[str] = (), prematch_id: str = ""
    ) -> Deferred[Started]:
        """Record a match, unless its players wait or play elsewhere."""
        if plan.match_id in self.state.running:
            return succeed(Started())
        players = [seat.player_id for seat in plan.seats if seat.player_id]
        playing = [one for one in players if one in self.state.match_of]
        waits = self.state.by_player
        if playing or len(set(players)) < len(players):
            who = tuple(one for one in playing if not entry_ids or one in waits)
            return succeed(Started("playing", who))
        prematch = self.state.prematches.get(prematch_id)
        if prematch_id:
            are_there = (
                prematch is not None
                and prematch.is_accepted
                and [one.entry_id for one in prematch.entries] == list(entry_ids)
            )
        else:
            are_there = self.state.are_matchable(*entry_ids)
        if not are_there:
            return succeed(Started("gone"))
        its = [] if entry_ids else [waits.get(one, "") for one in players]
        left = [self.state.leave(one) for one in its]
        if prematch is not None:
            del self.state.prematches[prematch_id]
        entries = tuple(self.state.take(one, "in_game") for one in entry_ids)
        self.state.running[plan.match_id] = _Running(
            plan, set(players), entries=entries
        )
        self.state.match_of.update(dict.fromkeys(players, plan.match_id))
        return succeed(Started(left=tuple(one for one in left if one is not None)))

    def placed(self, match_id: str, placement: Placement) -> Deferred[bool]:
        running = self.state.running.get(match_id)
        if running is None:
            return succeed(False)
        running.placement = placement
        return succeed(True)

    def adopt(self, plan: MatchPlan, placement: Placement) -> Deferred[bool]:
        """Record a match that an earlier node has placed; it may not be known here."""
        if plan.match_id in self.state.running:
            return self.placed(plan.match_id, placement)
        players = [seat.player_id for seat in plan.seats if seat.player_id]
        return self.restore(plan, placement, players)

    def restore(
        self,
        plan: MatchPlan,
        placement: Placement | None,
        player_ids: Sequence[str],
        entry_ids: Sequence[str] = (),
    ) -> Deferred[bool]:
        """Record a match anew, for those of its players who are in no other one."""
        match_id = plan.match_id
        self.state.sweep()
        ends = (self.state.ends.get(player_id) for player_id in player_ids)
        if any(end is not None and end.match_id == match_id for end in ends):
            return succeed(False)
        running = self.state.running.setdefault(match_id, _Running(plan, set()))
        running.placement = placement or running.placement
        for player_id in player_ids:
            if player_id in self.state.match_of:
                continue
            running.players.add(player_id)
            self.state.match_of[player_id] = match_id
            entry_id = self.state.by_player.get(player_id, "")
            is_its = entry_id in entry_ids
            left = self.state.leave(entry_id, "in_game" if is_its else "idle")
            running.entries += (left.entry,) if is_its and left is not None else ()
        return succeed(True)

    def end(
        self, end: MatchEnd, expires_at: float, again: Sequence[str] = ()
    ) -> Deferred[bool]:
        """Record that it is over, for the players still in it."""
        running = self.state.running.pop(end.match_id, None)
        if running is None:
            return succeed(False)
        for player_id in running.players:
            del self.state.match_of[player_id]
            self.state.ends[player_id] = end
            self.state.expiry.set(player_id, expires_at)
        self.state.sweep()
        for entry in running.entries:
            if entry.entry_id in again and self.state.may_wait(entry):
                # Whoever is away now is not known here.
                self.state.wait(attrs.evolve(entry, suspended=False))
            else:
                self.state.follow(entry, "idle")
        return succeed(True)

    def release(self, match_id: str, player_id: str) -> Deferred[bool]:
        running = self.state.running.get(match_id)
        if running is None or player_id not in running.players:
            return succeed(False)
        running.players.remove(player_id)
        del self.state.match_of[player_id]
        for entry in running.entries:
            if player_id in entry.player_ids and not any(
                one in running.players for one in entry.player_ids
            ):
                self.state.follow(entry, "idle")
        return succeed(True)

    def owner(self, match_id: str) -> Deferred[str | None]:
        """Find the node of a running match: always this one."""
        return succeed("" if match_id in self.state.running else None)

    def matches_of(self, node_id: str, most: int) -> Deferred[Sequence[LeftMatch]]:
        """Find nothing of others: it is lost with them."""
        return succeed(
            ()
            if node_id
            else [
                LeftMatch(
                    one.plan,
                    one.placement is not None,
                    tuple(entry.entry_id for entry in one.entries),
                )
                for one in self.state.running.values()
            ][:most]
        )

    def abandon(
        self, node_id: str, most: int, seconds: float
    ) -> Deferred[Estate | None]:
        """Find nothing, likewise."""
        return succeed(None)


def _write_place(place: _Position) -> str:
    since, number, entry_id = place
    return f"{since!r} {number} {entry_id}"


def _read_place(text: str) -> _Position:
    since, number, entry_id = text.split(" ", 2)
    return float(since), int(number), entry_id
