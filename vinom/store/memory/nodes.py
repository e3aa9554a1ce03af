"""
The registry of nodes in memory, of one node or of several in one process; and what
nodes own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from math import inf
from typing import ParamSpec, TypeVar

import attrs
from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from vinom.base.limits.buckets import network_of
from vinom.base.model import Claim, KeptSeats, Lasting, NodeFacts, NodeLease
from vinom.errors import LeaseLost, StoreUnavailable
from vinom.store.interfaces import INodeStore, IOwnedStore
from vinom.store.memory.players import MemoryPlayerStore
from vinom.store.memory.things import Kept, Things

#: A room that is listed is not listed again for this long: a node is about to claim it.
_TO_CLAIM = 2.0
#: How long a room's id is kept for a node that has not put a checkpoint yet, and how
#: long the end of a game is remembered, seconds.
_RESERVED, _REMEMBERED = 10.0, 86400.0


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
        if self.number_of(node_id) != lease:
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
            self.number_of(node_id) == lease and self.now() < self._leases[node_id][1]
        )

    def left(self, node_id: str) -> float:
        """Find how long a node's lease lasts, seconds; negative if it is over."""
        found = self._leases.get(node_id)
        return -inf if found is None else found[1] - self.now()

    def number_of(self, node_id: str) -> int:
        """Find the number of a node's lease; 0 if it has none."""
        found = self._leases.get(node_id)
        return 0 if found is None else found[0].number


_P = ParamSpec("_P")
_T = TypeVar("_T")


def _answers(method: Callable[_P, _T]) -> Callable[_P, Deferred[_T]]:
    """Let a method answer at once, as others answer later."""

    @wraps(method)
    def ask(*args: _P.args, **named: _P.kwargs) -> Deferred[_T]:
        try:
            return succeed(method(*args, **named))
        except StoreUnavailable as error:
            return fail(error)

    return ask


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
    :ivar players: has the keys of players, which lasting rooms keep.
    """

    nodes: MemoryNodeStore
    node_id: str
    lease: Callable[[], int]
    things: Things
    kind: str = "room"
    machine: str = ""
    players: MemoryPlayerStore | None = None

    @_answers
    def put(
        self,
        thing_id: str,
        fence: int,
        data: bytes,
        grace: float = 0.0,
        is_ahead: bool = False,
        lasting: Lasting | None = None,
    ) -> bool:
        is_own = self._is_own(thing_id, fence)
        if is_own:
            kept = Kept(self.node_id, fence, data, grace, machine=self.machine)
            self._keep(thing_id, kept, lasting, None)
        return is_own

    @_answers
    def release(
        self,
        thing_id: str,
        fence: int,
        data: bytes,
        grace: float = 0.0,
        lasting: Lasting | None = None,
    ) -> bool:
        is_own = self._may_end(thing_id, fence)
        if is_own:
            kept = Kept("", fence, data, grace, machine=self.machine)
            self._keep(thing_id, kept, lasting, grace)
        return is_own

    def _keep(
        self, thing_id: str, kept: Kept, lasting: Lasting | None, grace: float | None
    ) -> None:
        """Write a room; it is looked after when its grace ends, or its node's lease."""
        now, known = self.things.now(), []
        look_at = None if grace is None else now + grace
        if lasting is not None:
            opener = network_of(lasting.opener)
            kept = replace(kept, players=lasting.players, opener=opener, grace=inf)
            if grace is None:
                look_at = now + self.nodes.left(self.node_id)
            if self.players is not None:
                found = map(self.players.known, lasting.players)
                known = [one for one in found if one is not None]
        age = 0.0 if lasting is None else lasting.age
        self.things.put(thing_id, replace(kept, at=now - age), look_at, known)

    @_answers
    def claim(
        self, thing_id: str, reserve: bool = False, again: bool = False, gone: str = ""
    ) -> Claim:
        self._check_lease()
        things = self.things
        kept = things.get(thing_id)
        before = "" if kept is None else kept.node_id
        if kept is not None and kept.ending and not (reserve and again):
            return Claim("ended", data=kept.ending.encode())
        if kept is None or not (kept.node_id or kept.data):
            if not reserve:
                return Claim("gone" if kept is None else "over")
            fence = 1 if kept is None else kept.fence + 1
            kept = Kept(self.node_id, fence)
            things.put(thing_id, kept, things.now() + _RESERVED)
        elif kept.node_id != self.node_id:
            left = self.nodes.left(kept.node_id)
            if left > 0 and kept.node_id != gone:
                return Claim("owned", seconds=left, node_id=kept.node_id)
            kept = replace(kept, node_id=self.node_id, fence=kept.fence + 1)
            look_at = None
            if kept.players is not None:
                look_at = things.now() + self.nodes.left(self.node_id)
            things.put(thing_id, kept, look_at)
        # If it was this node's, the answer to an earlier call was lost.
        age = None if kept.players is None else max(0.0, things.now() - kept.at)
        kind = "adopted" if kept.data else "new"
        return Claim(kind, kept.fence, kept.data, 0.0, before, age)  # type: ignore[arg-type]  # one of them

    @_answers
    def remove(self, thing_id: str, fence: int, ending: str = "") -> bool:
        before = self.things.get(thing_id)
        is_own = self._may_end(thing_id, fence)
        if is_own and (fence == 1 or before is None) and not ending:
            self.things.pop(thing_id, None)
        elif is_own:
            # A node that was suspended meanwhile must not bring it back.
            kept = Kept("", fence, ending=ending)
            self.things.put(thing_id, kept, self.things.now() + _REMEMBERED)
        return is_own

    @_answers
    def left(self, node_id: str, most: int) -> Sequence[bytes]:
        if self.kind == "room" and not node_id:
            return self._due(most)
        gone = -self.nodes.left(node_id) if node_id else inf
        found = [
            kept.data if self.kind == "server" else thing_id.encode()
            for thing_id, kept in self.things.items()
            if (kept.node_id, kept.machine) == (node_id, self.machine)
            and (node_id or kept.data)
            and gone >= kept.grace
        ]
        return found[:most]

    def _due(self, most: int) -> list[bytes]:
        """List rooms that no node looks after, or only one that is gone."""
        found, things = [], self.things
        for thing_id, kept in things.due(most):
            if not kept.data:
                del things[thing_id]
                continue
            left = self.nodes.left(kept.node_id) if kept.node_id else 0.0
            if left <= 0:
                found.append(thing_id.encode())
            things.postpone(thing_id, things.now() + (left if left > 0 else _TO_CLAIM))
        return found

    @_answers
    def seats_of(self, player_id: str, opener: str = "") -> KeptSeats:
        things = self.things
        now = things.now()
        return KeptSeats(
            {
                thing_id: (kept.data, max(0.0, now - kept.at))
                for thing_id, kept in things.seats_of(player_id).items()
            },
            things.opened(network_of(opener)),
        )

    def _is_own(self, thing_id: str, fence: int) -> bool:
        self._check_lease()
        kept = self.things.get(thing_id)
        return kept is None or (kept.node_id, kept.fence) == (self.node_id, fence)

    def _may_end(self, thing_id: str, fence: int) -> bool:
        """Is it this node's, or a game server that it has released?"""
        kept = self.things.get(thing_id)
        is_own = self._is_own(thing_id, fence)
        if self.kind == "server" and kept is not None and kept.data:
            return kept.node_id in ("", self.node_id) and kept.fence == fence
        return is_own

    def _check_lease(self) -> None:
        if not self.nodes.is_current(self.node_id, self.lease()):
            raise LeaseLost("the lease of this node is over")
