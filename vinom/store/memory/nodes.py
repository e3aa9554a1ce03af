"""The registry of nodes in memory: of one node, or of several in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from vinom.base.model import NodeFacts, NodeLease
from vinom.store.interfaces import INodeStore


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
