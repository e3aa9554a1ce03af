"""
Return freed memory to the operating system.

glibc keeps what OpenSSL frees, 60 kB for each handshake, as long as something newer
lies behind it. After a flood of handshakes that would be for good.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from math import inf

import attrs


@lru_cache(maxsize=1)
def _trimmer() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        # Not glibc.
        return None
    return trim


def return_freed_memory() -> None:
    """Return what was freed to the operating system; does nothing without glibc."""
    trim = _trimmer()
    if trim is not None:
        trim(0)


@attrs.define
class FreedMemory:
    """
    Decide when to return freed memory: as soon as some handshakes were given up.

    Times are seconds on the caller's clock.

    :ivar least: handshakes.
    :ivar pause: least time between two returns, seconds.
    """

    least: int = 16
    pause: float = 1.0
    _count: int = attrs.field(default=0, init=False)
    _at: float | None = attrs.field(default=None, init=False)
    _next: float = attrs.field(default=-inf, init=False)

    def add(self, now: float) -> None:
        """Count a handshake that led to nothing, and was freed."""
        self._count += 1
        if self._count >= self.least and self._at is None:
            self._at = max(now, self._next)

    def deadline(self) -> float | None:
        """When to call `is_due`."""
        return self._at

    def is_due(self, now: float) -> bool:
        """Is it time to return memory? If so, begin to count again."""
        if self._at is None or now < self._at:
            return False
        self._count, self._at, self._next = 0, None, now + self.pause
        return True
