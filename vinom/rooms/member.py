"""Who has a seat in a room of this node, or watches it."""

from __future__ import annotations

from collections.abc import Hashable
from math import inf

from vinom.base.messages.envelope import Push
from vinom.base.messages.rooms import RoomSeat
from vinom.base.model import Player, SeatPlan
from vinom.errors import Refused
from vinom.lobby.conversation.conversation import Conversation, Line
from vinom.play.hosting.checkpoints import KeptMember
from vinom.play.hosting.host import RoomHost


class BotSeat:
    """A seat that the game's bot has."""

    __slots__ = ("claims", "loadout", "name", "player_id", "seat", "team")

    def __init__(self, seat: int, name: str = "") -> None:
        """
        Seat the bot.

        :param seat: the number of its seat.
        :param name: by default one with the seat's number.
        """
        self.seat: int | None = seat
        self.name, self.player_id, self.loadout = name or f"bot {seat + 1}", "", b"{}"
        self.claims = b"{}"
        self.team: int | None = None

    def as_listed(self) -> RoomSeat:
        """Describe it to players."""
        return RoomSeat(self.seat or 0, self.name, self.player_id, "bot", self.team)


class DialedSeat:
    """A seat of a match whose player plays over UDP, or has not come yet."""

    __slots__ = (
        "claims",
        "is_here",
        "loadout",
        "name",
        "player_id",
        "seat",
        "team",
    )

    def __init__(self, number: int, plan: SeatPlan, is_here: bool) -> None:
        """
        Show a seat of a match.

        :param number: the number of the seat.
        :param plan: whose it is.
        :param is_here: is its player connected?
        """
        self.seat: int | None = number
        self.player_id, self.name, self.loadout = (
            plan.player_id,
            plan.name,
            plan.loadout,
        )
        self.team, self.claims = plan.team, plan.claims
        self.is_here = is_here

    def as_listed(self) -> RoomSeat:
        """Describe it to players."""
        state = "here" if self.is_here else "away"
        return RoomSeat(self.seat or 0, self.name, self.player_id, state, self.team)


class Member:
    """
    One player in one room; it outlives connections.

    Numbers are those that announcements and events of the room carry.

    :ivar seat: its number; ``None`` for a spectator.
    :ivar team: of that seat, if the host or the match's maker named one.
    :ivar host: the address that it came from first.
    :ivar resume: hash of the secret that lets the player come back.
    :ivar epoch: counts the connections that the player came by.
    :ivar conversation: the present one; ``None`` while the player is away.
    :ivar line: what carries that conversation.
    :ivar lost_at: when the connection was lost, on the rooms' clock; infinite while
        there is one, and while the seat is kept for as long as play goes on.
    :ivar acted: id of the last action that reached a game of this room; only while
        none is being played, else `vinom.play.hosting.host.RoomHost` counts.
    :ivar applied: id of the last one that a state answered, likewise.
    :ivar seen: version of a state that the player says it has; 0 is none.
    :ivar audience: which view it was sent last, and `floor` since which version.
    :ivar skipped: how many states it was not sent because it is behind.
    :ivar entered: the latest number when it came.
    :ivar events_told: number up to which it was sent the events.
    :ivar events_sent: the same, without what still waited in its line at the end.
    :ivar told: number of the last announcement that did not wait there.
    """

    __slots__ = (
        "acted",
        "applied",
        "audience",
        "claims",
        "conversation",
        "entered",
        "epoch",
        "events_sent",
        "events_told",
        "floor",
        "host",
        "line",
        "loadout",
        "lost_at",
        "name",
        "player_id",
        "resume",
        "seat",
        "seen",
        "skipped",
        "team",
        "told",
    )

    def __init__(
        self, player: Player, seat: int | None, loadout: bytes, number: int
    ) -> None:
        """
        Make a newcomer a member; it is not connected yet.

        :param player: who it is.
        :param seat: the number of its seat; ``None`` for a spectator.
        :param loadout: canonical JSON.
        :param number: the latest that the room gave to an announcement or event.
        """
        self.seat, self.loadout = seat, loadout
        self.player_id, self.name = player.player_id, player.name
        self.claims = player.claims
        self.team: int | None = None
        self.host = ""
        self.resume = b""
        self.epoch = 0
        self.conversation: Conversation | None = None
        self.line: Line | None = None
        self.lost_at = inf
        self.acted = self.applied = self.seen = self.floor = 0
        self.audience: Hashable = "all"
        self.skipped = 0
        self.entered = self.told = self.events_told = self.events_sent = number

    def as_kept(self, host: RoomHost | None) -> KeptMember:
        """
        Describe it for a checkpoint; it has a seat.

        :param host: plays the room's game; ``None`` if nothing is played.
        """
        seat = self.seat or 0
        return KeptMember(
            self.player_id,
            self.name,
            self.claims,
            self.loadout,
            seat,
            self.team,
            self.host,
            self.resume,
            self.epoch,
            self.acted if host is None else host.acted[seat],
            self.applied if host is None else host.applied[seat],
            self.entered,
            self.told,
            self.events_told,
        )

    @classmethod
    def from_kept(cls, kept: KeptMember, now: float) -> Member:
        """Make a member of a checkpoint; it is away since *now*."""
        member = cls(
            Player(kept.player_id, kept.name, kept.claims),
            kept.seat,
            kept.loadout,
            kept.entered,
        )
        member.team, member.host, member.resume = kept.team, kept.host, kept.resume
        member.epoch, member.lost_at = kept.epoch, now
        member.acted, member.applied = kept.acted, kept.applied
        member.told = kept.told
        member.events_told = member.events_sent = kept.events_told
        return member

    def as_listed(self) -> RoomSeat:
        """Describe it to players."""
        state = "here" if self.conversation is not None else "away"
        return RoomSeat(self.seat or 0, self.name, self.player_id, state, self.team)

    def send(self, push: Push) -> None:
        """Send the player news, if it is connected."""
        if self.conversation is not None:
            self.conversation.send(push)

    def warn(self, refusal: Refused) -> None:
        """Send the player what went wrong, if it is connected."""
        if self.conversation is not None:
            self.conversation.warn(refusal)

    def note_sent(self, number: int) -> None:
        """
        Note that announcements up to a number have left, unless some still wait.

        :param number: of the last announcement that its line was given.
        """
        line = self.line
        if line is not None and not line.has_unsent:
            self.told, self.events_sent = number, self.events_told

    def look_as(self, audience: Hashable, version: int) -> None:
        """Note which view it is sent from this version on."""
        if audience != self.audience:
            self.audience, self.floor, self.seen = audience, version, 0

    def connect(self, conversation: Conversation) -> None:
        """Note that the player is here by this conversation, and no other."""
        self.epoch += 1
        self.conversation, self.line = conversation, conversation.line
        self.lost_at = inf
        self.skipped = self.seen = self.floor = 0

    def disconnect(self, number: int) -> None:
        """
        Note that the player is away.

        :param number: the latest one; what still waits in the line was not read.
        """
        self.note_sent(number)
        self.events_told = self.events_sent
        self.conversation = self.line = None
