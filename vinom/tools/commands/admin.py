"""
The commands that send a request to a running node, over HTTP on its admin socket: one
row of `VERBS` for each.

Source: docs/howto/operate.rst, section "The admin API".
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import attrs

from vinom.base.printable import in_columns, say, say_json
from vinom.base.settings.sources import checked_path
from vinom.errors import Misconfigured, VinomError
from vinom.node.settings import Settings

#: How long a node may take to answer, seconds.
_TIMEOUT = 30.0


class NotDone(VinomError):
    """The node refused; the message says why."""


class _SocketConnection(HTTPConnection):
    """HTTP over a UNIX socket; *path* is the socket's."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@attrs.frozen
class AdminLine:
    """
    Send requests to a node's admin API.

    :ivar path: the node's admin socket.
    """

    path: Path

    def get(self, page: str) -> Any:
        """
        Read a page of the admin API.

        :raises NotDone: the node refuses.
        :raises Misconfigured: no node answers there.
        """
        return self._ask("GET", page, None)

    def post(self, page: str, body: Any = None) -> Any:
        """Request an action from the node; raises as `get`."""
        return self._ask("POST", page, body)

    def _ask(self, method: str, page: str, body: Any) -> Any:
        connection = _SocketConnection(self.path)
        sent = b"" if body is None else json.dumps(body).encode()
        try:
            connection.request(method, f"/v1/{page}", sent, self._headers())
            answer = connection.getresponse()
            status, content = answer.status, json.loads(answer.read())
        except (FileNotFoundError, ConnectionRefusedError):
            raise Misconfigured(
                f"no node answers at {self.path}: start the node, or set --state-dir "
                "to its state directory"
            ) from None
        except PermissionError:
            raise Misconfigured(
                f"the node at {self.path} answers nobody but its own user and root: "
                "run this as one of them"
            ) from None
        except (OSError, HTTPException, ValueError) as error:
            raise Misconfigured(
                f"cannot get an answer from the node at {self.path}: {error}"
            ) from error
        finally:
            connection.close()
        if status >= 300:
            refusal = content.get("error", {})
            raise NotDone(f"{refusal.get('message')} ({refusal.get('code')})")
        return content

    def _headers(self) -> dict[str, str]:
        """Read the token that the node put beside its socket when it started."""
        try:
            token = self.path.with_suffix(".token").read_text("ascii").strip()
        except FileNotFoundError:
            # No node, or one of an older version, which asks for none.
            return {}
        return {"Authorization": f"Bearer {token}"}


Answer = dict[str, Any]


@attrs.frozen
class Request:
    """
    What to request from the node, and how to print its answer for people.

    :ivar page: below ``/v1/``.
    :ivar show: writes the answer as text.
    :ivar method: ``GET`` or ``POST``.
    :ivar body: sent as JSON; ``None`` sends nothing.
    """

    page: str
    show: Callable[[Answer], str]
    method: str = "GET"
    body: Any = None


@attrs.frozen
class Verb:
    """
    One command.

    :ivar request: reads the arguments that were typed.
    :ivar options: its arguments; see `vinom.tools.commands.cli.declare`.
    """

    request: Callable[[argparse.Namespace], Request]
    options: str = ""

    @property
    def OPTIONS(self) -> str:
        """Its arguments, and those that every row has."""
        return self.options + _COMMON

    def run(self, options: argparse.Namespace) -> int:
        """
        Send the request and print the answer.

        :returns: exit code: 1 if the node refused.
        :raises Misconfigured: no node answers.
        """
        folder = options.state_dir
        if folder is None and os.environ.get("VINOM_STATE_DIR"):
            folder = checked_path("VINOM_STATE_DIR", os.environ["VINOM_STATE_DIR"])
        settings = Settings() if folder is None else Settings(state_dir=folder)
        node, request = AdminLine(settings.admin_socket), self.request(options)
        try:
            if request.method == "GET":
                answer = node.get(request.page)
            else:
                answer = node.post(request.page, request.body)
        except NotDone as refusal:
            say(f"vinom {options.command}: {refusal}", file=sys.stderr)
            return 1
        if options.json:
            say_json(answer, indent=2)
        else:
            say(request.show(answer))
        return 0


