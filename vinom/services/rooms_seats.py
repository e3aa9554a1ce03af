"""Who has a place in a live room: newcomers, losses, leavers, bots and the host."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Literal

from twisted.logger import Logger

from vinom.errors import Code, Refused
from vinom.game import Game
from vinom.model import Player, SeatPlan
from vinom.services.rooms_facts import LiveRoomFacts
from vinom.services.rooms_member import BotSeat, Member
from vinom.services.rooms_ports import House, RoomTerms
from vinom.wire.envelope import Envelope
from vinom.wire.messages_rooms import ClientJoined, ClientLeft, Kicked

#: So long after its loss a host cannot be kicked by who is host in its place, seconds.
HOST_SPARED = 30.0


class LiveRoomSeats(LiveRoomFacts):
    """Everybody in a live room, as they come and go."""

    _log = Logger()

    def __init__(self, house: House, terms: RoomTerms) -> None:
        super().__init__(house, terms)
        self._fill_at = self._others_at = inf
        self._empty_since = house.seconds()

    # Who comes and goes.

    def enter(self, player: Player, loadout: bytes, spectates: bool) -> Member:
        """
        Give a newcomer a place; it is not connected yet.

        :raises Refused: there is none.
        """
        if self.has_removed(player.player_id):
            raise Refused(Code.KICKED, "you were removed from this room")
        if spectates:
            watching = sum(member.seat is None for member in self.members)
            most = self._house.bounds.spectators
            if watching >= most:
                raise Refused(
                    Code.ROOM_FULL, "too many watch this room", {"limit": most}
                )
            member = Member(self, player, None, loadout)
        else:
            member = Member(self, player, self._free_seat(player, loadout), loadout)
            self.seats[member.seat or 0] = member
        self.members.append(member)
        self._empty_since = inf
        self._changed()
        return member

    def _free_seat(self, player: Player, loadout: bytes) -> int:
        if self.room is not None and not self.game.late_join:
            raise Refused(
                Code.ROOM_STARTED,
                "play has begun, and this game takes no newcomers; you may spectate",
            )
        if self.taken() >= self.game.seats[1]:
            raise Refused(Code.ROOM_FULL, "every seat is taken; you may spectate")
        if self.room is None:
            for seat, who in enumerate(self.seats):
                if who is None:
                    return seat
            self.seats.append(None)
            return len(self.seats) - 1
        plan = SeatPlan(player.player_id, player.name, loadout)
        seat = self.room.add_seat(plan, self._house.seconds())
        if seat == len(self.seats):
            self.seats.append(None)
        return seat

    def returned(self, member: Member) -> None:
        """A place has a connection (again): tell the others, and the game."""
        is_new = member.epoch == 1
        if member not in self.live:
            self.live.append(member)
        self.sort_members()
        self._choose_host()
        seat = member.seat
        if self.room is not None and seat is not None:
            self._play("join", seat)
        joined = ClientJoined(
            self.room_id,
            self.next_number(),
            seat,
            member.name,
            member.player_id,
            "joined" if is_new else "returned",
            self.host_seat(),
        )
        self.announce(joined, but=member)
        if is_new and self.room is None:
            self._fill_at = self._house.seconds() + self._house.bounds.fill_seconds
        self.find_deadlines()
        self._house.turn(self)

    def lost(self, member: Member) -> None:
        """A connection is gone; the place waits."""
        self._disconnect(member)
        if self.is_closed:
            return
        self._choose_host()
        now = self._house.seconds()
        member.lost_at = now
        seat = member.seat
        if self.room is not None and seat is not None:
            self._play("drop", seat)
        self.find_deadlines()
        # It need not be told that it was away.
        self._tell_left(member, "lost", but=member)
        self._house.turn(self)

    def leave(self, member: Member, reason: str) -> None:
        """A member gives its place up, or loses it, for good."""
        if member not in self.members:
            return
        self._disconnect(member)
        self.members.remove(member)
        self._house.forget(member)
        seat = member.seat
        if seat is not None:
            self.seats[seat] = None
            self._acks.pop(str(seat), None)
            self._acks_text = b""
        self._choose_host()
        if self.room is not None and seat is not None:
            self._play("leave", seat)
        if not self.members:
            self._empty_since = self._house.seconds()
        self.find_deadlines()
        self._tell_left(member, reason)
        self._changed()
        self._house.turn(self)

    def _disconnect(self, member: Member) -> None:
        if member in self.live:
            self.live.remove(member)
            self.sort_members()
        member.disconnect()

    def _choose_host(self) -> None:
        """Let the one who sits here longest be host, if possible one who is here."""
        host: Member | None = None
        for member in self.members:
            if member.seat is None:
                continue
            if member.conversation is not None:
                host = member
                break
            host = host or member
        if host is not self.host:
            self.host = host
            self._changed()

    def _tell_left(
        self, member: Member, reason: str, but: Member | None = None
    ) -> None:
        left = ClientLeft(
            self.room_id,
            self.next_number(),
            member.seat,
            member.name,
            member.player_id,
            reason,
            self.host_seat(),
        )
        self.announce(left, but)

    def _changed(self) -> None:
        self._house.changed(self)

    def _when_shown(self, call: Callable[[], None]) -> None:
        self._house.after(call)

    def show_soon(self, member: Member) -> None:
        """Send a member the state when this turn ends."""
        self._owed.append(member)
        self._house.turn(self)

    def caught_up(self, member: Member) -> None:
        """A member takes what it is sent again."""
        if member.skipped:
            self.show_soon(member)

    # What the host asks.

    def add_bot(self) -> int:
        """
        Let the game's bot take a seat; returns which.

        :raises Refused: the game has none, or there is no seat.
        """
        if type(self.game).bot is Game.bot:
            raise Refused(Code.NO_BOT, f"{self.name} has no bot")
        bot = Player("bot", "bot")
        seat = self._free_seat(bot, b"{}")
        self.seats[seat] = bot_seat = BotSeat(seat)
        if self.room is not None:
            self._play("seat_bot", seat)
        else:
            self._fill_at = self._house.seconds() + self._house.bounds.fill_seconds
        self.find_deadlines()
        self.announce(
            ClientJoined(
                self.room_id,
                self.next_number(),
                seat,
                bot_seat.name,
                "",
                "bot",
                self.host_seat(),
            )
        )
        self._changed()
        self._house.turn(self)
        return seat

    def kick(self, seat: int) -> None:
        """
        Remove whoever has a seat, for good.

        :raises Refused: nobody has it, or somebody whose place as host this is and who
            may be back in a moment.
        """
        who = self.seats[seat] if seat < len(self.seats) else None
        if who is None:
            raise Refused(
                Code.NO_SUCH_PLAYER, "nobody has this seat", {"field": "data.seat"}
            )
        if who is self.host:
            raise Refused(
                Code.BAD_FIELD,
                "this seat is yours; leave_room gives it up",
                {"field": "data.seat"},
            )
        if isinstance(who, Member):
            self._spare_older(who)
            self.kick_member(who)
            return
        self.seats[seat] = None
        if self.room is not None:
            self._play("leave", seat)
        self.announce(
            ClientLeft(
                self.room_id,
                self.next_number(),
                seat,
                who.name,
                "",
                "kicked",
                self.host_seat(),
            )
        )
        self._changed()
        self._house.turn(self)

    def _spare_older(self, member: Member) -> None:
        """
        Spare a member in whose place the host is: a short loss costs nobody its room.

        :raises Refused: it was lost a moment ago.
        """
        left = member.lost_at + HOST_SPARED - self._house.seconds()
        if member.lost_at == inf or left <= 0:
            return
        if next(who for who in self.members if who in (member, self.host)) is member:
            raise Refused(
                Code.NOT_NOW,
                "who is away as host may be back in a moment",
                {"retry_after": round(left, 3)},
            )

    def kick_member(self, member: Member) -> None:
        """Remove a member, who can not come back to this room."""
        self._kicked.add(member.player_id)
        member.tell(Kicked(self.room_id))
        self.leave(member, "kicked")

    def _play(
        self, call: Literal["join", "drop", "leave", "seat_bot"], seat: int
    ) -> None:
        """Have the room do something that cannot be refused."""
        room = self.room
        if room is None:
            return
        now = self._house.seconds()
        try:
            getattr(room, call)(seat, now)
        except Refused as refusal:
            # Only a room that is closed refuses, and `flush` finds that out.
            self._log.debug("room {room_id}: {why}", room_id=self.room_id, why=refusal)

    # What is played, and its time: `vinom.services.rooms_room.LiveRoom`.

    def act(self, member: Member, envelope: Envelope) -> None:
        """
        A member acts.

        :raises Refused: it cannot be; nothing has changed.
        """
        raise NotImplementedError

    def start(self) -> None:
        """
        Begin with those who are there.

        :raises Refused: they are too few, or play has begun.
        """
        raise NotImplementedError

    def rematch(self) -> None:
        """
        Play anew with the same seats; gather again if too few are left.

        :raises Refused: no round is over.
        """
        raise NotImplementedError

    def flush(self) -> None:
        """Tell everybody what this turn changed."""
        raise NotImplementedError

    def close(
        self, reason: str, outcome: dict[str, Any] | None = None, view_hash: str = ""
    ) -> None:
        """
        End the room, for one of the reasons of `vinom.model.EndReason`.

        :param view_hash: of the last public view, if that is known.
        """
        raise NotImplementedError

    def deadline(self) -> float | None:
        """When to call `ring` next."""
        raise NotImplementedError

    def ring(self) -> None:
        """Do what is due."""
        raise NotImplementedError

    def find_deadlines(self) -> None:
        """Somebody came or went: find what is due, but for the game."""
        at = inf
        if len(self.live) < len(self.members):
            at = min([member.lost_at for member in self.members]) + self.grace
        elif not self.members:
            at = self._empty_since + self._house.bounds.close_seconds
        if self.room is None and self.taken() >= self.game.seats[0]:
            at = min(at, max(self._fill_at, 0.0))
        self._others_at = at
