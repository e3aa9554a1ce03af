"""Running and ended matches in Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from msgspec import json
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from vinom.base.model import MatchEnd, MatchPlan, Placement
from vinom.store.interfaces import IMatchStore
from vinom.store.redis.client import RedisClient
from vinom.store.redis.scripts import load

_STEPS = {
    step: load("matches", step)
    for step in (
        *("open", "place", "adopt", "restore", "end", "release"),
        *("of", "owner", "last_end"),
    )
}


@attrs.frozen
class _Kept:
    """
    What Redis has of the end of a match.

    :ivar expires_at: seconds since the Unix epoch, of the nodes' clocks.
    """

    end: MatchEnd
    expires_at: float


def _read(plan: bytes, placement: bytes) -> tuple[MatchPlan, Placement | None]:
    return (
        json.decode(plan, type=MatchPlan),
        json.decode(placement, type=Placement) if placement else None,
    )


@implementer(IMatchStore)
@attrs.frozen
class RedisMatchStore:
    """
    Running matches in hashes, ended ones by player.

    :ivar client: runs the steps.
    :ivar now: the time, seconds since the Unix epoch.
    """

    client: RedisClient
    now: Callable[[], float]

    def _run(self, step: str, *args: str | bytes) -> Deferred[Any]:
        return self.client.run(_STEPS[step], *args)

    def open(self, plan: MatchPlan) -> Deferred[bool]:
        """Record a match, unless one of its players is in another running one."""
        players = {seat.player_id for seat in plan.seats}
        if len(players) < len(plan.seats):
            return succeed(False)
        return self._run(
            "open", plan.match_id, json.encode(plan), *sorted(players)
        ).addCallback(bool)

    def place(self, match_id: str, placement: Placement) -> Deferred[bool]:
        return self._run("place", match_id, json.encode(placement)).addCallback(bool)

    def adopt(self, plan: MatchPlan, placement: Placement) -> Deferred[bool]:
        step = self._run("adopt", plan.match_id, json.encode(placement))
        return step.addCallback(bool)

    def restore(
        self,
        plan: MatchPlan,
        placement: Placement | None,
        player_ids: Sequence[str],
    ) -> Deferred[bool]:
        place = b"" if placement is None else json.encode(placement)
        step = self._run(
            "restore", plan.match_id, json.encode(plan), place, *player_ids
        )
        return step.addCallback(bool)

    def end(self, end: MatchEnd, expires_at: float) -> Deferred[bool]:
        """Record that it is over, for the players still in it."""
        left = max(1, round(1000 * (expires_at - self.now())))
        data = json.encode(_Kept(end, expires_at))
        return self._run("end", end.match_id, data, str(left)).addCallback(bool)

    def release(self, match_id: str, player_id: str) -> Deferred[bool]:
        return self._run("release", match_id, player_id).addCallback(bool)

    def match_of(
        self, player_id: str
    ) -> Deferred[tuple[MatchPlan, Placement | None] | None]:
        return self._run("of", player_id).addCallback(
            lambda found: _read(*found) if found else None
        )

    def owner(self, match_id: str) -> Deferred[str | None]:
        own = self.client.owner.node_id.encode()

        def read(node: bytes | None) -> str | None:
            return None if node is None else "" if node == own else node.decode()

        return self._run("owner", match_id).addCallback(read)

    def last_end(self, player_id: str) -> Deferred[MatchEnd | None]:
        """Find how this player's latest match ended; ``None`` once that has expired."""

        def read(data: bytes) -> MatchEnd | None:
            if not data:
                return None
            kept = json.decode(data, type=_Kept)
            return kept.end if self.now() < kept.expires_at else None

        return self._run("last_end", player_id).addCallback(read)
