"""Players in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from vinom.base.limits.addresses import Crowd
from vinom.base.model import (
    Player,
)
from vinom.store.interfaces import (
    IPlayerStore,
)
from vinom.store.memory.expiry import Expiry

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
    _expiry: Expiry = attrs.field(factory=Expiry, init=False)
    # Keys of guests who only said hello, and of all others.
    _idle: Crowd = attrs.field(factory=Crowd, init=False)
    _known: Crowd = attrs.field(factory=Crowd, init=False)
    # By player id, the key of each guest who only said hello.
    _guests: dict[str, str] = attrs.field(factory=dict, init=False)
    # By player id, the newest key of each player.
    _keys: dict[str, str] = attrs.field(factory=dict, init=False)

    def add_guest(
        self, key_hash: str, player: Player, expires_at: float, host: str
    ) -> Deferred[bool]:
        """Remember a new guest, if one who is remembered can be forgotten for it."""
        self._sweep()
        if not self._make_room():
            return succeed(False)
        self._players[key_hash] = player, host
        self._keys[player.player_id] = key_hash
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
        self._keys[player.player_id] = key_hash
        if self._idle.discard(key_hash):
            del self._guests[player.player_id]
        self._known.add(key_hash, host)
        self._expiry.set(key_hash, expires_at)
        return succeed(None)

    def settle(self, player_id: str) -> None:
        key_hash = self._guests.pop(player_id, None)
        if key_hash is not None:
            self._idle.discard(key_hash)
            self._known.add(key_hash, self._players[key_hash][1])

    def find(self, key_hash: str) -> Deferred[Player | None]:
        """Find a player; ``None`` when expired."""
        self._sweep()
        found = self._players.get(key_hash)
        return succeed(None if found is None else found[0])

    def keys_of(
        self, player_ids: Sequence[str]
    ) -> Deferred[Sequence[tuple[str, Player]]]:
        found = (self.known(player_id) for player_id in player_ids)
        return succeed([(one[0], one[1]) for one in found if one is not None])

    def put_back(
        self, key_hash: str, player: Player, expires_at: float
    ) -> Deferred[bool]:
        """Store a player, unless the key is known."""
        self._sweep()
        if key_hash in self._players:
            return succeed(False)
        return self.keep(key_hash, player, expires_at).addCallback(lambda _: True)

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
