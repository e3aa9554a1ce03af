"""
The house of a node's live rooms: it opens them, and is asked by them.

Each room looks after itself by its own alarm; nothing here ever walks all rooms.
"""

from __future__ import annotations

from base64 import b32encode
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.errors import Code, Refused
from vinom.game import Game
from vinom.net.alarm import Alarm
from vinom.net.turn_end import TurnEnd
from vinom.rules.guard import Guard
from vinom.services.recorded import SweptPlace
from vinom.services.rooms_isolated import IsolatedRoom
from vinom.services.rooms_list import RoomIndex
from vinom.services.rooms_match import MatchRoom, MatchRooms
from vinom.services.rooms_match_list import MatchList
from vinom.services.rooms_member import Member
from vinom.services.rooms_places import Places
from vinom.services.rooms_ports import RoomBounds, RoomTerms
from vinom.services.rooms_remote import RelayFleet
from vinom.services.rooms_room import LiveRoom
from vinom.services.rooms_seats import LiveRoomSeats
from vinom.wire.messages_rooms import JoinRoom, ListRooms, RoomClosed, RoomList


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
        recordings: SweptPlace,
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
