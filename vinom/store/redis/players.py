"""Players who have said hello, in Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from msgspec import json
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from vinom.base.model import Player
from vinom.errors import StoreUnavailable
from vinom.store.interfaces import IPlayerStore
from vinom.store.redis.client import RedisClient
from vinom.store.redis.scripts import load

_STEPS = {
    step: load("players", step)
    for step in ("add_guest", "keep", "put_back", "settle", "find", "keys_of")
}


@attrs.frozen
class _Kept:
    """
    What Redis has of a player.

    :ivar expires_at: seconds since the Unix epoch, of the nodes' clocks.
    """

    player: Player
    expires_at: float


@implementer(IPlayerStore)
@attrs.frozen
class RedisPlayerStore:
    """
    Players by the hash of the secret key, for all nodes.

    If the store is full, one who neither waits nor plays is forgotten for a new one:
    the oldest guest who has only said hello, or else one whose key was used longest
    ago.

    :ivar client: runs the steps.
    :ivar now: the time, seconds since the Unix epoch.
    :ivar most: players stored.
    """

    client: RedisClient
    now: Callable[[], float]
    most: int = 1_000_000
    _log = Logger()

    def _store(
        self, step: str, key_hash: str, player: Player, expires_at: float
    ) -> Deferred[int]:
        left = max(1, round(1000 * (expires_at - self.now())))
        return self.client.run(
            _STEPS[step],
            key_hash,
            json.encode(_Kept(player, expires_at)),
            str(left),
            player.player_id,
            str(self.most),
        )

    def add_guest(
        self, key_hash: str, player: Player, expires_at: float, host: str
    ) -> Deferred[bool]:
        """Store a new guest, if one who is stored can be forgotten for it."""
        return self._store("add_guest", key_hash, player, expires_at).addCallback(bool)

    def keep(
        self, key_hash: str, player: Player, expires_at: float, host: str = ""
    ) -> Deferred[None]:
        """Store *player*; a later call moves the expiry."""
        kept = self._store("keep", key_hash, player, expires_at)
        return kept.addCallback(lambda _: None)

    def settle(self, player_id: str) -> None:
        # It is forgotten sooner if this is lost.
        settled = self.client.run(_STEPS["settle"], player_id)
        settled.addErrback(lambda failure: failure.trap(StoreUnavailable))
        settled.addErrback(lambda failure: self._log.failure("not settled", failure))

    def find(self, key_hash: str) -> Deferred[Player | None]:
        """Find a player; ``None`` when expired."""

        def read(data: bytes) -> Player | None:
            if not data:
                return None
            kept = json.decode(data, type=_Kept)
            return kept.player if self.now() < kept.expires_at else None

        return self.client.run(_STEPS["find"], key_hash).addCallback(read)

    def keys_of(
        self, player_ids: Sequence[str]
    ) -> Deferred[Sequence[tuple[str, Player]]]:
        def read(found: list[bytes]) -> list[tuple[str, Player]]:
            kept = (json.decode(data, type=_Kept) for data in found[1::2])
            return [
                (key_hash.decode(), one.player)
                for key_hash, one in zip(found[::2], kept, strict=True)
                if self.now() < one.expires_at
            ]

        return self.client.run(_STEPS["keys_of"], *player_ids).addCallback(read)

    def put_back(
        self, key_hash: str, player: Player, expires_at: float
    ) -> Deferred[bool]:
        """Store a player, unless the key is known."""
        return self._store("put_back", key_hash, player, expires_at).addCallback(bool)
