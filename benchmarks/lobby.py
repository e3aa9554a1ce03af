"""The lobby: the time from `queue` to `match_found` with warm game servers."""

from __future__ import annotations

import json
import os
import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from benchmarks.figures import Figure, Size
from benchmarks.machine import LOAD_CORE, Failed
from benchmarks.memory import ask
from benchmarks.node import SEATS, Node

#: Matches per second.
RATE = 10
_QUEUE = json.dumps({"type": "queue", "data": {"game": "roomecho"}}).encode() + b"\n"


@attrs.define(eq=False)
class _Player:
    """A line to the lobby; its answers are read as they arrive."""

    line: socket.socket
    asked_at: float = 0.0
    heard: bytes = b""


def queueing(size: Size, folder: Path, say: Callable[[str], None]) -> list[Figure]:
    """Ten tables of four per second request a match, all four at the same moment."""
    matches = size.count(100, 10)
    allowed = sorted(os.sched_getaffinity(0))
    p50s, p99s = [], []
    for run in range(size.runs):
        say(f"queueing: run {run + 1} of {size.runs}, {matches} matches")
        # Nobody connects to play, so a match keeps its process for 10 s.
        with Node(
            "--warm=16",
            "--connections-per-address=100000",
            ports=matches + 64,
        ) as node:
            node.await_warm(16)
            if len(allowed) > 1:
                os.sched_setaffinity(0, {allowed[LOAD_CORE]})
            try:
                waits = sorted(_queue(node.port, matches))
            finally:
                os.sched_setaffinity(0, allowed)
        p50s.append(1000 * waits[len(waits) // 2])
        p99s.append(1000 * waits[int(0.99 * (len(waits) - 1))])
    detail = {"matches": matches, "p50_ms": [round(p50, 2) for p50 in p50s]}
    name = "queue to match_found, ten matches per second, p99"
    return [Figure(name, "ms", tuple(p99s), 50.0, detail=detail)]


def _queue(port: int, matches: int) -> list[float]:
    """Return how long each player waited, seconds."""
    players = []
    for number in range(matches * SEATS):
        line = socket.create_connection(("127.0.0.1", port), 10)
        ask(line, "hello", {"protocol": 1, "name": f"p{number}"})
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.setblocking(False)
        players.append(_Player(line))
    waits: list[float] = []
    with selectors.DefaultSelector() as selector:
        for player in players:
            selector.register(player.line, selectors.EVENT_READ, player)
        start, asked = time.perf_counter() + 0.5, 0
        give_up = start + matches / RATE + 20
        while len(waits) < len(players):
            now = time.perf_counter()
            if now > give_up:
                raise Failed(f"{len(waits)} of {len(players)} players got a match")
            while asked < len(players) and now >= start + asked // SEATS / RATE:
                player = players[asked]
                player.asked_at = time.perf_counter()
                player.line.sendall(_QUEUE)
                asked += 1
            for key, _ in selector.select(0.001):
                waited = _hear(key.data)
                if waited is not None:
                    waits.append(waited)
                    selector.unregister(key.fileobj)
                    key.data.line.close()
    return waits


def _hear(player: _Player) -> float | None:
    """Read messages; return the wait if one of them was the match."""
    player.heard += player.line.recv(65536)
    for said in player.heard.split(b"\n")[:-1]:
        kind = json.loads(said)["type"]
        if kind == "match_found":
            return time.perf_counter() - player.asked_at
        if kind == "error":
            raise Failed(f"the lobby sent {said.decode()}")
    return None
