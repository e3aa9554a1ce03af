"""Room echo in the ways that measurements of rooms need it."""

from __future__ import annotations

from vinom.games.roomecho import EchoState, Place, RoomEcho


class EachEcho(RoomEcho):
    """Every input makes its own state, as rivals' broadcasts do."""

    name = "eachecho"
    states = "every"


class StuckEcho(RoomEcho):
    """An input at a negative place is thought about for ever."""

    name = "stuckecho"

    def act(self, s: EchoState, seat: int, action: Place, now: float) -> EchoState:
        """Keep it, or never come back."""
        while action.x < 0:
            pass
        return super().act(s, seat, action, now)


class ApartEcho(StuckEcho):
    """The same in a game process of its own."""

    name = "apartecho"
    isolate = True
