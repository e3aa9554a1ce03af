"""Prematches in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from msgspec import json
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from vinom.base.model import Prematch
from vinom.store.interfaces import IPrematchStore
from vinom.store.redis.client import RedisClient
from vinom.store.redis.scripts import load

# With those of entries: a prematch takes them out of their queue, and puts them back.
_STEPS = {
    step: load("entries", step)
    for step in (
        *("propose", "answer", "prematch_of", "begin", "finish", "dissolve"),
        *("give_back", "count_decline", "declines"),
    )
}


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
