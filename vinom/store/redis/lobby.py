"""Where players are, in Redis: parties, entries, prematches and matches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, get_args

import attrs
from msgspec import json
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
from vinom.store.redis.client import RedisClient, load

_READS = "of_player find listed page places waiting counts declines owner matches_of"
_STEPS = load("lobby", *_READS.split())
_STATES: tuple[str, ...] = get_args(PartyState)


@attrs.frozen
class _Kept:
    """
    What Redis has of the end of a match.

    :ivar expires_at: seconds since the Unix epoch, of the nodes' clocks.
    """

    end: MatchEnd
    expires_at: float


@implementer(ILobbyStore)
@attrs.frozen
class RedisLobbyStore:
    """
    Everything in hashes; entries have their places in sorted sets.

    :ivar client: runs the steps.
    :ivar now: the time, seconds since the Unix epoch.
    """

    client: RedisClient
    now: Callable[[], float]

    def _run(self, step: str, *args: str | bytes) -> Deferred[Any]:
        return self.client.run(_STEPS[step], *args)

    def of_player(
        self, player_id: str, with_lines: bool = False
    ) -> Deferred[Whereabouts]:
        def read(found: list[Any]) -> Whereabouts:
            party, entry, prematch, match, ended, place, elsewhere = found
            plan, placement = match or (b"", b"")
            kept = json.decode(ended, type=_Kept) if ended else None
            return Whereabouts(
                _read_party(party),
                _read_entry(*entry) if entry else None,
                _read_prematch(prematch),
                json.decode(plan, type=MatchPlan) if plan else None,
                json.decode(placement, type=Placement) if placement else None,
                kept.end if kept is not None and self.now() < kept.expires_at else None,
                place,
                tuple(one.decode() for one in elsewhere),
            )

        asked = self._run("of_player", player_id, str(int(with_lines)))
        return asked.addCallback(read)

    # Parties.

    def open(self, party: Party) -> Deferred[bool]:
        put = self._run("put", party.party_id, "", *_write_party(party))
        return put.addCallback(lambda found: bool(found[0]))

    def change(self, party: Party) -> Deferred[PartyChange]:
        """Replace a party, if it is still the one that was read."""
        read = str(party.version - 1)
        put = self._run("put", party.party_id, read, *_write_party(party))
        return put.addCallback(_read_change)

    def close(self, party_id: str, version: int) -> Deferred[PartyChange]:
        """Forget a party, if it is still the one that was read."""
        return self._run("put", party_id, str(version)).addCallback(_read_change)

    def find(self, party_id: str) -> Deferred[Party | None]:
        return self._run("find", party_id).addCallback(_read_party)

    def listed(self, game: str | None, most: int) -> Deferred[Sequence[Party]]:
        which = "" if game is None else f":{game}"

        def read(found: list[Any]) -> list[Party]:
            return [one for one in map(_read_party, found) if one is not None]

        return self._run("listed", which, str(most)).addCallback(read)

    # Waiting.

    def enqueue(
        self, entry: QueueEntry, party: Party | None = None
    ) -> Deferred[Enqueued]:
        """Store *entry*, unless one of its players has an entry already."""

        def read(found: list[Any]) -> Enqueued:
            place, refusal, player, *waiting = found
            counts = _read_waiting(waiting[0]) if waiting else Waiting()
            return Enqueued(place, counts, refusal.decode(), player.decode())

        its = [] if party is None else [str(party.version - 1), *_write_party(party)]
        fields = _pairs(
            data=json.encode(attrs.evolve(entry, suspended=False)),
            queue=_queue(*entry.pool),
            since=repr(entry.since),
            suspended=str(int(entry.suspended)),
            players="\n".join(entry.player_ids),
        )
        return self._run(
            "enqueue",
            entry.entry_id,
            str(len(entry.players)),
            "" if party is None else party.party_id,
            str(len(fields)),
            *fields,
            *its,
        ).addCallback(read)

    def leave(
        self, player_id: str, entry_id: str = "", away: float = 0.0, ready: bool = False
    ) -> Deferred[Left | None]:
        """Take an entry out, if its player is at no other node."""
        step = self._run("leave", player_id, entry_id, repr(away), str(int(ready)))
        return step.addCallback(_read_left)

    def suspend(self, entry_id: str, is_suspended: bool) -> Deferred[bool]:
        return self._run("suspend", entry_id, str(int(is_suspended))).addCallback(bool)

    def page(
        self, game: str, options: bytes, queue: str, after: str, most: int
    ) -> Deferred[EntryPage]:
        """Read a part of a queue; where the next one begins is the last place."""

        def read(found: list[bytes]) -> EntryPage:
            rest, *listed = found
            entries = list(map(_read_entry, listed[::2], listed[1::2]))
            return EntryPage(entries, rest.decode())

        name = _queue(game, options, queue)
        return self._run("page", name, str(most), *after.split(" ", 1)).addCallback(
            read
        )

    def places(self, entry_ids: Sequence[str]) -> Deferred[Sequence[int]]:
        if not entry_ids:
            return succeed([])
        return self._run("places", *entry_ids)

    def waiting(self, game: str, options: bytes, queue: str = "") -> Deferred[Waiting]:
        step = self._run("waiting", _queue(game, options, queue))
        return step.addCallback(_read_waiting)

    def counts(self) -> Deferred[LobbyCounts]:
        def read(found: list[Any]) -> LobbyCounts:
            since, states, queued = found
            counts = {name.decode(): int(n) for name, n in _fields(queued).items()}
            suspended = counts.pop(":suspended", 0)
            parties = zip(_STATES, states, strict=True)
            return LobbyCounts(
                counts,
                suspended,
                float(since) if since else None,
                {state: count for state, count in parties if count},
            )

        return self._run("counts", *_STATES).addCallback(read)

    # Prematches.

    def propose(self, prematch: Prematch) -> Deferred[bool]:
        """Take all entries of a prematch out of the queue, or none."""
        players = [player.player_id for player in prematch.players]
        said = {one: "yes" if one in prematch.accepted else "" for one in players}
        return self._run(
            "propose",
            prematch.prematch_id,
            "\n".join(entry.entry_id for entry in prematch.entries),
            *_pairs(
                data=json.encode(attrs.evolve(prematch, accepted=frozenset())),
                until=repr(prematch.until),
                **{f"player:{player_id}": answer for player_id, answer in said.items()},
            ),
        ).addCallback(bool)

    def answer(
        self, prematch_id: str, player_id: str, is_yes: bool
    ) -> Deferred[Prematch | None]:
        """Note a player's answer, unless there is one."""
        said = "yes" if is_yes else "no"
        return self._run("answer", prematch_id, player_id, said).addCallback(
            _read_prematch
        )

    def expire(self, prematch_id: str, now: float | None) -> Deferred[Prematch | None]:
        step = self._run("expire", prematch_id, "" if now is None else repr(now))
        return step.addCallback(_read_prematch)

    def count_decline(
        self, player_id: str, now: float, forget_at: float
    ) -> Deferred[int]:
        """Count one more decline; Redis forgets them all when their lifetime ends."""
        left = max(1, round(1000 * (forget_at - now)))
        return self._run("count_decline", player_id, repr(now), str(left))

    def declines(
        self, player_ids: Sequence[str]
    ) -> Deferred[Sequence[tuple[int, float]]]:
        def read(found: list[bytes]) -> list[tuple[int, float]]:
            return [
                (int(count), float(last))
                for count, last in zip(found[::2], found[1::2], strict=True)
            ]

        if not player_ids:
            return succeed([])
        return self._run("declines", *player_ids).addCallback(read)

    # Matches.

    def start(
        self, plan: MatchPlan, entry_ids: Sequence[str] = (), prematch_id: str = ""
    ) -> Deferred[Started]:
        """Record a match, unless its players wait or play elsewhere."""

        def read(found: list[Any]) -> Started:
            refusal, *more = found
            if refusal:
                return Started(refusal.decode(), tuple(one.decode() for one in more))
            left = tuple(one for one in map(_read_left, more) if one is not None)
            return Started(left=left)

        players = [seat.player_id for seat in plan.seats if seat.player_id]
        if len(set(players)) < len(players):
            return succeed(Started("playing"))
        return self._run(
            "start",
            plan.match_id,
            json.encode(plan),
            prematch_id,
            "\n".join(players),
            "\n".join(entry_ids),
        ).addCallback(read)

    def placed(self, match_id: str, placement: Placement) -> Deferred[bool]:
        step = self._run("placed", match_id, json.encode(placement), "0")
        return step.addCallback(bool)

    def adopt(self, plan: MatchPlan, placement: Placement) -> Deferred[bool]:
        step = self._run("placed", plan.match_id, json.encode(placement), "1")
        return step.addCallback(bool)

    def restore(
        self,
        plan: MatchPlan,
        placement: Placement | None,
        player_ids: Sequence[str],
        entry_ids: Sequence[str] = (),
    ) -> Deferred[bool]:
        place = b"" if placement is None else json.encode(placement)
        return self._run(
            "restore",
            plan.match_id,
            json.encode(plan),
            place,
            "\n".join(player_ids),
            "\n".join(entry_ids),
        ).addCallback(bool)

    def end(
        self, end: MatchEnd, expires_at: float, again: Sequence[str] = ()
    ) -> Deferred[bool]:
        """Record that it is over, for the players still in it."""
        left = max(1, round(1000 * (expires_at - self.now())))
        data = json.encode(_Kept(end, expires_at))
        step = self._run("end", end.match_id, data, str(left), "\n".join(again))
        return step.addCallback(bool)

    def release(self, match_id: str, player_id: str) -> Deferred[bool]:
        return self._run("release", match_id, player_id).addCallback(bool)

    def owner(self, match_id: str) -> Deferred[str | None]:
        own = self.client.owner.node_id.encode()

        def read(node: bytes | None) -> str | None:
            return None if node is None else "" if node == own else node.decode()

        return self._run("owner", match_id).addCallback(read)

    def matches_of(self, node_id: str, most: int) -> Deferred[Sequence[LeftMatch]]:
        def read(found: list[Any]) -> list[LeftMatch]:
            return [
                LeftMatch(
                    json.decode(plan, type=MatchPlan),
                    bool(is_placed),
                    tuple(entries.decode().split("\n")) if entries else (),
                )
                for plan, is_placed, entries in found
            ]

        whose = node_id or self.client.owner.node_id
        return self._run("matches_of", whose, str(most)).addCallback(read)

    def abandon(
        self, node_id: str, most: int, seconds: float
    ) -> Deferred[Estate | None]:
        def read(found: list[Any]) -> Estate | None:
            count, players, ended = found
            prematches = [one for one in map(_read_prematch, ended) if one is not None]
            return (
                Estate(prematches, [one.decode() for one in players])
                if count or players
                else None
            )

        lifetime = str(round(1000 * seconds))
        node_id = node_id or self.client.owner.node_id
        return self._run("abandon", node_id, str(most), lifetime).addCallback(read)


