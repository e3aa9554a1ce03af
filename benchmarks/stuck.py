"""How long other rooms wait when one room's game does not come back."""

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
from benchmarks.rooms import Say, Told, a_node

#: Seconds of play before the game is stuck.
_BEFORE = 1.0


def stuck(size: Size, folder: Path, say: Say) -> list[Figure]:
    """The worst wait of other rooms while one room's game loops for ever."""
    roomload = build("roomload", folder, "ssl", "crypto")
    found: dict[str, list[float]] = {}
    for run in range(size.runs):
        say(f"stuck: run {run + 1} of {size.runs}")
        for name, game in (
            ("no game", None),
            ("one", "stuckecho"),
            ("one of isolated games", "apartecho"),
        ):
            told = _play(roomload, size.count(200), game)
            found.setdefault(name, []).append(told["max_us"] / 1000)
    return [
        # Interrupted after 1 s: see decision 0020.
        Figure(f"worst wait in rooms while {name} loops for ever", "ms", tuple(waits))
        for name, waits in found.items()
    ]


def _play(roomload: Path, players: int, game: str | None) -> Told:
    """Play, and have a game stuck meanwhile."""
    seconds = _BEFORE + 4.0
    with a_node() as (node, port):
        wrong: list[Exception] = []
        culprit = threading.Thread(target=_loop, args=(port, game, wrong))
        if game is not None:
            culprit.start()
        told = load(
            roomload,
            *("vinom", port, node.pid, "open", players),
            *(f"rate={5 * players}", "warmup=0.5", f"secs={seconds}"),
        )
        if game is not None:
            culprit.join(60)
        if wrong:
            raise Failed(f"no game was stuck: {wrong[0]}")
    return told


def _loop(port: int, game: str, wrong: list[Exception]) -> None:
    """Sit in a room alone, have its game loop, and wait for the room's end."""
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
            _await(line.recv, "room_closed")
    except (WebSocketException, TimeoutError, OSError, Failed) as error:
        wrong.append(error)


def _await(receive: Callable[[float], Any], kind: str) -> None:
    """Wait until something of that kind is told."""
    give_up = time.monotonic() + 30.0
    while time.monotonic() < give_up:
        for told in json.loads(receive(30.0)):
            if told["type"] == kind:
                return
            if told["type"] == "error":
                raise Failed(f"the node says {told['error']}")
    raise Failed(f"nothing is told of {kind}")
