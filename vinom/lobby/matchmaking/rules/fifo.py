"""
First come, first served.

A full match starts at once; once the oldest entry has waited
`FifoSettings.fill_seconds`, the fewest players of a match are enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Annotated

from msgspec import Meta, Struct

from vinom.base.model import QueueEntry, Waiting
from vinom.lobby.matchmaking.rules.rule import (
    Explanation,
    Finding,
    Proposal,
    Rule,
    Shape,
)
from vinom.lobby.matchmaking.rules.sides import Pool, Sides

#: Entries of one slice of work.
_SLICE = 256


class FifoSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """
    The settings of `Fifo`.

    :ivar fill_seconds: how long the oldest entry waits for a full match.
    """

    fill_seconds: Annotated[float, Meta(ge=0, le=3600)] = 5.0


class Fifo(Rule):
    """Match players in the order of their arrival."""

    settings = FifoSettings
    is_in_order = True
    chosen: FifoSettings

    def due(self, waiting: Waiting) -> float | None:
        """A full match can start now, a smaller one later."""
        if waiting.ready >= self.shape.most:
            return 0.0
        assert waiting.since is not None
        return waiting.since + self.chosen.fill_seconds

    def find(self, entries: Sequence[QueueEntry], now: float) -> Finding:
        for start in range(0, len(entries), _SLICE):
            for entry in entries[start : start + _SLICE]:
                if len(entry.players) > 1 or entry.recent:
                    return (yield from self._find_fitting(entries, now))
            yield None
        shape = self.shape
        most, teams = shape.most, self._teams(shape.most)
        full = len(entries) // most * most
        for start in range(0, full, most):
            yield Proposal(tuple(entries[start : start + most]), teams)
        rest = tuple(entries[full:])
        if len(rest) < shape.fewest:
            return None
        due = rest[0].since + self.chosen.fill_seconds
        if now < due:
            return due
        yield Proposal(rest, self._teams(len(rest)))
        return None

    def explain(
        self, entry: QueueEntry, entries: Sequence[QueueEntry], now: float
    ) -> Explanation:
        """Explain what an entry waits for: more players, or a little time."""
        shape = self.shape
        count = sum(len(one.players) for one in entries)
        larger = sum(
            len(one.players) for one in entries if len(one.players) > shape.largest
        )
        excluded = {"party too large": larger} if larger else {}
        if len(entry.players) > shape.largest:
            return Explanation("its party is larger than a team", excluded)
        if count >= shape.most:
            why = "the table is full; the next round of matchmaking starts it"
            return Explanation(why, excluded)
        if count < shape.fewest:
            why = f"{shape.fewest - count} more needed with the same game and options"
            return Explanation(why, excluded)
        fill_at = entries[0].since + self.chosen.fill_seconds
        why = (
            f"enough to start in {max(0.0, fill_at - now):.1f} s unless the table fills"
        )
        return Explanation(why, excluded, fill_at)

    def _teams(self, players: int) -> tuple[int, ...]:
        """Deal lone players to the teams in turn."""
        teams = self.shape.teams
        return () if teams is None else tuple(one % teams for one in range(players))

    def _find_fitting(self, entries: Sequence[QueueEntry], now: float) -> Finding:
        """Find matches of parties, or of entries that avoid others."""
        shape, wait = self.shape, self.chosen.fill_seconds
        lines = _Lines(entries, shape)
        yield from lines.sort()
        pool = lines.pool
        again: float | None = None
        for anchor, entry in enumerate(entries):
            if not anchor % 32:
                yield None
            if pool.taken[anchor]:
                continue
            is_due = now >= entry.since + wait
            if pool.players < shape.fewest:
                break
            if is_due or pool.players >= shape.most:
                found = pool.fill(
                    anchor,
                    shape.fewest if is_due else shape.most,
                    partial(lines.in_order, anchor),
                    partial(lines.of_size, anchor),
                    lines.sizes,
                )
                if found is not None:
                    yield found
                    continue
            if not is_due:
                if again is None:
                    again = entry.since + wait
                if pool.players < shape.most:
                    # Those who come later are not due either.
                    break
        return again


class _Lines:
    """
    The entries by the size of their parties, the longest wait first.

    :ivar pool: the same entries.
    """

    def __init__(self, entries: Sequence[QueueEntry], shape: Shape) -> None:
        self.pool = Pool(entries, shape)
        self._lines: dict[int, list[int]] = {}
        self._heads: dict[int, int] = {}

    def sort(self) -> Iterator[None]:
        """Put the entries in their lines, in slices of work."""
        pool = self.pool
        for at in range(len(pool.entries)):
            if not at % _SLICE:
                yield None
            if size := pool.add(at):
                self._lines.setdefault(size, []).append(at)

    @property
    def sizes(self) -> Iterable[int]:
        """The sizes that parties have."""
        return self._lines

    def in_order(self, anchor: int, sides: Sides) -> Iterator[int]:
        """Walk over the entries that fit *sides*, which may fill meanwhile."""
        taken, lines = self.pool.taken, self._lines
        at = {size: self._head(size) for size in lines}
        while True:
            best, best_size = len(taken), 0
            for size, line in lines.items():
                if size > sides.largest:
                    continue
                number = at[size]
                while number < len(line) and (
                    taken[line[number]] or line[number] == anchor
                ):
                    number += 1
                at[size] = number
                if number < len(line) and line[number] < best:
                    best, best_size = line[number], size
            if not best_size:
                return
            at[best_size] += 1
            yield best

    def of_size(self, anchor: int, size: int, most: int) -> list[int]:
        """List entries of a size."""
        line, taken = self._lines[size], self.pool.taken
        found: list[int] = []
        for number in range(self._head(size), len(line)):
            if len(found) == most:
                break
            if not taken[line[number]] and line[number] != anchor:
                found.append(line[number])
        return found

    def _head(self, size: int) -> int:
        """Find the first entry of a size that was not taken."""
        line, head, taken = self._lines[size], self._heads.get(size, 0), self.pool.taken
        while head < len(line) and taken[line[head]]:
            head += 1
        self._heads[size] = head
        return head