def _queue(game: str, options: bytes, name: str) -> str:
    """Name a queue: the game, and a digest of the options and of its own name."""
    digest = sha256(options + b"\n" + name.encode() if name else options)
    return f"{game}:{digest.hexdigest()[:16]}"


def _pairs(**fields: str | bytes) -> list[str | bytes]:
    """Write the fields of a hash, as Redis lists them."""
    return [one for pair in fields.items() for one in pair]


def _fields(found: list[bytes]) -> dict[bytes, bytes]:
    """Read the fields of a hash, as Redis lists them."""
    return dict(zip(found[::2], found[1::2], strict=True))


def _read_entry(data: bytes, place: bytes, suspended: bytes = b"0") -> QueueEntry:
    return attrs.evolve(
        json.decode(data, type=QueueEntry),
        # A place begins with the number of the arrival.
        number=int(place.partition(b":")[0]),
        suspended=suspended == b"1",
    )


def _read_waiting(found: Sequence[bytes]) -> Waiting:
    players, ready, since = found
    return Waiting(int(players), int(ready), float(since) if since else None)


def _read_prematch(found: list[bytes]) -> Prematch | None:
    """Read a prematch from the fields of its hash; ``None`` if there are none."""
    if not found:
        return None
    fields = _fields(found)
    answers: dict[bytes, set[str]] = {b"": set(), b"yes": set(), b"no": set()}
    for name, value in fields.items():
        if name.startswith(b"player:"):
            answers[value].add(name.removeprefix(b"player:").decode())
    return attrs.evolve(
        json.decode(fields[b"data"], type=Prematch),
        accepted=frozenset(answers[b"yes"]),
        declined=frozenset(answers[b"no"]),
    )


def _read_left(found: list[Any]) -> Left | None:
    """Read an entry that left, and the prematch that it was in."""
    if not found:
        return None
    data, place, suspended, prematch = found
    return Left(_read_entry(data, place, suspended), _read_prematch(prematch))


def _read_change(found: list[Any]) -> PartyChange:
    is_done, left = found
    return PartyChange(bool(is_done), _read_left(left))


def _write_party(party: Party) -> list[str | bytes]:
    """Write the fields of a party's hash."""
    is_open = party.is_open and len(party.members) < party.size
    return _pairs(
        version=str(party.version),
        data=json.encode(party),
        state=party.state,
        entry=party.entry_id,
        game=party.game,
        open=str(int(is_open)),
        players="\n".join(party.player_ids),
        unready="0",
    )


def _read_party(found: list[bytes]) -> Party | None:
    """Read a party; what its entry came to is beside what was written."""
    if not found:
        return None
    fields = _fields(found)
    party = json.decode(fields[b"data"], type=Party)
    if fields[b"unready"] == b"1":
        party = party.in_state("idle")
    state: Any = fields[b"state"].decode()
    entry_id, version = fields[b"entry"].decode(), int(fields[b"version"])
    return attrs.evolve(party, state=state, entry_id=entry_id, version=version)
