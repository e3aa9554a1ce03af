"""One player's place in one room of this node; it outlives connections."""

from __future__ import annotations

from collections.abc import Hashable
from math import inf
from typing import TYPE_CHECKING, Protocol

from vinom.conversation.conversation import Conversation, Line
from vinom.errors import Refused
from vinom.messages.envelope import Envelope, Push
from vinom.messages.rooms import RoomSeat
from vinom.model import Player, SeatPlan

if TYPE_CHECKING:
    from vinom.rooms.room import LiveRoomSeats


class Occupant(Protocol):
    """
    Whoever has a seat: a member, or a bot.

    :ivar seat: its number; ``None`` for a spectator.
    :ivar since: grows with each who comes.
    """

    player_id: str
    name: str
    seat: int | None
    loadout: bytes

    def as_listed(self) -> RoomSeat:
        """Describe it to others."""


class BotSeat:
    """A seat that the game's bot has."""

    __slots__ = ("loadout", "name", "player_id", "seat")

    def __init__(self, seat: int) -> None:
        self.seat: int | None = seat
        self.name, self.player_id, self.loadout = f"bot {seat + 1}", "", b"{}"

    def as_listed(self) -> RoomSeat:
        """Describe it to others."""
        return RoomSeat(self.seat or 0, self.name, self.player_id, "bot")


class DialedSeat:
    """A seat of somebody who plays over UDP, or did not come yet."""

    __slots__ = ("is_here", "loadout", "name", "player_id", "seat")

    def __init__(self, number: int, plan: SeatPlan, is_here: bool) -> None:
        self.seat: int | None = number
        self.player_id, self.name, self.loadout = (
            plan.player_id,
            plan.name,
            plan.loadout,
        )
        self.is_here = is_here

    def as_listed(self) -> RoomSeat:
        """Describe it to others."""
        state = "here" if self.is_here else "away"
        return RoomSeat(self.seat or 0, self.name, self.player_id, state)


class Member:
    """
    A session: one player's place in one room.

    :ivar seat: its number; ``None`` for a spectator.
    :ivar resume: hash of the secret that gives this place.
    :ivar epoch: counts the connections that had it.
    :ivar conversation: the one that has it now; ``None`` while it is lost.
    :ivar line: the same one's, for what goes out often.
    :ivar lost_at: when it was lost, on the rooms' clock; infinite while it is not.
    :ivar acted: id of the last action that was applied.
    :ivar acting: the same for one that waits for its tick.
    :ivar seen: version of a state that the player says it has; 0 is none.
    :ivar audience: which view it was shown last, and `floor` since which version.
    :ivar skipped: states that it was not sent because it is behind.
    :ivar entered: number of the last thing that was before its time.
    :ivar events_told: number up to which it was told the events.
    :ivar events_sent: the same of those that did not wait in its line at the end.
    :ivar told: number of the last announcement that did not wait there.
    """

    __slots__ = (
        "acted",
        "acting",
        "audience",
        "conversation",
        "entered",
        "epoch",
        "events_sent",
        "events_told",
        "floor",
        "line",
        "loadout",
        "lost_at",
        "name",
        "player_id",
        "resume",
        "room",
        "seat",
        "seen",
        "skipped",
        "told",
    )

    def __init__(
        self, room: LiveRoomSeats, player: Player, seat: int | None, loadout: bytes
    ) -> None:
        self.room, self.seat, self.loadout = room, seat, loadout
        self.player_id, self.name = player.player_id, player.name
        self.resume = b""
        self.epoch = 0
        self.conversation: Conversation | None = None
        self.line: Line | None = None
        self.lost_at = inf
        self.acted = self.acting = self.seen = self.floor = 0
        self.audience: Hashable = "all"
        self.skipped = 0
        self.entered = self.told = self.events_told = self.events_sent = room.number

    @property
    def room_id(self) -> str:
        """Which room it is in."""
        room_id: str = self.room.room_id
        return room_id

    def as_listed(self) -> RoomSeat:
        """Describe it to others."""
        state = "here" if self.conversation is not None else "away"
        return RoomSeat(self.seat or 0, self.name, self.player_id, state)

    def tell(self, push: Push) -> None:
        """Tell it something, if it is here."""
        if self.conversation is not None:
            self.conversation.send(push)

    def warn(self, refusal: Refused) -> None:
        """Tell it what went wrong, if it is here."""
        if self.conversation is not None:
            self.conversation.warn(refusal)

    def note_sent(self, number: int) -> None:
        """
        Announcements up to this number were said to it: have they all been sent?

        If something waits in its line, what was known before is all that is known.
        """
        line = self.line
        if line is not None and not line.has_unsent:
            self.told, self.events_sent = number, self.events_told

    def look_as(self, audience: Hashable, version: int) -> None:
        """From this version on it is shown what an audience may see."""
        if audience != self.audience:
            self.audience, self.floor, self.seen = audience, version, 0

    # What its conversation tells.

    def act(self, envelope: Envelope) -> None:
        """
        The player acts.

        :raises Refused: it cannot be; nothing has changed.
        """
        self.room.act(self, envelope)

    def lost(self, conversation: Conversation) -> None:
        """A connection is gone; a newer one may have this place already."""
        if self.conversation is conversation:
            self.room.lost(self)

    def caught_up(self) -> None:
        """The connection is no longer behind."""
        self.room.caught_up(self)

    # What its room does.

    def connect(self, conversation: Conversation, resume: bytes) -> None:
        """
        Give this place to a connection, which knows the secret of this hash.

        Whichever had it before must be gone already.
        """
        self.epoch += 1
        self.resume = resume
        self.conversation, self.line = conversation, conversation.line
        self.lost_at = inf
        self.skipped = self.seen = self.floor = 0
        conversation.entered(self)

    def disconnect(self) -> None:
        """Take this place from its connection."""
        self.note_sent(self.room.number)
        self.events_told = self.events_sent
        conversation = self.conversation
        self.conversation = self.line = None
        if conversation is not None:
            conversation.departed(self)
