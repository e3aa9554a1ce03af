"""
The admin API's pages of rooms that the node hosts itself: ``/v1/rooms``.

Source: docs/howto/rooms.rst, section "Operating rooms".
"""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct, json
from twisted.logger import Logger
from twisted.web.resource import Resource

from vinom.messages.catalogue import ShortText
from vinom.web.answers import Asked, Folder, Missing, decode_json, read_name

_log = Logger()


class RoomCare(Protocol):
    """What these pages ask of `vinom.rooms.rooms.Rooms`."""

    def listed(self) -> list[dict[str, Any]]:
        """List every room: JSON-like."""

    def kick(self, room_id: str, player_id: str) -> None:
        """Remove a player for good; fails with `Refused`."""

    def close_room(self, room_id: str) -> None:
        """End a room; fails with `Refused`."""


class KickFromRoom(Struct, frozen=True, forbid_unknown_fields=True):
    """Remove this player for good."""

    player_id: ShortText


_kicks = json.Decoder(KickFromRoom)


class RoomPages(Resource):
    """``rooms`` itself, and one folder for each room."""

    def __init__(self, rooms: RoomCare) -> None:
        super().__init__()
        self._rooms = rooms
        self._list = Asked("GET", lambda body: {"rooms": rooms.listed()})

    def getChild(self, path: bytes, request: Any) -> Resource:
        room_id = read_name(path)
        if room_id is None:
            return Missing()

        def kick(body: bytes) -> Any:
            player_id = decode_json(_kicks, body).player_id
            self._rooms.kick(room_id, player_id)
            _log.info(
                "an operator removed player {player_id} from room {room_id}",
                player_id=player_id,
                room_id=room_id,
            )
            return {"room_id": room_id, "player_id": player_id}

        def end(body: bytes) -> Any:
            self._rooms.close_room(room_id)
            _log.info("an operator ended room {room_id}", room_id=room_id)
            return {"room_id": room_id}

        return Folder(kick=Asked("POST", kick), end=Asked("POST", end))

    def render(self, request: Any) -> bytes | int:
        return self._list.render(request)
