"""Queue entries and prematches, which take them out and put them back, in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import attrs
from msgspec import json
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from vinom.base.model import EntryPage, Prematch, QueueCounts, QueueEntry, Waiting
from vinom.store.interfaces import IEntryStore, IPrematchStore
from vinom.store.redis.client import RedisClient
from vinom.store.redis.scripts import load

_STEPS = load("entries")


def _queue(game: str, options: bytes, name: str) -> str:
    """Name a queue: the game, and a digest of the options and of its own name."""
    digest = sha256(options + b"\n" + name.encode() if name else options)
    return f"{game}:{digest.hexdigest()[:16]}"


def _read(data: bytes, place: bytes, suspended: bytes = b"0") -> QueueEntry:
    return attrs.evolve(
        json.decode(data, type=QueueEntry),
        # A place begins with the number of the arrival.
        number=int(place.partition(b":")[0]),
        suspended=suspended == b"1",
    )


@implementer(IEntryStore)
@attrs.frozen
class RedisEntryStore:
    """
    Queue entries in hashes, with their places in sorted sets.

    :ivar client: runs the steps.
    """

    client: RedisClient

    def _run(self, step: str, *args: str | bytes) -> Deferred[Any]:
        return self.client.run(_STEPS[step], *args)

    def add(self, entry: QueueEntry) -> Deferred[int]:
        """Store *entry*, unless one of its players has an entry already."""
        return self._run(
            "add",
            entry.entry_id,
            json.encode(attrs.evolve(entry, suspended=False)),
            _queue(*entry.pool),
            repr(entry.since),
            str(int(entry.suspended)),
            str(entry.number),
            entry.options,
            *entry.player_ids,
        )

    def remove(self, entry_id: str) -> Deferred[bool]:
        return self._run("remove", entry_id).addCallback(bool)

    def suspend(self, entry_id: str) -> Deferred[bool]:
        return self._run("suspend", entry_id).addCallback(bool)

    def resume(self, entry_id: str) -> Deferred[bool]:
        return self._run("resume", entry_id).addCallback(bool)

    def claim(self, entry_ids: Sequence[str]) -> Deferred[bool]:
        """Remove all these entries, or none."""
        return self._run("claim", *entry_ids).addCallback(bool)

    def entry_of(self, player_id: str) -> Deferred[QueueEntry | None]:
        return self._run("of", player_id).addCallback(
            lambda found: _read(*found) if found else None
        )

    def place(self, entry_id: str) -> Deferred[int]:
        return self.places([entry_id]).addCallback(lambda found: found[0])

    def places(self, entry_ids: Sequence[str]) -> Deferred[Sequence[int]]:
        if not entry_ids:
            return succeed([])
        return self._run("places", *entry_ids)

    def oldest(
        self, game: str, options: bytes, most: int, queue: str = ""
    ) -> Deferred[Sequence[QueueEntry]]:
        name = _queue(game, options, queue)
        return self._run("oldest", name, str(most)).addCallback(
            lambda found: list(map(_read, found[::2], found[1::2]))
        )

    def page(
        self, game: str, options: bytes, queue: str, after: str, most: int
    ) -> Deferred[EntryPage]:
        """Read a part of a queue; where the next one begins is the last place."""

        def read(found: list[bytes]) -> EntryPage:
            rest, *listed = found
            entries = list(map(_read, listed[::2], listed[1::2]))
            return EntryPage(entries, rest.decode())

        name = _queue(game, options, queue)
        return self._run("page", name, str(most), *after.split(" ", 1)).addCallback(
            read
        )

    def waiting(self, game: str, options: bytes, queue: str = "") -> Deferred[Waiting]:
        def read(found: list[bytes]) -> Waiting:
            players, ready, since = found
            return Waiting(int(players), int(ready), float(since) if since else None)

        return self._run("waiting", _queue(game, options, queue)).addCallback(read)

    def counts(self) -> Deferred[QueueCounts]:
        def read(found: list[bytes]) -> QueueCounts:
            since, *pairs = found
            counts = {
                name.decode(): int(count)
                for name, count in zip(pairs[::2], pairs[1::2], strict=True)
            }
            suspended = counts.pop(":suspended", 0)
            return QueueCounts(counts, suspended, float(since) if since else None)

        return self._run("counts").addCallback(read)


def read_prematch(found: list[bytes]) -> Prematch | None:
    """Read a prematch from the fields of its hash; ``None`` if there are none."""
    if not found:
        return None
    fields = dict(zip(found[::2], found[1::2], strict=True))
    answers: dict[bytes, set[str]] = {b"": set(), b"yes": set(), b"no": set()}
    for name, value in fields.items():
        if name.startswith(b"player:"):
            answers[value].add(name.removeprefix(b"player:").decode())
    return attrs.evolve(
        json.decode(fields[b"data"], type=Prematch),
        accepted=frozenset(answers[b"yes"]),
        declined=frozenset(answers[b"no"]),
        started_by=fields[b"started_by"].decode(),
    )


@implementer(IPrematchStore)
@attrs.frozen
class RedisPrematchStore:
    """
    Prematches in hashes; their entries are those of `RedisEntryStore`.

    :ivar client: runs the steps.
    """

    client: RedisClient

    def _run(self, step: str, *args: str | bytes) -> Deferred[Any]:
        return self.client.run(_STEPS[step], *args)

    def propose(self, prematch: Prematch) -> Deferred[bool]:
        """Take all entries of a prematch out of the queue, or none."""
        answers: list[str] = []
        for player in prematch.players:
            player_id = player.player_id
            is_no = player_id in prematch.declined
            said = "yes" if player_id in prematch.accepted else "no" if is_no else ""
            answers += [player_id, said]
        return self._run(
            "propose",
            prematch.prematch_id,
            json.encode(
                attrs.evolve(
                    prematch,
                    accepted=frozenset(),
                    declined=frozenset(),
                    started_by="",
                )
            ),
            prematch.options,
            repr(prematch.until),
            prematch.started_by,
            str(len(prematch.entries)),
            *(entry.entry_id for entry in prematch.entries),
            *answers,
        ).addCallback(bool)

    def answer(
        self, prematch_id: str, player_id: str, is_yes: bool
    ) -> Deferred[Prematch | None]:
        """Note an answer, unless there is one, or the match is being made."""
        said = "yes" if is_yes else "no"
        return self._run("answer", prematch_id, player_id, said).addCallback(
            read_prematch
        )

    def prematch_of(self, player_id: str) -> Deferred[Prematch | None]:
        return self._run("prematch_of", player_id).addCallback(read_prematch)

    def begin(self, prematch_id: str, node: str) -> Deferred[bool]:
        return self._run("begin", prematch_id, node).addCallback(bool)

    def finish(self, prematch_id: str, node: str) -> Deferred[bool]:
        return self._run("finish", prematch_id, node).addCallback(bool)

    def dissolve(self, prematch_id: str, now: float) -> Deferred[Prematch | None]:
        return self._run("dissolve", prematch_id, repr(now)).addCallback(read_prematch)

    def give_back(
        self, prematch_id: str, node: str, without: Sequence[str] = ()
    ) -> Deferred[Prematch | None]:
        return self._run("give_back", prematch_id, node, *without).addCallback(
            read_prematch
        )

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
