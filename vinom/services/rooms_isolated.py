"""A live room whose game is to be played in a process of its own (`Game.isolate`)."""

from __future__ import annotations

from typing import Any

from vinom.errors import Refused
from vinom.model import MatchPlan
from vinom.services.rooms_member import Member
from vinom.services.rooms_ports import House, PlayedRoom, RoomTerms
from vinom.services.rooms_remote import RelayFleet, RemoteRoom
from vinom.services.rooms_room import LiveRoom
from vinom.wire.envelope import Envelope


class IsolatedRoom(LiveRoom):
    """A live room of a game that is played in a process of its own."""

    def __init__(self, house: House, terms: RoomTerms, fleet: RelayFleet) -> None:
        super().__init__(house, terms)
        self._fleet = fleet
        # An action counts when its answer comes, as with a game that has ticks.
        self._ticks = True
        self._id: Any = None
        self._decode = lambda data: (self._id, bytes(data))
        self._has_told_start = False

    def act(self, member: Member, envelope: Envelope) -> None:
        """
        A member acts.

        :raises Refused: it cannot be; nothing has changed.
        """
        self._id = envelope.id
        super().act(member, envelope)

    def close(
        self, reason: str, outcome: dict[str, Any] | None = None, view_hash: str = ""
    ) -> None:
        """End the room, for one of the reasons of `vinom.model.EndReason`."""
        if not self.is_closed and self.room is not None:
            self.room.close(reason, self._house.seconds())
        super().close(reason, outcome, view_hash)

    def _lay(self, plan: MatchPlan, now: float) -> PlayedRoom:
        self._has_told_start = False
        room = RemoteRoom(plan, self.game, self._fleet, self)
        room.host()
        return room

    def _tell_started(self) -> None:
        # The part of the view that never changes comes with the first state.
        if self.room is not None and self.room.version and not self._has_told_start:
            self._has_told_start = True
            super()._tell_started()

    # What its game process answers.

    def stirred(self) -> None:
        """There is something new."""
        self._tell_started()
        self._house.turn(self)

    def applied(self, seat: int, id: int) -> None:
        """An action was applied."""
        who = self.seats[seat] if seat < len(self.seats) else None
        if isinstance(who, Member):
            who.acted = id
            self.acknowledge(seat, id)
            if self.version == self._shown:
                self._owed.append(who)

    def refused(self, seat: int, id: Any, refusal: Refused, latest: int) -> None:
        """An action was not applied; its id may be used again."""
        who = self.seats[seat] if seat < len(self.seats) else None
        if not isinstance(who, Member):
            return
        who.acting = max(who.acted, latest)
        if who.conversation is not None:
            details = {**refusal.details, "room_id": self.room_id}
            told = Refused(refusal.code, refusal.message, details)
            who.conversation.refuse(told, id)
