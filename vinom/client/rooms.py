"""A player's rooms over one lobby line, which is made again whenever it breaks."""

from __future__ import annotations

from collections.abc import Callable
from random import random
from typing import Any

from msgspec import Raw, json
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.client.line import LineLost, LobbyLine, LobbyRefusal
from vinom.client.lobby import LobbyClient
from vinom.client.room import LiveRoom, RoomResult
from vinom.errors import Code
from vinom.messages.envelope import Failed, Push, Request
from vinom.messages.rooms import (
    JoinRoom,
    JoinRoomResult,
    Kicked,
    LeaveRoom,
    Reconnect,
    ReconnectResult,
    RoomClosed,
)

#: Pauses between attempts to get a line, seconds; the last one repeats, and each is
#: up to half longer by chance, so that not all come back at once.
PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
#: How long to try, seconds: as long as a node keeps places, unless its game says more.
PATIENCE = 900.0

_encode = json.Encoder().encode


class PlayerRooms:
    """
    Hold the places of one player.

    :param chance: from 0 to 1, for the pauses.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        lobby: LobbyClient,
        chance: Callable[[], float] = random,
        patience: float = PATIENCE,
    ) -> None:
        self._clock, self._lobby, self._chance = clock, lobby, chance
        self._patience = patience
        self._rooms: dict[str, LiveRoom] = {}
        self._line: LobbyLine | None = None
        self._waiting: list[Deferred[LobbyLine]] = []
        self._number = 0
        self._is_closed = False

    def join(
        self,
        game: str,
        room_id: str | None = None,
        options: Any = None,
        loadout: Any = None,
        *,
        spectate: bool = False,
        patches: bool = False,
    ) -> Deferred[LiveRoom]:
        """See `vinom.client.sdk.Client.join_room`."""
        asked = JoinRoom(game, room_id, _raw(options), _raw(loadout), spectate)
        return Deferred.fromCoroutine(self._join(asked, patches))

    def ask(self, request: Request) -> Deferred[Push]:
        """
        Ask for anything else about rooms: `ListRooms`, `AddBot`, `StartRoom`...

        Fails with `LobbyRefusal` or `LineLost`.
        """
        return Deferred.fromCoroutine(self._ask(request))

    def close(self) -> None:
        """Hang up; places wait for us as long as their node keeps them."""
        self._is_closed = True
        if self._line is not None:
            self._line.close()

    # What a room says.

    def say(self, message: bytes) -> bool:
        """Send a whole message; ``False`` if there is no line."""
        if self._line is None:
            return False
        self._line.say(message)
        return True

    def next_id(self) -> int:
        """Take the id of the next action; all rooms share them."""
        self._number += 1
        return self._number

    def leave(self, room: LiveRoom) -> None:
        """Give up a place."""
        self._rooms.pop(room.room_id, None)
        if self._line is not None:
            self._line.ask(LeaveRoom(room.room_id)).addErrback(lambda _: None)

    # The line.

    async def _join(self, asked: JoinRoom, patches: bool) -> LiveRoom:
        place = await self._ask(asked)
        if not isinstance(place, JoinRoomResult):
            raise LineLost("the lobby answers with something else")
        self._number = max(self._number, place.acted)
        room = self._rooms[place.room_id] = LiveRoom(self, place, patches)
        return room

    async def _ask(self, request: Request) -> Push:
        line = await self._open()
        return await line.ask(request)

    def _open(self) -> Deferred[LobbyLine]:
        """Make the line, if there is none; several who ask share it."""
        if self._line is not None:
            return succeed(self._line)
        waiting: Deferred[LobbyLine] = Deferred()
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            self._is_closed = False
            Deferred.fromCoroutine(self._dial()).addBoth(self._dialed)
        return waiting

    def _dialed(self, result: LobbyLine | Failure) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(result)

    async def _dial(self) -> LobbyLine:
        gone: list[bool] = []

        def lost() -> None:
            gone.append(True)
            self._lost()

        try:
            self._lobby.identity  # noqa: B018  # raises if there is none
        except LineLost:
            await self._lobby.hello()
        line = await self._lobby.open_line(self._told, lost)
        if gone:
            raise LineLost("the line to the lobby closed")
        self._line = line
        return line

    def _lost(self) -> None:
        """The line broke: get all places back on another."""
        if self._line is None:
            return
        self._line = None
        for room in self._rooms.values():
            room.lose()
        if self._rooms and not self._is_closed:
            Deferred.fromCoroutine(self._return()).addErrback(
                lambda failure: self._log.failure("rooms are not found", failure)
            )

    async def _return(self) -> None:
        give_up, tries = self._clock.seconds() + self._patience, 0
        while self._rooms and not self._is_closed:
            try:
                if self._clock.seconds() >= give_up:
                    break
                await self._open()
                for room in tuple(self._rooms.values()):
                    await self._take_back(room)
            except (LineLost, LobbyRefusal):
                pause = PAUSES[min(tries, len(PAUSES) - 1)]
                tries += 1
                await deferLater(self._clock, pause * (1 + self._chance() / 2))
            else:
                return
        if not self._is_closed:
            for room in tuple(self._rooms.values()):
                self._end(room, RoomResult(room.room_id, "lost"))

    async def _take_back(self, room: LiveRoom) -> None:
        """
        Show the resume token; without it, who we are.

        :raises LineLost: try again on another line.
        """
        if room.is_connected:
            return
        requests: tuple[Request, ...] = (
            Reconnect(room.news.resume, room.news.heard),
            # The last token may have been used up by an answer that got lost.
            JoinRoom(room.game, room.room_id, spectate=room.seat is None),
        )
        for request in requests:
            if self._line is None:
                raise LineLost("the line to the lobby closed")
            try:
                place = await self._line.ask(request)
            except LobbyRefusal as refusal:
                if refusal.code == Code.BAD_RESUME:
                    continue
                details = refusal.details
                reason = str(details.get("reason") or "lost")
                result = RoomResult(room.room_id, reason, details.get("outcome"))
                self._end(room, result)
                return
            if not isinstance(place, JoinRoomResult | ReconnectResult):
                raise LineLost("the lobby answers with something else")
            if place.version >= room.version:
                self._number = max(self._number, place.acted)
                room.sit(place)
                return
            # Another room, which has the name of the one that is gone.
            self._line.ask(LeaveRoom(place.room_id)).addErrback(lambda _: None)
        self._end(room, RoomResult(room.room_id, "lost"))

    def _end(self, room: LiveRoom, result: RoomResult) -> None:
        self._rooms.pop(room.room_id, None)
        room.end(result)

    def _told(self, push: Push | Failed) -> None:
        if isinstance(push, Failed):
            self._refused(push)
            return
        room = self._rooms.get(getattr(push, "room_id", ""))
        if room is None:
            return
        if isinstance(push, RoomClosed):
            self._end(room, RoomResult(room.room_id, push.reason, push.outcome))
        elif isinstance(push, Kicked):
            self._end(room, RoomResult(room.room_id, "kicked"))
        else:
            room.told(push)

    def _refused(self, no: Failed) -> None:
        for room in self._rooms.values():
            if room.refused(no):
                return
        if no.code == Code.REPLACED:
            for room in tuple(self._rooms.values()):
                self._end(room, RoomResult(room.room_id, "replaced"))
        elif no.code == Code.SEAT_TAKEN:
            taken = self._rooms.get(str(no.details.get("room_id")))
            if taken is not None:
                self._end(taken, RoomResult(taken.room_id, "replaced"))


def _raw(value: Any) -> Raw:
    return Raw(b"{}" if value is None else _encode(value))
