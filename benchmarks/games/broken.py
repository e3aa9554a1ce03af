"""Room echo that fails at an input at a negative place, each in another way."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from vinom.games.roomecho import EchoState, Place, RoomEcho


class RaisingEcho(RoomEcho):
    """It raises."""

    name = "raisingecho"

    def act(self, s: EchoState, seat: int, action: Place, now: float) -> EchoState:
        """Keep it, or raise."""
        if action.x < 0:
            raise ValueError("a negative place")
        return super().act(s, seat, action, now)


class UnsendableEcho(RoomEcho):
    """Its state cannot be sent."""

    name = "unsendableecho"

    def view(self, s: EchoState, audience: Hashable) -> dict[str, Any]:
        """Show everybody, or what no format knows."""
        shown = super().view(s, audience)
        return shown | {"why": object()} if _is_negative(s) else shown


class StayingEcho(RoomEcho):
    """Its deadline never moves on."""

    name = "stayingecho"

    def deadline(self, s: EchoState) -> float | None:
        """Name the same moment again and again."""
        return 0.0 if _is_negative(s) else None

    def advance(self, s: EchoState, now: float) -> EchoState:
        """Change, so that one could think something happened."""
        return EchoState(s.v + 1, s.p)


def _is_negative(s: EchoState) -> bool:
    return any(place is not None and place.x < 0 for place in s.p)
