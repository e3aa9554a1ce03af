"""Matches, what dead nodes left of them, and game servers, in Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from msgspec import json
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from vinom.base.model import Estate, MatchEnd, MatchPlan, Placement, ServerClaim
from vinom.store.interfaces import IEstateStore, IMatchStore, IServerStore
from vinom.store.redis.client import RedisClient
from vinom.store.redis.entries import read_prematch
from vinom.store.redis.scripts import load

_STEPS, _SERVERS = load("matches"), load("servers")
_ABANDON, _CUT = load("entries")["abandon"], load("online")["cut"]


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


@implementer(IEstateStore)
@attrs.frozen
class RedisEstateStore:
    """
    Entries, matches and lines by the node that owns them.

    :ivar client: runs the steps.
    """

    client: RedisClient

    def matches_of(self, node_id: str, most: int) -> Deferred[Sequence[MatchPlan]]:
        return self.client.run(_STEPS["owned"], node_id, str(most)).addCallback(
            lambda found: [json.decode(plan, type=MatchPlan) for plan in found]
        )

    def abandon(
        self, node_id: str, most: int, seconds: float
    ) -> Deferred[Estate | None]:
        def read(found: list[Any]) -> Estate | None:
            count, alone, ended = found
            prematches = [one for one in map(read_prematch, ended) if one is not None]
            return (
                Estate(prematches, [one.decode() for one in alone]) if count else None
            )

        return self.client.run(
            _ABANDON, node_id, str(most), str(round(1000 * seconds))
        ).addCallback(read)

    def cut(self, node_id: str, most: int) -> Deferred[Sequence[str]]:
        return self.client.run(_CUT, node_id, str(most)).addCallback(
            lambda found: [one.decode() for one in found]
        )


@implementer(IServerStore)
@attrs.frozen
class RedisServerStore:
    """
    Records in hashes, which also have the node of each game server.

    :ivar client: runs the scripts.
    """

    client: RedisClient

    def _run(self, step: str, *args: str | bytes) -> Deferred[Any]:
        return self.client.run(_SERVERS[step], *args)

    def put(
        self, server_id: str, fence: int, machine: str, data: bytes
    ) -> Deferred[bool]:
        return self._run("put", server_id, str(fence), machine, data).addCallback(bool)

    def claim(self, server_id: str, gone: str = "") -> Deferred[ServerClaim]:
        def read(found: list[bytes]) -> ServerClaim:
            kind, fence, data = found
            return ServerClaim(kind.decode(), int(fence), data)  # type: ignore[arg-type]  # one of them

        return self._run("claim", server_id, gone).addCallback(read)

    def offer(
        self, server_id: str, fence: int, machine: str, data: bytes
    ) -> Deferred[bool]:
        found = self._run("offer", server_id, str(fence), machine, data)
        return found.addCallback(bool)

    def forget(self, server_id: str, fence: int) -> Deferred[bool]:
        return self._run("forget", server_id, str(fence)).addCallback(bool)

    def left(self, node_id: str, machine: str, most: int) -> Deferred[Sequence[bytes]]:
        return self._run("left", node_id, machine, str(most))
