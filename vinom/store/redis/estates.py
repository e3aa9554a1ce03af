"""What nodes that are gone have left in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from msgspec import json
from twisted.internet.defer import Deferred
from zope.interface import implementer

from vinom.base.model import Estate, MatchPlan
from vinom.store.interfaces import IEstateStore
from vinom.store.redis.client import RedisClient
from vinom.store.redis.prematches import read_prematch
from vinom.store.redis.scripts import load

_OWNED, _ABANDON = load("matches", "owned"), load("entries", "abandon")
_CUT = load("online", "cut")


@implementer(IEstateStore)
@attrs.frozen
class RedisEstateStore:
    """
    Entries, matches and lines by the node that owns them.

    :ivar client: runs the steps.
    """

    client: RedisClient

    def matches_of(self, node_id: str, most: int) -> Deferred[Sequence[MatchPlan]]:
        return self.client.run(_OWNED, node_id, str(most)).addCallback(
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
