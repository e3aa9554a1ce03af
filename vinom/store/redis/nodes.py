"""The registry of nodes in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from msgspec import json
from twisted.internet.defer import Deferred
from zope.interface import implementer

from vinom.base.model import NodeFacts, NodeLease
from vinom.store.interfaces import INodeStore
from vinom.store.redis.client import RedisClient
from vinom.store.redis.scripts import load

_STEPS = load("nodes", "hold", "leave", "list")


@implementer(INodeStore)
@attrs.frozen
class RedisNodeStore:
    """
    Nodes in hashes; Redis' clock ends their leases.

    A lease that this store registered is named in all later calls of its client.

    :ivar client: runs the steps.
    """

    client: RedisClient

    @property
    def epoch(self) -> str:
        """Names what the store had at the last `register`."""
        return self.client.owner.epoch

    @property
    def restoring(self) -> float:
        """For how long nodes put back what it had lost, seconds, at the last answer."""
        return self.client.owner.restoring

    def register(
        self, node: NodeFacts, seconds: float, restoring: float = 0.0
    ) -> Deferred[int]:
        return self._hold(node, 0, seconds, restoring)

    def renew(self, node: NodeFacts, lease: int, seconds: float) -> Deferred[bool]:
        return self._hold(node, lease, seconds).addCallback(bool)

    def _hold(
        self, node: NodeFacts, lease: int, seconds: float, restoring: float = 0.0
    ) -> Deferred[int]:
        owner = self.client.owner
        is_own = node.node_id == owner.node_id

        def held(found: list[Any]) -> int:
            number = int(found[0])
            if is_own:
                owner.restoring = int(found[2]) / 1000
            if is_own and not lease:
                owner.lease, owner.epoch = number, found[1].decode()
            return number

        return self.client.run(
            _STEPS["hold"],
            node.node_id,
            str(lease),
            json.encode(node),
            str(round(1000 * seconds)),
            owner.epoch if is_own and not lease else "",
            str(round(1000 * restoring)),
        ).addCallback(held)

    def leave(self, node_id: str, lease: int) -> Deferred[bool]:
        left = self.client.run(_STEPS["leave"], node_id, str(lease))
        return left.addCallback(bool)

    def nodes(self, expired: bool = False) -> Deferred[Sequence[NodeLease]]:
        def read(found: list[bytes]) -> list[NodeLease]:
            return [
                NodeLease(json.decode(data, type=NodeFacts), int(number))
                for data, number in zip(found[::2], found[1::2], strict=True)
            ]

        which = "expired" if expired else "running"
        return self.client.run(_STEPS["list"], which).addCallback(read)