def _do(page: str, done: str, body: Any = None) -> Request:
    """Request an action; *done* is printed if the node takes it."""
    return Request(page, lambda answer: done, "POST", body)


def _part(name: str) -> str:
    """Write an id as one part of a path."""
    return quote(name, safe="")


def _kick(options: argparse.Namespace) -> Request:
    match, player = options.match_id, options.player_id
    done = f"{player} is out of match {match}"
    return _do(f"matches/{_part(match)}/kick", done, {"player_id": player})


def _rooms(options: argparse.Namespace) -> Request:
    if options.end is not None and options.kick is not None:
        raise Misconfigured("give --end or --kick, not both")
    if options.end is not None:
        return _do(f"rooms/{_part(options.end)}/end", f"{options.end} is over")
    if options.kick is not None:
        room, player = options.kick
        done = f"{player} is out of room {room}"
        return _do(f"rooms/{_part(room)}/kick", done, {"player_id": player})
    if options.of is not None:
        return Request(f"rooms/of/{_part(options.of)}", show_asleep)
    if options.asleep:
        return Request("rooms/asleep", show_asleep)
    return Request("rooms", show_rooms)


def _results(options: argparse.Namespace) -> Request:
    if options.send or options.send_all:
        body = {"cursor": options.send} if options.send else {}
        return Request("results/dead/send", _show_sent, "POST", body)
    query = {"after": options.after, "limit": options.limit}
    given = {name: value for name, value in query.items() if value is not None}
    page = "results/dead" if options.dead else "results"
    return Request(f"{page}?{urlencode(given)}" if given else page, show_results)


def _drain(options: argparse.Namespace) -> Request:
    if options.server is not None:
        if not options.move:
            raise Misconfigured(
                f"vinom drain {options.server}: add --move to have another game server "
                "go on with its matches; without --move there is nothing to do: it "
                "exits after its last match"
            )
        done = f"moving the matches of {options.server} to another game server"
        return _do(f"servers/{_part(options.server)}/move", done)
    if options.move:
        done = (
            "moving: players and rooms go to other nodes; the node stops when nobody "
            "is left"
        )
        return _do("drain", done, {"move": True})
    return _do("drain", "draining: the node stops when its last match ends")


def _keys(options: argparse.Namespace) -> Request:
    if options.action == "list":
        return Request("keys", _show_keys)
    return Request("keys/rotate", _show_rotation, "POST", {"kind": options.kind})


def show_status(answer: Answer) -> str:
    """Write a summary; everything else is in the JSON."""
    queue, matches, fleet = answer["queue"], answer["matches"], answer["fleet"]
    ports = {state: fleet[f"ports_{state}"] for state in _PORT_STATES}
    rows: list[tuple[str, ...]] = [
        ("node", f"vinom {answer['version']}, {answer['state']}"),
        # A node of an older version sends none.
        *(("problem", why) for why in answer.get("problems", {}).values()),
        ("up", _duration(answer["uptime"])),
        ("lobby", f"{answer['lobby']}, {answer['lines']} lines"),
        ("players", f"{answer['players']} in the lobby"),
        ("queue", _queue(queue["waiting"], queue)),
        ("matches", _states(matches, ("forming", "placed", "playing"))),
        ("ended", _states(matches["ended"], sorted(matches["ended"]))),
        ("game servers", _states(fleet["servers"], fleet["servers"])),
        ("ports", _states(ports, _PORT_STATES)),
    ]
    store = answer["store"]
    if store["address"] != "memory":
        how = f"lease {store['lease']}" if store["available"] else "does not answer"
        rows.append(("store", f"{store['address']}, {how}"))
    for name, ends in sorted(answer["certificates"].items()):
        moment = f"{datetime.fromtimestamp(ends, UTC):%Y-%m-%d %H:%M} UTC"
        rows.append((f"{name} certificate", f"until {moment}"))
    return in_columns(rows)


