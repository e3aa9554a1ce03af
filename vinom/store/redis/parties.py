"""Parties in Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import attrs
from msgspec import json
from twisted.internet.defer import Deferred
from zope.interface import implementer

from vinom.base.model import Party, PartyState
from vinom.store.interfaces import IPartyStore
from vinom.store.redis.client import RedisClient
from vinom.store.redis.scripts import load

_STEPS = load("parties")
_STATES: tuple[str, ...] = get_args(PartyState)


def _read(data: bytes) -> Party | None:
    return json.decode(data, type=Party) if data else None


@implementer(IPartyStore)
@attrs.frozen
class RedisPartyStore:
    """
    Parties in hashes, each with its version.

    :ivar client: runs the steps.
    """

    client: RedisClient

    def _run(self, step: str, *args: str | bytes) -> Deferred[Any]:
        return self.client.run(_STEPS[step], *args)

    def open(self, party: Party) -> Deferred[bool]:
        return self._put(party, "")

    def change(self, party: Party) -> Deferred[bool]:
        """Replace a party, if it is still the one that was read."""
        return self._put(party, str(party.version - 1))

    def _put(self, party: Party, read: str) -> Deferred[bool]:
        has_room = len(party.members) < party.size
        is_listed = party.is_open and party.state == "idle" and has_room
        return self._run(
            "put",
            party.party_id,
            read,
            str(party.version),
            json.encode(party),
            party.state,
            party.game,
            str(int(is_listed)),
            *party.player_ids,
        ).addCallback(bool)

    def close(self, party_id: str, version: int) -> Deferred[bool]:
        """Forget a party, if it is still the one that was read."""
        return self._run("close", party_id, str(version)).addCallback(bool)

    def find(self, party_id: str) -> Deferred[Party | None]:
        return self._run("find", party_id).addCallback(_read)

    def party_of(self, player_id: str) -> Deferred[Party | None]:
        return self._run("of", player_id).addCallback(_read)

    def listed(self, game: str | None, most: int) -> Deferred[Sequence[Party]]:
        which = "" if game is None else f":{game}"
        return self._run("listed", which, str(most)).addCallback(
            lambda found: [json.decode(data, type=Party) for data in found]
        )

    def counts(self) -> Deferred[Mapping[str, int]]:
        def read(found: list[int]) -> dict[str, int]:
            pairs = zip(_STATES, found, strict=True)
            return {state: count for state, count in pairs if count}

        return self._run("counts", *_STATES).addCallback(read)
