"""
Limits how many bytes per second one client may send.

Pure: the adapter stops reading for the time that this returns.
"""

from __future__ import annotations

import attrs

#: Bytes that may come at once, in seconds of the rate.
_BURST_SECONDS = 1.0


@attrs.define
class Pace:
    """
    Counts the bytes of one client. Times: seconds on the caller's clock.

    :ivar rate: bytes per second.
    """

    rate: float
    _paid_until: float = attrs.field(default=-1e300, init=False)

    def wait(self, size: int, now: float) -> float:
        """Count received bytes; returns how long to stop reading, 0 for not at all."""
        began = max(self._paid_until, now - _BURST_SECONDS)
        self._paid_until = began + size / self.rate
        return max(0.0, self._paid_until - now)


def pace_of(rate: float) -> Pace | None:
    """Make the limit of a new client; ``None`` for a *rate* of 0, which is no limit."""
    return Pace(rate) if rate else None
