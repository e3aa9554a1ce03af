"""What live rooms are handed, and what they may cost."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs

from vinom.game import Game
from vinom.model import MatchPlan, SeatPlan
from vinom.net.alarm import Alarm
from vinom.rules.guard import Guard
from vinom.rules.room import Effect
from vinom.services.recorded import SweptPlace
from vinom.wire.messages_rooms import RoomClosed

if TYPE_CHECKING:
    from vinom.services.rooms_member import Member
    from vinom.services.rooms_seats import LiveRoomSeats


@attrs.frozen
class RoomBounds:
    """
    What rooms may cost. Times: seconds.

    :ivar most: rooms of this node.
    :ivar per_client: rooms that one player, or one line, may be in.
    :ivar spectators: of one room.
    :ivar close_seconds: how long a room stays after the last person left.
    :ivar grace_seconds: how long a place waits for a player whose connection was
        lost, unless its game says otherwise.
    :ivar fill_seconds: how long a room waits, after the last one joined, for more
        than the fewest players.
    """

    most: int = 10_000
    per_client: int = 8
    spectators: int = 256
    close_seconds: float = 30.0
    grace_seconds: float = 900.0
    fill_seconds: float = 5.0


@attrs.frozen
class RoomTerms:
    """
    What a room was made for; that stays.

    :ivar name: of the game, as players ask for it.
    :ivar options: the game's, canonical JSON.
    :ivar is_public: may strangers be led here who name no room?
    """

    room_id: str
    name: str
    game: Game[Any, Any]
    options: bytes
    is_public: bool


class PlayedRoom(Protocol):
    """
    What is played in a live room: `vinom.rules.room.Room`, here or elsewhere.

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


class House(Protocol):
    """
    What a live room asks of the node around it.

    :ivar seconds: a clock that never goes back.
    :ivar entropy: random bytes, as many as asked for.
    """

    bounds: RoomBounds
    seconds: Callable[[], float]
    entropy: Callable[[int], bytes]
    recordings: SweptPlace
    guard: Guard | None

    def wall_seconds(self) -> float:
        """Tell the time, seconds since the Unix epoch."""

    def alarm(self, room: LiveRoomSeats) -> Alarm:
        """Make the room's alarm."""

    def turn(self, room: LiveRoomSeats) -> None:
        """Call `flush` when this turn of the reactor ends."""

    def after(self, call: Callable[[], None]) -> None:
        """Do *call* when what is done now is done, still in this turn."""

    def changed(self, room: LiveRoomSeats) -> None:
        """What the list of rooms tells of it has changed."""

    def forget(self, member: Member, told: RoomClosed | None = None) -> None:
        """A member is out for good; *told* is what became of its room, if it closed."""

    def closed(self, room: LiveRoomSeats, told: RoomClosed) -> None:
        """A room is no more; *told* is what its members heard."""
