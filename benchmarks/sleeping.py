"""Rooms that sleep in Redis: what they cost, how they wake, and their deadlines."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from typing import Any

import attrs
from msgspec import structs

from benchmarks.figures import Figure, Size
from benchmarks.games.letters import DAY, Letters
from benchmarks.machine import LOAD_CORE, SERVER_CORE, Failed, private_memory
from benchmarks.node import Node
from benchmarks.several import Line, redis, shared
from vinom.play.hosting.checkpoints import (
    Checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from vinom.store.redis.client import Script, load

#: Bars of the issue: bytes per room, ms, seconds, and the growth of a node in MB.
_BYTES, _WAKE, _LATE, _GROWTH = 1536.0, 50.0, 1.0, 8.0
_LEASE_SECONDS = 5.0
_PREFIX = "vinom:1:main:"
#: Rooms that players really play, of which the others are copies.
_PLAYED = 20


class Store:
    """The Redis, asked as a node asks it, many steps at a time."""

    def __init__(self, url: str) -> None:
        """:param url: of the Redis."""
        port = int(url.rpartition(":")[2].partition("/")[0])
        self._line = _dial(port)
        self._file = self._line.makefile("rb")
        self._put = load("owned", "left")["put"]
        self.ask("SCRIPT", "LOAD", self._put.text)
        # A node whose lease does not end while this measures.
        ends = f"{(time.time() + DAY) * 1e6:.0f}"
        self.ask("HSET", f"{_PREFIX}node:bench", "lease", "1", "ends", ends)

    def ask(self, *command: str | bytes) -> Any:
        """Run one command."""
        self._line.sendall(_command(command))
        return self._answer()

    def sleep(self, rooms: Iterator[tuple[Checkpoint, float]]) -> int:
        """Put rooms to sleep, each until it is due, in how many seconds; count them."""
        count, batch = 0, list[bytes]()
        for checkpoint, left in rooms:
            batch.append(_command(self._release(self._put, checkpoint, left)))
            count += 1
            if len(batch) == 200:
                self._send(batch)
        self._send(batch)
        return count

    def _release(
        self, put: Script, checkpoint: Checkpoint, left: float
    ) -> Sequence[str | bytes]:
        players = " ".join(sorted(one.player_id for one in checkpoint.members))
        deadline = f"{(time.time() + 60) * 1e6:.0f}"
        return (
            *("EVALSHA", put.digest, "1", _PREFIX, deadline, "bench", "1"),
            *(checkpoint.room_id, "room", "1", write_checkpoint(checkpoint, True)),
            *(str(round(left * 1000)), "1", players, "192.0.2.1", "0"),
        )

    def _send(self, batch: list[bytes]) -> None:
        self._line.sendall(b"".join(batch))
        for _ in range(len(batch)):
            if self._answer() != 1:
                raise Failed("a room was not put to sleep")
        batch.clear()

    def used(self) -> int:
        """Ask for the bytes that Redis uses."""
        found = dict(
            line.partition(":")[::2]
            for line in self.ask("INFO", "memory").decode().splitlines()
        )
        return int(found["used_memory"])

    def _answer(self) -> Any:
        line = self._file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self._file.read(size + 2)[:-2]
        if kind == b"*":
            return [self._answer() for _ in range(int(rest))]
        if kind == b"-":
            raise Failed(rest.decode())
        return rest


def _dial(port: int) -> socket.socket:
    give_up = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 60)
        except ConnectionRefusedError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)


def _command(words: Sequence[str | bytes]) -> bytes:
    parts = [word if isinstance(word, bytes) else word.encode() for word in words]
    head = b"*%d\r\n" % len(parts)
    return head + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def _play(node: Node, store: Store) -> list[Checkpoint]:
    """Have players open rooms, make a move and leave; returns how they sleep."""
    for number in range(_PLAYED):
        pair = [Line(node.port, name) for name in ("Annabel", "Bob")]
        for line in pair:
            line.ask(
                "join_room", "join_room_result", game="letters", room_id=f"b{number}"
            )
        time.sleep(0.05)
        for line in pair:
            line.say("action", {"type": "place", "row": 1, "col": 1}, id=1)
        time.sleep(0.05)
        for line in pair:
            line.close()
    _await(lambda: node.status()["rooms"]["rooms"] == 0, 30.0)
    return [
        read_checkpoint(store.ask("GET", f"{_PREFIX}asleep:b{number}"))
        for number in range(_PLAYED)
    ]


def _copies(
    played: list[Checkpoint], name: str, count: int, left: Callable[[int], float]
) -> Iterator[tuple[Checkpoint, float]]:
    """Make rooms like those that were played, with players and matches of their own."""
    for number in range(count):
        one = played[number % len(played)]
        play = one.play
        if play is None or play.due is None:
            raise Failed("play has not begun")
        room_id, seconds = f"{name}{number:06}", left(number)
        ids = {
            member.player_id: f"{name}{number:06}{member.player_id[-14:]}"
            for member in one.members
        }
        plan = attrs.evolve(
            play.plan,
            match_id=f"{room_id}-0123456789",
            seats=tuple(
                attrs.evolve(seat, player_id=ids[seat.player_id])
                for seat in play.plan.seats
            ),
        )
        members = tuple(
            structs.replace(
                member, player_id=ids[member.player_id], resume=os.urandom(32)
            )
            for member in one.members
        )
        play = structs.replace(play, plan=plan, time=play.due - seconds)
        yield structs.replace(one, room_id=room_id, members=members, play=play), seconds


def _await(is_so: Callable[[], bool], seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > give_up:
            raise Failed(f"not within {seconds:g} s")
        time.sleep(0.05)


def _wakes(node: Node, count: int) -> list[float]:
    """Have some look into rooms that sleep, one after another; returns ms."""
    lines, took = [Line(node.port, f"Eve{number}") for number in range(48)], []
    for number in range(count):
        # Each in its turn: one that asks as often would be refused.
        line, room_id = lines[number % len(lines)], f"s{number:06}"
        asked = {"game": "letters", "room_id": room_id, "spectate": True}
        began = time.perf_counter()
        line.ask("join_room", "join_room_result", **asked)
        took.append((time.perf_counter() - began) * 1000)
        line.ask("leave_room", "room_done", room_id=room_id)
        time.sleep(0.005)
    for line in lines:
        line.close()
    return took


def _ends(nodes: Sequence[Node], name: str) -> dict[str, float]:
    """Find when rooms ended, by room: seconds since the Unix epoch."""
    found: dict[str, float] = {}
    for node in nodes:
        after = ""
        while page := node.admin.get(f"results?limit=1000&after={after}")["results"]:
            after = page[-1]["cursor"]
            for kept in page:
                room_id = kept["result"]["match_id"].rpartition("-")[0]
                if room_id.startswith(name):
                    found[room_id] = kept["result"]["time"]
    return found


def _lateness(
    nodes: Sequence[Node], due: dict[str, float], name: str, seconds: float
) -> list[float]:
    """Wait until all have ended; returns how late each did, seconds."""
    _await(lambda: len(_ends(nodes, name)) == len(due), seconds)
    ends = _ends(nodes, name)
    return [ends[room_id] - at for room_id, at in due.items()]


def _p99(values: Sequence[float]) -> float:
    return quantiles(values, n=100)[98]


def sleeping(size: Size, folder: Path, say: Callable[[str], None]) -> list[Figure]:
    """Rooms of games that last for days: their memory, waking, deadlines, a SIGKILL."""
    count, wakes = size.count(100_000, 2000), size.count(2000, 50)
    deadlines, held = size.count(3000, 100), size.count(100, 10)
    game = f"--game={Letters.__module__}:{Letters.__name__}"
    with ExitStack() as stack:
        url, _ = stack.enter_context(redis(folder))
        store = Store(url)
        arguments = (
            *(game, "--warm=0", *shared(folder, url)),
            *(f"--lease-seconds={_LEASE_SECONDS}", "--orphan-seconds=6"),
        )
        nodes = [
            stack.enter_context(Node(*arguments, core=core))
            for core in (SERVER_CORE, LOAD_CORE, SERVER_CORE)
        ]
        played = _play(nodes[0], store)
        node_before, before = private_memory(nodes[0].pid), store.used()
        store.sleep(_copies(played, "s", count, lambda number: 30 * DAY + number))
        per_room = (store.used() - before) / count
        say(f"{count} rooms sleep: {per_room:.0f} bytes of Redis for each")
        time.sleep(5.0)
        growth = (private_memory(nodes[0].pid) - node_before) / 1e6
        took = _wakes(nodes[0], wakes)
        say(f"woke {wakes}: p50 {sorted(took)[len(took) // 2]:.1f} ms")

        span, lead = size.count(30, 3), 5.0
        due: dict[str, float] = {}

        def left(number: int) -> float:
            seconds = lead + span * number / deadlines
            due[f"d{number:06}"] = time.time() + seconds
            return seconds

        store.sleep(_copies(played, "d", deadlines, left))
        late = _lateness(nodes, due, "d", lead + span + 60)
        say(f"{deadlines} deadlines: the latest after {max(late):.2f} s")

        # Rooms that one node holds, for somebody watches them, when it is killed.
        lead = 8.0
        due = {f"h{number:06}": time.time() + lead for number in range(held)}
        store.sleep(_copies(played, "h", held, lambda number: lead))
        watchers = []
        for number in range(held):
            if number % 8 == 0:
                watchers.append(Line(nodes[2].port, f"Eve{number}"))
            watchers[-1].ask(
                "join_room",
                "join_room_result",
                game="letters",
                room_id=f"h{number:06}",
                spectate=True,
            )
        os.kill(nodes[2].pid, signal.SIGKILL)
        killed = time.time()
        if killed > min(due.values()):
            raise Failed("the rooms were over before their node was killed")
        after_death = _lateness(nodes[:2], due, "h", 60.0)
        worst = max(
            at + late - max(at, killed + _LEASE_SECONDS)
            for at, late in zip(due.values(), after_death, strict=True)
        )
    return [
        Figure("Redis, per sleeping room", "bytes", (per_room,), _BYTES),
        Figure(
            f"a node's memory with {count:,} sleeping rooms", "MB", (growth,), _GROWTH
        ),
        Figure(
            "waking, p99",
            "ms",
            (_p99(took),),
            _WAKE,
            detail={"p50": sorted(took)[len(took) // 2], "max": max(took)},
        ),
        Figure(
            "deadlines of sleeping rooms, 3 nodes, latest",
            "s",
            (max(late),),
            _LATE,
            detail={"p99": _p99(late), "count": len(late)},
        ),
        Figure("after the lease of a killed node, latest", "s", (worst,), _LATE),
    ]
