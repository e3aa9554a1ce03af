"""Checkpoints of rooms in Redis."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from vinom.model import RoomClaim
from vinom.ports import ICheckpointStore
from vinom.store.redis.client import RedisClient
from vinom.store.redis.scripts import load

_NAMES = ("put", "release", "claim", "remove", "orphans")
_STEPS = {step: load("rooms", step) for step in _NAMES}


@implementer(ICheckpointStore)
@attrs.frozen
class RedisCheckpointStore:
    """
    Checkpoints in hashes, which also name the owners of rooms.

    :ivar client: runs the steps.
    """

    client: RedisClient

    def put(
        self, room_id: str, fence: int, data: bytes, grace: float
    ) -> Deferred[bool]:
        """Keep the latest checkpoint of a room of this node."""
        wait = str(round(1000 * grace))
        return self.client.run(
            _STEPS["put"], room_id, str(fence), data, wait
        ).addCallback(bool)

    def release(
        self, room_id: str, fence: int, data: bytes, grace: float
    ) -> Deferred[bool]:
        """Give a room up, with its last checkpoint."""
        wait = str(round(1000 * grace))
        return self.client.run(
            _STEPS["release"], room_id, str(fence), data, wait
        ).addCallback(bool)

    def claim(self, room_id: str, reserve: bool) -> Deferred[RoomClaim]:
        """Take over a room that has no owner whose lease lasts."""

        def read(found: list[bytes]) -> RoomClaim:
            kind, fence, data, left, node_id = found
            return RoomClaim(
                kind.decode(),  # type: ignore[arg-type]  # one of them
                int(fence),
                data,
                int(left) / 1000,
                node_id.decode(),
            )

        asked = self.client.run(_STEPS["claim"], room_id, str(int(reserve)))
        return asked.addCallback(read)

    def remove(self, room_id: str, fence: int) -> Deferred[bool]:
        """Forget a room of this node."""
        return self.client.run(_STEPS["remove"], room_id, str(fence)).addCallback(bool)

    def orphans(self, node_id: str, most: int) -> Deferred[Sequence[str]]:
        """List rooms whose players did not come back in time."""
        return self.client.run(_STEPS["orphans"], node_id, str(most)).addCallback(
            lambda found: [one.decode() for one in found]
        )
