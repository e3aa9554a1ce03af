"""Variants of room echo for measurements of rooms."""

from __future__ import annotations

from vinom.games.roomecho import EchoState, Place, RoomEcho


class EachEcho(RoomEcho):
    """Every input makes its own state, as rivals' broadcasts do."""

    name = "eachecho"
    states = "every"


class StuckEcho(RoomEcho):
    """An input with a negative place loops forever."""

    name = "stuckecho"

    def act(self, s: EchoState, seat: int, action: Place, now: float) -> EchoState:
        """Keep it, or never return."""
        while action.x < 0:
            pass
        return super().act(s, seat, action, now)
