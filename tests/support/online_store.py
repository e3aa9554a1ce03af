"""
Which node has a player's line, in memory: what a Redis tells nodes, without one.

A node without a Redis has nobody to ask, so only tests need it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from time import monotonic

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from vinom.base.model import LineEnd
from vinom.store.interfaces import IOnlineStore, IOnlineWatch


@attrs.define(eq=False)
class Lines:
    """
    What the nodes share.

    :ivar has_lease: by a node's id: does its lease last?
    :ivar now: the time, seconds.
    :ivar left: when players were disconnected who are away.
    """

    has_lease: Callable[[str], bool] = lambda _: True
    now: Callable[[], float] = monotonic
    left: dict[str, float] = attrs.field(factory=dict, init=False)
    lines: dict[str, tuple[str, int]] = attrs.field(factory=dict, init=False)
    watches: dict[str, IOnlineWatch] = attrs.field(factory=dict, init=False)
    last: int = attrs.field(default=0, init=False)


@implementer(IOnlineStore)
@attrs.frozen(eq=False)
class MemoryOnlineStore:
    """
    Lines in a dict.

    :ivar node_id: of the node that calls.
    """

    shared: Lines
    node_id: str

    def enter(self, player_id: str) -> Deferred[int]:
        self.shared.last += 1
        self.shared.left.pop(player_id, None)
        self._set(player_id, self.shared.last)
        return succeed(self.shared.last)

    def _set(self, player_id: str, epoch: int) -> None:
        shared = self.shared
        node, older = shared.lines.get(player_id, ("", 0))
        shared.lines[player_id] = self.node_id, epoch
        if node != self.node_id and (watch := shared.watches.get(node)) is not None:
            watch.replaced(player_id, older)

    def leave(self, player_id: str) -> Deferred[LineEnd]:
        """Forget a line; whether its player is in a queue is not known here."""
        node, _ = self.shared.lines.get(player_id, (self.node_id, 0))
        if node != self.node_id:
            return succeed("replaced")
        self.shared.lines.pop(player_id, None)
        self.shared.left[player_id] = self.shared.now()
        return succeed("held")

    def keep(self, lines: Sequence[tuple[str, int]]) -> Deferred[Sequence[str]]:
        replaced = []
        for player_id, epoch in lines:
            node, newest = self.shared.lines.get(player_id, (self.node_id, 0))
            if node != self.node_id and newest > epoch:
                replaced.append(player_id)
            else:
                self._set(player_id, max(epoch, newest))
        return succeed(replaced)

    def elsewhere(self, player_ids: Sequence[str]) -> Deferred[Sequence[str]]:
        return succeed([one for one in player_ids if self._node_of(one)])

    def absence(self, player_id: str) -> Deferred[float]:
        if self._node_of(player_id):
            return succeed(0.0)
        shared = self.shared
        left = shared.left.get(player_id)
        # Not 0, which means that there is a line.
        return succeed(inf if left is None else max(1e-6, shared.now() - left))

    def send(self, player_ids: Sequence[str], message: bytes) -> Deferred[int]:
        nodes: dict[str, list[str]] = {}
        for player_id in player_ids:
            node, _ = self.shared.lines.get(player_id, (self.node_id, 0))
            if node != self.node_id:
                nodes.setdefault(node, []).append(player_id)
        listening = [node for node in nodes if node in self.shared.watches]
        for node in listening:
            self.shared.watches[node].passed(nodes[node], message)
        return succeed(len(listening))

    def watch(self, watch: IOnlineWatch) -> None:
        self.shared.watches[self.node_id] = watch

    def _node_of(self, player_id: str) -> str | None:
        """Find another node that lives and has the player's line."""
        node, _ = self.shared.lines.get(player_id, (self.node_id, 0))
        is_other = node != self.node_id and self.shared.has_lease(node)
        return node if is_other else None
