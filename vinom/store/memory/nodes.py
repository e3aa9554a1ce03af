"""
The registry of nodes in memory, of one node or of several in one process; and what
nodes own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from vinom.base.model import Claim, NodeFacts, NodeLease
from vinom.errors import LeaseLost
from vinom.store.interfaces import INodeStore, IOwnedStore


@implementer(INodeStore)
@attrs.define
class MemoryNodeStore:
    """
    Nodes and their leases in a dict.

    :ivar now: the time, seconds.
    """

    now: Callable[[], float]
    #: It is lost with this process only.
    epoch: str = attrs.field(default="memory", init=False)
    restoring: float = attrs.field(default=0.0, init=False)
    # With the ends of the leases.
    _leases: dict[str, tuple[NodeLease, float]] = attrs.field(factory=dict, init=False)
    _number: int = attrs.field(default=0, init=False)

    def register(
        self, node: NodeFacts, seconds: float, restoring: float = 0.0
    ) -> Deferred[int]:
        self._number += 1
        lease = NodeLease(node, self._number)
        self._leases[node.node_id] = lease, self.now() + seconds
        return succeed(self._number)

    def renew(self, node: NodeFacts, lease: int, seconds: float) -> Deferred[bool]:
        if not self.is_current(node.node_id, lease):
            return succeed(False)
        self._leases[node.node_id] = NodeLease(node, lease), self.now() + seconds
        return succeed(True)

    def leave(self, node_id: str, lease: int) -> Deferred[bool]:
        if self._number_of(node_id) != lease:
            return succeed(False)
        del self._leases[node_id]
        return succeed(True)

    def nodes(self, expired: bool = False) -> Deferred[Sequence[NodeLease]]:
        now = self.now()
        leases = self._leases.values()
        return succeed([lease for lease, ends in leases if (ends <= now) is expired])

    def is_current(self, node_id: str, lease: int) -> bool:
        """Does this lease last?"""
        return (
            self._number_of(node_id) == lease and self.now() < self._leases[node_id][1]
        )

    def left(self, node_id: str) -> float:
        """Find how long a node's lease lasts, seconds; negative if it is over."""
        found = self._leases.get(node_id)
        return -inf if found is None else found[1] - self.now()

    def _number_of(self, node_id: str) -> int:
        found = self._leases.get(node_id)
        return 0 if found is None else found[0].number


@attrs.define
class _Kept:
    """
    A thing: its owner and what is kept of it.

    It has no owner if it is over, and then nothing is kept but perhaps an ending, or
    if it was released.
    """

    node_id: str
    fence: int
    data: bytes = b""
    grace: float = 0.0
    released_at: float = 0.0
    ending: str = ""
    machine: str = ""


@implementer(IOwnedStore)
@attrs.frozen
class MemoryOwnedStore:
    """
    One node's access to the things of one kind.

    :ivar nodes: the registry.
    :ivar node_id: id of this node.
    :ivar lease: returns the number of its lease.
    :ivar things: all of them; shared by the nodes of one process.
    :ivar kind: "room", "checkpoint" or "server": see `IOwnedStore`.
    :ivar machine: where game servers run.
    """

    nodes: MemoryNodeStore
    node_id: str
    lease: Callable[[], int]
    things: dict[str, _Kept] = attrs.field(factory=dict)
    kind: str = "room"
    machine: str = ""

    def put(
        self,
        thing_id: str,
        fence: int,
        data: bytes,
        grace: float = 0.0,
        is_ahead: bool = False,
    ) -> Deferred[bool]:
        kept = _Kept(self.node_id, fence, data, grace, machine=self.machine)
        return self._write(thing_id, kept, self._is_own(thing_id, fence))

    def release(
        self, thing_id: str, fence: int, data: bytes, grace: float = 0.0
    ) -> Deferred[bool]:
        now = self.nodes.now()
        kept = _Kept("", fence, data, grace, now, machine=self.machine)
        return self._write(thing_id, kept, self._may_end(thing_id, fence))

    def claim(
        self, thing_id: str, reserve: bool = False, again: bool = False, gone: str = ""
    ) -> Deferred[Claim]:
        if self._is_stale():
            return fail(LeaseLost("the lease of this node is over"))
        kept = self.things.get(thing_id)
        if kept is not None and kept.ending and not (reserve and again):
            return succeed(Claim("ended", data=kept.ending.encode()))
        if kept is None or not (kept.node_id or kept.data):
            if not reserve:
                return succeed(Claim("gone" if kept is None else "over"))
            fence = 1 if kept is None else kept.fence + 1
            kept = self.things[thing_id] = _Kept(self.node_id, fence)
        elif kept.node_id != self.node_id:
            left = self.nodes.left(kept.node_id)
            if left > 0 and kept.node_id != gone:
                return succeed(Claim("owned", seconds=left, node_id=kept.node_id))
            kept.node_id, kept.fence = self.node_id, kept.fence + 1
        # If it was this node's, the answer to an earlier call was lost.
        kind = "adopted" if kept.data else "new"
        return succeed(Claim(kind, kept.fence, kept.data))  # type: ignore[arg-type]  # one of them

    def remove(self, thing_id: str, fence: int, ending: str = "") -> Deferred[bool]:
        is_new = fence == 1 or thing_id not in self.things
        # A node that was suspended meanwhile must not bring it back.
        kept = None if is_new and not ending else _Kept("", fence, ending=ending)
        return self._write(thing_id, kept, self._may_end(thing_id, fence))

    def left(self, node_id: str, most: int) -> Deferred[Sequence[bytes]]:
        gone, now = -self.nodes.left(node_id), self.nodes.now()
        found = [
            kept.data if self.kind == "server" else thing_id.encode()
            for thing_id, kept in self.things.items()
            if (kept.node_id, kept.machine) == (node_id, self.machine)
            and (node_id or kept.data)
            and (gone if node_id else now - kept.released_at) >= kept.grace
        ]
        return succeed(found[:most])

    def _write(self, thing_id: str, kept: _Kept | None, is_own: bool) -> Deferred[bool]:
        if self._is_stale():
            return fail(LeaseLost("the lease of this node is over"))
        if is_own and kept is not None:
            self.things[thing_id] = kept
        elif is_own:
            self.things.pop(thing_id, None)
        return succeed(is_own)

    def _is_own(self, thing_id: str, fence: int) -> bool:
        kept = self.things.get(thing_id)
        return kept is None or (kept.node_id, kept.fence) == (self.node_id, fence)

    def _may_end(self, thing_id: str, fence: int) -> bool:
        """Is it this node's, or a game server that it has released?"""
        kept = self.things.get(thing_id)
        if self.kind == "server" and kept is not None and kept.data:
            return kept.node_id in ("", self.node_id) and kept.fence == fence
        return self._is_own(thing_id, fence)

    def _is_stale(self) -> bool:
        return not self.nodes.is_current(self.node_id, self.lease())
