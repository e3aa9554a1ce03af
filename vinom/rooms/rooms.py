"""The rooms that this node hosts itself: what players and operators ask of them."""

from __future__ import annotations

from base64 import b32encode
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Set
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from vinom.conversation.conversation import Conversation, Followed, Membership
from vinom.errors import Code, Refused
from vinom.game import Game
from vinom.hosting.host import RecordingStore
from vinom.limits.addresses import AddressCounts
from vinom.matches.service import ResultWatch
from vinom.messages.envelope import Push, Request
from vinom.messages.rooms import (
    Ack,
    AddBot,
    JoinRoom,
    JoinRoomResult,
    KickSeat,
    LeaveRoom,
    ListRooms,
    PeekRoom,
    Reconnect,
    ReconnectResult,
    Rematch,
    RoomClosed,
    RoomDone,
    RoomList,
    SetTeam,
    StartRoom,
)
from vinom.model import Player
from vinom.play.choices import canonical_loadout, canonical_options
from vinom.play.guard import Guard
from vinom.reactor.turns import TurnEnd
from vinom.rooms.lists import MatchList, RoomIndex
from vinom.rooms.matches import MatchRooms, is_match_id, match_members
from vinom.rooms.member import Member
from vinom.rooms.own import OwnPolicy
from vinom.rooms.pacing import StartPacing
from vinom.rooms.relay import RelayFleet
from vinom.rooms.resume import ResumeSecrets
from vinom.rooms.room import NodeRoom, RoomBounds, RoomContext, RoomTerms


