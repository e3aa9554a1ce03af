"""How fast the body of a request must come."""

from __future__ import annotations

import attrs


@attrs.define
class Upload:
    """
    Decide when a body has come too slowly: single bytes give it no more time.

    Times: seconds on the caller's clock. What it was not read for does not count.

    :ivar rate: least bytes per second on average, after *grace*; 0 for no limit.
    :ivar grace: how long the body may take however slow it is.
    """

    rate: float
    grace: float
    _began: float
    _paused_at: float | None = attrs.field(default=None, init=False)
    _received: int = attrs.field(default=0, init=False)

    def received(self, size: int) -> None:
        """More bytes came."""
        self._received += size

    def pause(self, now: float) -> None:
        """The client is not read from now on."""
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        """It is read again."""
        if self._paused_at is not None:
            self._began += now - self._paused_at
            self._paused_at = None

    def deadline(self) -> float:
        """When it is too slow, unless more bytes come before."""
        if not self.rate:
            return float("inf")
        return self._began + self.grace + self._received / self.rate
