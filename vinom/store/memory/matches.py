"""Matches and game servers in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from vinom.base.model import (
    MatchEnd,
    MatchPlan,
    Placement,
    ServerClaim,
)
from vinom.errors import LeaseLost
from vinom.store.interfaces import (
    IMatchStore,
    IServerStore,
)
from vinom.store.memory.expiry import Expiry
from vinom.store.memory.nodes import MemoryNodeStore


@attrs.define
class _Running:
    """A match that is forming or playing."""

    plan: MatchPlan
    players: set[str]
    placement: Placement | None = None


@implementer(IMatchStore)
@attrs.define
class MemoryMatchStore:
    """
    Running matches and, for a while, ended ones.

    :ivar now: the time, seconds since the Unix epoch.
    """

    _now: Callable[[], float]
    _running: dict[str, _Running] = attrs.field(factory=dict, init=False)
    _match_of: dict[str, str] = attrs.field(factory=dict, init=False)
    _ends: dict[str, MatchEnd] = attrs.field(factory=dict, init=False)
    _expiry: Expiry = attrs.field(factory=Expiry, init=False)

    def open(self, plan: MatchPlan) -> Deferred[bool]:
        """Record a match, unless one of its players is in another running one."""
        players = {seat.player_id for seat in plan.seats}
        if (
            plan.match_id in self._running
            or len(players) < len(plan.seats)
            or any(player_id in self._match_of for player_id in players)
        ):
            return succeed(False)
        self._running[plan.match_id] = _Running(plan, players)
        for player_id in players:
            self._match_of[player_id] = plan.match_id
        return succeed(True)

    def adopt(self, plan: MatchPlan, placement: Placement) -> Deferred[bool]:
        """Record a match that an earlier node has placed; it is not known here."""
        players = {seat.player_id for seat in plan.seats}.difference(self._match_of)
        self._running[plan.match_id] = _Running(plan, players, placement)
        for player_id in players:
            self._match_of[player_id] = plan.match_id
        return succeed(True)

    def restore(
        self,
        plan: MatchPlan,
        placement: Placement | None,
        player_ids: Sequence[str],
    ) -> Deferred[bool]:
        """Record a match anew, for those of its players who are in no other one."""
        match_id = plan.match_id
        if match_id in self._running:
            return succeed(True)
        self._sweep()
        ends = (self._ends.get(player_id) for player_id in player_ids)
        if any(end is not None and end.match_id == match_id for end in ends):
            return succeed(False)
        players = set(player_ids).difference(self._match_of)
        self._running[match_id] = _Running(plan, players, placement)
        self._match_of.update(dict.fromkeys(players, match_id))
        return succeed(True)

    def place(self, match_id: str, placement: Placement) -> Deferred[bool]:
        running = self._running.get(match_id)
        if running is None:
            return succeed(False)
        running.placement = placement
        return succeed(True)

    def end(self, end: MatchEnd, expires_at: float) -> Deferred[bool]:
        """Record that it is over, for the players still in it."""
        running = self._running.pop(end.match_id, None)
        if running is None:
            return succeed(False)
        for player_id in running.players:
            del self._match_of[player_id]
            self._ends[player_id] = end
            self._expiry.set(player_id, expires_at)
        self._sweep()
        return succeed(True)

    def release(self, match_id: str, player_id: str) -> Deferred[bool]:
        running = self._running.get(match_id)
        if running is None or player_id not in running.players:
            return succeed(False)
        running.players.remove(player_id)
        del self._match_of[player_id]
        return succeed(True)

    def match_of(
        self, player_id: str
    ) -> Deferred[tuple[MatchPlan, Placement | None] | None]:
        running = self._running.get(self._match_of.get(player_id, ""))
        return succeed(None if running is None else (running.plan, running.placement))

    def owner(self, match_id: str) -> Deferred[str | None]:
        """Find the node of a running match: always this one."""
        return succeed("" if match_id in self._running else None)

    def has(self, player_id: str) -> bool:
        """Is this player in a running match?"""
        return player_id in self._match_of

    def last_end(self, player_id: str) -> Deferred[MatchEnd | None]:
        """Find how this player's latest match ended; ``None`` once that has expired."""
        self._sweep()
        return succeed(self._ends.get(player_id))

    def _sweep(self) -> None:
        for player_id in self._expiry.take_expired(self._now()):
            self._ends.pop(player_id, None)


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
