"""
The rooms that this node hosts itself: what players and operators ask of them.

The house of a node's live rooms: it opens them, and is asked by them.

Each room looks after itself by its own alarm; nothing here ever walks all rooms.
"""

from __future__ import annotations

from base64 import b32encode
from collections import Counter
from collections.abc import Callable, Mapping, Set
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.conversation.conversation import Conversation, Followed
from vinom.errors import Code, Refused
from vinom.game import Game
from vinom.hosting.recorded import RecordingStore
from vinom.messages.envelope import Push, Request
from vinom.messages.rooms import (
    Ack,
    AddBot,
    JoinRoom,
    KickSeat,
    LeaveRoom,
    ListRooms,
    Reconnect,
    Rematch,
    RoomClosed,
    RoomDone,
    RoomList,
    StartRoom,
)
from vinom.model import Player
from vinom.play.choices import canonical_loadout, canonical_options
from vinom.play.guard import Guard
from vinom.reactor.alarm import Alarm
from vinom.reactor.turn_end import TurnEnd
from vinom.rooms.lists import MatchList, RoomIndex
from vinom.rooms.matches import MatchRoom, MatchRooms, is_match_id, match_places
from vinom.rooms.member import Member
from vinom.rooms.relay import IsolatedRoom, RelayFleet
from vinom.rooms.resume import Places
from vinom.rooms.room import LiveRoom, LiveRoomSeats, RoomBounds, RoomTerms


class RoomHouse(Service):
    """
    Holds every live room of this node, and every place in one.

    :param turns: what is done when a turn of the reactor ends.
    :param clock: rings; its seconds are of the Unix epoch.
    :param seconds: a clock that never goes back.
    :param guard: ends calls into games that take too long.
    :param fleet: plays rooms of games that are to be isolated; without it they are
        played here.
    :param matches: has matches be joined and watched like rooms.
    """

    name = "rooms"
    _log = Logger()

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
    ) -> None:
        self.bounds = bounds or RoomBounds()
        self.seconds, self.entropy = seconds, entropy
        self.recordings, self.guard = recordings, guard
        self._fleet, self._matches = fleet, matches
        self.is_draining = False
        self._games, self._turns, self._clock = games, turns, clock
        self._rooms: dict[str, LiveRoomSeats] = {}
        self._places = Places(entropy, clock.seconds)
        self._dirty: dict[LiveRoomSeats, None] = {}
        self._drained: list[Deferred[None]] = []
        self._ended: Counter[str] = Counter()
        self._index = RoomIndex(clock)
        self._match_list = MatchList(clock, self._listed_matches)

    def stopService(self) -> None:
        """Close every room; everybody in one is told."""
        Service.stopService(self)
        self.is_draining = True
        for room in tuple(self._rooms.values()):
            room.close("shutdown")
        self._index.stop()
        self._match_list.stop()
        self.recordings.flush()

    def drain(self) -> Deferred[None]:
        """No new rooms; fires when nobody is in one any more."""
        self.is_draining = True
        for room in tuple(self._rooms.values()):
            if not room.live and not isinstance(room, MatchRoom):
                room.close("shutdown")
        if not self._rooms:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._drained.append(waiting)
        return waiting

    # What players need.

    def _open_match(self, match_id: str) -> LiveRoomSeats:
        room = None if self._matches is None else self._matches.open(self, match_id)
        if room is None:
            raise Refused(
                Code.NO_SUCH_ROOM,
                "this match is over, or never was",
                {"field": "data.room_id"},
            )
        self._rooms[match_id] = room
        return room

    def _listed_matches(self, asked: ListRooms) -> RoomList:
        if self._matches is None:
            return RoomList((), 0)
        return self._matches.listed(asked, self._rooms)

    def _open(
        self, game: Game[Any, Any], asked: JoinRoom, options: bytes
    ) -> LiveRoomSeats:
        if asked.spectate:
            raise Refused(
                Code.NO_SUCH_ROOM, "there is no such room", {"field": "data.room_id"}
            )
        if self.is_draining:
            raise Refused(Code.DRAINING, "this node takes no new rooms")
        if len(self._rooms) >= self.bounds.most:
            raise Refused(
                Code.TOO_MANY_ROOMS,
                "this node has no room for another one",
                {"limit": self.bounds.most},
            )
        room_id = asked.room_id
        if room_id is None:
            room_id = b32encode(self.entropy(10)).decode().lower()
        is_public = asked.room_id is None
        terms = RoomTerms(room_id, asked.game, game, options, is_public)
        room: LiveRoomSeats
        if game.isolate and self._fleet is not None:
            room = IsolatedRoom(self, terms, self._fleet)
        else:
            room = LiveRoom(self, terms)
        self._rooms[room_id] = room
        self._index.add(room)
        return room

    # What live rooms ask.

    def wall_seconds(self) -> float:
        """Tell the time, seconds since the Unix epoch."""
        return self._clock.seconds()

    def alarm(self, room: LiveRoomSeats) -> Alarm:
        """Make the room's alarm."""
        return Alarm(self._clock, room.deadline, room.ring, self.seconds)

    def turn(self, room: LiveRoomSeats) -> None:
        """Have the room tell everybody what changed, when this turn ends."""
        if not self._dirty:
            self._turns.call(self._end_turn)
        self._dirty[room] = None

    def after(self, call: Callable[[], None]) -> None:
        """Do *call* when what is done now is done, still in this turn."""
        self._turns.call(call)

    def _end_turn(self) -> None:
        dirty, self._dirty = self._dirty, {}
        for room in dirty:
            try:
                room.flush()
            except Exception:
                # Ours, not its game's: it must not cost the other rooms anything.
                self._log.failure("room {room_id} failed", room_id=room.room_id)
                room.close("crashed")

    def changed(self, room: LiveRoomSeats) -> None:
        """What the list tells of a room has changed."""
        if not isinstance(room, MatchRoom):
            self._index.changed(room)

    def forget(self, member: Member, told: RoomClosed | None = None) -> None:
        """A member is out; one who is away may still ask what became of its room."""
        self._places.forget(member, told)

    def closed(self, room: LiveRoomSeats, told: RoomClosed) -> None:
        """A room is no more."""
        self._rooms.pop(room.room_id, None)
        if not isinstance(room, MatchRoom):
            self._index.remove(room)
            self._ended[told.reason] += 1
        if self.is_draining and not self._rooms:
            drained, self._drained = self._drained, []
            for waiting in drained:
                waiting.callback(None)


