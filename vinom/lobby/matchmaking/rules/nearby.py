"""Entries in the order of a number, to find those nearest to one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from heapq import merge
from math import inf

import attrs


@attrs.define(init=False)
class Nearby:
    """
    Entries by a whole number each, such as a rank; equal ones in the order of waiting.

    Numbers whose entries were all taken are skipped by way of `_right` and `_left`,
    which lead to the next one that may have some; they are shortened when walked.

    :ivar ranks: the numbers that entries have, sorted.
    """

    ranks: list[int]
    _members: list[list[int]]
    _heads: list[int]
    _right: list[int]
    _left: list[int]
    _taken: bytearray

    def __init__(self, members: dict[int, list[int]], taken: bytearray) -> None:
        """
        Sort entries.

        :param members: by number, the entries, the longest wait first.
        :param taken: is not 0 for each entry that has been taken; the caller sets it.
        """
        self.ranks = sorted(members)
        self._members = [members[rank] for rank in self.ranks]
        count = len(self.ranks)
        self._heads = [0] * count
        # One more, so that every walk to the right ends.
        self._right = list(range(count + 1))
        self._left = list(range(count))
        self._taken = taken

    def nearest(self, rank: int, reach: float, but: int) -> tuple[float, int]:
        """
        Find the nearest entry; of several, the one that has waited longest.

        :param rank: where to look.
        :param reach: the greatest distance.
        :param but: an entry that does not count.
        :returns: the distance and the entry; infinite and -1 if there is none.
        """
        # `around` written out, for it is asked once for each entry.
        ranks, count, taken = self.ranks, len(self.ranks), self._taken
        cell = bisect_left(ranks, rank)
        if cell < count and ranks[cell] == rank:
            members, head = self._members[cell], self._heads[cell]
            end = len(members)
            while head < end and taken[members[head]]:
                head += 1
            self._heads[cell] = head
            while head < end:
                at = members[head]
                if at != but and not taken[at]:
                    return 0.0, at
                head += 1
            right = cell + 1
        else:
            right = cell
        left = cell - 1
        if right < count:
            right = self._to_right(right)
        if left >= 0:
            left = self._to_left(left)
        up = ranks[right] - rank if right < count else inf
        down = rank - ranks[left] if left >= 0 else inf
        if (up > reach and down > reach) or up == down == inf:
            return inf, -1
        # `_to_right` and `_to_left` have left the heads at those who wait.
        if up < down:
            return up, self._members[right][self._heads[right]]
        at = self._members[left][self._heads[left]]
        if up == down:
            at = min(at, self._members[right][self._heads[right]])
        return down, at

    def first(self, rank: int, reach: float, but: int, most: int) -> list[int]:
        """List the nearest entries without *but*, at most so many, as `around`."""
        found: list[int] = []
        for _, at in self.around(rank, reach) if most else ():
            if at != but:
                found.append(at)
                if len(found) == most:
                    break
        return found

    def around(self, rank: int, reach: float) -> Iterator[tuple[float, int]]:
        """Walk over distances and entries, the nearest first, as `nearest` does."""
        ranks, count = self.ranks, len(self.ranks)
        right = self._to_right(bisect_left(ranks, rank))
        left = self._to_left(right - 1 if right < count else count - 1)
        if left == right:
            left = self._to_left(left - 1)
        while True:
            up = ranks[right] - rank if right < count else inf
            down = rank - ranks[left] if left >= 0 else inf
            if up < down:
                if up > reach:
                    return
                for at in self._alive(right):
                    yield up, at
                right = self._to_right(right + 1)
            elif down < up:
                if down > reach:
                    return
                for at in self._alive(left):
                    yield down, at
                left = self._to_left(left - 1)
            else:
                if up > reach or up == inf:
                    return
                for at in merge(self._alive(left), self._alive(right)):
                    yield up, at
                right = self._to_right(right + 1)
                left = self._to_left(left - 1)

    def _alive(self, cell: int) -> Iterator[int]:
        members, taken = self._members[cell], self._taken
        for number in range(self._heads[cell], len(members)):
            at = members[number]
            if not taken[at]:
                yield at

    def _is_empty(self, cell: int) -> bool:
        """Were all entries of a number taken?"""
        members, taken, head = self._members[cell], self._taken, self._heads[cell]
        while head < len(members) and taken[members[head]]:
            head += 1
        self._heads[cell] = head
        return head == len(members)

    def _to_right(self, cell: int) -> int:
        """Find the first number from this one on that has entries."""
        right, count = self._right, len(self.ranks)
        if cell < count and right[cell] == cell and not self._is_empty(cell):
            return cell
        path = []
        while True:
            while right[cell] != cell:
                path.append(cell)
                cell = right[cell]
            if cell == count or not self._is_empty(cell):
                break
            right[cell] = cell + 1
        for passed in path:
            right[passed] = cell
        return cell

    def _to_left(self, cell: int) -> int:
        """Find the first number from this one down that has entries; or -1."""
        left = self._left
        if cell >= 0 and left[cell] == cell and not self._is_empty(cell):
            return cell
        path = []
        while cell >= 0:
            while cell >= 0 and left[cell] != cell:
                path.append(cell)
                cell = left[cell]
            if cell < 0 or not self._is_empty(cell):
                break
            left[cell] = cell - 1
        for passed in path:
            left[passed] = cell
        return cell
