"""
One room of this node: who comes and goes.

Times are seconds on the rooms' clock, which never goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Literal, Protocol

from twisted.logger import Logger

from vinom.base.messages.envelope import Envelope
from vinom.base.messages.rooms import (
    ClientJoined,
    ClientLeft,
    Kicked,
    RoomClosed,
    RoomFacts,
    TeamSet,
)
from vinom.base.model import MatchPlan, Player, SeatPlan
from vinom.errors import Code, Refused
from vinom.fleet.relay.room import Host
from vinom.game import Game, ensure_level
from vinom.lobby.conversation.conversation import Conversation, Membership
from vinom.rooms.round import RoomContext, RoomTerms, Round, show_fault
from vinom.rooms.seating import BotSeat, DialedSeat, Member, Seating, Sitter

#: How long a seat is kept for somebody who was sent here from a queue, seconds.
EXPECTED_SECONDS = 10.0
#: A host who is away cannot be kicked by its successor for this long, seconds.
HOST_SPARED = 30.0

State = Literal["gathering", "playing", "over"]

_log = Logger()


class Directory(Protocol):
    """What a room reports to: `vinom.rooms.directory.RoomDirectory`."""

    def changed(self, room: NodeRoom) -> None:
        """What a list shows of a room has changed, or who is connected to it."""

    def left(self, room_id: str, member: Member, closed: RoomClosed | None) -> None:
        """
        Somebody is no longer a member.

        :param closed: how the room closed, if that is why.
        """

    def closed(self, room: NodeRoom, reason: str) -> None:
        """A room has closed, and why."""


class RoomPolicy(Protocol):
    """
    What differs between rooms that players open and rooms that show a match.

    :ivar may_watch: may somebody without a seat be a member?
    :ivar is_own: a room of the node alone: it is listed with the others, a drain closes
        it, and it can be played in again when everybody has left.
    """

    is_own: bool
    may_watch: bool

    def opened(self, room: NodeRoom) -> None:
        """A room is new: seat those who have a seat already."""

    def seat_for(
        self, room: NodeRoom, player: Player, loadout: bytes, spectates: bool
    ) -> int | None:
        """
        Choose a newcomer's seat; ``None`` lets it watch.

        :raises Refused: it may not come in, or there is no seat.
        """

    def entered(self) -> None:
        """Somebody is a member now."""

    def state(self, room: NodeRoom) -> State:
        """Find how far it is."""

    def facts(self, room: NodeRoom) -> RoomFacts:
        """Describe it for a list."""

    def lay(self, room: NodeRoom, plan: MatchPlan, now: float) -> Host:
        """
        Have a game played.

        :raises Refused: the game does not take this plan.
        """

    def closed(self) -> None:
        """The room has closed."""

    def revise(self, room: NodeRoom) -> str:
        """
        Go on by rules that have just been saved; see `vinom.play.recording`.

        :returns: what became of the inputs, in words for the author; empty if nothing
            was played here.
        """


class NodeRoom:
    """
    One room: its members, and what is played in it.

    What its `RoomTerms` say is here as well.

    :ivar context: what it shares with others.
    :ivar policy: what differs from other rooms.
    :ivar is_own: see `RoomPolicy`.
    :ivar seating: who is there, who sits where, and who has left what is played.
    :ivar members: of the seating.
    :ivar round: what is played.
    :ivar act: lets a member act, see `Round.act`.
    :ivar broadcast: what members are sent.
    :ivar when_closed: called with this room, and why it has closed.
    :ivar changes: rises when a checkpoint differs, apart from what is played.
    """

    def __init__(
        self,
        context: RoomContext,
        directory: Directory,
        terms: RoomTerms,
        policy: RoomPolicy,
    ) -> None:
        """
        Open a room.

        :param context: what it shares with others.
        :param directory: it reports to this one.
        :param terms: what it is made for.
        :param policy: who may sit, who is host, and so on.
        """
        self.room_id, self.name, self.game = terms.room_id, terms.name, terms.game
        self.options, self.is_public = terms.options, terms.is_public
        self.is_listed, self.opener = terms.is_listed, terms.opener
        self.seats = terms.seats
        self.context, self._directory = context, directory
        self.policy, self.is_own = policy, policy.is_own
        self.changes = 0
        self.when_closed: list[Callable[[NodeRoom, str], None]] = []
        self.seating = Seating(terms.name, terms.game, terms.seats)
        self.members = self.seating.members
        self.round = Round(context, terms, self.seating, self)
        self.broadcast = self.round.broadcast
        # Not a method: each action would cost one more call.
        self.act: Callable[[Member, Envelope], None] = self.round.act
        policy.opened(self)
        self.round.arm()

    # What becomes of it.

    @property
    def is_moving(self) -> bool:
        """Does this node hand the room to another one?"""
        keeper = self.round.keeper
        return keeper is not None and keeper.is_leaving

    def move(self) -> bool:
        """
        Hand the room to the node to which its players come next.

        What they do from now on waits; when the last checkpoint is stored their lines
        end, and they come back. The store may answer at once.

        :returns: ``False`` if the room lives in this node only.
        """
        keeper = self.round.keeper
        if keeper is None or self.round.is_closed:
            return False
        if all(member.seat is None for member in self.members):
            self.close("shutdown")
            return True
        return keeper.leave()

    def vanish(self) -> None:
        """The room goes on elsewhere: end the lines of its members, and show no end."""
        if self.round.is_closed:
            return
        self.round.stop(forget=False)
        self.policy.closed()
        for member in tuple(self.members):
            conversation = member.conversation
            self._directory.left(self.room_id, member, None)
            self.broadcast.remove(member)
            if conversation is not None:
                # It is in this room to its end: for a player of another node this is
                # what makes that node end the player's line.
                conversation.end(
                    Refused(
                        Code.UNAVAILABLE,
                        "this room goes on elsewhere; connect again",
                        {"room_id": self.room_id},
                    )
                )
        self.members.clear()
        self._closed("moved")

    def close(
        self, reason: str, outcome: dict[str, Any] | None = None, view_hash: str = ""
    ) -> None:
        """
        End the room.

        :param reason: one of `vinom.base.model.EndReason`.
        :param outcome: of the last round, if that is known.
        :param view_hash: of the last public view, if that is known.
        """
        if self.round.is_closed:
            return
        fault = ""
        if self.context.told is not None and self.broadcast.end is not None:
            report = self.broadcast.end[1]
            fault = "" if report is None else show_fault(self.name, report)
        self.round.stop(forget=True, reason=reason)
        self.policy.closed()
        played = self.round.played
        if played is not None and played.ended_at is None:
            try:
                self.round.end(reason)
            except Exception:
                # Its members must not be left in a room that does nothing any more.
                _log.failure("room {room_id} failed at its end", room_id=self.room_id)
            if self.broadcast.end is not None:
                end = self.broadcast.end[0]
                outcome, view_hash = end.outcome, end.view_hash
        closed = RoomClosed(
            self.room_id, reason, outcome, self.broadcast.version, view_hash, fault
        )
        for member in tuple(self.members):
            conversation = member.conversation
            self._directory.left(self.room_id, member, closed)
            self._disconnect(member)
            if conversation is not None:
                conversation.send(closed)
        self.members.clear()
        self._closed(reason)

    def _closed(self, reason: str) -> None:
        self._directory.closed(self, reason)
        for call in self.when_closed:
            call(self, reason)

    # What is played in it reports (RoundRoom).

    def lay(self, plan: MatchPlan, now: float) -> Host:
        return self.policy.lay(self, plan, now)

    def changed(self) -> None:
        self.changes += 1
        self._directory.changed(self)

    # What it is.

    @property
    def state(self) -> State:
        """Find how far it is."""
        return self.policy.state(self)

    @property
    def is_open(self) -> bool:
        """Can a newcomer take a seat now, and is anybody connected to play with?"""
        if not self.broadcast.live or self.round.is_closed:
            return False
        if self.round.played is not None and not self.game.late_join:
            return False
        return self.seating.unexpected() > 0

    def expect(self, player_ids: Sequence[str]) -> bool:
        """
        Keep seats for newcomers who were sent here, for a short time.

        :returns: ``False``, and keeps none, if there are not as many.
        """
        until = self.context.seconds() + EXPECTED_SECONDS
        if not self.seating.expect(player_ids, until):
            return False
        self.round.arm()
        self.changed()
        return True

    # Who comes and goes.

    def enter(self, player: Player, loadout: bytes, spectates: bool) -> Membership:
        """
        Make a newcomer a member; it is not connected yet.

        :param player: who it is.
        :param loadout: canonical JSON.
        :param spectates: does it want to watch?
        :raises Refused: there is no place.
        """
        seat = self.policy.seat_for(self, player, loadout, spectates)
        if seat is None:
            self.seating.refuse_kicked(player.player_id)
            if not self.seating.has_place_to_watch(self.context.bounds.spectators):
                most = self.context.bounds.spectators
                raise Refused(
                    Code.ROOM_FULL, "too many watch this room", {"limit": most}
                )
        member = Member(
            seat,
            player.player_id,
            player.name,
            loadout,
            player.claims,
            entered=self.broadcast.number,
        )
        if seat is not None:
            self.seating.sit(seat, member)
        self.members.append(member)
        self.round.timetable.entered()
        self.changed()
        self.policy.entered()
        return Membership(self, member)

    def free_seat(self, plan: SeatPlan) -> int:
        """
        Find a seat that nobody has, or add one; who gets it is up to the caller.

        :param plan: who shall have it.
        :raises Refused: there is none.
        """
        played, seating = self.round.played, self.seating
        if played is not None and not self.game.late_join:
            raise Refused(
                Code.ROOM_STARTED,
                "play has begun, and this game takes no newcomers; you may spectate",
            )
        if not seating.is_free_for(plan.player_id):
            raise Refused(Code.ROOM_FULL, "every seat is taken; you may spectate")
        if played is None:
            return seating.free()
        seat = played.add_seat(plan, self.context.seconds())
        if seat == len(seating.seats):
            seating.seats.append(None)
        return seat

    def connect(self, membership: Membership, conversation: Conversation) -> None:
        """Let a member be here by a conversation; an older one of it is out."""
        member: Member = membership.member
        older = member.conversation
        if older is not None:
            self._disconnect(member)
            if older is not conversation:
                older.warn(taken_over(self.room_id))
        member.connect(conversation)
        conversation.entered(self.room_id, membership)

    def returned(self, member: Member) -> None:
        """A member is connected, for the first time or again."""
        is_new = member.epoch == 1
        self.broadcast.add(member)
        self._choose_host()
        self.changed()
        seat, played = member.seat, self.round.played
        if played is not None and seat is not None:
            self.round.change_seat(played.room.join, seat)
        self.announce(
            ClientJoined, member, "joined" if is_new else "returned", but=member
        )
        if played is None:
            self.round.timetable.joined(self.context.seconds(), is_new)
        self.round.find_deadlines()
        self.round.flush_soon()

    def lost(self, member: Member, conversation: Conversation) -> None:
        """A connection is gone; the member may come back, or has a newer one."""
        if member.conversation is not conversation:
            return
        self._disconnect(member)
        if self.round.is_closed:
            return
        # A match, or a game that lasts, keeps a place however long its player is away.
        is_kept = self.round.is_lasting and self.round.played is not None
        keeps_seat = (is_kept or not self.is_own) and member.seat is not None
        member.lost_at = inf if keeps_seat else self.context.seconds()
        seat, played = member.seat, self.round.played
        self._choose_host()
        self.changed()
        if played is not None and seat is not None:
            self.round.change_seat(played.room.drop, seat)
        self.round.find_deadlines()
        # The member itself need not be sent that it was away.
        self.announce(ClientLeft, member, "lost", but=member)
        self.round.flush_soon()

    def leave(self, member: Member, reason: str) -> None:
        """A member gives its place up, or loses it, for good."""
        if member not in self.members:
            return
        self._remove(member)
        seat, played = member.seat, self.round.played
        if seat is not None:
            self.seating.stand_up(member, played is not None)
            if played is not None:
                played.acted[seat] = played.applied[seat] = 0
        self._choose_host()
        if played is not None and seat is not None:
            self.round.change_seat(played.room.leave, seat)
        if not self.members:
            self.round.timetable.emptied(self.context.seconds())
        self.round.find_deadlines()
        self.announce(ClientLeft, member, reason)
        self.changed()
        self.round.flush_soon()
        if not (self.members or self.is_own):
            self.close("abandoned")

    def vacate(self, who: Sitter) -> None:
        """The game has given up a seat: its player watches, if there is a place."""
        seat, played = who.seat or 0, self.round.played
        if isinstance(who, Member) and not (
            self.policy.may_watch
            and self.seating.has_place_to_watch(self.context.bounds.spectators)
        ):
            who.send(Kicked(self.room_id))
            self.leave(who, "vacated")
            return
        self.seating.stand_up(who, is_played=True)
        if played is not None:
            played.acted[seat] = played.applied[seat] = 0
            self.round.change_seat(played.room.leave, seat)
        if isinstance(who, Member):
            who.seat = None
            # It sees another view from now on.
            self.broadcast.owe(who)
        self._choose_host()
        self.announce(ClientLeft, Sitter(seat, who.player_id, who.name), "vacated")
        self.round.find_deadlines()
        self.changed()
        self.round.flush_soon()

    def hand_over(self, member: Member, dialed: DialedSeat) -> None:
        """A player of a match came over UDP: it is no longer a member here."""
        self._remove(member)
        self.seating.sit(dialed.seat or 0, dialed)
        self.round.find_deadlines()
        if not (self.members or self.is_own):
            self.close("abandoned")

    def restored(self) -> None:
        """Those who were here at another node are members now."""
        self._choose_host()
        self.round.find_deadlines()
        self.changed()
        self.round.flush_soon()

    def _remove(self, member: Member) -> None:
        self._disconnect(member)
        self.members.remove(member)
        self._directory.left(self.room_id, member, None)

    def _disconnect(self, member: Member) -> None:
        conversation = member.conversation
        self.broadcast.remove(member)
        if conversation is not None:
            conversation.departed(self.room_id)

    def _choose_host(self) -> None:
        host = self.seating.oldest() if self.is_own else None
        if host is not self.seating.host:
            self.seating.host = host
            self.changed()

    def announce(
        self,
        kind: type[ClientJoined | ClientLeft],
        who: Sitter,
        how: str,
        but: Member | None = None,
    ) -> None:
        """
        Send everybody who is connected that somebody came, or has gone.

        :param how: see `ClientJoined` and `ClientLeft`.
        :param but: need not be sent it.
        """
        team = (who.team,) if kind is ClientJoined else ()
        number, host = self.broadcast.next_number(), self.seating.host_seat
        said = kind(
            self.room_id, number, who.seat, who.name, who.player_id, how, host, *team
        )
        self.broadcast.announce(said, but)

    # What the host asks.

    def add_bot(self, level: str = "") -> int:
        """
        Let the game's bot take a seat; returns which.

        :param level: at which it plays; empty for the first.
        :raises Refused: the game has none, or not this level, or there is no seat.
        """
        if type(self.game).bot is Game.bot:
            raise Refused(Code.NO_BOT, f"{self.name} has no bot")
        try:
            ensure_level(self.game, level)
        except ValueError as error:
            details = {"field": "data.level", "levels": self.game.levels}
            raise Refused(Code.BAD_FIELD, str(error), details) from None
        # A bot has no id; the game learns its name.
        name = self.seating.bot_name()
        seat = self.free_seat(SeatPlan("", name or "bot", level=level))
        bot_seat = BotSeat(seat, name, level)
        self.seating.sit(seat, bot_seat)
        played = self.round.played
        if played is not None:
            self.round.change_seat(played.room.seat_bot, seat)
        else:
            self.round.timetable.joined(self.context.seconds())
        self.round.find_deadlines()
        self.announce(ClientJoined, bot_seat, "bot")
        self.changed()
        self.round.flush_soon()
        return seat

    def kick(self, seat: int) -> None:
        """
        Remove whoever has a seat, for good.

        :raises Refused: nobody has it, or it is the host's own, or that of a former
            host who may be back in a moment.
        """
        who = self.seating.at(seat)
        if who is None:
            raise Refused(
                Code.NO_SUCH_PLAYER, "nobody has this seat", {"field": "data.seat"}
            )
        if who is self.seating.host:
            raise Refused(
                Code.BAD_FIELD,
                "this seat is yours; leave_room gives it up",
                {"field": "data.seat"},
            )
        if isinstance(who, Member):
            if (
                self.round.is_lasting
                and self.state == "playing"
                and who.conversation is None
            ):
                raise Refused(
                    Code.NOT_NOW,
                    "this game keeps the seats of players who are away",
                    {"state": "playing"},
                )
            self._spare_older(who)
            self.kick_member(who)
            return
        played = self.round.played
        self.seating.stand_up(who, played is not None)
        if played is not None:
            self.round.change_seat(played.room.leave, seat)
        self.announce(ClientLeft, who, "kicked")
        self.changed()
        self.round.flush_soon()

    def _spare_older(self, member: Member) -> None:
        """
        Spare a member in whose place the host is: a short loss costs nobody its room.

        :raises Refused: it was lost a moment ago.
        """
        left = member.lost_at + HOST_SPARED - self.context.seconds()
        if member.lost_at == inf or left <= 0:
            return
        if (
            next(who for who in self.members if who in (member, self.seating.host))
            is member
        ):
            raise Refused(
                Code.NOT_NOW,
                "who is away as host may be back in a moment",
                {"retry_after": round(left, 3)},
            )

    def kick_player(self, player_id: str) -> None:
        """
        Remove a player for good, for an operator.

        :raises Refused: `NO_SUCH_PLAYER`.
        """
        found = (one for one in self.members if one.player_id == player_id)
        member = next(found, None)
        if member is None:
            raise Refused(Code.NO_SUCH_PLAYER, "no such player in this room")
        self.kick_member(member)

    def kick_member(self, member: Member) -> None:
        """Remove a member, who cannot come back to this room."""
        self.seating.kicked.add(member.player_id)
        member.send(Kicked(self.room_id))
        self.leave(member, "kicked")

    def set_team(self, seat: int, team: int | None) -> None:
        """
        Choose the team of a seat for the next start, whether anybody has it or not.

        :param seat: the number of the seat.
        :param team: the number of the team; ``None`` leaves it to the game's rules.
        :raises Refused: the game has no such team or seat, or is being played.
        """
        if not self.game.teams:
            raise Refused(Code.NOT_NOW, f"{self.name} has no teams")
        if not self.is_own or self.state == "playing":
            raise Refused(
                Code.NOT_NOW,
                "teams are chosen before play begins",
                {"state": self.state},
            )
        self.seating.set_team(seat, team)
        self.changes += 1
        self.broadcast.announce(
            TeamSet(self.room_id, self.broadcast.next_number(), seat, team)
        )
        self.round.flush_soon()


def taken_over(room_id: str) -> Refused:
    """Write what the older of two connections of a player is sent."""
    return Refused(
        Code.SEAT_TAKEN,
        "a newer connection has your place in this room",
        {"room_id": room_id},
    )
