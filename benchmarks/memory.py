"""Memory of what is idle: game processes with idle rooms, and lobby lines."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import IO

from benchmarks.figures import Figure, Size
from benchmarks.machine import (
    LOAD_CORE,
    Failed,
    build,
    descendants,
    owner_of_udp,
    pinned,
    private_memory,
)
from benchmarks.node import SEATS, Node

Say = Callable[[str], None]
_MB = 1_000_000


def processes(size: Size, folder: Path, say: Say) -> list[Figure]:
    """A hundred game processes at once, each with one room, then with idle players."""
    udpload = build("udpload", folder, "ssl", "crypto")
    rooms = size.count(100, 2)
    say(f"processes: {rooms} at once")
    with Node("--warm=4", ports=rooms + 8) as node:
        matches = [node.start_match() for _ in range(rooms)]
        below = descendants(node.pid)
        pids = [owner_of_udp(match.port, below) for match in matches]
        alone = [private_memory(pid) / _MB for pid in pids]
        with subprocess.Popen(
            pinned(
                LOAD_CORE,
                [
                    str(udpload),
                    str(node.write_seats(matches)),
                    str(pids[0]),
                    "hold",
                    "0",
                    "0",
                ],
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as players:
            try:
                if players.stdout is None or players.stdout.readline() != "joined\n":
                    raise Failed("the players did not get their seats")
                time.sleep(2)
                found = [private_memory(pid) / _MB for pid in pids]
            finally:
                players.kill()
    if len(set(pids)) < rooms:
        raise Failed(f"{rooms} matches are in {len(set(pids))} processes")
    name = "game process with an idle room"
    return [
        _of_processes(f"{name}, private", alone, 0, 8.0),
        _of_processes(f"{name} and four players, private", found, rooms * SEATS),
    ]


def _of_processes(
    name: str, found: list[float], players: int, bar: float | None = None
) -> Figure:
    detail = {
        "processes": len(found),
        "players": players,
        "least": round(min(found), 2),
        "most": round(max(found), 2),
    }
    return Figure(name, "MB", (median(found),), bar, detail=detail)


def lines(size: Size, folder: Path, say: Say) -> list[Figure]:
    """Idle lobby lines after their hello."""
    count = size.count(1000, 10)
    figures = []
    for name, bar in (("plain", 10.0), ("TLS", None)):
        say(f"lines: {count} {name} ones")
        with (
            Node("--warm=0", f"--connections-per-address={count + 20}") as node,
            contextlib.ExitStack() as held,
        ):
            # What the node makes once is not counted to any line.
            for number in range(20):
                held.callback(_line(node.port, number, name == "TLS").close)
            before = _settled(node.pid)
            for number in range(count):
                held.callback(_line(node.port, number + 20, name == "TLS").close)
            each = (_settled(node.pid) - before) / count / 1000
        figures.append(
            Figure(
                f"idle lobby line, {name}", "KB", (each,), bar, detail={"lines": count}
            )
        )
    return figures


def _settled(pid: int) -> int:
    time.sleep(0.5)
    return private_memory(pid)


def _line(port: int, number: int, is_tls: bool) -> socket.socket:
    line: socket.socket = socket.create_connection(("127.0.0.1", port), 10)
    if is_tls:
        context = ssl.create_default_context()
        # The certificate is not verified here.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        line = context.wrap_socket(line)
    answer = ask(line, "hello", {"protocol": 1, "name": f"idle {number}"})
    if answer["type"] != "welcome":
        raise Failed(f"the answer to a hello was {answer}")
    return line


def ask(line: socket.socket, kind: str, data: dict[str, object]) -> dict[str, object]:
    """Send one request to the lobby; return the answer."""
    line.sendall(json.dumps({"type": kind, "data": data}).encode() + b"\n")
    with line.makefile("rb") as file:
        return next_message(file)


def next_message(file: IO[bytes]) -> dict[str, object]:
    """Read one message of the lobby."""
    said = file.readline()
    if not said:
        raise Failed("the lobby closed a line")
    answer: dict[str, object] = json.loads(said)
    return answer
