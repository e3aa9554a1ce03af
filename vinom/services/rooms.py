"""
The rooms that this node hosts itself: what players and operators ask of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, cast

from vinom.errors import Code, Refused
from vinom.game import Game
from vinom.model import Player
from vinom.rules.names import canonical_loadout, canonical_options
from vinom.services.conversation import Conversation
from vinom.services.conversation_ports import Followed
from vinom.services.rooms_house import RoomHouse
from vinom.services.rooms_match import MatchRoom, is_match_id, match_places
from vinom.services.rooms_member import Member
from vinom.services.rooms_seats import LiveRoomSeats
from vinom.wire.envelope import Push, Request
from vinom.wire.messages_rooms import (
    Ack,
    AddBot,
    JoinRoom,
    KickSeat,
    LeaveRoom,
    ListRooms,
    Reconnect,
    Rematch,
    RoomDone,
    StartRoom,
)


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
