"""Which node has a player's line, in Redis; and messages to those nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from vinom.base.model import LineEnd
from vinom.store.interfaces import IOnlineStore, IOnlineWatch
from vinom.store.redis.client import RedisClient
from vinom.store.redis.scripts import load

_STEPS = {
    step: load("online", step)
    for step in ("enter", "leave", "keep", "elsewhere", "absence", "send")
}


def _end(found: bytes) -> LineEnd:
    ends: dict[bytes, LineEnd] = {b"replaced": "replaced", b"free": "free"}
    return ends.get(found, "held")


def _texts(found: Iterable[bytes]) -> list[str]:
    return [one.decode() for one in found]


@implementer(IOnlineStore)
@attrs.define(eq=False)
class RedisOnlineStore:
    """
    A hash for each player's line; messages by publish and subscribe.

    :ivar client: runs the steps.
    """

    client: RedisClient
    _watch: IOnlineWatch | None = attrs.field(default=None, init=False)
    _log = Logger()

    @property
    def channel(self) -> str:
        """Where other nodes publish messages to this one."""
        return f"{self.client.prefix}to:{self.client.owner.node_id}"

    def enter(self, player_id: str) -> Deferred[int]:
        return self.client.run(_STEPS["enter"], player_id)

    def leave(self, player_id: str) -> Deferred[LineEnd]:
        return self.client.run(_STEPS["leave"], player_id).addCallback(_end)

    def keep(self, lines: Sequence[tuple[str, int]]) -> Deferred[Sequence[str]]:
        args = [text for player_id, epoch in lines for text in (player_id, str(epoch))]
        return self.client.run(_STEPS["keep"], *args).addCallback(_texts)

    def elsewhere(self, player_ids: Sequence[str]) -> Deferred[Sequence[str]]:
        return self.client.run(_STEPS["elsewhere"], *player_ids).addCallback(_texts)

    def absence(self, player_id: str) -> Deferred[float]:
        return self.client.run(_STEPS["absence"], player_id).addCallback(
            lambda found: inf if found < 0 else found / 1e6
        )

    def send(self, player_ids: Sequence[str], message: bytes) -> Deferred[int]:
        return self.client.run(_STEPS["send"], message, *player_ids)

    def watch(self, watch: IOnlineWatch) -> None:
        self._watch = watch

    def heard(self, message: bytes) -> None:
        """Handle what was published to this node."""
        if self._watch is None:
            return
        kind, _, rest = message.partition(b"\n")
        try:
            if kind == b"send":
                players, _, body = rest.partition(b"\n\n")
                self._watch.passed(players.decode().split("\n"), body)
            elif kind == b"replaced":
                player, _, epoch = rest.partition(b"\n")
                self._watch.replaced(player.decode(), int(epoch))
            else:
                raise ValueError(f"kind {kind[:20]!r}")
        except ValueError as error:
            # Of a node with another version, or of somebody who may write to the Redis.
            self._log.warn("skipped a message of another node: {why}", why=error)

    def listens(self) -> None:
        """Other nodes' messages come from now on; earlier ones may have been missed."""
        if self._watch is not None:
            self._watch.listens()
