"""
Match players of like strength; the window widens while they wait.

The entry that has waited longest chooses first, from those whose strength is within its
window, the nearest first. So nobody waits for others to wait as long: at its last step
an entry takes everybody that this step reaches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from math import inf, sqrt
from typing import Annotated

import attrs
from msgspec import Meta, Struct

from vinom.base.model import QueueEntry
from vinom.lobby.matchmaking.rules.nearby import Nearby
from vinom.lobby.matchmaking.rules.rule import (
    Explanation,
    Finding,
    Proposal,
    Rule,
    Shape,
    Steps,
)
from vinom.lobby.matchmaking.rules.sides import Pool, Search, Sides, have_met

#: Strengths that differ by less than one of these parts of a point count as equal.
_PARTS = 16
#: Strengths beyond this count as this.
_LIMIT = 4096.0
#: Entries of one slice of work.
_SLICE = 64


class Widening(Struct, frozen=True, forbid_unknown_fields=True):
    """
    A step of the window.

    :ivar seconds: how long an entry has waited when it begins.
    :ivar window: the greatest difference of strengths, points; ``inf`` for any.
    """

    seconds: float
    window: float


class RatingSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """
    The settings of `ByRating`.

    :ivar steps: the window as an entry waits, the first from 0 s on.
    :ivar spread: how much a party's strength grows with the standard deviation of its
        players' ratings: 0 takes the average.
    :ivar fill_seconds: how long an entry waits for a full match, if a match can have
        fewer players.
    """

    steps: tuple[Widening, ...] = (
        Widening(0, 2.0),
        Widening(10, 4.0),
        Widening(20, 8.0),
        Widening(40, 16.0),
        Widening(60, inf),
    )
    spread: Annotated[float, Meta(ge=0, le=4)] = 0.5
    fill_seconds: Annotated[float, Meta(ge=0, le=3600)] = 5.0


def strength(entry: QueueEntry, spread: float) -> float:
    """
    Work out the strength of an entry, points: the average of its players' ratings.

    :param spread: as in `RatingSettings`.
    """
    ratings = entry.ratings
    if len(ratings) == 1:
        return ratings[0]
    if not ratings:
        return 25.0
    mean = sum(ratings) / len(ratings)
    square = sum((one - mean) ** 2 for one in ratings) / len(ratings)
    return mean + spread * sqrt(square)


class ByRating(Rule):
    """Match players of like strength."""

    settings = RatingSettings
    chosen: RatingSettings
    uses_ratings = True

    def __init__(self, shape: Shape, chosen: RatingSettings) -> None:
        super().__init__(shape, chosen)
        self._windows = [step.window for step in chosen.steps]
        self._steps = Steps.of(
            [step.seconds for step in chosen.steps], sorted(self._windows)
        )
        if self._windows != sorted(self._windows):
            # Says which, in the words of all steps.
            Steps.of(self._steps.seconds, self._windows)

    def find(self, entries: Sequence[QueueEntry], now: float) -> Finding:
        field = _Field(entries, self.shape)
        yield from field.sort(self.chosen.spread)
        wakes = _Wakes(self._steps, self._fill_seconds)
        pool, ranks, taken = field.pool, field.ranks, field.pool.taken
        reaches = [window * _PARTS for window in self._windows]
        widens, step = self._steps.seconds, len(reaches) - 1
        # Pairs of lone players are most of all matches, and have a way of their own.
        singles = field.lines.get(1)
        shape = self.shape
        is_pair = shape.fewest == shape.most == 2 and not pool.has_parties
        avoids = pool.avoids
        for at, entry in enumerate(entries):
            if not at % _SLICE:
                yield None
            if taken[at]:
                continue
            if pool.players < self.shape.fewest:
                break
            since = entry.since
            # Who came later has not waited longer.
            while step and now - since < widens[step]:
                step -= 1
            if is_pair and singles is not None:
                _, other = singles.nearest(ranks[at], reaches[step], at)
                if other < 0:
                    wakes.add(since, step)
                    continue
                if not avoids or not have_met(entry, (entries[other],)):
                    taken[at] = taken[other] = 1
                    pool.players -= 2
                    yield self._pair(entry, entries[other], at < other)
                    continue
            found = self._fill(field, at, reaches[step], now)
            if found is None:
                wakes.add(since, step)
            else:
                yield found
        return wakes.first(now)

    def explain(
        self, entry: QueueEntry, entries: Sequence[QueueEntry], now: float
    ) -> Explanation:
        """Explain what an entry waits for: those whom its window leaves out."""
        spread, step = self.chosen.spread, self._steps.at(now - entry.since)
        window, own = self._windows[step], strength(entry, spread)

        def leaves_out(other: QueueEntry) -> str:
            return "rating" if abs(strength(other, spread) - own) > window else ""

        return Search(
            "window",
            f"within {window:g} points of {own:.1f}",
            ("rating",),
            leaves_out,
            self._steps.next_at(entry.since, step),
            {
                "rating": round(own, 2),
                "window": "any" if window == inf else window,
            },
        ).explain(entry, entries, self.shape, now)

    @property
    def _fill_seconds(self) -> float | None:
        """How long to wait for a full match; ``None`` if all matches are full."""
        is_fixed = self.shape.fewest == self.shape.most
        return None if is_fixed else self.chosen.fill_seconds

    def _pair(self, one: QueueEntry, other: QueueEntry, is_ordered: bool) -> Proposal:
        teams = () if self.shape.teams is None else (0, 1 % self.shape.teams)
        return Proposal((one, other) if is_ordered else (other, one), teams)

    def _fill(
        self, field: _Field, anchor: int, reach: float, now: float
    ) -> Proposal | None:
        """Fill a match around an entry with those of the nearest strength."""
        wait, rank = self._fill_seconds, field.ranks[anchor]
        is_due = wait is not None and now >= field.pool.entries[anchor].since + wait

        def walk(sides: Sides) -> Iterator[int]:
            return field.around(anchor, reach, sides)

        def nearest(size: int, most: int) -> list[int]:
            return field.lines[size].first(rank, reach, anchor, most)

        return field.pool.fill(
            anchor,
            self.shape.fewest if is_due else self.shape.most,
            walk,
            nearest,
            field.lines,
            strengths=field.ranks.__getitem__,
        )


@attrs.define
class _Wakes:
    """When windows widen, of entries that were not matched."""

    _steps: Steps
    _fill_seconds: float | None
    # By step, when the one that has waited longest there began to wait.
    _first: dict[int, float] = attrs.field(factory=dict)
    _since: list[float] = attrs.field(factory=list)

    def add(self, since: float, step: int) -> None:
        """Note an entry that waits on; they come in the order of waiting."""
        self._first.setdefault(step, since)
        if self._fill_seconds is not None:
            self._since.append(since)

    def first(self, now: float) -> float | None:
        """Find when to look again; ``None`` if waiting alone changes nothing."""
        times = [
            self._steps.next_at(since, step) for step, since in self._first.items()
        ]
        if self._fill_seconds is not None:
            filled = (since + self._fill_seconds for since in self._since)
            times.append(min((at for at in filled if at > now), default=inf))
        found = min(times, default=inf)
        return None if found == inf else found


class _Field:
    """
    The entries by the size of their parties and by strength.

    :ivar pool: the same entries.
    :ivar ranks: each entry's strength, in parts of a point.
    :ivar lines: by size of the party.
    """

    def __init__(self, entries: Sequence[QueueEntry], shape: Shape) -> None:
        self.pool = Pool(entries, shape)
        self.ranks: list[int] = []
        self.lines: dict[int, Nearby] = {}

    def sort(self, spread: float) -> Iterator[None]:
        """Sort the entries, in slices of work."""
        cells: dict[int, dict[int, list[int]]] = {}
        pool, ranks = self.pool, self.ranks
        for at, entry in enumerate(pool.entries):
            if not at % _SLICE:
                yield None
            size = pool.add(at)
            ratings = entry.ratings
            points = ratings[0] if len(ratings) == 1 else strength(entry, spread)
            if -_LIMIT < points < _LIMIT:
                rank = int(points * _PARTS)
            else:
                rank = int(_LIMIT * _PARTS) * (1 if points > 0 else -1)
            ranks.append(rank)
            if not size:
                continue
            line = cells.get(size)
            if line is None:
                line = cells[size] = {}
            cell = line.get(rank)
            if cell is None:
                line[rank] = [at]
            else:
                cell.append(at)
        for size, line in cells.items():
            yield None
            self.lines[size] = Nearby(line, pool.taken)

    def around(self, anchor: int, reach: float, sides: Sides) -> Iterator[int]:
        """Walk over the entries that fit *sides*, which may fill meanwhile."""
        rank, entries = self.ranks[anchor], self.pool.entries
        near = [
            line.around(rank, reach)
            for size, line in self.lines.items()
            if size <= sides.largest
        ]
        for _, at in near[0] if len(near) == 1 else merge(*near):
            if at != anchor and len(entries[at].players) <= sides.largest:
                yield at