class Rooms(Service):
    """
    Every room of this node: get or create, list, come back.

    Each room looks after itself by its own alarm; nothing here ever walks all rooms.

    :ivar bounds: what rooms may cost.
    :ivar is_draining: no new rooms are opened.
    """

    name = "rooms"

    def __init__(
        self,
        games: Mapping[str, Game[Any, Any]],
        turns: TurnEnd,
        clock: IReactorTime,
        seconds: Callable[[], float],
        entropy: Callable[[int], bytes],
        recordings: RecordingStore,
        *,
        guard: Guard | None = None,
        fleet: RelayFleet | None = None,
        matches: MatchRooms | None = None,
        bounds: RoomBounds | None = None,
        shows_faults: bool = False,
        results: ResultWatch | None = None,
    ) -> None:
        """
        Begin without rooms.

        :param games: by the name players ask for.
        :param turns: what is done when a turn of the reactor ends.
        :param clock: rings; its seconds are of the Unix epoch.
        :param seconds: a clock that never goes back.
        :param entropy: makes that many random bytes.
        :param recordings: where what is played here is written down.
        :param guard: ends calls into games that take too long.
        :param fleet: plays rooms of games that are to be isolated; without it they are
            played here.
        :param matches: makes rooms that show matches.
        :param bounds: what rooms may cost.
        :param shows_faults: are players sent why a game failed? Only for its author.
        :param results: notes how rounds end.
        """
        self.bounds = bounds or RoomBounds()
        self.is_draining = False
        self._games, self._clock, self._entropy = games, clock, entropy
        self._recordings, self._matches = recordings, matches
        self._rooms: dict[str, NodeRoom] = {}
        self._made = 0
        self._secrets = ResumeSecrets(entropy, clock.seconds)
        self._drained: list[Deferred[None]] = []
        self._ended: Counter[str] = Counter()
        self._opened = AddressCounts(self.bounds.per_address)
        self._places = AddressCounts(self.bounds.places)
        # Rooms without anybody connected before play, the longest first.
        self._deserted: OrderedDict[str, NodeRoom] = OrderedDict()
        self._index = RoomIndex(clock)
        self._match_list = MatchList(clock, self._listed_matches)
        self._context = RoomContext(
            self.bounds,
            seconds,
            clock,
            entropy,
            turns,
            recordings,
            guard,
            self._changed,
            self._forget,
            self._closed,
            self._note_deserted,
            StartPacing(clock, seconds),
            shows_faults,
            results,
        )
        self._own = OwnPolicy(self._context, fleet)

    def stopService(self) -> None:
        """Close every room; all members are sent why."""
        Service.stopService(self)
        self.is_draining = True
        for room in tuple(self._rooms.values()):
            room.close("shutdown")
        self._index.stop()
        self._match_list.stop()
        self._recordings.flush()

    def drain(self) -> Deferred[None]:
        """Open no new rooms; fires when nobody is in one any more."""
        self.is_draining = True
        for room in tuple(self._rooms.values()):
            self._close_if_deserted(room)
        if not self._rooms:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._drained.append(waiting)
        return waiting

    def _close_if_deserted(self, room: NodeRoom) -> None:
        """Close a room in a drain if nobody is connected: nobody will come back."""
        if room.policy.is_own and not room.broadcast.live:
            room.close("shutdown")

    # What rooms report.

    def _changed(self, room: NodeRoom) -> None:
        """What the list shows of a room has changed."""
        if room.policy.is_own:
            self._index.changed(room)

    def _closed(self, room: NodeRoom, reason: str) -> None:
        """A room has closed."""
        self._rooms.pop(room.room_id, None)
        self._deserted.pop(room.room_id, None)
        if room.policy.is_own:
            self._opened.leave(room.opener)
            self._index.remove(room)
            self._ended[reason] += 1
        if self.is_draining and not self._rooms:
            drained, self._drained = self._drained, []
            for waiting in drained:
                waiting.callback(None)

    def _forget(self, room_id: str, member: Member, closed: RoomClosed | None) -> None:
        """Somebody is no longer a member."""
        self._places.leave(member.host)
        self._secrets.forget(room_id, member, closed)

    def _note_deserted(self, room: NodeRoom) -> None:
        """Nobody is connected to a room that waits for players, or somebody is."""
        self._deserted.pop(room.room_id, None)
        if room.is_deserted:
            self._deserted[room.room_id] = room

    # What players ask.

    def serve(
        self, conversation: Conversation, player: Player, request: Request
    ) -> Push | Followed | None:
        """
        Answer a request about rooms; ``None`` means that there is no answer.

        :param conversation: carries the request.
        :param player: who asks.

        :raises Refused: it cannot be.
        """
        match request:
            case JoinRoom():
                return self._join(conversation, player, request)
            case Reconnect(resume, heard):
                return self._reconnect(conversation, resume, heard)
            case LeaveRoom(room_id):
                room, member = _membership(conversation, room_id)
                room.leave(member, "left")
                return RoomDone(room.room_id, member.seat)
            case ListRooms(game, matches=matches):
                if game is not None:
                    # Nothing is ever listed of others; and watching costs something.
                    self._game(game)
                if not matches:
                    return self._index.answer(conversation, request)
                return self._match_list.answer(conversation, request)
            case PeekRoom(room_id):
                room = self._room(room_id)
                room.refuse_removed(player.player_id)
                return room.peek()
            case Ack(seen, room_id):
                room, member = _membership(conversation, room_id)
                room.broadcast.saw(member, seen)
                return None
            case StartRoom(room_id):
                room = self._as_host(conversation, room_id)
                room.start()
                return RoomDone(room.room_id)
            case AddBot(room_id):
                room = self._as_host(conversation, room_id)
                return RoomDone(room.room_id, room.add_bot())
            case KickSeat(seat, room_id):
                room = self._as_host(conversation, room_id)
                room.kick(seat)
                return RoomDone(room.room_id, seat)
            case SetTeam(seat, team, room_id):
                room = self._as_host(conversation, room_id)
                room.set_team(seat, team)
                return RoomDone(room.room_id, seat)
            case Rematch(room_id):
                room = self._as_host(conversation, room_id)
                room.rematch()
                return RoomDone(room.room_id)
        raise Refused(Code.UNKNOWN_TYPE, "no request has this type")

    def _as_host(self, conversation: Conversation, room_id: str | None) -> NodeRoom:
        room, member = _membership(conversation, room_id)
        if room.host is not member:
            raise Refused(
                Code.NOT_HOST, "only the room's host may", {"host": room.host_seat()}
            )
        return room

    def _join(
        self, conversation: Conversation, player: Player, asked: JoinRoom
    ) -> Followed:
        game = self._game(asked.game)
        options = canonical_options(game, bytes(asked.options))
        loadout = canonical_loadout(game, bytes(asked.loadout))
        own = self._secrets.of(player.player_id)
        if asked.room_id is not None:
            membership = own.get(asked.room_id)
            if membership is not None:
                return self._take_back(conversation, asked.room_id, membership)
            # By a resume token one may be here as somebody else.
            _check_absence(conversation, asked.room_id)
        self._check_room_for(own)
        self._check_room_for(conversation.memberships)
        host = conversation.host
        if self._places.is_full(host):
            raise Refused(
                Code.TOO_MANY_ROOMS,
                "players of your address are in too many rooms",
                {"limit": self.bounds.places},
            )
        here = {*own, *conversation.memberships}
        made = self._made
        room = self._find(player, here, asked, options)
        room = room or self._open(game, asked, options, host)
        try:
            _check_fit(room, game, asked, options)
            membership = room.enter(player, loadout, asked.spectate)
        except Refused:
            if self._made > made:
                room.close("abandoned")
            raise
        membership.member.host = host
        self._places.enter(host)
        self._secrets.add(player.player_id, room.room_id, membership)
        return self._welcome(conversation, membership)

    def _game(self, name: str) -> Game[Any, Any]:
        game = self._games.get(name)
        if game is None:
            raise Refused(
                Code.UNKNOWN_GAME,
                "this server has no game with this name",
                {"field": "data.game", "games": sorted(self._games)},
            )
        return game

    def _check_room_for(self, memberships: Mapping[str, Membership]) -> None:
        most = self.bounds.per_client
        if len(memberships) >= most:
            raise Refused(
                Code.TOO_MANY_ROOMS, "you are in too many rooms", {"limit": most}
            )

    def _find(
        self, player: Player, here: Set[str], asked: JoinRoom, options: bytes
    ) -> NodeRoom | None:
        if asked.room_id is None:
            if asked.spectate:
                return None
            for found in self._index.all_open(asked.game, options):
                # Few are passed over: nobody is in many rooms.
                if not (found.room_id in here or found.has_removed(player.player_id)):
                    return found
            return None
        room = self._rooms.get(asked.room_id)
        if room is None and is_match_id(asked.room_id):
            room = self._open_match(asked.room_id)
        return room

    def _open_match(self, match_id: str) -> NodeRoom:
        room = (
            None
            if self._matches is None
            else self._matches.open(self._context, match_id)
        )
        if room is None:
            raise Refused(
                Code.NO_SUCH_ROOM,
                "this match is over, or never was",
                {"field": "data.room_id"},
            )
        self._rooms[match_id] = room
        self._made += 1
        return room

    def _open(
        self, game: Game[Any, Any], asked: JoinRoom, options: bytes, host: str
    ) -> NodeRoom:
        if asked.spectate or not asked.create:
            raise Refused(
                Code.NO_SUCH_ROOM, "there is no such room", {"field": "data.room_id"}
            )
        if self.is_draining:
            raise Refused(Code.DRAINING, "this server takes no new rooms")
        if self._opened.is_full(host):
            raise Refused(
                Code.TOO_MANY_ROOMS,
                "players of your address opened too many rooms",
                {"limit": self.bounds.per_address},
            )
        if len(self._rooms) >= self.bounds.most and self._deserted:
            next(iter(self._deserted.values())).close("abandoned")
        if len(self._rooms) >= self.bounds.most:
            raise Refused(
                Code.TOO_MANY_ROOMS,
                "this node has no room for another one",
                {"limit": self.bounds.most},
            )
        room_id = asked.room_id
        if room_id is None:
            room_id = b32encode(self._entropy(10)).decode().lower()
        is_public = asked.room_id is None
        is_listed = is_public or asked.public
        terms = RoomTerms(
            room_id, asked.game, game, options, is_public, is_listed, host
        )
        room = NodeRoom(self._context, terms, self._own)
        self._rooms[room_id] = room
        self._made += 1
        self._opened.enter(host)
        self._index.changed(room)
        return room

    # Coming back.

    def _take_back(
        self, conversation: Conversation, room_id: str, membership: Membership
    ) -> Followed:
        """Give a player who is known its place again: it proved who it is."""
        if membership.member.conversation is conversation:
            raise Refused(Code.ALREADY_IN_ROOM, "you are here", {"room_id": room_id})
        _check_absence(conversation, room_id)
        return self._welcome(conversation, membership)

    def _reconnect(
        self, conversation: Conversation, resume: str, heard: int | None
    ) -> Followed:
        membership = self._secrets.find(resume, conversation.host)
        if membership.member.conversation is not conversation:
            _check_absence(conversation, membership.room.room_id)
            # The places of many players could come together on one line.
            self._check_room_for(conversation.memberships)
        return self._welcome(conversation, membership, heard, is_again=True)

    def _welcome(
        self,
        conversation: Conversation,
        membership: Membership,
        heard: int | None = None,
        *,
        is_again: bool = False,
    ) -> Followed:
        """Connect a member, and answer with what it needs to play on."""
        room: NodeRoom = membership.room
        member: Member = membership.member
        broadcast = room.broadcast
        is_first = member.epoch == 0
        room.connect(membership, conversation)
        secret = self._secrets.renew(membership)
        if heard is not None:
            heard = max(heard, member.entered)
            member.told = min(heard, member.told)
            member.events_told = min(heard, member.events_told)
        # From here on it waits in the new line.
        member.events_sent, since = member.events_told, member.told
        missed = [] if is_first else broadcast.missed(since, member)
        lost = (
            0 if is_first else broadcast.how_many_lost(min(since, member.events_told))
        )
        facts = {"resume": secret, **room.result_of(member)}
        room.returned(member)
        facts["players"], facts["number"] = room.seating.players(), broadcast.number
        facts["host"] = room.host_seat()
        push = (
            ReconnectResult(**facts, lost=lost) if is_again else JoinRoomResult(**facts)
        )

        def follow() -> None:
            for message in missed:
                conversation.line.send(message)
            broadcast.owe(member)

        return Followed(push, follow)

    def lost(self, conversation: Conversation) -> None:
        """A conversation is over; its player may come back to its rooms."""
        for membership in tuple(conversation.memberships.values()):
            room: NodeRoom = membership.room
            room.lost(membership.member, conversation)
            if self.is_draining:
                self._close_if_deserted(room)
        self._index.forget(conversation)
        self._match_list.forget(conversation)

    def has(self, player_id: str) -> bool:
        """Is this player in a room, connected or not?"""
        return bool(self._secrets.of(player_id))

    # Lists.

    def _listed_matches(self, asked: ListRooms) -> RoomList:
        if self._matches is None:
            return RoomList((), 0)
        return self._matches.listed(asked, self._rooms)

    # What operators do.

    def listed(self) -> list[dict[str, Any]]:
        """List every room: JSON-like."""
        return [room.described() for room in self._rooms.values()]

    def close_room(self, room_id: str) -> None:
        """
        End a room.

        :raises Refused: `NO_SUCH_ROOM`.
        """
        self._room(room_id).close("ended")

    def kick(self, room_id: str, player_id: str) -> None:
        """
        Remove a player from a room for good.

        :raises Refused: `NO_SUCH_ROOM` or `NO_SUCH_PLAYER`.
        """
        room = self._room(room_id)
        member = room.member_of(player_id)
        if member is None:
            raise Refused(Code.NO_SUCH_PLAYER, "no such player in this room")
        room.kick_member(member)

    def _room(self, room_id: str) -> NodeRoom:
        room = self._rooms.get(room_id)
        if room is None:
            raise Refused(Code.NO_SUCH_ROOM, "it closed, or never was")
        return room

    def status(self) -> dict[str, int]:
        """Count rooms and their members."""
        return {
            "rooms": len(self._rooms),
            "places": len(self._secrets),
            "away": self._secrets.away(),
        }

    def figures(self) -> dict[str, Any]:
        """Count the same for metrics, and what became of rooms."""
        return {
            **self.status(),
            **match_members(self._rooms.values()),
            "by_game": self._index.counts(),
            "ended": dict(self._ended),
        }


def _check_fit(
    room: NodeRoom, game: Game[Any, Any], asked: JoinRoom, options: bytes
) -> None:
    if room.name != asked.game:
        raise Refused(
            Code.BAD_FIELD,
            f"this room plays {room.name}",
            {"field": "data.game", "game": room.name},
        )
    if options != room.options and options != canonical_options(game, b"{}"):
        raise Refused(
            Code.BAD_OPTIONS,
            "this room was made with other options; leave them out",
            {"field": "data.options"},
        )


def _check_absence(conversation: Conversation, room_id: str) -> None:
    """Refuse a second place in a room: a request could not say which it means."""
    if room_id in conversation.memberships:
        raise Refused(
            Code.ALREADY_IN_ROOM,
            "you have another place in this room",
            {"room_id": room_id},
        )


def _membership(
    conversation: Conversation, room_id: str | None
) -> tuple[NodeRoom, Member]:
    """Find the room that is meant, and who the player is there."""
    membership = conversation.membership(room_id)
    return membership.room, membership.member
