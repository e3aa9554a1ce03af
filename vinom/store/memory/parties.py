"""Parties in memory, for one node; they are lost when it stops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from vinom.base.model import Party
from vinom.store.interfaces import IPartyStore


@implementer(IPartyStore)
@attrs.define
class MemoryPartyStore:
    """Parties in a dict, oldest first."""

    _parties: dict[str, Party] = attrs.field(factory=dict, init=False)
    _party_of: dict[str, str] = attrs.field(factory=dict, init=False)
    # The ids of those that are listed, oldest first.
    _listed: dict[str, None] = attrs.field(factory=dict, init=False)
    _states: Counter[str] = attrs.field(factory=Counter, init=False)

    def open(self, party: Party) -> Deferred[bool]:
        if party.party_id in self._parties or self._has_others(party):
            return succeed(False)
        self._store(party)
        return succeed(True)

    def change(self, party: Party) -> Deferred[bool]:
        """Replace a party, if it is still the one that was read."""
        before = self._parties.get(party.party_id)
        if (
            before is None
            or before.version != party.version - 1
            or self._has_others(party)
        ):
            return succeed(False)
        self._drop(before)
        self._store(party)
        return succeed(True)

    def close(self, party_id: str, version: int) -> Deferred[bool]:
        """Forget a party, if it is still the one that was read."""
        party = self._parties.get(party_id)
        if party is None or party.version != version:
            return succeed(False)
        self._drop(party)
        del self._parties[party_id]
        self._listed.pop(party_id, None)
        return succeed(True)

    def find(self, party_id: str) -> Deferred[Party | None]:
        return succeed(self._parties.get(party_id))

    def party_of(self, player_id: str) -> Deferred[Party | None]:
        return succeed(self._parties.get(self._party_of.get(player_id, "")))

    def has(self, player_id: str) -> bool:
        return player_id in self._party_of

    def listed(self, game: str | None, most: int) -> Deferred[Sequence[Party]]:
        found: list[Party] = []
        for party_id in reversed(self._listed):
            if len(found) == most:
                break
            party = self._parties[party_id]
            if game is None or party.game == game:
                found.append(party)
        return succeed(found)

    def counts(self) -> Deferred[Mapping[str, int]]:
        return succeed(dict(+self._states))

    def _has_others(self, party: Party) -> bool:
        """Is one of its members in another party?"""
        return any(
            self._party_of.get(player_id, party.party_id) != party.party_id
            for player_id in party.player_ids
        )

    def _store(self, party: Party) -> None:
        self._parties[party.party_id] = party
        self._states[party.state] += 1
        for player_id in party.player_ids:
            self._party_of[player_id] = party.party_id
        if party.is_open and party.state == "idle" and len(party.members) < party.size:
            # One that is listed already keeps its place.
            self._listed[party.party_id] = None
        else:
            self._listed.pop(party.party_id, None)

    def _drop(self, party: Party) -> None:
        self._states[party.state] -= 1
        for player_id in party.player_ids:
            del self._party_of[player_id]