def show_servers(answer: Answer) -> str:
    """List game servers, those with matches first."""
    rows: list[tuple[str, ...]] = [("SERVER", "STAGE", "PROCESS", "PORT", "MATCHES")]
    found = answer["fleet"]["game_servers"]
    for name in sorted(found, key=lambda name: (not found[name]["matches"], name)):
        one = found[name]
        rows.append(
            (
                name,
                one["stage"],
                str(one["pid"] or "-"),
                str(one["port"] or "-"),
                " ".join(one["matches"]) or "-",
            )
        )
    return in_columns(rows) if len(rows) > 1 else "no game servers"


_PORT_STATES = ("free", "bound", "quarantined")


def _queue(waiting: Mapping[str, int], queue: Mapping[str, Any]) -> str:
    if not sum(waiting.values()):
        return "nobody waits"
    text = _states(waiting, sorted(waiting))
    if queue["suspended"]:
        text += f", {queue['suspended']} of them away"
    return f"{text}; the longest for {_duration(queue['longest_wait'])}"


def _states(counts: Mapping[str, int], names: Iterable[str]) -> str:
    """Write "3 playing, 1 forming"; zeros are left out."""
    words = [f"{counts[name]} {name}" for name in names if counts[name]]
    return ", ".join(words) or "none"


def _duration(seconds: float) -> str:
    """Write a time in its two largest units."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    for large, small in (
        (f"{days} d", f"{hours} h"),
        (f"{hours} h", f"{minutes} min"),
        (f"{minutes} min", f"{seconds} s"),
    ):
        if not large.startswith("0 "):
            return f"{large} {small}"
    return f"{seconds} s"


def _in_lines(
    what: str, head: tuple[str, ...], row: Callable[[Answer], tuple[str, ...]]
) -> Callable[[Answer], str]:
    """Make what writes one line for each of a list."""

    def show(answer: Answer) -> str:
        found = answer[what]
        return in_columns([head, *map(row, found)]) if found else f"no {what}"

    return show


def _match_row(match: Answer) -> tuple[str, ...]:
    host, port = match["host"], match["port"]
    at = "-" if port is None else f"{f'[{host}]' if ':' in host else host}:{port}"
    age, players = f"{match['age']:.0f}s", _players(match)
    return match["match_id"], match["game"], match["state"], age, at, players


show_matches = _in_lines(
    "matches", ("MATCH", "GAME", "STATE", "AGE", "AT", "PLAYERS"), _match_row
)


def _room_row(room: Answer) -> tuple[str, ...]:
    counts = (str(room[name]) for name in ("spectators", "connected", "version"))
    seats = f"{room['taken']}/{room['seats']}"
    return (
        *(room["room_id"], room["game"], room["state"], seats),
        *(*counts, _players(room)),
    )


show_rooms = _in_lines(
    "rooms",
    ("ROOM", "GAME", "STATE", "SEATS", "WATCH", "HERE", "VERSION", "PLAYERS"),
    _room_row,
)


def _asleep_row(room: Answer) -> tuple[str, ...]:
    due = "-" if room["due"] is None else _duration(room["due"])
    return room["room_id"], room["game"], room["state"], due, _players(room)


show_asleep = _in_lines(
    "rooms", ("ROOM", "GAME", "STATE", "DUE IN", "PLAYERS"), _asleep_row
)


def _result_row(kept: Answer) -> tuple[str, ...]:
    """Write a result; places as "first > second = third"."""
    result = kept["result"]
    moment = f"{datetime.fromtimestamp(result['time'], UTC):%Y-%m-%d %H:%M:%S}"
    names = {seat["seat"]: seat["name"] for seat in result["seats"]}
    places = " > ".join(
        " = ".join(names.get(seat, str(seat)) for seat in place)
        for place in result["places"]
    )
    # Of one that was sent it is only why an earlier try failed.
    why = "-" if kept["state"] == "sent" else kept["why"] or "-"
    return (
        *(kept["cursor"], moment, result["game"], result["id"], result["reason"]),
        *(places or ", ".join(names.values()), kept["state"], why),
    )


show_results = _in_lines(
    "results",
    ("CURSOR", "TIME", "GAME", "RESULT", "REASON", "PLACES", "STATE", "WHY"),
    _result_row,
)


def _show_sent(answer: Answer) -> str:
    return f"sent again: {answer['sent_again']}"


def _players(where: Answer) -> str:
    return ", ".join(
        f"{seat['name']} ({seat['player_id'] or 'bot'}, {seat['state']})"
        for seat in where["players"]
    )


def _show_keys(answer: Answer) -> str:
    rows: list[tuple[str, ...]] = [("ID", "KIND", "STATE", "AGE", "EXPIRES")]
    for key in answer["keys"]:
        ends = key["expires_at"]
        left = "-" if ends is None else f"in {_span(ends - time.time())}"
        rows.append((key["id"], key["kind"], key["state"], _span(key["age"]), left))
    return in_columns(rows)


def _show_rotation(answer: Answer) -> str:
    if answer["kind"] == "cookie":
        return f"{answer['game_servers']} game servers make new cookie keys"
    what = {"token": "token key", "ca": "authority"}[answer["kind"]]
    return (
        f"{what} {answer['id']} signs from now on; the one before it is accepted for "
        f"{_span(answer['accepted_seconds'])}"
    )


def _span(seconds: float) -> str:
    """Write a length of time in one unit, the largest that fits twice."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _show_facts(answer: Answer) -> str:
    return in_columns([(name, str(value)) for name, value in answer.items()])


