"""How long other rooms wait when one room's game does not return, or fails."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from benchmarks.figures import Figure, Size
from benchmarks.machine import Failed, build, load
from benchmarks.rooms import Result, Say, a_node

#: Seconds of play before the game loops, or fails.
_BEFORE = 1.0
#: How long they are watched after it misbehaved: longer than it may keep the node.
_AFTER = 4.0
#: What a game does meanwhile, and which game.
_CASES = (
    ("no game loops forever", None),
    # Interrupted after 1 s: see decision 0020.
    ("one loops forever", "stuckecho"),
    ("one raises", "raisingecho"),
    ("one has a state that cannot be sent", "unsendableecho"),
    ("one never moves its deadline on", "stayingecho"),
)
_GAMES = tuple(
    f"--game=benchmarks.games.broken:{name}"
    for name in ("RaisingEcho", "UnsendableEcho", "StayingEcho")
)


def stuck(size: Size, folder: Path, say: Say) -> list[Figure]:
    """The worst wait of other rooms while one room's game loops forever, or fails."""
    roomload = build("roomload", folder, "ssl", "crypto")
    found: dict[str, list[float]] = {}
    for run in range(size.runs):
        say(f"stuck: run {run + 1} of {size.runs}")
        for what, game in _CASES:
            result = _play(roomload, size, game)
            found.setdefault(what, []).append(result["max_us"] / 1000)
    return [
        Figure(f"worst wait in rooms while {what}", "ms", tuple(waits))
        for what, waits in found.items()
    ]


def _play(roomload: Path, size: Size, game: str | None) -> Result:
    """Play, and let a game misbehave meanwhile."""
    players = size.count(200)
    seconds = _BEFORE + size.seconds(_AFTER, least=1.0)
    with a_node(*_GAMES) as (node, port):
        wrong: list[Exception] = []
        culprit = threading.Thread(target=_provoke, args=(port, game, wrong))
        if game is not None:
            culprit.start()
        result = load(
            roomload,
            *("vinom", port, node.pid, "open", players),
            *(f"rate={5 * players}", "warmup=0.5", f"secs={seconds}"),
        )
        if game is not None:
            culprit.join(60)
        if wrong:
            raise Failed(f"no game misbehaved: {wrong[0]}")
    return result


def _provoke(port: int, game: str, wrong: list[Exception]) -> None:
    """Join a room alone, let its game fail, and wait for the room's end."""
    try:
        with connect(f"ws://127.0.0.1:{port}/ws", proxy=None) as line:
            for request in (
                {"type": "hello", "data": {"protocol": 1, "name": "culprit"}},
                {"type": "join_room", "data": {"game": game}},
                {"type": "start_room"},
            ):
                line.send(json.dumps(request))
            _await(line.recv, "room_started")
            # The others have joined by now, and play.
            time.sleep(_BEFORE)
            line.send('{"type": "action", "data": {"x": -1, "y": 0, "q": 0}}')
            reason = _await(line.recv, "room_closed")["reason"]
            if reason != "crashed":
                raise Failed(f"the room was closed with {reason}")
    except (WebSocketException, TimeoutError, OSError, Failed) as error:
        wrong.append(error)


def _await(receive: Callable[[float], Any], kind: str) -> Result:
    """Wait for a message of this kind, and return it."""
    give_up = time.monotonic() + 30.0
    while time.monotonic() < give_up:
        for result in json.loads(receive(30.0)):
            if result["type"] == kind:
                data: Result = result["data"]
                return data
            if result["type"] == "error":
                raise Failed(f"the node sent {result['error']}")
    raise Failed(f"no message {kind} came")
