"""Room echoes that fail at an input with a negative place, each in another way."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from vinom.games.roomecho import EchoState, Place, RoomEcho


class RaisingEcho(RoomEcho):
    """The game raises."""

    name = "raisingecho"

    def act(self, s: EchoState, seat: int, action: Place, now: float) -> EchoState:
        """Keep it, or raise."""
        if action.x < 0:
            raise ValueError("a negative place")
        return super().act(s, seat, action, now)


class UnsendableEcho(RoomEcho):
    """The game's state cannot be sent."""

    name = "unsendableecho"

    def view(self, s: EchoState, audience: Hashable) -> dict[str, Any]:
        """Show everybody, or an object that no format can encode."""
        shown = super().view(s, audience)
        return shown | {"why": object()} if _is_negative(s) else shown


class StayingEcho(RoomEcho):
    """The game's deadline never moves."""

    name = "stayingecho"

    def deadline(self, s: EchoState) -> float | None:
        """Name the same moment again and again."""
        return 0.0 if _is_negative(s) else None

    def advance(self, s: EchoState, now: float) -> EchoState:
        """Change the state, as if something had happened."""
        return EchoState(s.v + 1, s.p)


def _is_negative(s: EchoState) -> bool:
    return any(place is not None and place.x < 0 for place in s.p)
