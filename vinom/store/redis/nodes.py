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

_STEPS = load("nodes", "register", "renew", "leave", "list")


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
        owner = self.client.owner
        is_own = node.node_id == owner.node_id

        def registered(found: list[Any]) -> int:
            number = int(found[0])
            if is_own:
                owner.lease, owner.epoch = number, found[1].decode()
                owner.restoring = int(found[2]) / 1000
            return number

        before = owner.epoch if is_own else ""
        return self._write(
            "register", node, seconds, 0, before, str(round(1000 * restoring))
        ).addCallback(registered)

    def renew(self, node: NodeFacts, lease: int, seconds: float) -> Deferred[bool]:
        def renewed(found: list[Any]) -> bool:
            if node.node_id == self.client.owner.node_id:
                self.client.owner.restoring = int(found[1]) / 1000
            return bool(found[0])

        return self._write("renew", node, seconds, lease).addCallback(renewed)

    def leave(self, node_id: str, lease: int) -> Deferred[bool]:
        left = self.client.run(_STEPS["leave"], node_id, str(lease))
        return left.addCallback(bool)

    def nodes(self) -> Deferred[Sequence[NodeLease]]:
        return self._list("running")

    def expired(self) -> Deferred[Sequence[NodeLease]]:
        return self._list("expired")

    def _write(
        self, step: str, node: NodeFacts, seconds: float, lease: int, *more: str
    ) -> Deferred[Any]:
        return self.client.run(
            _STEPS[step],
            node.node_id,
            str(lease),
            json.encode(node),
            str(round(1000 * seconds)),
            *more,
        )

    def _list(self, which: str) -> Deferred[Sequence[NodeLease]]:
        def read(found: list[bytes]) -> list[NodeLease]:
            return [
                NodeLease(json.decode(data, type=NodeFacts), int(number))
                for data, number in zip(found[::2], found[1::2], strict=True)
            ]

        return self.client.run(_STEPS["list"], which).addCallback(read)
