"""Game servers with matches, in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from vinom.base.model import ServerClaim
from vinom.errors import LeaseLost
from vinom.store.interfaces import IServerStore
from vinom.store.memory.nodes import MemoryNodeStore


@attrs.define
class _Kept:
    """A game server: its owner, and its record; no record if it is over."""

    node_id: str
    fence: int
    machine: str
    data: bytes


@implementer(IServerStore)
@attrs.frozen
class MemoryServerStore:
    """
    One node's access to the records.

    :ivar nodes: the registry.
    :ivar node_id: id of this node.
    :ivar lease: returns the number of its lease.
    :ivar servers: all game servers; shared by the nodes of one process.
    """

    nodes: MemoryNodeStore
    node_id: str
    lease: Callable[[], int]
    servers: dict[str, _Kept] = attrs.field(factory=dict)

    def put(
        self, server_id: str, fence: int, machine: str, data: bytes
    ) -> Deferred[bool]:
        if self._is_stale():
            return fail(LeaseLost("the lease of this node is over"))
        kept = self.servers.get(server_id)
        if kept is not None and (kept.node_id, kept.fence) != (self.node_id, fence):
            return succeed(False)
        self.servers[server_id] = _Kept(self.node_id, fence, machine, data)
        return succeed(True)

    def claim(self, server_id: str, gone: str = "") -> Deferred[ServerClaim]:
        if self._is_stale():
            return fail(LeaseLost("the lease of this node is over"))
        kept = self.servers.get(server_id)
        if kept is None:
            return succeed(ServerClaim("unknown"))
        if not kept.data:
            return succeed(ServerClaim("over"))
        if kept.node_id != self.node_id:
            if kept.node_id not in ("", gone) and self.nodes.left(kept.node_id) > 0:
                return succeed(ServerClaim("owned"))
            kept.node_id, kept.fence = self.node_id, kept.fence + 1
        return succeed(ServerClaim("claimed", kept.fence, kept.data))

    def offer(
        self, server_id: str, fence: int, machine: str, data: bytes
    ) -> Deferred[bool]:
        if self._is_stale():
            return fail(LeaseLost("the lease of this node is over"))
        if server_id in self.servers and self._own(server_id, fence) is None:
            return succeed(False)
        self.servers[server_id] = _Kept("", fence, machine, data)
        return succeed(True)

    def forget(self, server_id: str, fence: int) -> Deferred[bool]:
        if self._is_stale():
            return fail(LeaseLost("the lease of this node is over"))
        kept = self._own(server_id, fence)
        if kept is None:
            return succeed(server_id not in self.servers)
        if fence == 1:
            del self.servers[server_id]
        else:
            # A node that was suspended meanwhile must not bring it back.
            kept.node_id, kept.data = "", b""
        return succeed(True)

    def left(self, node_id: str, machine: str, most: int) -> Deferred[Sequence[bytes]]:
        if node_id and self.nodes.left(node_id) > 0:
            return succeed([])
        found = [
            kept.data
            for kept in self.servers.values()
            if kept.data and (kept.node_id, kept.machine) == (node_id, machine)
        ]
        return succeed(found[:most])

    def _own(self, server_id: str, fence: int) -> _Kept | None:
        """Find a game server that is this node's, or that it has offered."""
        kept = self.servers.get(server_id)
        if kept is None or not kept.data or kept.fence != fence:
            return None
        return kept if kept.node_id in ("", self.node_id) else None

    def _is_stale(self) -> bool:
        return not self.nodes.is_current(self.node_id, self.lease())
