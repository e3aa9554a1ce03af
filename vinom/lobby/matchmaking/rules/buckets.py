"""
Match players of like rank in a region that is near to all of them.

A bucket is a rank and a region. Each entry is in the buckets of its own rank, of the
regions that its present step reaches. The entry that has waited longest chooses first:
in its nearest region those of the nearest rank, then in the next region.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from heapq import merge
from math import floor, inf
from typing import Annotated

from msgspec import Meta, Struct

from vinom.base.model import QueueEntry
from vinom.lobby.matchmaking.rules.nearby import Nearby
from vinom.lobby.matchmaking.rules.rating import strength
from vinom.lobby.matchmaking.rules.rule import (
    Explanation,
    Finding,
    Proposal,
    Rule,
    Shape,
    Steps,
)
from vinom.lobby.matchmaking.rules.sides import Pool, Search, Sides

#: Entries of one slice of work.
_SLICE = 128
#: The region of an entry that has measured none.
_ANYWHERE = (("", 0.0),)


class Reach(Struct, frozen=True, forbid_unknown_fields=True):
    """
    A step of the search.

    :ivar seconds: how long an entry has waited when it begins.
    :ivar ranks: the greatest difference of ranks.
    :ivar latency_ms: the longest echo, milliseconds; the nearest region counts anyway.
    """

    seconds: float
    ranks: Annotated[int, Meta(ge=0)]
    latency_ms: float


class BucketSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """
    The settings of `Buckets`.

    :ivar rank_points: how many points of rating a rank has.
    :ivar steps: how far an entry searches as it waits, the first from 0 s on.
    :ivar spread: as in `vinom.lobby.matchmaking.rules.rating.RatingSettings`.
    :ivar fill_seconds: how long an entry waits for a full match, if a match can have
        fewer players.
    """

    rank_points: Annotated[float, Meta(gt=0, le=1000)] = 4.0
    steps: tuple[Reach, ...] = (
        Reach(0, 0, 60.0),
        Reach(10, 1, 80.0),
        Reach(20, 2, 120.0),
        Reach(40, 4, 200.0),
        Reach(60, 10_000, inf),
    )
    spread: Annotated[float, Meta(ge=0, le=4)] = 0.5
    fill_seconds: Annotated[float, Meta(ge=0, le=3600)] = 5.0


class Buckets(Rule):
    """Match players of like rank in a region near to all of them."""

    settings = BucketSettings
    chosen: BucketSettings
    uses_ratings = True
    uses_echoes = True

    def __init__(self, shape: Shape, chosen: BucketSettings) -> None:
        super().__init__(shape, chosen)
        self._steps = Steps.of(
            [step.seconds for step in chosen.steps],
            [step.ranks for step in chosen.steps],
            [step.latency_ms for step in chosen.steps],
        )

    def find(self, entries: Sequence[QueueEntry], now: float) -> Finding:
        shape, steps = self.shape, self._steps
        buckets = _Buckets(entries, shape)
        yield from self._sort(buckets, now)
        pool, again = buckets.pool, inf
        for at, entry in enumerate(entries):
            if not at % _SLICE:
                yield None
            if pool.taken[at]:
                continue
            if pool.players < shape.fewest:
                break
            step = steps.at(now - entry.since)
            found = self._search(buckets, at, step, now)
            if found is not None:
                yield found
                continue
            again = min(again, steps.next_at(entry.since, step))
            if shape.fewest < shape.most:
                fills = entry.since + self.chosen.fill_seconds
                again = min(again, fills if fills > now else inf)
        return None if again == inf else again

    def explain(
        self, entry: QueueEntry, entries: Sequence[QueueEntry], now: float
    ) -> Explanation:
        """Explain what an entry waits for: those of other ranks and regions."""
        step = self._steps.at(now - entry.since)
        reach, rank = self.chosen.steps[step], self._rank(entry)
        regions = set(self._regions(entry, step))
        near = ", ".join(sorted(regions))

        def leaves_out(other: QueueEntry) -> str:
            theirs = self._regions(other, self._steps.at(now - other.since))
            if regions.isdisjoint(theirs):
                return "region"
            return "rank" if abs(self._rank(other) - rank) > reach.ranks else ""

        return Search(
            "search",
            f"within {reach.ranks} ranks of rank {rank}, in {near or 'any region'}",
            ("rank", "region"),
            leaves_out,
            self._steps.next_at(entry.since, step),
            {"rank": rank, "ranks": reach.ranks, "regions": near},
        ).explain(entry, entries, self.shape, now)

    def _rank(self, entry: QueueEntry) -> int:
        points = max(-4096.0, min(4096.0, strength(entry, self.chosen.spread)))
        return floor(points / self.chosen.rank_points)

    def _regions(self, entry: QueueEntry, step: int) -> list[str]:
        """List the regions that an entry plays in at a step, the nearest first."""
        echoes = entry.echoes or _ANYWHERE
        most = self.chosen.steps[step].latency_ms
        return [
            region
            for number, (region, echo) in enumerate(echoes)
            if echo <= most or not number
        ]

    def _sort(self, buckets: _Buckets, now: float) -> Iterator[None]:
        """Put all entries in their buckets, in slices of work."""
        for at, entry in enumerate(buckets.pool.entries):
            if not at % _SLICE:
                yield None
            step = self._steps.at(now - entry.since)
            buckets.add(at, self._rank(entry), self._regions(entry, step))
        yield from buckets.sort()

    def _search(
        self, buckets: _Buckets, anchor: int, step: int, now: float
    ) -> Proposal | None:
        """Fill a match around an entry, in the nearest region that has one."""
        shape, pool = self.shape, buckets.pool
        entry, ranks = pool.entries[anchor], self.chosen.steps[step].ranks
        leasts = [shape.most]
        is_due = now >= entry.since + self.chosen.fill_seconds
        if is_due and shape.fewest < shape.most:
            leasts.append(shape.fewest)
        for least in leasts:
            for region in self._regions(entry, step):
                found = pool.fill(
                    anchor,
                    least,
                    partial(buckets.around, anchor, region, ranks),
                    partial(buckets.of_size, anchor, region, ranks),
                    buckets.lines[region],
                    strengths=buckets.ranks.__getitem__,
                    region=region,
                )
                if found is not None:
                    return found
        return None


class _Buckets:
    """
    The entries by region, size of the party and rank.

    :ivar pool: the same entries.
    :ivar ranks: each entry's rank.
    :ivar lines: by region and size of the party.
    """

    def __init__(self, entries: Sequence[QueueEntry], shape: Shape) -> None:
        self.pool = Pool(entries, shape)
        self.ranks: list[int] = []
        self.lines: dict[str, dict[int, Nearby]] = {}
        self._cells: dict[tuple[str, int], dict[int, list[int]]] = {}

    def add(self, at: int, rank: int, regions: Sequence[str]) -> None:
        """Put the next entry in its buckets."""
        self.ranks.append(rank)
        size = self.pool.add(at)
        for region in regions if size else ():
            cells = self._cells.setdefault((region, size), {})
            cells.setdefault(rank, []).append(at)

    def sort(self) -> Iterator[None]:
        """Sort the buckets by rank."""
        for (region, size), cells in self._cells.items():
            self.lines.setdefault(region, {})[size] = Nearby(cells, self.pool.taken)
            yield None

    def around(
        self, anchor: int, region: str, reach: int, sides: Sides
    ) -> Iterator[int]:
        """Walk over the entries that fit *sides*, which may fill meanwhile."""
        entries = self.pool.entries
        near = [
            line.around(self.ranks[anchor], reach)
            for size, line in self.lines[region].items()
            if size <= sides.largest
        ]
        for _, at in merge(*near):
            if at != anchor and len(entries[at].players) <= sides.largest:
                yield at

    def of_size(
        self, anchor: int, region: str, reach: int, size: int, most: int
    ) -> list[int]:
        """List the entries of a size, the nearest ranks first."""
        line = self.lines[region][size]
        return line.first(self.ranks[anchor], reach, anchor, most)
