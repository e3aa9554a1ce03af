"""
The admin API, ``/v1``: what operators and outside matchmakers request of a node.

Source: docs/howto/operate.rst, section "The admin API"; docs/howto/rooms.rst, section
"Operating rooms".
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol

from msgspec import Struct, json
from twisted.logger import Logger
from twisted.web.resource import Resource

from vinom.base.messages.envelope import ShortText
from vinom.base.messages.operators import decode_start
from vinom.errors import Code, Refused
from vinom.lobby.matches.outside import OutsideMatches
from vinom.lobby.matches.service import Matches
from vinom.lobby.matchmaking.matchmaker import Matchmaker
from vinom.lobby.results.service import MOST_LISTED, Results
from vinom.net.web.answers import Asked, decode_json, missing, read_name
from vinom.node.keys import Keys, Kind
from vinom.rooms.rooms import Rooms


class Operations(Protocol):
    """Calls of the API to the node as a whole: `vinom.node.ending.Ending`."""

    def drain(self) -> None:
        """Take no new matches, and stop when the last one ends."""

    async def move(self) -> None:
        """Hand rooms and players to other nodes, and stop; fails with `Refused`."""

    def move_server(self, server: str) -> None:
        """Have another game server go on with its matches; fails with `Refused`."""


class Kick(Struct, frozen=True, forbid_unknown_fields=True):
    """Remove this player for good."""

    player_id: ShortText


class Rotate(Struct, frozen=True, forbid_unknown_fields=True):
    """Let a new key of this kind take over."""

    kind: Kind


class Drain(Struct, frozen=True, forbid_unknown_fields=True):
    """Stop when nobody is left; hand rooms to other nodes before, if that is asked."""

    move: bool = False


class SendAgain(Struct, frozen=True, forbid_unknown_fields=True):
    """Send this result again, or all that could not be sent."""

    cursor: ShortText | None = None


_drains = json.Decoder(Drain)
_kicks = json.Decoder(Kick)
_sends = json.Decoder(SendAgain)
_rotations = json.Decoder(Rotate)
_log = Logger()

#: Called with a body and names; returns what to send as JSON.
Serve = Callable[..., Awaitable[Any] | Any]
#: The parameters of a request, by name.
Query = Mapping[str, str]
#: Entries of a list if the request names no number.
_LISTED = 100


def admin_pages(
    status: Callable[[], Awaitable[dict[str, Any]]],
    ending: Operations,
    matches: Matches,
    matchmaker: Matchmaker,
    outside: OutsideMatches,
    keys: Keys,
    rooms: Rooms,
    results: Results | None = None,
) -> Resource:
    """
    Make the API's pages, to be served under any root.

    :param status: describes what the node is doing: JSON-like.
    :param ending: drains the node.
    :param matches: the matches to list, end and remove players from.
    :param matchmaker: explains why a player waits.
    :param outside: starts the matches that an outside matchmaker made.
    :param keys: the keys to list and rotate.
    :param rooms: the node's own rooms.
    :param results: the results of rounds; ``None`` if none are kept.
    """

    async def start(body: bytes) -> Any:
        wish = decode_start(body)
        return await outside.start(wish.game, wish.players, bytes(wish.options))

    async def kick_from_match(body: bytes, match_id: str) -> Any:
        player_id = decode_json(_kicks, body).player_id
        await matches.kick(match_id, player_id)
        return _removed("match", match_id, player_id)

    async def end_match(body: bytes, match_id: str) -> Any:
        await matches.end(match_id)
        return _ended("match", match_id)

    async def kick_from_room(body: bytes, room_id: str) -> Any:
        player_id = decode_json(_kicks, body).player_id
        (await rooms.ownership.found(room_id)).kick_player(player_id)
        return _removed("room", room_id, player_id)

    async def end_room(body: bytes, room_id: str) -> Any:
        (await rooms.ownership.found(room_id)).close("ended")
        return _ended("room", room_id)

    async def asleep(body: bytes, player_id: str = "") -> Any:
        return {"rooms": await rooms.asleep(player_id)}

    async def drain(body: bytes) -> Any:
        if body and decode_json(_drains, body).move:
            await ending.move()
            return {"status": "moving"}
        ending.drain()
        return {"status": "draining"}

    def move_server(body: bytes, server: str) -> Any:
        ending.move_server(server)
        _log.info("an operator moves the matches of game server {one}", one=server)
        return {"server": server, "status": "moving"}

    async def rotate(body: bytes) -> Any:
        return await keys.rotate(decode_json(_rotations, body).kind)

    def kept_results() -> Results:
        if results is None:
            raise Refused(
                Code.UNAVAILABLE, "this node keeps no results: raise results_most"
            )
        return results

    async def send_again(body: bytes) -> Any:
        return await kept_results().send_again(decode_json(_sends, body).cursor)

    return _Pages(
        {
            ("GET", "status"): lambda body: status(),
            ("POST", "drain"): drain,
            ("POST", "servers/*/move"): move_server,
            ("GET", "keys"): lambda body: {"keys": keys.known()},
            ("POST", "keys/rotate"): rotate,
            ("GET", "explain/*"): lambda body, player_id: matchmaker.explain(player_id),
            ("GET", "matches"): lambda body: {"matches": matches.describe()},
            ("POST", "matches"): start,
            ("POST", "matches/*/kick"): kick_from_match,
            ("POST", "matches/*/end"): end_match,
            ("GET", "rooms"): lambda body: {"rooms": rooms.directory.listed()},
            ("GET", "rooms/asleep"): asleep,
            ("GET", "rooms/of/*"): asleep,
            ("POST", "rooms/*/kick"): kick_from_room,
            ("POST", "rooms/*/end"): end_room,
            ("POST", "results/dead/send"): send_again,
        },
        {
            ("GET", "results"): lambda body, query: kept_results().listed(
                *_page_of(query)
            ),
            ("GET", "results/dead"): lambda body, query: kept_results().dead(
                *_page_of(query)
            ),
        },
    )


def _page_of(query: Query) -> tuple[str, int]:
    """
    Read which part of a list is asked for.

    :returns: the cursor after which it begins, and the most entries.
    :raises Refused: a parameter is wrong.
    """
    if unknown := sorted(set(query) - {"after", "limit"}):
        raise Refused(
            Code.BAD_FIELD,
            f"{unknown[0]!r} is no parameter of this page: use after and limit",
            {"field": unknown[0]},
        )
    limit = query.get("limit", str(_LISTED))
    if not re.fullmatch("[0-9]{1,4}", limit) or not 1 <= int(limit) <= MOST_LISTED:
        raise Refused(
            Code.BAD_FIELD,
            f"limit must be a whole number from 1 to {MOST_LISTED}, not {limit!r}",
            {"field": "limit"},
        )
    return query.get("after", ""), int(limit)


def _removed(what: str, name: str, player_id: str) -> dict[str, str]:
    done = {f"{what}_id": name, "player_id": player_id}
    _log.info(
        f"an operator removed player {{player_id}} from {what} {{{what}_id}}", **done
    )
    return done


def _ended(what: str, name: str) -> dict[str, str]:
    done = {f"{what}_id": name}
    _log.info(f"an operator ended {what} {{{what}_id}}", **done)
    return done


class _Pages(Resource):
    """Choose the function that serves a path and a method."""

    isLeaf = True

    def __init__(
        self,
        table: Mapping[tuple[str, str], Serve],
        queried: Mapping[tuple[str, str], Serve],
    ) -> None:
        """
        :param table: method and path to what serves them: called with the request's
            body, and with the text of each ``*`` of the path.
        :param queried: the same for pages with parameters, which are ``query``.
        """
        super().__init__()
        self._table = [
            (method, path.split("/"), serve, is_queried)
            for part, is_queried in ((table, False), (queried, True))
            for (method, path), serve in part.items()
        ]

    def render(self, request: Any) -> bytes | int:
        found: dict[bytes, Asked] = {}
        for method, path, serve, is_queried in self._table:
            names = _names(path, request.postpath)
            if names is not None:
                if is_queried:
                    serve = partial(serve, query=_query(request))
                found[method.encode()] = Asked(method, _bound(serve, names))
        if not found:
            return missing().render(request)
        # One that serves another method answers which one to use.
        return found.get(request.method, next(iter(found.values()))).render(request)


def _query(request: Any) -> Query:
    """Read the parameters of a request; of one that is repeated, the last value."""
    return {
        name.decode("ascii", "replace"): values[-1].decode("ascii", "replace")
        for name, values in request.args.items()
    }


def _bound(serve: Serve, names: list[str]) -> Serve:
    return lambda body: serve(body, *names)


def _names(path: list[str], given: list[bytes]) -> list[str] | None:
    """Find the text of each ``*``; ``None`` if *given* is another path."""
    if len(path) != len(given):
        return None
    names = []
    for wanted, part in zip(path, map(read_name, given), strict=True):
        if part is None or wanted not in ("*", part):
            return None
        if wanted == "*":
            names.append(part)
    return names
