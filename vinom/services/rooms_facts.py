"""What a live room is: its game, and who sits there, for lists and operators."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import structs

from vinom.services.rooms_member import BotSeat, Member
from vinom.services.rooms_out import LiveRoomOut
from vinom.services.rooms_ports import House, RoomTerms
from vinom.wire.messages_rooms import RoomFacts


class LiveRoomFacts(LiveRoomOut):
    """
    Who sits where, and who watches.

    What its `RoomTerms` say is here as well.

    :ivar members: everybody who has a place, in the order they came.
    :ivar host: who may kick, start and so on: of those who have a seat and are
        connected the one who came first.
    :ivar is_closed: nothing happens any more.
    :ivar grace: how long a place is kept for one whose connection was lost, seconds.
    """

    def __init__(self, house: House, terms: RoomTerms) -> None:
        game = terms.game
        super().__init__(terms.room_id, game)
        self.name, self.options = terms.name, terms.options
        self.is_public = terms.is_public
        self.members: list[Member] = []
        self.host: Member | None = None
        self.is_closed = False
        self._kicked: set[str] = set()
        self.grace = (
            house.bounds.grace_seconds
            if game.grace_seconds is None
            else game.grace_seconds
        )
        self._house = house

    @property
    def state(self) -> Literal["gathering", "playing", "over"]:
        """Tell how far it is."""
        if self.room is None:
            return "gathering"
        return "over" if self.room.phase == "over" else "playing"

    @property
    def is_open(self) -> bool:
        """Can a newcomer take a seat now?"""
        if self.is_closed or (self.room is not None and not self.game.late_join):
            return False
        return self.taken() < self.game.seats[1]

    def taken(self) -> int:
        """Count the seats that somebody, or a bot, has."""
        return len(self.seats) - self.seats.count(None)

    def facts(self) -> RoomFacts:
        """Describe it for a list."""
        taken = self.taken()
        bots = sum(isinstance(who, BotSeat) for who in self.seats)
        return RoomFacts(
            self.room_id,
            self.name,
            self.state,
            "" if self.host is None else self.host.name,
            self.game.seats[1],
            taken,
            len(self.members) - (taken - bots),
            self.is_open,
        )

    def host_seat(self) -> int | None:
        """Tell the host's seat."""
        return None if self.host is None else self.host.seat

    def member_of(self, player_id: str) -> Member | None:
        """Find a player's place."""
        for member in self.members:
            if member.player_id == player_id:
                return member
        return None

    def has_removed(self, player_id: str) -> bool:
        """Was this player kicked?"""
        return player_id in self._kicked

    def described(self) -> dict[str, Any]:
        """Describe it for operators: JSON-like."""
        return {
            **structs.asdict(self.facts()),
            "host": self.host_seat(),
            "version": self.version,
            "players": [structs.asdict(seat) for seat in self.players()],
            "connected": len(self.live),
        }
