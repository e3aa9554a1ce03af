"""How a room's seats are connected, and what they said since the last tick."""

from __future__ import annotations

from enum import Enum
from typing import Any

import attrs

from vinom.errors import Rejected

#: Inputs of one seat that may wait for the next tick.
MOST_WAITING = 32


class Presence(Enum):
    """One seat's connection."""

    AWAITED = "awaited"
    PRESENT = "present"
    DROPPED = "dropped"
    BOT = "bot"
    LEFT = "left"


@attrs.define(eq=False)
class RoomSeats:
    """
    All seats of a room.

    :ivar presence: a seat's number is its index.
    """

    presence: list[Presence]

    @classmethod
    def awaiting(cls, count: int) -> RoomSeats:
        """Make seats whose players have yet to come."""
        return cls([Presence.AWAITED] * count)

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
        return all(
            how in (Presence.PRESENT, Presence.LEFT, Presence.BOT)
            for how in self.presence
        )

    def is_empty(self) -> bool:
        """Is nobody connected?"""
        return Presence.PRESENT not in self.presence


@attrs.define(eq=False)
class TickInputs:
    """Actions that wait for the next tick, in the order they came."""

    waiting: list[tuple[int, Any]] = attrs.field(factory=list)

    def keep(self, seat: int, action: Any) -> None:
        """
        Keep an action.

        :raises Rejected: the seat has too many here.
        """
        waiting = self.waiting
        # Mostly there are fewer in all, which is quicker seen.
        if (
            len(waiting) >= MOST_WAITING
            and sum(whose == seat for whose, _ in waiting) >= MOST_WAITING
        ):
            raise Rejected("too_many", "too many inputs for one tick")
        waiting.append((seat, action))

    def forget(self, seat: int) -> None:
        """A seat is gone for good, and so is what it had still to say."""
        self.waiting = [(whose, what) for whose, what in self.waiting if whose != seat]

    def take(self) -> tuple[tuple[int, Any], ...]:
        """Hand all of them over."""
        taken, self.waiting = tuple(self.waiting), []
        return taken
