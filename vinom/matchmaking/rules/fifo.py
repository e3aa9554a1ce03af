"""
First come, first served.

A full match starts at once; once the oldest entry has waited `FifoSettings.fill_seconds`,
the fewest players of a match are enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from vinom.matchmaking.rules.rule import Explanation, Finding, Proposal, Rule
from vinom.matchmaking.rules.sides import Sides, completion, have_met, proposal
from vinom.model import QueueEntry, Waiting

#: How many entries are passed over, at most, to avoid recent opponents.
_MOST_PASSED_OVER = 8
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
        """Find the matches that can start."""
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
        lines = _Lines(entries, shape.largest)
        again: float | None = None
        for anchor, entry in enumerate(entries):
            if not anchor % 32:
                yield None
            if lines.is_taken(anchor) or len(entry.players) > shape.largest:
                continue
            is_due = now >= entry.since + wait
            # Those who come later are not due either.
            if lines.players < shape.fewest or (
                lines.players < shape.most and not is_due
            ):
                if lines.players >= shape.fewest and again is None:
                    again = entry.since + wait
                break
            found = self._fill(lines, anchor, is_due)
            if found is not None:
                yield found
            elif not is_due and again is None:
                again = entry.since + wait
        return again

    def _fill(self, lines: _Lines, anchor: int, is_due: bool) -> Proposal | None:
        """Fill a match around an entry with those who have waited longest."""
        shape, entries = self.shape, lines.entries
        sides = Sides.empty(shape)
        chosen = [anchor]
        sides.add(len(entries[anchor].players))
        passed: list[int] = []
        for at in lines.in_order(sides, anchor):
            if len(passed) < _MOST_PASSED_OVER and have_met(
                entries[at], (entries[one] for one in chosen)
            ):
                passed.append(at)
                continue
            chosen.append(at)
            sides.add(len(entries[at].players))
            if not sides.free:
                break
        for at in passed:
            # There was no other choice.
            if len(entries[at].players) <= sides.largest:
                chosen.append(at)
                sides.add(len(entries[at].players))
        if sides.free:
            sizes = completion(
                shape, len(entries[anchor].players), lines.sizes(anchor)
            )
            if sizes is not None:
                chosen = [anchor, *lines.first_of(sizes, anchor)]
            elif not is_due:
                return None
        return self._propose(lines, chosen)

    def _propose(self, lines: _Lines, chosen: list[int]) -> Proposal | None:
        """Take entries; without the last ones if they do not fit into equal teams."""
        while chosen:
            group = [lines.entries[at] for at in chosen]
            if sum(len(one.players) for one in group) < self.shape.fewest:
                return None
            found = proposal(group, self.shape)
            if found is not None:
                lines.take(chosen)
                return found
            chosen = chosen[:-1]
        return None


class _Lines:
    """
    The entries by the size of their parties, the longest wait first.

    :ivar players: how many wait who were not taken.
    """

    def __init__(self, entries: Sequence[QueueEntry], largest: int) -> None:
        self.entries, self.players = entries, 0
        self._taken = bytearray(len(entries))
        self._lines: dict[int, list[int]] = {}
        self._heads: dict[int, int] = {}
        for at, entry in enumerate(entries):
            size = len(entry.players)
            if size <= largest:
                self._lines.setdefault(size, []).append(at)
                self.players += size
        self._left = {size: len(line) for size, line in self._lines.items()}

    def is_taken(self, at: int) -> bool:
        """Is this entry in a match already?"""
        return bool(self._taken[at])

    def take(self, chosen: Sequence[int]) -> None:
        """Take these entries out."""
        for at in chosen:
            self._taken[at] = 1
            size = len(self.entries[at].players)
            self.players -= size
            self._left[size] -= 1

    def sizes(self, anchor: int) -> list[tuple[int, int]]:
        """Count the entries of each size, without this one."""
        own = len(self.entries[anchor].players)
        return [(size, left - (size == own)) for size, left in self._left.items()]

    def in_order(self, sides: Sides, anchor: int) -> Iterator[int]:
        """Walk over the entries that fit *sides*, which may fill meanwhile."""
        at = {size: self._head(size) for size in self._lines}
        while True:
            best, best_size = len(self.entries), 0
            for size, line in self._lines.items():
                if size > sides.largest:
                    continue
                number = at[size]
                while number < len(line) and (
                    self._taken[line[number]] or line[number] == anchor
                ):
                    number += 1
                at[size] = number
                if number < len(line) and line[number] < best:
                    best, best_size = line[number], size
            if not best_size:
                return
            at[best_size] += 1
            yield best

    def first_of(self, sizes: Sequence[int], anchor: int) -> list[int]:
        """Choose the entries of these sizes that have waited longest."""
        chosen: list[int] = []
        for size in sorted(set(sizes)):
            line, wanted = self._lines[size], sizes.count(size)
            number = self._head(size)
            while wanted:
                if not self._taken[line[number]] and line[number] != anchor:
                    chosen.append(line[number])
                    wanted -= 1
                number += 1
        return chosen

    def _head(self, size: int) -> int:
        """Find the first entry of a size that was not taken."""
        line, head = self._lines[size], self._heads.get(size, 0)
        while head < len(line) and self._taken[line[head]]:
            head += 1
        self._heads[size] = head
        return head
