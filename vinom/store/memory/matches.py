"""Matches in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from vinom.base.model import (
    MatchEnd,
    MatchPlan,
    Placement,
)
from vinom.store.interfaces import (
    IMatchStore,
)
from vinom.store.memory.expiry import Expiry


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
