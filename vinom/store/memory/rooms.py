"""Checkpoints of rooms in memory: for several nodes in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from vinom.base.model import RoomClaim
from vinom.errors import LeaseLost
from vinom.store.interfaces import ICheckpointStore
from vinom.store.memory.nodes import MemoryNodeStore


@attrs.define
class _Kept:
    """
    A room: its owner and its latest checkpoint.

    It has no owner if it has closed, and then no checkpoint but perhaps an ending, or
    if it was released.
    """

    node_id: str
    fence: int
    data: bytes = b""
    grace: float = 0.0
    released_at: float = 0.0
    ending: str = ""


@implementer(ICheckpointStore)
@attrs.frozen
class MemoryCheckpointStore:
    """
    One node's door to the checkpoints.

    :ivar nodes: the registry.
    :ivar node_id: of this node.
    :ivar lease: gives the number of its lease.
    :ivar rooms: all of them; nodes of one process share it.
    """

    nodes: MemoryNodeStore
    node_id: str
    lease: Callable[[], int]
    rooms: dict[str, _Kept] = attrs.field(factory=dict)

    def put(
        self,
        room_id: str,
        fence: int,
        data: bytes,
        grace: float,
        is_ahead: bool = False,
    ) -> Deferred[bool]:
        return self._write(room_id, _Kept(self.node_id, fence, data, grace))

    def release(
        self, room_id: str, fence: int, data: bytes, grace: float
    ) -> Deferred[bool]:
        """Give a room up, with its last checkpoint."""
        left = _Kept("", fence, data, grace, self.nodes.now())
        return self._write(room_id, left)

    def _write(self, room_id: str, after: _Kept) -> Deferred[bool]:
        if self._is_stale():
            return fail(LeaseLost("the lease of this node is over"))
        kept, own = self.rooms.get(room_id), (self.node_id, after.fence)
        if kept is not None and (kept.node_id, kept.fence) != own:
            return succeed(False)
        self.rooms[room_id] = after
        return succeed(True)

    def claim(
        self, room_id: str, reserve: bool, again: bool = False
    ) -> Deferred[RoomClaim]:
        if self._is_stale():
            return fail(LeaseLost("the lease of this node is over"))
        kept = self.rooms.get(room_id)
        if kept is not None and kept.ending and not (reserve and again):
            return succeed(RoomClaim("ended", data=kept.ending.encode()))
        if kept is None or not (kept.node_id or kept.data):
            if not reserve:
                return succeed(RoomClaim("gone"))
            fence = 1 if kept is None else kept.fence + 1
            self.rooms[room_id] = _Kept(self.node_id, fence)
            return succeed(RoomClaim("new", fence))
        if kept.node_id == self.node_id:
            # The answer to an earlier call of this node was lost.
            return succeed(_owned(kept))
        left = self.nodes.left(kept.node_id)
        if left > 0:
            return succeed(RoomClaim("owned", seconds=left, node_id=kept.node_id))
        kept.node_id, kept.fence = self.node_id, kept.fence + 1
        return succeed(_owned(kept))

    def remove(self, room_id: str, fence: int, ending: str = "") -> Deferred[bool]:
        if self._is_stale():
            return fail(LeaseLost("the lease of this node is over"))
        kept = self.rooms.get(room_id)
        if kept is None or (kept.node_id, kept.fence) != (self.node_id, fence):
            return succeed(False)
        if fence == 1 and not ending:
            del self.rooms[room_id]
        else:
            # A node that slept meanwhile must not bring it back.
            self.rooms[room_id] = _Kept("", fence, ending=ending)
        return succeed(True)

    def orphans(self, node_id: str, most: int) -> Deferred[Sequence[str]]:
        gone, now = -self.nodes.left(node_id), self.nodes.now()
        found = [
            room_id
            for room_id, kept in self.rooms.items()
            if kept.node_id == node_id
            and (node_id or kept.data)
            and (gone if node_id else now - kept.released_at) >= kept.grace
        ]
        return succeed(found[:most])

    def _is_stale(self) -> bool:
        return not self.nodes.is_current(self.node_id, self.lease())


def _owned(kept: _Kept) -> RoomClaim:
    return RoomClaim("adopted" if kept.data else "new", kept.fence, kept.data)