class Rooms(RoomHouse):
    """Every live room of this node: get or create, list, come back."""

    # What players ask.

    def serve(
        self, conversation: Conversation, player: Player, request: Request
    ) -> Push | Followed | None:
        """
        Answer a request about rooms; ``None`` is no answer at all.

        :raises Refused: it cannot be.
        """
        match request:
            case JoinRoom():
                return self._join(conversation, player, request)
            case Reconnect(resume, heard):
                return self._reconnect(conversation, resume, heard)
            case LeaveRoom(room_id):
                member = _member(conversation, room_id)
                member.room.leave(member, "left")
                return RoomDone(member.room_id, member.seat)
            case ListRooms(game, matches=matches):
                if game is not None:
                    # Of others nothing is ever told; and watching costs something.
                    self._game(game)
                if not matches:
                    return self._index.answer(conversation, request)
                return self._match_list.answer(conversation, request)
            case Ack(seen, room_id):
                member = _member(conversation, room_id)
                member.room.saw(member, seen)
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
            case Rematch(room_id):
                room = self._as_host(conversation, room_id)
                room.rematch()
                return RoomDone(room.room_id)
        raise Refused(Code.UNKNOWN_TYPE, "no request has this type")

    def _as_host(
        self, conversation: Conversation, room_id: str | None
    ) -> LiveRoomSeats:
        member = _member(conversation, room_id)
        room = member.room
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
        places = self._places.of(player.player_id)
        if asked.room_id is not None:
            own = places.get(asked.room_id)
            if own is not None:
                return self._take_back(conversation, own)
            # By a resume token one may be here as somebody else.
            _check_absence(conversation, asked.room_id)
        self._check_room_for(places)
        self._check_room_for(conversation.places)
        before = len(self._rooms)
        here = {*places, *conversation.places}
        room = self._find(player, here, asked, options)
        room = room or self._open(game, asked, options)
        try:
            _check_fit(room, game, asked, options)
            member = room.enter(player, loadout, asked.spectate)
        except Refused:
            if len(self._rooms) > before:
                room.close("abandoned")
            raise
        self._places.add(member)
        return self._places.welcome(conversation, member)

    def _game(self, name: str) -> Game[Any, Any]:
        game = self._games.get(name)
        if game is None:
            raise Refused(
                Code.UNKNOWN_GAME,
                "no such game here",
                {"field": "data.game", "games": sorted(self._games)},
            )
        return game

    def _check_room_for(self, places: Mapping[str, Any]) -> None:
        most = self.bounds.per_client
        if len(places) >= most:
            raise Refused(
                Code.TOO_MANY_ROOMS, "you are in too many rooms", {"limit": most}
            )

    def _find(
        self, player: Player, here: Set[str], asked: JoinRoom, options: bytes
    ) -> LiveRoomSeats | None:
        if asked.room_id is None:
            if asked.spectate:
                return None
            for found in self._index.all_open(asked.game, options):
                # Few are passed over: one has places in few rooms.
                if not (found.room_id in here or found.has_removed(player.player_id)):
                    return found
            return None
        room = self._rooms.get(asked.room_id)
        if room is None and is_match_id(asked.room_id):
            room = self._open_match(asked.room_id)
        return room

    # Coming back.

    def _take_back(self, conversation: Conversation, member: Member) -> Followed:
        """A player who is known says where it sat: it proved who it is."""
        if member.conversation is conversation:
            raise Refused(
                Code.ALREADY_IN_ROOM, "you are here", {"room_id": member.room_id}
            )
        _check_absence(conversation, member.room_id)
        return self._places.welcome(conversation, member)

    def _reconnect(
        self, conversation: Conversation, resume: str, heard: int | None
    ) -> Followed:
        member = self._places.find(resume, conversation.host)
        if member.conversation is not conversation:
            _check_absence(conversation, member.room_id)
            # The places of many players could come together on one line.
            self._check_room_for(conversation.places)
        return self._places.welcome(conversation, member, heard, is_again=True)

    def lost(self, conversation: Conversation) -> None:
        """A conversation is over; its places wait."""
        for place in tuple(conversation.places.values()):
            place.lost(conversation)
            room = place.room
            if self.is_draining and not (room.live or isinstance(room, MatchRoom)):
                # Nobody waits for it, and nobody can come back after the drain.
                room.close("shutdown")
        self._index.forget(conversation)
        self._match_list.forget(conversation)

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
        member = self._room(room_id).member_of(player_id)
        if member is None:
            raise Refused(Code.NO_SUCH_PLAYER, "no such player in this room")
        member.room.kick_member(member)

    def _room(self, room_id: str) -> LiveRoomSeats:
        room = self._rooms.get(room_id)
        if room is None:
            raise Refused(Code.NO_SUCH_ROOM, "it closed, or never was")
        return room

    def status(self) -> dict[str, int]:
        """Tell how many rooms and places there are."""
        return {
            "rooms": len(self._rooms),
            "places": len(self._places),
            "away": self._places.away(),
        }

    def figures(self) -> dict[str, Any]:
        """The same for metrics, and what became of rooms."""
        return {
            **self.status(),
            **match_places(self._rooms.values()),
            "by_game": self._index.counts(),
            "ended": dict(self._ended),
        }


def _check_fit(
    room: LiveRoomSeats, game: Game[Any, Any], asked: JoinRoom, options: bytes
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
    """A connection has one place in a room, or it could not say which it means."""
    if room_id in conversation.places:
        raise Refused(
            Code.ALREADY_IN_ROOM,
            "you have another place in this room",
            {"room_id": room_id},
        )


def _member(conversation: Conversation, room_id: str | None) -> Member:
    """Find the place that is meant; here all places are members'."""
    return cast(Member, conversation.place(room_id))
