"""How a room's seats are connected."""

from __future__ import annotations

from enum import Enum

import attrs


class Presence(Enum):
    """One seat's connection."""

    AWAITED = "awaited"
    PRESENT = "present"
    DROPPED = "dropped"
    LEFT = "left"


@attrs.define(eq=False)
class RoomSeats:
    """
    All seats of a room.

    :ivar presence: a seat's number is its index.
    """

    presence: list[Presence]

    def present(self) -> tuple[int, ...]:
        """Name the seats that are connected now."""
        return tuple(
            seat for seat, how in enumerate(self.presence) if how is Presence.PRESENT
        )

    def staying(self) -> int:
        """Count the seats that were not given up."""
        return sum(how is not Presence.LEFT for how in self.presence)

    def is_complete(self) -> bool:
        """Is nobody waited for any more?"""
        return all(how in (Presence.PRESENT, Presence.LEFT) for how in self.presence)

    def is_empty(self) -> bool:
        """Is nobody connected?"""
        return Presence.PRESENT not in self.presence
