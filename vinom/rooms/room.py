"""
One live room of this node: who comes and goes, and its time.

Times are seconds on the rooms' clock, which never goes back. What one turn of the
reactor brings makes one broadcast, unless the game wants every change told.

What live rooms are handed, and what they may cost.

What a live room is: its game, and who sits there, for lists and operators.

Who has a place in a live room: newcomers, losses, leavers, bots and the host.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs
from msgspec import MsgspecError, structs
from twisted.logger import Logger

from vinom.errors import Code, Refused, Rejected
from vinom.game import Game
from vinom.hosting.host import PlayedRoom
from vinom.hosting.recorded import Recording, RecordingStore, log_bot_failed, write_end
from vinom.messages.envelope import Envelope
from vinom.messages.rooms import (
    ClientJoined,
    ClientLeft,
    Kicked,
    RoomClosed,
    RoomFacts,
    RoomStarted,
)
from vinom.messages.rooms import RoundOver as RoundOverTold
from vinom.model import MatchPlan, Player, SeatPlan
from vinom.play.choices import json_action_reader
from vinom.play.guard import Guard
from vinom.play.room import (
    BotFailed,
    Closed,
    Emitted,
    Forfeited,
    Room,
    RoundOver,
    outcome_facts,
)
from vinom.reactor.alarm import Alarm
from vinom.rooms.broadcast import LiveRoomOut
from vinom.rooms.member import BotSeat, Member

if TYPE_CHECKING:
    from vinom.rooms.member import Member


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


class House(Protocol):
    """
    What a live room asks of the node around it.

    :ivar seconds: a clock that never goes back.
    :ivar entropy: random bytes, as many as asked for.
    """

    bounds: RoomBounds
    seconds: Callable[[], float]
    entropy: Callable[[int], bytes]
    recordings: RecordingStore
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

    # What is played, and its time: `vinom.rooms.room.LiveRoom`.

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


#: Longest text of a refusal, characters.
_LONGEST_TEXT = 200
#: Everybody is told the ids of actions, and JavaScript cannot count further.
_HIGHEST_ID = (1 << 53) - 1


class LiveRoom(LiveRoomSeats):
    """One room, its seats and its game."""

    def __init__(self, house: House, terms: RoomTerms) -> None:
        super().__init__(house, terms)
        game = self.game
        self._recording: Recording | None = None
        self._decode = json_action_reader(game)
        self._ticks, self._tells_each = bool(game.tick_hz), game.states == "every"
        self._armed_for = -inf
        self._alarm = house.alarm(self)
        self.find_deadlines()
        self._arm()

    # What the host asks.

    def start(self) -> None:
        """
        Begin with those who are there.

        :raises Refused: they are too few, or play has begun.
        """
        if self.room is not None:
            raise Refused(Code.NOT_NOW, "play has begun", {"state": self.state})
        fewest = self.game.seats[0]
        if self.taken() < fewest:
            raise Refused(
                Code.NOT_NOW,
                f"{self.name} takes at least {fewest} players",
                {"state": self.state, "seats": fewest},
            )
        self._fill_at = -inf
        self.find_deadlines()
        self._house.turn(self)

    def rematch(self) -> None:
        """
        Play anew with the same seats; gather again if too few are left.

        :raises Refused: no round is over.
        """
        if self.room is None or self.state != "over":
            raise Refused(Code.NOT_NOW, "no round is over", {"state": self.state})
        room, now = self.room, self._house.seconds()
        room.close("finished", now)
        closed = self._settle(now)
        if closed is None or closed.end.reason != "finished":
            # The game failed at its last view.
            self._house.turn(self)
            return
        if self._recording is not None:
            write_end(self._recording, room, closed)
        self._clear_table()
        self._fill_at = -inf
        self._house.turn(self)

    # Play.

    def act(self, member: Member, envelope: Envelope) -> None:
        """
        A member acts.

        :raises Refused: it cannot be; nothing has changed.
        """
        if envelope.seen is not None:
            self.saw(member, envelope.seen)
        room, seat, id = self.room, member.seat, envelope.id
        if seat is None:
            raise Refused(Code.NOT_SEATED, "spectators only watch")
        if room is None:
            raise Refused(Code.NOT_NOW, "play has not begun", {"state": "gathering"})
        if id is not None:
            if type(id) is not int or not 1 <= id <= _HIGHEST_ID:
                raise Refused(
                    Code.BAD_FIELD,
                    "the id of an action is a whole number that rises, from 1 to "
                    f"{_HIGHEST_ID}",
                    {"field": "id"},
                )
            if id <= member.acting:
                # It was applied: say so again, as soon as everybody is told.
                self._owed.append(member)
                self._house.turn(self)
                return
        house = self._house
        now = house.seconds()
        if self._ticks:
            # A tick that is due takes the actions before this one.
            self._run_clock(room, now)
        try:
            room.act(seat, self._decode(envelope.data), now)
        except Rejected as no:
            raise Refused(
                Code.REJECTED,
                no.message[:_LONGEST_TEXT],
                {"reason": no.code, "room_id": self.room_id},
            ) from None
        finally:
            if room.phase == "closed":
                house.turn(self)
        if id is not None:
            member.acting = id
            if not self._ticks:
                member.acted = id
                self.acknowledge(seat, id)
                if self.version == self._shown:
                    self._owed.append(member)
        if self._tells_each and not self._ticks:
            self._tell(now)
        else:
            house.turn(self)

    def flush(self) -> None:
        """Tell everybody what this turn changed."""
        if self.is_closed:
            return
        now = self._house.seconds()
        if self.room is None:
            self._start_if_ready(now)
        self._tell(now)

    def _tell(self, now: float) -> None:
        room, closed = self.room, None
        if room is not None:
            if room.has_effects:
                closed = self._settle(now)
            if closed is None or closed.report is None:
                self.show(now)
                # A game may fail while it is looked at.
                if room.has_effects:
                    closed = self._settle(now) or closed
        if closed is not None:
            self._ended(closed)
        elif not self.is_closed:
            self._arm()

    def _start_if_ready(self, now: float) -> None:
        fewest, most = self.game.seats
        taken = self.taken()
        if taken < fewest:
            return
        if taken == most or self.game.late_join or now >= self._fill_at:
            self._start(now)

    def _start(self, now: float) -> None:
        """Lay the table; seats that are free go, and the others move up."""
        self.seats = [who for who in self.seats if who is not None]
        for seat, who in enumerate(self.seats):
            if who is not None:
                who.seat = seat
        self._fill_at = inf
        plan = MatchPlan(
            match_id=f"{self.room_id}-{self._house.entropy(5).hex()}",
            game=self.name,
            seats=tuple(
                SeatPlan(who.player_id or f"bot-{seat}", who.name, who.loadout)
                for seat, who in enumerate(self.seats)
                if who is not None
            ),
            seed=int.from_bytes(self._house.entropy(8), "big"),
            options=self.options,
            # Away or not: the game does not learn who is host later.
            host=next((who.seat for who in self.members if who.seat is not None), 0),
        )
        try:
            room = self._lay(plan, now)
        except Refused as refusal:
            # Options and loadouts were checked when they came; teams were not.
            self._log.error(
                "room {room_id} cannot start: {why}", room_id=self.room_id, why=refusal
            )
            self.close("crashed")
            return
        self.room = room
        for seat, who in enumerate(self.seats):
            if isinstance(who, BotSeat):
                self._play("seat_bot", seat)
        # Whoever is away just now takes part, and drops at once.
        for seat, who in enumerate(self.seats):
            if isinstance(who, Member):
                self._play("join", seat)
        for seat, who in enumerate(self.seats):
            if isinstance(who, Member) and who.conversation is None:
                self._play("drop", seat)
        self._acks = {
            str(member.seat): member.acted
            for member in self.members
            if member.acted and member.seat is not None
        }
        self._acks_text = b""
        self.find_deadlines()
        self._changed()
        self._tell_started()

    def _lay(self, plan: MatchPlan, now: float) -> PlayedRoom:
        """
        Lay the table.

        :raises Refused: the game does not take this plan.
        """
        house = self._house
        recording = house.recordings.open(plan, self.game, house.wall_seconds())
        self._recording = recording
        return Room(
            plan,
            self.game,
            now,
            record=recording.record,
            guard=house.guard,
            away_timeout=inf,
        )

    def _tell_started(self) -> None:
        players, setup = self.players(), self.setup()
        number = self.next_number()
        for member in tuple(self.live):
            member.tell(
                RoomStarted(
                    self.room_id,
                    number,
                    member.seat,
                    self.host_seat(),
                    players,
                    setup,
                )
            )

    def _settle(self, now: float) -> Closed | None:
        """Act on what the room did; returns how it ended, if it has."""
        room = self.room
        if room is None:
            return None
        for effect in room.take_effects():
            if isinstance(effect, Emitted):
                event = effect.event
                try:
                    self.emit(event.kind, event.data, event.to, effect.version)
                except (TypeError, ValueError, RecursionError, MsgspecError) as error:
                    room.fail(error)
                    return self._settle(now)
            elif isinstance(effect, RoundOver):
                self._round_over(effect)
            elif isinstance(effect, Forfeited):
                who = self.seats[effect.seat]
                if isinstance(who, Member):
                    # Mostly it is away; who is not learns that it is out.
                    who.tell(Kicked(self.room_id))
                    self.leave(who, "forfeited")
            elif isinstance(effect, BotFailed):
                log_bot_failed(room, effect)
            elif isinstance(effect, Closed):
                return effect
        return None

    def _round_over(self, effect: RoundOver) -> None:
        facts = outcome_facts(effect.outcome)
        number = self.next_number()
        self.announce(RoundOverTold(self.room_id, number, self.version, facts))
        self._changed()

    def _ended(self, closed: Closed) -> None:
        if self.room is not None and self._recording is not None:
            write_end(self._recording, self.room, closed)
            self._recording = None
        if closed.report is None and not self.taken():
            # All who played have left: the room waits a while for others.
            self._clear_table()
            self.find_deadlines()
            self._arm()
            return
        end = closed.end
        self.close(end.reason, end.outcome, end.view_hash)

    def _clear_table(self) -> None:
        """Play is over, and another may begin."""
        self._before = self.version
        self.room = self._recording = None
        self._changed()

    def close(
        self, reason: str, outcome: dict[str, Any] | None = None, view_hash: str = ""
    ) -> None:
        """
        End the room, for one of the reasons of `vinom.model.EndReason`.

        :param view_hash: of the last public view, if that is known.
        """
        if self.is_closed:
            return
        self.is_closed = True
        self._alarm.stop()
        now = self._house.seconds()
        if self.room is not None and self._recording is not None:
            self.room.close(reason, now)
            closed = self._settle(now)
            if closed is not None:
                write_end(self._recording, self.room, closed)
                outcome = closed.end.outcome
                view_hash = closed.end.view_hash
        told = RoomClosed(self.room_id, reason, outcome, self.version, view_hash)
        for member in tuple(self.members):
            conversation = member.conversation
            self._house.forget(member, told)
            member.disconnect()
            if conversation is not None:
                conversation.send(told)
        self.members.clear()
        self.live.clear()
        self._house.closed(self, told)

    # Time.

    def deadline(self) -> float | None:
        """When to call `ring` next."""
        at = self._others_at
        room = self.room
        if room is not None:
            due = room.deadline()
            if due is not None and due < at:
                return due
        return None if at == inf else at

    def ring(self) -> None:
        """Do what is due."""
        now = self._house.seconds()
        if (
            not self.members
            and now >= self._empty_since + self._house.bounds.close_seconds
        ):
            self.close("abandoned")
            return
        if now >= self._others_at:
            for member in tuple(self.members):
                if now >= member.lost_at + self.grace:
                    self.leave(member, "expired")
        if self.room is not None:
            self._run_clock(self.room, now)
        self.flush()

    def _run_clock(self, room: PlayedRoom, now: float) -> None:
        """Let the room's time pass; a tick takes the actions that waited."""
        before = room.ticks
        room.alarm(now)
        if room.ticks != before:
            for member in self.members:
                if member.acted != member.acting and member.seat is not None:
                    member.acted = member.acting
                    self.acknowledge(member.seat, member.acted)

    def _arm(self) -> None:
        at = self.deadline()
        if at is not None and at != self._armed_for:
            self._armed_for = at
            self._alarm.arm()
