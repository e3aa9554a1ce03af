"""What is played in a room, whoever plays it and wherever it runs."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal, Protocol

from vinom.model import MatchPlan, SeatPlan
from vinom.play.room import Effect


class PlayedRoom(Protocol):
    """
    What is played in a live room: `vinom.play.room.Room`, here or elsewhere.

    Whatever is not told here is told there.
    """

    plan: MatchPlan
    phase: Literal["gathering", "playing", "over", "closed"]

    @property
    def ticks(self) -> int:
        """Count the fixed steps that were made here."""

    @property
    def version(self) -> int:
        """Count the changes of state."""

    @property
    def state(self) -> Any:
        """The game's state, if it is here."""

    @property
    def has_effects(self) -> bool:
        """Is there something to take?"""

    @property
    def has_one_audience(self) -> bool:
        """Does everybody see the same?"""

    def act(self, seat: int, action: Any, now: float) -> None:
        """A seat acts."""

    def join(self, seat: int, now: float) -> None:
        """A seat's player is here."""

    def drop(self, seat: int, now: float) -> None:
        """A seat's connection was lost."""

    def leave(self, seat: int, now: float) -> None:
        """A seat is given up."""

    def seat_bot(self, seat: int, now: float) -> None:
        """The game's bot has a seat."""

    def add_seat(self, seat: SeatPlan, now: float) -> int:
        """Seat a newcomer."""

    def close(self, reason: str, now: float) -> None:
        """End it."""

    def fail(self, error: BaseException) -> None:
        """The game told what cannot be passed on."""

    def alarm(self, now: float) -> None:
        """Do what is due."""

    def deadline(self) -> float | None:
        """When to call `alarm` next."""

    def match_time(self, now: float) -> float:
        """Tell the match time, seconds."""

    def audience_of(self, seat: int | None) -> Hashable:
        """Tell which view a seat sees."""

    def view_json(self, audience: Hashable) -> bytes:
        """Show the state; empty if it cannot be."""

    def setup_json(self) -> bytes:
        """Show what never changes."""

    def take_effects(self) -> list[Effect]:
        """Hand over what happened since the last call."""