_COMMON = """
--state-dir FOLDER  the node's state directory (default: VINOM_STATE_DIR, else
                    ~/.local/state/vinom)
--json              print the node's answer as JSON
"""
_MATCH = """
match_id            as listed by vinom matches"""

#: Command to what it does; the lines of help are in `vinom.tools.commands.cli`.
VERBS: dict[str, Verb] = {
    "status": Verb(lambda options: Request("status", show_status)),
    "matches": Verb(lambda options: Request("matches", show_matches)),
    "rooms": Verb(
        _rooms,
        """
--asleep            list those that sleep in the store, in which something is due next
--of PLAYER         list all games that last in which this player has a seat
--end ROOM          end this room, asleep or not
--kick ROOM PLAYER  remove this player from this room, by its player_id""",
    ),
    "kick": Verb(_kick, f"{_MATCH}\nplayer_id           as listed by vinom matches"),
    "end": Verb(
        lambda options: _do(
            f"matches/{_part(options.match_id)}/end",
            f"match {options.match_id} is being ended",
        ),
        _MATCH,
    ),
    "servers": Verb(lambda options: Request("status", show_servers)),
    "drain": Verb(
        _drain,
        """
server [SERVER]     move the matches of this game server (vinom servers lists them) to
                    another one, and keep the node running; needs --move
--move              hand players and rooms to other nodes at once (as SIGTERM does where
                    there are others)""",
    ),
    "keys": Verb(
        _keys,
        """
action {list|rotate} = list
                    list them (the default), or rotate: let a new one take over
kind {token|ca|cookie} = token
                    which to rotate: the token key (the default), the authority, or the
                    cookie keys of game servers""",
    ),
    "results": Verb(
        _results,
        """
--after CURSOR      list those after this one
--limit N           list at most this many, the oldest first (default: 100)
--dead              list those that could not be sent
--send CURSOR       send this one again, which could not be sent
--send-all          send all again that could not be sent""",
    ),
    "explain": Verb(
        lambda options: Request(f"explain/{_part(options.player_id)}", _show_facts),
        """
player_id           as listed by vinom matches, or in the log""",
    ),
}
