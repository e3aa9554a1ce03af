"""Several nodes with one Redis: checkpoints, and rooms of other or dead nodes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Figure, Size
from benchmarks.machine import SERVER_CORE, Failed, cpu_of, pinned
from benchmarks.node import Node
from vinom.base.messages.catalogue import PROTOCOL
from vinom.net.keys.authority import Authority
from vinom.tools.commands.child_node import free_port, redis_executable

_GAMES = ("EchoNone", "EchoBehind", "EchoAhead")
#: Bars of the issue: CPU against no checkpoint, p50 against the same node, adoption.
_BEHIND, _AHEAD, _DISTANT, _ADOPT = 1.10, 2.0, 2.0, 250.0
_LEASE_SECONDS = 2.0
#: Actions per second of the player whose CPU, or whose wait, is measured.
_RATE = 200.0


class Line:
    """A player at a lobby line, who waits for each answer."""

    def __init__(self, port: int, name: str) -> None:
        """
        Say hello.

        :param port: of the node's lobby.
        """
        self._line = socket.create_connection(("127.0.0.1", port), 10)
        self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._line.makefile("rb")
        self.ask("hello", "welcome", protocol=PROTOCOL, name=name)

    def ask(self, kind: str, answer: str, **data: Any) -> dict[str, Any]:
        """
        Send a request, and wait for its answer.

        :raises Failed: it is refused.
        """
        self._send({"type": kind, "data": data})
        return self._until(lambda found: found["type"] == answer)

    def act(self, number: int) -> float:
        """Act, and wait for the state that answers it; returns seconds."""
        began = time.perf_counter()
        place = {"x": number % 100, "y": 0, "q": number}
        self._send({"type": "action", "id": number, "data": place})
        self._until(
            lambda found: (
                found["type"] == "game_state"
                and number in found["data"]["ack"].values()
            )
        )
        return time.perf_counter() - began

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._line.close()

    def say(self, kind: str, data: Any, id: int | None = None) -> None:
        """Send a message, and wait for nothing."""
        self._send({"type": kind, "data": data, "id": id})

    def _send(self, message: dict[str, Any]) -> None:
        self._line.sendall(json.dumps(message).encode() + b"\n")

    def _until(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            line = self._file.readline()
            if not line:
                raise Failed("the node closed a line")
            found = json.loads(line)
            if found["type"] == "error":
                raise Failed(f"refused: {found['error']}")
            if fits(found):
                data: dict[str, Any] = found["data"]
                return data


@contextmanager
def redis(folder: Path, core: int | None = SERVER_CORE) -> Iterator[tuple[str, int]]:
    """
    Run a Redis; gives its address and process.

    :param core: where it runs; ``None`` for any.
    """
    port = free_port()
    command = [redis_executable(), "--port", str(port), "--bind", "127.0.0.1"]
    command += ["--save", "", "--appendonly", "no", "--dir", str(folder)]
    server = subprocess.Popen(
        command if core is None else pinned(core, command),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"redis://127.0.0.1:{port}/0", server.pid
    finally:
        server.kill()
        server.wait()


def shared(folder: Path, store: str) -> tuple[str, ...]:
    """
    Return the arguments that nodes of one deployment share.

    :param store: the address of their Redis.
    """
    Authority.open(folder, "game.vinom", time.time)
    authority = folder / "authority"
    return (
        f"--store={store}",
        f"--authority-certificate-file={authority / 'ca.pem'}",
        f"--authority-key-file={authority / 'ca.key'}",
    )


def _arguments(folder: Path, store: str) -> tuple[str, ...]:
    return (
        *(f"--game=benchmarks.games.durable:{game}" for game in _GAMES),
        "--warm=0",
        *shared(folder, store),
        f"--lease-seconds={_LEASE_SECONDS}",
        "--orphan-seconds=6",
    )


def several(size: Size, folder: Path, say: Callable[[str], None]) -> list[Figure]:
    """Rooms kept in Redis, played through another node, and adopted after a SIGKILL."""
    actions, rooms = size.count(2000, 200), size.count(200, 20)
    ratios: dict[str, list[float]] = {"EchoBehind": [], "EchoAhead": []}
    distant: list[float] = []
    adopted: list[float] = []
    detail: dict[str, Any] = {}
    for run in range(size.runs):
        say(f"several: run {run + 1} of {size.runs}")
        with ExitStack() as stack:
            store, server = stack.enter_context(redis(folder))
            arguments = _arguments(folder, store)
            first, second = (
                stack.enter_context(Node(*arguments, ports=2)) for _ in range(2)
            )
            await_leases(first, second)
            costs = {
                game: _cost(first, server, game.lower(), actions) for game in _GAMES
            }
            for game, found in ratios.items():
                found.append(costs[game] / costs["EchoNone"])
            detail["us"] = {name: round(cost, 1) for name, cost in costs.items()}
            near, far = _waits(first, second, actions)
            distant.append(far / near)
            detail["p50_us"] = [round(1e6 * near), round(1e6 * far)]
            adopted.append(1000 * _adopt(first, second, rooms))
    return [
        Figure(
            "room action kept soon after / not kept, CPU",
            "times",
            tuple(ratios["EchoBehind"]),
            _BEHIND,
            detail=detail,
        ),
        Figure(
            "room action kept before it is shown / not kept, CPU",
            "times",
            tuple(ratios["EchoAhead"]),
            _AHEAD,
            detail=detail,
        ),
        Figure(
            "room of another node / of the same node, p50",
            "times",
            tuple(distant),
            _DISTANT,
            detail=detail,
        ),
        Figure(
            "adopt a room whose lease is over, on reconnect, p99",
            "ms",
            tuple(adopted),
            _ADOPT,
            detail={"rooms": rooms},
        ),
    ]


def await_leases(*nodes: Node) -> None:
    """Wait until each node has its lease."""
    give_up = time.monotonic() + 20
    while not all(node.status()["store"]["lease"] for node in nodes):
        if time.monotonic() > give_up:
            raise Failed("the nodes got no leases")
        time.sleep(0.05)


def _cost(node: Node, server: int, game: str, actions: int) -> float:
    """Find what an action costs the node and Redis together, microseconds of CPU."""
    line = Line(node.port, game)
    line.ask("join_room", "join_room_result", game=game, room_id=f"{game}-cost")
    line.ask("start_room", "room_done")
    for number in range(1, 51):
        line.act(number)
    before = cpu_of(node.pid) + cpu_of(server)
    _paced(line, actions, 51)
    spent = cpu_of(node.pid) + cpu_of(server) - before
    line.close()
    return 1e6 * spent / actions


def _paced(line: Line, actions: int, first: int) -> list[float]:
    waits, due = [], time.perf_counter()
    for number in range(first, first + actions):
        due += 1 / _RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        waits.append(line.act(number))
    return waits


def _waits(first: Node, second: Node, actions: int) -> tuple[float, float]:
    """Find the median waits of players of the room's node, and of another one."""
    found = []
    for node in (first, second):
        owner = Line(first.port, "owner")
        room = {"game": "echonone", "room_id": f"far-{node.port}"}
        owner.ask("join_room", "join_room_result", **room)
        player = Line(node.port, "player")
        player.ask("join_room", "join_room_result", **room)
        owner.ask("start_room", "room_done")
        for number in range(1, 51):
            player.act(number)
        found.append(median(_paced(player, actions, 51)))
        player.close()
        owner.close()
    return found[0], found[1]


def _adopt(first: Node, second: Node, rooms: int) -> float:
    """Kill a node, wait for the end of its lease, and come back to its rooms."""
    secrets = []
    for number in range(rooms):
        line = Line(first.port, f"p{number}")
        room = {"game": "echoahead", "room_id": f"room-{number}"}
        secrets.append(line.ask("join_room", "join_room_result", **room)["resume"])
        line.ask("start_room", "room_done")
        line.act(1)
    os.kill(first.pid, signal.SIGKILL)
    time.sleep(_LEASE_SECONDS + 0.6)
    waits = []
    for number, secret in enumerate(secrets):
        line = Line(second.port, f"again{number}")
        began = time.perf_counter()
        line.ask("reconnect", "reconnect_result", resume=secret)
        waits.append(time.perf_counter() - began)
        line.close()
    return sorted(waits)[int(0.99 * (len(waits) - 1))]
