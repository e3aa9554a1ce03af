"""
One room of this node: who comes and goes, what is played, and its time.

Times are seconds on the rooms' clock, which never goes back. What one turn of the
reactor brings makes one broadcast, unless the game wants every change shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from math import inf
from typing import Any, Literal, Protocol

import attrs
from msgspec import Raw, structs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vinom.base.messages.envelope import Envelope
from vinom.base.messages.rooms import (
    ClientJoined,
    ClientLeft,
    Kicked,
    RoomClosed,
    RoomFacts,
    RoomPaused,
    RoomPeek,
    RoomSeat,
    RoomStarted,
    TeamSet,
)
from vinom.base.model import SEED_BYTES, MatchPlan, Player, SeatPlan
from vinom.base.reactor.alarm import Alarm
from vinom.base.reactor.turns import TurnEnd
from vinom.errors import Code, Refused
from vinom.fleet.relay.room import Host
from vinom.game import Game
from vinom.lobby.conversation.conversation import Conversation, Membership
from vinom.lobby.matches.service import ResultWatch
from vinom.play.choices import json_action_reader
from vinom.play.faults import own_lines
from vinom.play.guard import Guard
from vinom.play.hosting.checkpoints import (
    Checkpoint,
    KeptNews,
    keep_play,
    write_checkpoint,
)
from vinom.play.hosting.host import RecordingStore, RoomHost
from vinom.play.hosting.keeping import Keeping, RoomKeeper
from vinom.play.states import StateCodec
from vinom.rooms.broadcast import Broadcast, News
from vinom.rooms.member import BotSeat, DialedSeat, Member
from vinom.rooms.pacing import StartPacing
from vinom.rooms.seating import Seating, Sitter
from vinom.rooms.timetable import Timetable

#: How long a seat is kept for somebody who was sent here from a queue, seconds.
EXPECTED_SECONDS = 10.0
#: A host who is away cannot be kicked by its successor for this long, seconds.
HOST_SPARED = 30.0
#: Actions of one room that wait while its checkpoint is on its way.
MOST_HELD = 1024
#: More states, and more news, than a room has between two checkpoints.
FORGOTTEN = 10_000
#: Everybody is sent the ids of actions, and JavaScript cannot count further.
_HIGHEST_ID = (1 << 53) - 1

State = Literal["gathering", "playing", "over"]


@attrs.frozen
class RoomBounds:
    """
    What rooms may cost. Times: seconds.

    :ivar most: rooms of this node.
    :ivar per_client: rooms that one player, or one connection, may be in.
    :ivar per_address: rooms that players of one address opened; four times that for
        those of one /24 or /48.
    :ivar places: seats and places of spectators that came from one address, likewise.
    :ivar spectators: of one room.
    :ivar close_seconds: how long a room stays after the last person left, and before
        play also after the last one lost its connection.
    :ivar grace_seconds: how long a player whose connection was lost may come back,
        unless the game says otherwise.
    :ivar fill_seconds: how long a room waits, after the last one joined, for more
        than the fewest players.
    """

    most: int = 10_000
    per_client: int = 8
    per_address: int = 64
    places: int = 1024
    spectators: int = 256
    close_seconds: float = 30.0
    grace_seconds: float = 900.0
    fill_seconds: float = 5.0


@attrs.frozen
class RoomTerms:
    """
    What a room was made for.

    :ivar room_id: names it.
    :ivar name: of the game, as players ask for it.
    :ivar game: its rules.
    :ivar options: the game's, canonical JSON.
    :ivar is_public: may players who name no room get a seat here?
    :ivar is_listed: is it in the list of rooms?
    :ivar opener: address of the player who opened it.
    """

    room_id: str
    name: str
    game: Game[Any, Any]
    options: bytes
    is_public: bool
    is_listed: bool = True
    opener: str = ""


@attrs.frozen(eq=False)
class RoomContext:
    """
    What all rooms of a node share.

    :ivar bounds: what they may cost.
    :ivar seconds: a clock that never goes back.
    :ivar clock: rings; its seconds are of the Unix epoch.
    :ivar entropy: makes that many random bytes.
    :ivar turns: what is done when a turn of the reactor ends.
    :ivar recordings: where what is played here is written down.
    :ivar guard: ends calls into games that take too long.
    :ivar changed: is called when what a list shows of a room has changed.
    :ivar forget: is called with somebody who is no longer a member, and with how the
        room closed, if that is why.
    :ivar closed: is called when a room has closed, and why.
    :ivar pacing: decides whether one more may start in this turn of the reactor.
    :ivar deserted: is called when nobody is connected before play, or no longer so.
    :ivar shows_faults: are members sent why a game failed? Only for its author.
    :ivar results: notes how rounds end.
    """

    bounds: RoomBounds
    seconds: Callable[[], float]
    clock: IReactorTime
    entropy: Callable[[int], bytes]
    turns: TurnEnd
    recordings: RecordingStore
    guard: Guard | None
    changed: Callable[[NodeRoom], None]
    forget: Callable[[str, Member, RoomClosed | None], None]
    closed: Callable[[NodeRoom, str], None]
    deserted: Callable[[NodeRoom], None]
    pacing: StartPacing
    shows_faults: bool
    results: ResultWatch | None = None


class RoomPolicy(Protocol):
    """
    What differs between rooms that players open and rooms that show a match.

    :ivar is_own: a room of the node alone: it is listed with the others, a drain closes
        it, and it can be played in again when everybody has left.
    """

    is_own: bool

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

    def keeps_seat(self, member: Member) -> bool:
        """Is a place kept, however long its player is away?"""

    def emptied(self, room: NodeRoom) -> None:
        """The last member has left."""

    def host_of(self, members: Sequence[Member]) -> Member | None:
        """Choose the member who may kick, start and so on."""

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


class NodeRoom:
    """
    One room: its members, what they are sent, and what hosts its game.

    What its `RoomTerms` say is here as well.

    :ivar policy: what differs from other rooms.
    :ivar members: everybody who plays or watches, in the order they came.
    :ivar seating: who sits where, and who has left what is played.
    :ivar host: the member who may kick, start and so on.
    :ivar broadcast: what members are sent.
    :ivar is_closed: nothing happens any more.
    """

    _log = Logger()

    def __init__(
        self, context: RoomContext, terms: RoomTerms, policy: RoomPolicy
    ) -> None:
        """
        Open a room.

        :param context: what it shares with others.
        :param terms: what it is made for.
        :param policy: who may sit, who is host, and so on.
        """
        game = terms.game
        self.room_id, self.name, self.game = terms.room_id, terms.name, game
        self.options, self.is_public = terms.options, terms.is_public
        self.is_listed, self.opener = terms.is_listed, terms.opener
        self.policy = policy
        self.members: list[Member] = []
        self.seating = Seating(terms.name, game)
        self.host: Member | None = None
        self.is_closed = False
        self.broadcast = Broadcast(
            terms.room_id,
            wake=self.wake,
            after=context.turns.call,
            forfeited=self._forfeited,
            changed=self._changed,
        )
        self._context, self._seconds = context, context.seconds
        self._read = json_action_reader(game)
        self._shows_each = False
        self._played: Host | None = None
        self._is_start_announced = False
        self._is_awake = False
        self._kicked: set[str] = set()
        # Players for whom seats are kept, and until when.
        self._expected: dict[str, IDelayedCall] = {}
        # What players did while a checkpoint was on its way.
        self._held: deque[tuple[Member, Envelope]] = deque()
        self._keeper: RoomKeeper | None = None
        self._changes = 0
        bounds, grace = context.bounds, game.grace_seconds
        self._timetable = Timetable(
            bounds.fill_seconds,
            bounds.close_seconds,
            bounds.grace_seconds if grace is None else grace,
            context.seconds(),
        )
        self._armed_for = -inf
        self._alarm = Alarm(context.clock, self.deadline, self.ring, self._seconds)
        policy.opened(self)
        self._find_deadlines()
        self._alarm.arm()

    # What outlives the node.

    def keep(self, keeping: Keeping, codec: StateCodec, fence: int) -> None:
        """
        Keep checkpoints from now on.

        :param keeping: what all rooms of the node share.
        :param codec: of the game's states.
        :param fence: number of this node's ownership of the room.
        """
        grace = self.game.grace_seconds
        self._keeper = RoomKeeper(
            keeping,
            self.room_id,
            fence,
            self.game.durability == "ahead",
            self._context.bounds.grace_seconds if grace is None else grace,
            lambda: write_checkpoint(self._checkpoint(codec)),
            self._stamp,
            self._released,
            self._paused,
            self._moved,
        )

    def keep_again(self) -> None:
        """Store the room again: the store may have lost it."""
        if self._keeper is not None and not self.is_closed:
            self._keeper.again()

    def _stamp(self) -> Hashable:
        """Find what differs when the checkpoint would differ."""
        played = self._played
        if not isinstance(played, RoomHost):
            return self._changes
        room = played.room
        return (
            self._changes,
            room.plan.match_id,
            room.version,
            tuple(played.applied),
            room.play.time if room.effects else None,
        )

    def _checkpoint(self, codec: StateCodec) -> Checkpoint:
        played, now = self._played, self._seconds()
        host = played if isinstance(played, RoomHost) else None
        seated = [one for one in self.members if one.seat is not None]
        before, is_over, outcome, forgotten, news = self.broadcast.keep()
        return Checkpoint(
            self.room_id,
            self.name,
            self.options,
            self.is_public,
            self.is_listed,
            self.opener,
            tuple(one.as_kept(host) for one in seated),
            tuple(
                (seat, who.name)
                for seat, who in enumerate(self.seating.seats)
                if isinstance(who, BotSeat)
            ),
            self.seating.teams(),
            tuple(
                (one.seat, one.name, one.player_id)
                for one in self.seating.former.values()
            ),
            tuple(sorted(self._kicked)),
            self.broadcast.number,
            before,
            is_over,
            outcome,
            forgotten,
            tuple(
                KeptNews(
                    one.number,
                    one.to,
                    one.is_event,
                    one.text,
                    "" if one.but is None else one.but.player_id,
                )
                for one in news
            ),
            None if host is None else keep_play(host, codec, now),
        )

    def restore(self, kept: Checkpoint, host: RoomHost | None) -> list[Membership]:
        """
        Go on where another node stopped; nobody is connected yet.

        :param kept: the latest checkpoint.
        :param host: goes on with what is played.
        :returns: the players, who may come back.
        """
        now, seats = self._seconds(), self.seating.seats
        seats += [None] * len(() if host is None else host.room.plan.seats)
        for one in kept.members:
            member = Member.from_kept(one, now)
            self.members.append(member)
            seats += [None] * (one.seat + 1 - len(seats))
            seats[one.seat] = member
        for seat, name in kept.bots:
            seats += [None] * (seat + 1 - len(seats))
            seats[seat] = BotSeat(seat, name)
        for seat, team in kept.teams:
            self.seating.restore_team(seat, team)
        for seat, name, player_id in kept.former:
            self.seating.former[seat] = RoomSeat(seat, name, player_id, "left")
        self._kicked.update(kept.kicked)
        if self.members:
            self._timetable.entered()
        if host is not None:
            self._is_start_announced = True
            self.play(host)
        by_id = {one.player_id: one for one in self.members}
        # What was shown after a checkpoint of a game that is not "ahead" is forgotten,
        # but no player sees a number twice, or a version go back.
        jump = 0 if self.game.durability == "ahead" else FORGOTTEN
        self.broadcast.restore(
            kept.number + jump,
            kept.before + jump,
            kept.is_over,
            kept.outcome,
            kept.forgotten,
            [
                News(one.number, one.to, one.is_event, one.text, by_id.get(one.but))
                for one in kept.news
            ],
        )
        self._choose_host()
        self._find_deadlines()
        self._changed()
        self.wake()
        return [Membership(self, member) for member in self.members]

    def look_at_store(self, is_available: bool) -> None:
        """
        Pause what is played, if nothing of it could be kept now.

        :param is_available: does the store answer, as far as is known?
        """
        if self._keeper is not None and isinstance(self._played, RoomHost):
            self._keeper.look(is_available)

    def _hold(self, member: Member, envelope: Envelope) -> None:
        """
        Let an action wait for the checkpoint that is on its way.

        :raises Refused: too many wait.
        """
        if len(self._held) >= MOST_HELD:
            raise Refused(
                Code.BUSY,
                "this room waits for the server's storage",
                {"retry_after": 1.0, "room_id": self.room_id},
            )
        self._held.append((member, envelope))

    def _run_held(self) -> None:
        """Let players do what had to wait, up to the next checkpoint."""
        held, keeper = self._held, self._keeper
        while held and keeper is not None and not keeper.is_holding:
            member, envelope = held.popleft()
            try:
                self.act(member, envelope)
            except Refused as refusal:
                if member.conversation is not None:
                    member.conversation.refuse(refusal, envelope.id)

    def _released(self) -> None:
        """What waited for a checkpoint may be shown."""
        self._armed_for = -inf
        self.flush()

    def _paused(self, is_frozen: bool) -> None:
        """Nothing can be kept at present, or it can be again."""
        played, now = self._played, self._seconds()
        if isinstance(played, RoomHost):
            (played.room.freeze if is_frozen else played.room.thaw)(now)
            for member in self.members:
                member.send(RoomPaused(self.room_id, is_frozen))

    def _moved(self) -> None:
        """Another node has the room: nothing more is shown here."""
        if self.is_closed:
            return
        if not self.is_moving:
            self._log.warn(
                "room {room_id} went on at another node while this one had no lease",
                room_id=self.room_id,
            )
        self.vanish()

    @property
    def is_kept(self) -> bool:
        """Does the room outlive this node?"""
        return self._keeper is not None and not self._keeper.is_over

    @property
    def is_moving(self) -> bool:
        """Does this node hand the room to another one?"""
        return self._keeper is not None and self._keeper.is_leaving

    def move(self) -> bool:
        """
        Hand the room to the node to which its players come next.

        What they do from now on waits; when the last checkpoint is stored their lines
        end, and they come back. The store may answer at once.

        :returns: ``False`` if the room lives in this node only.
        """
        if self._keeper is None or self.is_closed:
            return False
        if all(member.seat is None for member in self.members):
            self.close("shutdown")
            return True
        return self._keeper.leave()

    def vanish(self) -> None:
        """The room goes on elsewhere: end the lines of its members, and show no end."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._keeper is not None:
            self._keeper.stop(forget=False)
        self._alarm.stop()
        self._expect_nobody()
        self.policy.closed()
        for member in tuple(self.members):
            conversation = member.conversation
            self._context.forget(self.room_id, member, None)
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
        self._context.closed(self, "moved")

    # What it is.

    @property
    def phase(self) -> str | None:
        """Return the phase of what is played, as of `Room`; ``None`` if nothing is."""
        return None if self._played is None else self._played.room.phase

    @property
    def state(self) -> State:
        """Find how far it is."""
        return self.policy.state(self)

    @property
    def is_open(self) -> bool:
        """Can a newcomer take a seat now, and is anybody connected to play with?"""
        if not self.broadcast.live:
            return False
        if self.is_closed or (self._played is not None and not self.game.late_join):
            return False
        return self._unexpected() > 0

    def _unexpected(self) -> int:
        """Count the seats that nobody has, and that are kept for nobody."""
        return self.game.seats[1] - self.seating.taken() - len(self._expected)

    def expect(self, player_ids: Sequence[str]) -> bool:
        """
        Keep seats for newcomers who were sent here, for a short time.

        :returns: ``False``, and keeps none, if there are not as many.
        """
        if self._unexpected() < len(player_ids) or any(
            self.has_removed(one) or self.member_of(one) or one in self._expected
            for one in player_ids
        ):
            return False
        clock = self._context.clock
        for one in player_ids:
            self._expected[one] = clock.callLater(EXPECTED_SECONDS, self._no_more, one)
        self._changed()
        return True

    def _no_more(self, player_id: str) -> None:
        """Somebody who was sent here did not come."""
        del self._expected[player_id]
        self._changed()

    def _expect_nobody(self) -> None:
        for call in self._expected.values():
            call.cancel()
        self._expected.clear()

    @property
    def is_deserted(self) -> bool:
        """Is nobody connected, before play has begun?"""
        return self._timetable.is_deserted

    def facts(self) -> RoomFacts:
        """Describe it for a list."""
        return self.policy.facts(self)

    def host_seat(self) -> int | None:
        """Return the host's seat."""
        return None if self.host is None else self.host.seat

    def member_of(self, player_id: str) -> Member | None:
        """Find a player among the members."""
        for member in self.members:
            if member.player_id == player_id:
                return member
        return None

    def has_removed(self, player_id: str) -> bool:
        """Was this player kicked?"""
        return player_id in self._kicked

    def refuse_removed(self, player_id: str) -> None:
        """
        Keep out a player who was kicked.

        :raises Refused: it was.
        """
        if player_id in self._kicked:
            raise Refused(Code.KICKED, "you were removed from this room")

    def peek(self) -> RoomPeek:
        """Show it once, as spectators see it."""
        played, now = self._played, self._seconds()
        view, time = b"", 0.0
        if self.policy.is_own and played is not None and not self.broadcast.is_muted:
            view = played.room.view_json(played.room.audience_of(None))
            time = played.room.match_time(now)
            if played.room.phase == "closed":
                # The game failed to make its view.
                self.wake()
        return RoomPeek(
            self.room_id,
            self.name,
            self.state,
            self.seating.players(),
            Raw(self.options),
            self.broadcast.setup(),
            Raw(view or b"null"),
            self.broadcast.version,
            round(time, 3),
        )

    def described(self) -> dict[str, Any]:
        """Describe it for operators: JSON-like."""
        return {
            **structs.asdict(self.facts()),
            "host": self.host_seat(),
            "version": self.broadcast.version,
            "players": [structs.asdict(seat) for seat in self.seating.players()],
            "connected": len(self.broadcast.live),
        }

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
            self.refuse_removed(player.player_id)
            watching = sum(member.seat is None for member in self.members)
            most = self._context.bounds.spectators
            if watching >= most:
                raise Refused(
                    Code.ROOM_FULL, "too many watch this room", {"limit": most}
                )
        member = Member(player, seat, loadout, self.broadcast.number)
        if seat is not None:
            self.seating.sit(seat, member)
            if player.player_id in self._expected:
                self._expected.pop(player.player_id).cancel()
        self.members.append(member)
        self._timetable.entered()
        self._changed()
        self.policy.entered()
        return Membership(self, member)

    def free_seat(self, player: Player, loadout: bytes) -> int:
        """
        Find a seat that nobody has, or add one; who gets it is up to the caller.

        :param player: who shall have it.
        :param loadout: canonical JSON.
        :raises Refused: there is none.
        """
        return self._free_seat(
            SeatPlan(player.player_id, player.name, loadout, claims=player.claims)
        )

    def _free_seat(self, plan: SeatPlan) -> int:
        played = self._played
        if played is not None and not self.game.late_join:
            raise Refused(
                Code.ROOM_STARTED,
                "play has begun, and this game takes no newcomers; you may spectate",
            )
        is_expected = plan.player_id in self._expected
        if self.seating.is_full or not (is_expected or self._unexpected() > 0):
            raise Refused(Code.ROOM_FULL, "every seat is taken; you may spectate")
        if played is None:
            return self.seating.free()
        seat = played.add_seat(plan, self._seconds())
        if seat == len(self.seating.seats):
            self.seating.seats.append(None)
        return seat

    def connect(self, membership: Membership, conversation: Conversation) -> None:
        """Let a member be here by a conversation; an older one of it is out."""
        member: Member = membership.member
        older = member.conversation
        if older is not None:
            self._disconnect(member)
            if older is not conversation:
                older.warn(self.taken_over())
        member.connect(conversation)
        conversation.entered(self.room_id, membership)

    def taken_over(self) -> Refused:
        """Write what the older of two connections of a player is sent."""
        return Refused(
            Code.SEAT_TAKEN,
            "a newer connection has your place in this room",
            {"room_id": self.room_id},
        )

    def result_of(self, member: Member) -> dict[str, Any]:
        """Write what a member is answered when it comes in, or comes back."""
        played, seat, acted = self._played, member.seat, member.acted
        if played is not None and seat is not None:
            acted = played.acted[seat]
        return {
            "room_id": self.room_id,
            "game": self.name,
            "seat": seat,
            "state": self.state,
            "options": Raw(self.options),
            "setup": self.broadcast.setup(),
            "version": self.broadcast.version,
            "acted": acted,
            "former": tuple(self.seating.former.values()),
        }

    def returned(self, member: Member) -> None:
        """A member is connected, for the first time or again."""
        is_new = member.epoch == 1
        self.broadcast.add(member)
        self._choose_host()
        self._changed()
        seat, played = member.seat, self._played
        if played is not None and seat is not None:
            self._play(played.room.join, seat)
        self.announce_joined(member, "joined" if is_new else "returned", but=member)
        if is_new and played is None:
            self._timetable.joined(self._seconds())
        self._find_deadlines()
        self.wake()

    def lost(self, member: Member, conversation: Conversation) -> None:
        """A connection is gone; the member may come back, or has a newer one."""
        if member.conversation is not conversation:
            return
        self._disconnect(member)
        if self.is_closed:
            return
        self._choose_host()
        self._changed()
        member.lost_at = inf if self.policy.keeps_seat(member) else self._seconds()
        seat, played = member.seat, self._played
        if played is not None and seat is not None:
            self._play(played.room.drop, seat)
        self._find_deadlines()
        # The member itself need not be sent that it was away.
        self.announce_left(member, "lost", but=member)
        self.wake()

    def leave(self, member: Member, reason: str) -> None:
        """A member gives its place up, or loses it, for good."""
        if member not in self.members:
            return
        self._remove(member)
        seat, played = member.seat, self._played
        if seat is not None:
            self.seating.stand_up(member, played is not None)
            if played is not None:
                played.acted[seat] = played.applied[seat] = 0
        self._choose_host()
        if played is not None and seat is not None:
            self._play(played.room.leave, seat)
        if not self.members:
            self._timetable.emptied(self._seconds())
        self._find_deadlines()
        self.announce_left(member, reason)
        self._changed()
        self.wake()
        if not self.members:
            self.policy.emptied(self)

    def hand_over(self, member: Member, dialed: DialedSeat) -> None:
        """A player of a match came over UDP: it is no longer a member here."""
        self._remove(member)
        self.seating.sit(dialed.seat or 0, dialed)
        self._find_deadlines()
        if not self.members:
            self.policy.emptied(self)

    def _remove(self, member: Member) -> None:
        self._disconnect(member)
        self.members.remove(member)
        self._context.forget(self.room_id, member, None)

    def _disconnect(self, member: Member) -> None:
        conversation = member.conversation
        self.broadcast.remove(member)
        if conversation is not None:
            conversation.departed(self.room_id)

    def _choose_host(self) -> None:
        host = self.policy.host_of(self.members)
        if host is not self.host:
            self.host = host
            self._changed()

    def announce_joined(self, who: Sitter, how: str, but: Member | None = None) -> None:
        """
        Send everybody who is connected that somebody came.

        :param who: came.
        :param how: see `ClientJoined`.
        :param but: need not be sent it.
        """
        joined = ClientJoined(
            self.room_id,
            self.broadcast.next_number(),
            who.seat,
            who.name,
            who.player_id,
            how,
            self.host_seat(),
            who.team,
        )
        self.broadcast.announce(joined, but)

    def announce_left(
        self, who: Sitter, reason: str, but: Member | None = None
    ) -> None:
        """
        Send everybody who is connected that somebody has gone.

        :param who: has gone.
        :param reason: see `ClientLeft`.
        :param but: need not be sent it.
        """
        left = ClientLeft(
            self.room_id,
            self.broadcast.next_number(),
            who.seat,
            who.name,
            who.player_id,
            reason,
            self.host_seat(),
        )
        self.broadcast.announce(left, but)

    def _changed(self) -> None:
        self._changes += 1
        self._context.changed(self)

    # What the host asks.

    def add_bot(self) -> int:
        """
        Let the game's bot take a seat; returns which.

        :raises Refused: the game has none, or there is no seat.
        """
        if type(self.game).bot is Game.bot:
            raise Refused(Code.NO_BOT, f"{self.name} has no bot")
        # A bot has no id; the game learns its name.
        name = self.seating.bot_name()
        seat = self._free_seat(SeatPlan("", name or "bot"))
        bot_seat = BotSeat(seat, name)
        self.seating.sit(seat, bot_seat)
        played = self._played
        if played is not None:
            self._play(played.room.seat_bot, seat)
        else:
            self._timetable.joined(self._seconds())
        self._find_deadlines()
        self.announce_joined(bot_seat, "bot")
        self._changed()
        self.wake()
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
        played = self._played
        self.seating.stand_up(who, played is not None)
        if played is not None:
            self._play(played.room.leave, seat)
        self.announce_left(who, "kicked")
        self._changed()
        self.wake()

    def _spare_older(self, member: Member) -> None:
        """
        Spare a member in whose place the host is: a short loss costs nobody its room.

        :raises Refused: it was lost a moment ago.
        """
        left = member.lost_at + HOST_SPARED - self._seconds()
        if member.lost_at == inf or left <= 0:
            return
        if next(who for who in self.members if who in (member, self.host)) is member:
            raise Refused(
                Code.NOT_NOW,
                "who is away as host may be back in a moment",
                {"retry_after": round(left, 3)},
            )

    def kick_member(self, member: Member) -> None:
        """Remove a member, who cannot come back to this room."""
        self._kicked.add(member.player_id)
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
        if not self.policy.is_own or self.state == "playing":
            raise Refused(
                Code.NOT_NOW,
                "teams are chosen before play begins",
                {"state": self.state},
            )
        self.seating.set_team(seat, team)
        self._changes += 1
        self.broadcast.announce(
            TeamSet(self.room_id, self.broadcast.next_number(), seat, team)
        )
        self.wake()

    def start(self) -> None:
        """
        Begin with those who are there.

        :raises Refused: they are too few, or play has begun.
        """
        if self._played is not None:
            raise Refused(Code.NOT_NOW, "play has begun", {"state": self.state})
        fewest = self.game.seats[0]
        if self.seating.taken() < fewest:
            raise Refused(
                Code.NOT_NOW,
                f"{self.name} takes at least {fewest} players",
                {"state": self.state, "seats": fewest},
            )
        self._timetable.hurry()
        self._find_deadlines()
        self.wake()

    def rematch(self) -> None:
        """
        Play again with the same seats; gather again if too few are left.

        :raises Refused: no round is over.
        """
        played = self._played
        if played is None or self.state != "over":
            raise Refused(Code.NOT_NOW, "no round is over", {"state": self.state})
        self._end_play(played, "finished")
        end = self.broadcast.end
        if end is None or end[0].reason == "finished":
            self._clear_table(played)
            self._timetable.hurry()
        # Else the game failed at its last view, and the room closes.
        self.wake()

    # Play.

    def act(self, member: Member, envelope: Envelope) -> None:
        """
        A member acts.

        :raises Refused: it cannot be; nothing has changed.
        """
        if self._keeper is not None and self._keeper.is_holding:
            self._hold(member, envelope)
            return
        if envelope.seen is not None:
            self.broadcast.saw(member, envelope.seen)
        played, seat, id = self._played, member.seat, envelope.id
        if seat is None:
            raise Refused(Code.NOT_SEATED, "spectators only watch")
        if played is None:
            raise Refused(Code.NOT_NOW, "play has not begun", {"state": "gathering"})
        if id is not None:
            if type(id) is not int or not 1 <= id <= _HIGHEST_ID:
                raise Refused(
                    Code.BAD_FIELD,
                    "the id of an action is a whole number that rises, from 1 to "
                    f"{_HIGHEST_ID}",
                    {"field": "id"},
                )
            if id <= played.acted[seat]:
                # It reached the game: say so again, when everybody is sent the state.
                self.broadcast.owe(member)
                return
        refusal = played.act(seat, id, envelope.data, self._read, self._seconds())
        if refusal is not None:
            if played.room.phase == "closed":
                self.wake()
            if refusal.code is Code.REJECTED:
                refusal.details = {**refusal.details, "room_id": self.room_id}
            raise refusal
        if self._shows_each:
            self.flush()
        elif not self._is_awake:
            # As `wake`, which would cost each action a call.
            self._is_awake = True
            self._context.turns.call(self.flush)

    def wake(self) -> None:
        """Send everybody what changed when this turn of the reactor ends."""
        if not self._is_awake:
            self._is_awake = True
            self._context.turns.call(self.flush)

    def flush(self) -> None:
        """Send everybody what changed."""
        self._is_awake = False
        if self.is_closed:
            return
        try:
            now = self._seconds()
            if self._played is None:
                self._start_if_ready(now)
            played = self._played
            if played is not None:
                played.end_turn(now)
                if played.ended_at is not None:
                    self._ended(played)
                    return
            keeper = self._keeper
            if keeper is not None:
                if self._played is None:
                    if keeper.is_holding:
                        self._armed_for = -inf
                    keeper.note()
                if keeper.is_holding:
                    return
                if self._held:
                    self._run_held()
            if not self.is_closed:
                at = self.deadline()
                if at is not None and at != self._armed_for:
                    self._armed_for = at
                    self._alarm.arm()
        except Exception:
            # Our fault, not its game's: the other rooms must not suffer.
            self._log.failure("room {room_id} failed", room_id=self.room_id)
            self.close("crashed")

    def _start_if_ready(self, now: float) -> None:
        fewest, most = self.game.seats
        taken = self.seating.taken()
        if taken < fewest:
            return
        if taken == most or self.game.late_join or self._timetable.has_waited(now):
            pacing = self._context.pacing
            if pacing.may_start:
                pacing.start(self._start, now)
            else:
                self._context.clock.callLater(0, self.wake)

    def _start(self, now: float) -> None:
        """Lay the table; seats that are free go, and the others move up."""
        self.seating.move_up()
        self._timetable.started()
        entropy = self._context.entropy
        plan = MatchPlan(
            match_id=f"{self.room_id}-{entropy(5).hex()}",
            game=self.name,
            seats=self.seating.plans(),
            seed=entropy(SEED_BYTES),
            options=self.options,
            # Away or not: the game does not learn who is host later.
            host=next((who.seat for who in self.members if who.seat is not None), 0),
        )
        self._is_start_announced = False
        try:
            played = self.policy.lay(self, plan, now)
        except Refused as refusal:
            # Options and loadouts were checked when they came; teams were not.
            self._log.error(
                "room {room_id} cannot start: {why}", room_id=self.room_id, why=refusal
            )
            self.close("crashed")
            return
        self.play(played)
        room, seats = played.room, self.seating.seats
        for seat, who in enumerate(seats):
            if isinstance(who, BotSeat):
                self._play(room.seat_bot, seat)
        # Players who are away just now take part, and drop at once.
        for seat, who in enumerate(seats):
            if isinstance(who, Member):
                played.acted[seat], played.applied[seat] = who.acted, who.applied
                self._play(room.join, seat)
        for seat, who in enumerate(seats):
            if isinstance(who, Member) and who.conversation is None:
                self._play(room.drop, seat)
        self._find_deadlines()
        self._changed()
        # A room that is played elsewhere has begun when its first state arrives.
        if isinstance(played, RoomHost) or room.version:
            self._announce_start()

    def play(self, played: Host) -> None:
        """Play what a host has from now on."""
        self._played = played
        # States that a game process sends come when they come.
        is_here = isinstance(played, RoomHost)
        self._shows_each = (
            is_here and self.game.states == "every" and not self.game.tick_hz
        )
        if isinstance(played, RoomHost):
            played.keeper = self._keeper
        self.broadcast.follow(played)

    def _play(self, call: Callable[[int, float], None], seat: int) -> None:
        """Have a seat join, leave and so on, which cannot be refused."""
        try:
            call(seat, self._seconds())
        except Refused as refusal:
            # Only a room that is closed refuses, and `flush` finds that out.
            self._log.debug("room {room_id}: {why}", room_id=self.room_id, why=refusal)

    def _announce_start(self) -> None:
        self._is_start_announced = True
        players, setup = self.seating.players(), self.broadcast.setup()
        number = self.broadcast.next_number()
        for member in tuple(self.broadcast.live):
            member.send(
                RoomStarted(
                    self.room_id,
                    number,
                    member.seat,
                    self.host_seat(),
                    players,
                    setup,
                )
            )

    # What comes from a game process.

    def arrived(self) -> None:
        """Something came from where the game is played."""
        # The part of the view that never changes comes with the first state.
        played = self._played
        if played is not None and played.room.version and not self._is_start_announced:
            self._announce_start()
        self.wake()

    def refused(self, seat: int, id: Any, refusal: Refused) -> None:
        """An action was not applied where the game is played."""
        who = self.seating.at(seat)
        if isinstance(who, Member) and who.conversation is not None:
            details = {**refusal.details, "room_id": self.room_id}
            who.conversation.refuse(Refused(refusal.code, refusal.message, details), id)

    # The end.

    def _forfeited(self, seat: int, now: float) -> None:
        who = self.seating.at(seat)
        if isinstance(who, Member):
            # Mostly it is away; if it is not, it learns that it is out.
            who.send(Kicked(self.room_id))
            self.leave(who, "forfeited")

    def _end_play(self, played: Host, reason: str) -> None:
        """End what is played, without showing another state of it."""
        if played.ended_at is None:
            now = self._seconds()
            played.room.close(reason, now)
            self.broadcast.is_muted = True
            played.end_turn(now)

    def _ended(self, played: Host) -> None:
        assert self.broadcast.end is not None
        end, report = self.broadcast.end
        if report is None and not self.seating.taken() and self.policy.is_own:
            # All players have left: the room waits a while for others.
            self._clear_table(played)
            self._find_deadlines()
            self._alarm.arm()
            return
        self.close(end.reason, end.outcome, end.view_hash)

    def _clear_table(self, played: Host) -> None:
        """Play is over, and another may begin; ids of actions go on rising."""
        for member in self.members:
            seat = member.seat
            if seat is not None:
                member.acted, member.applied = played.acted[seat], played.applied[seat]
        self.broadcast.unfollow()
        self._played = None
        self.seating.former.clear()
        self._changed()

    def close(
        self, reason: str, outcome: dict[str, Any] | None = None, view_hash: str = ""
    ) -> None:
        """
        End the room.

        :param reason: one of `vinom.base.model.EndReason`.
        :param outcome: of the last round, if that is known.
        :param view_hash: of the last public view, if that is known.
        """
        if self.is_closed:
            return
        self.is_closed = True
        if self._keeper is not None:
            self._keeper.stop(forget=True, ending=reason if self.phase else "")
        fault = self._fault()
        self._alarm.stop()
        self._expect_nobody()
        self.policy.closed()
        played = self._played
        if played is not None and played.ended_at is None:
            try:
                self._end_play(played, reason)
            except Exception:
                # Its members must not be left in a room that does nothing any more.
                self._log.failure(
                    "room {room_id} failed at its end", room_id=self.room_id
                )
            if self.broadcast.end is not None:
                end = self.broadcast.end[0]
                outcome, view_hash = end.outcome, end.view_hash
        closed = RoomClosed(
            self.room_id, reason, outcome, self.broadcast.version, view_hash, fault
        )
        for member in tuple(self.members):
            conversation = member.conversation
            self._context.forget(self.room_id, member, closed)
            self._disconnect(member)
            if conversation is not None:
                conversation.send(closed)
        self.members.clear()
        self._context.closed(self, reason)

    def _fault(self) -> str:
        """Show the author of a game that failed its own lines, on a terminal too."""
        end = self.broadcast.end
        if not self._context.shows_faults or end is None or end[1] is None:
            return ""
        fault = own_lines(end[1])
        self._log.error("{game}:\n{fault}", game=self.name, fault=fault)
        return fault

    # Time.

    def deadline(self) -> float | None:
        """When to call `ring` next."""
        if self._keeper is not None and self._keeper.is_holding:
            # `_released` sets the alarm again.
            return None
        at, played = self._timetable.due, self._played
        if played is not None:
            due = played.room.deadline()
            if due is not None and due < at:
                return due
        return None if at == inf else at

    def ring(self) -> None:
        """Do what is due."""
        now = self._seconds()
        if self._timetable.must_close(now):
            self.close("abandoned")
            return
        for member in self._timetable.expired(self.members, now):
            self.leave(member, "expired")
        if self._played is not None:
            self._played.run_clock(now)
        self.flush()

    def _find_deadlines(self) -> None:
        """Somebody came or went: find what is due, but for the game."""
        connected = len(self.broadcast.live)
        gathers = self._played is None
        is_deserted = self.policy.is_own and gathers and not connected
        if self._timetable.note_deserted(is_deserted, self._seconds()):
            self._context.deserted(self)
        may_start = gathers and self.seating.taken() >= self.game.seats[0]
        self._timetable.plan(self.members, connected, may_start)
