"""
The admin API, ``/v1``: what operators and outside matchmakers ask of a node.

Source: docs/howto/operate.rst, section "The admin API".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from msgspec import Struct, json
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.resource import Resource

from vinom.keys.service import Kind
from vinom.matches.outside import OutsideMatches
from vinom.matches.service import Sessions
from vinom.matchmaking.matchmaker import Matchmaker
from vinom.messages.catalogue import ShortText
from vinom.messages.outside import decode_start
from vinom.web.admin_rooms import RoomCare, RoomPages
from vinom.web.answers import Asked, Folder, Missing, decode_json, read_name


class Operations(Protocol):
    """What the API asks of the node as a whole."""

    async def status(self) -> dict[str, Any]:
        """What the node is doing: JSON-like."""

    def drain(self) -> None:
        """Take no new matches, and stop when the last one ends."""


class KeyCare(Protocol):
    """What the API asks of `vinom.keys.service.Keys`."""

    def known(self) -> list[dict[str, Any]]:
        """List every key: JSON-like."""

    def rotate(self, kind: Kind) -> Deferred[dict[str, Any]]:
        """Let a new key take over; fires with what was done, JSON-like."""


class Kick(Struct, frozen=True, forbid_unknown_fields=True):
    """Remove this player for good."""

    player_id: ShortText


class Rotate(Struct, frozen=True, forbid_unknown_fields=True):
    """Let a new key of this kind take over."""

    kind: Kind


_kicks = json.Decoder(Kick)
_rotations = json.Decoder(Rotate)
_log = Logger()
_B = TypeVar("_B", bound=Struct)


def admin_pages(
    operations: Operations,
    sessions: Sessions,
    matchmaker: Matchmaker,
    outside: OutsideMatches,
    keys: KeyCare,
    rooms: RoomCare,
) -> Folder:
    """Make the API's pages, to be served under any root."""

    async def start(body: bytes) -> Any:
        wish = decode_start(body)
        return await outside.start(wish.game, wish.players, bytes(wish.options))

    def drain(body: bytes) -> Any:
        operations.drain()
        return {"status": "draining"}

    async def rotate(body: bytes) -> Any:
        return await keys.rotate(decode_json(_rotations, body).kind)

    return Folder(
        keys=_Listed(
            Asked("GET", lambda body: {"keys": keys.known()}),
            rotate=Asked("POST", rotate),
        ),
        status=Asked("GET", lambda body: operations.status()),
        matches=_Matches(sessions, start),
        rooms=RoomPages(rooms),
        explain=_Each(
            lambda player_id: Asked("GET", lambda body: matchmaker.explain(player_id))
        ),
        drain=Asked("POST", drain),
    )


class _Listed(Folder):
    """A page of its own, and named ones below it."""

    def __init__(self, own: Resource, **children: Resource) -> None:
        super().__init__(**children)
        self._own = own

    def render(self, request: Any) -> Any:
        return self._own.render(request)


class _Matches(Resource):
    """``matches`` itself, and one folder for each match."""

    def __init__(
        self, sessions: Sessions, start: Callable[[bytes], Awaitable[Any]]
    ) -> None:
        super().__init__()
        self._sessions = sessions
        self._list = Asked("GET", lambda body: {"matches": sessions.matches()})
        self._start = Asked("POST", start)

    def getChild(self, path: bytes, request: Any) -> Resource:
        match_id = read_name(path)
        if match_id is None:
            return Missing()

        async def kick(body: bytes) -> Any:
            player_id = decode_json(_kicks, body).player_id
            await self._sessions.kick(match_id, player_id)
            _log.info(
                "an operator removed player {player_id} from match {match_id}",
                player_id=player_id,
                match_id=match_id,
            )
            return {"match_id": match_id, "player_id": player_id}

        async def end(body: bytes) -> Any:
            await self._sessions.end(match_id)
            _log.info("an operator ended match {match_id}", match_id=match_id)
            return {"match_id": match_id}

        return Folder(kick=Asked("POST", kick), end=Asked("POST", end))

    def render(self, request: Any) -> bytes | int:
        asked = self._start if request.method == b"POST" else self._list
        return asked.render(request)


class _Each(Resource):
    """One page for each name."""

    def __init__(self, page: Callable[[str], Resource]) -> None:
        super().__init__()
        self._page = page

    def getChild(self, path: bytes, request: Any) -> Resource:
        name = read_name(path)
        return Missing() if name is None else self._page(name)

    def render(self, request: Any) -> bytes:
        return Missing().render(request)
