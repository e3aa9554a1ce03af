"""The registry of nodes in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from msgspec import json
from twisted.internet.defer import Deferred
from zope.interface import implementer

from vinom.model import NodeFacts, NodeLease
from vinom.ports import INodeStore
from vinom.store.redis.client import RedisClient
from vinom.store.redis.scripts import load

_STEPS = {step: load("nodes", step) for step in ("register", "renew", "leave", "list")}


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

    def register(self, node: NodeFacts, seconds: float) -> Deferred[int]:
        """Start a lease."""

        def registered(found: list[Any]) -> int:
            number = int(found[0])
            if node.node_id == self.client.owner.node_id:
                self.client.owner.lease = number
                self.client.owner.epoch = found[1].decode()
            return number

        return self._write("register", node, seconds, 0).addCallback(registered)

    def renew(self, node: NodeFacts, lease: int, seconds: float) -> Deferred[bool]:
        """Let a lease last for longer."""
        return self._write("renew", node, seconds, lease).addCallback(bool)

    def leave(self, node_id: str, lease: int) -> Deferred[bool]:
        """Remove a node."""
        left = self.client.run(_STEPS["leave"], node_id, str(lease))
        return left.addCallback(bool)

    def nodes(self) -> Deferred[Sequence[NodeLease]]:
        """List the nodes with a lease."""
        return self._list("running")

    def expired(self) -> Deferred[Sequence[NodeLease]]:
        """List the nodes whose lease is over."""
        return self._list("expired")

    def _write(
        self, step: str, node: NodeFacts, seconds: float, lease: int
    ) -> Deferred[Any]:
        return self.client.run(
            _STEPS[step],
            node.node_id,
            str(lease),
            json.encode(node),
            str(round(1000 * seconds)),
        )

    def _list(self, which: str) -> Deferred[Sequence[NodeLease]]:
        def read(found: list[bytes]) -> list[NodeLease]:
            return [
                NodeLease(json.decode(data, type=NodeFacts), int(number))
                for data, number in zip(found[::2], found[1::2], strict=True)
            ]

        return self.client.run(_STEPS["list"], which).addCallback(read)
