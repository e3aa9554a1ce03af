"""What expires in memory."""

from __future__ import annotations

import heapq

import attrs


@attrs.define
class Expiry:
    """
    Find expired keys without walking the others.

    Moving an expiry leaves its old mark in the heap; only the mark set last counts.
    """

    _marks: list[tuple[float, str]] = attrs.field(factory=list)
    _set: dict[str, float] = attrs.field(factory=dict)

    def set(self, key: str, expires_at: float) -> None:
        self._set[key] = expires_at
        heapq.heappush(self._marks, (expires_at, key))
        if len(self._marks) > 64 and len(self._marks) > 4 * len(self._set):
            self._marks = [(at, key) for key, at in self._set.items()]
            heapq.heapify(self._marks)

    def drop(self, key: str) -> None:
        del self._set[key]

    def take_expired(self, now: float) -> list[str]:
        """Take expired keys."""
        expired = []
        while self._marks and self._marks[0][0] <= now:
            at, key = heapq.heappop(self._marks)
            if self._set.get(key) == at:
                del self._set[key]
                expired.append(key)
        return expired
