"""Players and ratings in memory, and `Expiry`, by which they end there."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from vinom.base.limits.addresses import Crowd
from vinom.base.model import (
    Player,
    Rating,
    Standing,
)
from vinom.store.interfaces import (
    IPlayerStore,
    IRatingStore,
    Origin,
    RatingAnswer,
)


@attrs.define
class Expiry:
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
    :ivar kept: finds a player who has a seat in a room that sleeps, and its address, by
        the hash of its key; forgotten here or not.
    """

    _now: Callable[[], float]
    _most: int = 200_000
    _is_needed: Callable[[str], bool] = lambda _: False
    _kept: Callable[[str], tuple[Player, str] | None] = lambda _: None
    # With the address that each came from last.
    _players: dict[str, tuple[Player, str]] = attrs.field(factory=dict, init=False)
    _expiry: Expiry = attrs.field(factory=Expiry, init=False)
    # Keys of guests who only said hello, and of all others.
    _idle: Crowd = attrs.field(factory=Crowd, init=False)
    _known: Crowd = attrs.field(factory=Crowd, init=False)
    # By player id, the key of each guest who only said hello.
    _guests: dict[str, str] = attrs.field(factory=dict, init=False)
    # By player id, the newest key of each player.
    _keys: dict[str, str] = attrs.field(factory=dict, init=False)

    def put(
        self,
        key_hash: str,
        player: Player,
        expires_at: float,
        host: str = "",
        origin: Origin = "login",
    ) -> Deferred[bool]:
        """Store a player, if one who is stored can be forgotten for a guest."""
        self._sweep()
        is_guest = origin == "guest"
        if key_hash in self._players:
            if origin == "lost":
                return succeed(False)
        elif not self._make_room() and is_guest:
            return succeed(False)
        self._keep(key_hash, player, expires_at, host)
        if is_guest:
            self._guests[player.player_id] = key_hash
            self._idle.add(key_hash, host)
        else:
            self._known.add(key_hash, host)
        return succeed(True)

    def find(
        self, key_hash: str, expires_at: float = 0.0, host: str = ""
    ) -> Deferred[Player | None]:
        """Find a player; ``None`` when expired."""
        self._sweep()
        player, _ = self._players.get(key_hash) or self._kept(key_hash) or (None, "")
        if player is not None and expires_at:
            self._keep(key_hash, player, expires_at, host)
            self._known.add(key_hash, host)
        return succeed(player)

    def _keep(
        self, key_hash: str, player: Player, expires_at: float, host: str
    ) -> None:
        self._players[key_hash] = player, host
        self._keys[player.player_id] = key_hash
        if self._idle.discard(key_hash):
            del self._guests[player.player_id]
        self._expiry.set(key_hash, expires_at)

    def settle(self, player_id: str) -> None:
        key_hash = self._guests.pop(player_id, None)
        if key_hash is not None:
            self._idle.discard(key_hash)
            self._known.add(key_hash, self._players[key_hash][1])

    def keys_of(
        self, player_ids: Sequence[str]
    ) -> Deferred[Sequence[tuple[str, Player]]]:
        found = (self.known(player_id) for player_id in player_ids)
        return succeed([(one[0], one[1]) for one in found if one is not None])

    def known(self, player_id: str) -> tuple[str, Player, str] | None:
        """
        Find a player for the node after this one.

        :returns: hash of the newest key, player, and address; ``None`` without any.
        """
        key_hash = self._keys.get(player_id)
        return None if key_hash is None else (key_hash, *self._players[key_hash])

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
        if self._keys.get(player.player_id) == key_hash:
            del self._keys[player.player_id]
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
