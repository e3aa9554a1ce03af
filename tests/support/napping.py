"""A game that holds up its process now and then, but comes back."""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import Any

from msgspec.structs import replace

from tests.support.slow import Go, Moment, Slow


class Napping(Slow):
    """The call that its options name sleeps for a while, each time."""

    name = "napping"

    def act(self, s: Moment, seat: int, action: Go, now: float) -> Moment:
        nap(s, "act")
        return replace(s, has_gone=True)

    def view(self, s: Moment, audience: Hashable) -> dict[str, Any]:
        nap(s, "view")
        return {"gone": s.has_gone}


def nap(s: Moment, call: str) -> None:
    """Sleep longer than the log tolerates, and shorter than the guard does."""
    if s.slow == call:
        time.sleep(0.15)
