"""Checkpoints of rooms and of matches in Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from vinom.base.model import RoomClaim
from vinom.store.interfaces import ICheckpointStore
from vinom.store.redis.client import RedisClient
from vinom.store.redis.replicated import ReplicatedSteps
from vinom.store.redis.scripts import Script, load

_STEPS = load("owned", "left")
#: What the kinds of claims are called of rooms, if not the same as of game servers.
_KINDS = {b"unknown": b"gone", b"over": b"gone", b"claimed": b"adopted"}


@implementer(ICheckpointStore)
@attrs.frozen
class RedisCheckpointStore:
    """
    Checkpoints in hashes, which also name the owners of rooms.

    :ivar client: runs the steps.
    :ivar replicated: runs those that must be on a replica; ``None`` if none must.
    :ivar kind: of what: "room", or "checkpoint" of a match.
    """

    client: RedisClient
    replicated: ReplicatedSteps | None = None
    kind: str = "room"
    # Rooms of which a checkpoint is on its way to a replica, and how many.
    _ahead: Counter[str] = attrs.field(factory=Counter, init=False)

    def put(
        self,
        room_id: str,
        fence: int,
        data: bytes,
        grace: float,
        is_ahead: bool = False,
    ) -> Deferred[bool]:
        wait = str(round(1000 * grace))
        step = (_STEPS["put"], room_id, self.kind, str(fence), data, wait, "0")
        replicated = self.replicated
        if not is_ahead or replicated is None or not replicated.is_needed:
            return self.client.run(*step).addCallback(bool)
        self._ahead[room_id] += 1
        return replicated.run(*step).addBoth(self._put, room_id).addCallback(bool)

    def _put(self, found: Any, room_id: str) -> Any:
        self._ahead[room_id] -= 1
        if not self._ahead[room_id]:
            del self._ahead[room_id]
        return found

    def _after_put(
        self, room_id: str, script: Script, *args: str | bytes
    ) -> Deferred[Any]:
        """Run a step on the connection that has a room's checkpoint on its way."""
        if room_id in self._ahead and self.replicated is not None:
            return self.replicated.run(script, room_id, self.kind, *args)
        return self.client.run(script, room_id, self.kind, *args)

    def release(
        self, room_id: str, fence: int, data: bytes, grace: float
    ) -> Deferred[bool]:
        """Give a room up, with its last checkpoint."""
        wait = str(round(1000 * grace))
        asked = self._after_put(room_id, _STEPS["put"], str(fence), data, wait, "1")
        return asked.addCallback(bool)

    def claim(
        self, room_id: str, reserve: bool, again: bool = False
    ) -> Deferred[RoomClaim]:
        def read(found: list[bytes]) -> RoomClaim:
            kind, fence, data, left, node_id = found
            return RoomClaim(
                _KINDS.get(kind, kind).decode(),  # type: ignore[arg-type]  # one of them
                int(fence),
                data,
                int(left) / 1000,
                node_id.decode(),
            )

        wish = "0" if not reserve else "2" if again else "1"
        asked = self.client.run(_STEPS["claim"], room_id, self.kind, "", wish)
        return asked.addCallback(read)

    def remove(self, room_id: str, fence: int, ending: str = "") -> Deferred[bool]:
        asked = self._after_put(room_id, _STEPS["forget"], str(fence), ending)
        return asked.addCallback(bool)

    def orphans(self, node_id: str, most: int) -> Deferred[Sequence[str]]:
        asked = self.client.run(_STEPS["left"], node_id, self.kind, str(most), "")
        return asked.addCallback(lambda found: [one.decode() for one in found])
