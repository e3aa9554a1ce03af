"""How many players nodes match, with a fleet that answers at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.crowd import Crowd
from benchmarks.figures import Figure, Size
from benchmarks.machine import HERE, LOAD_CORE, SERVER_CORE, cpu_of
from benchmarks.node import Node
from benchmarks.several import await_leases, redis, shared
from vinom.games.tictactoe import TicTacToe

_GAME = f"{TicTacToe.__module__}:{TicTacToe.__name__}"
_NODES = 4
#: Players who queue, and those who do in pairs; others who are away and wait as well.
_PLAYERS, _IN_PAIRS, _FEW, _MANY = 2000, 200, 100, 10_000
#: Bars: players per second; from `queue` to `match_found`, ms; commands.
_RATE, _WAIT, _COMMANDS = 1000.0, 25.0, 12.0
_MODULE = "benchmarks.instant_node"
_HIGH = (
    f"--game={_GAME}",
    "--warm=0",
    "--accept-seconds=0",
    "--connections-per-address=100000",
)


@contextmanager
def _generator_on(cores: set[int]) -> Iterator[None]:
    """Run this process on these cores."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores & allowed or allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def matching(size: Size, folder: Path, say: Callable[[str], None]) -> list[Figure]:
    """Players matched per second by one node, and by four with a Redis."""
    players, paired = size.count(_PLAYERS), size.count(_IN_PAIRS)
    many = size.count(_MANY, 100)
    alone, with_redis, four = _Found(), _Found(), _Found()
    for run in range(size.runs):
        say(f"matching: run {run + 1} of {size.runs}, one node")
        with (
            Node(*_HIGH, module=_MODULE) as node,
            _generator_on({LOAD_CORE}),
        ):
            alone.measure([node], players, paired)
        say(f"matching: run {run + 1} of {size.runs}, one node and a Redis")
        with _nodes(1, folder, SERVER_CORE) as (nodes, store, server):
            with_redis.measure(nodes, players, paired, store, server)
        say(f"matching: run {run + 1} of {size.runs}, {_NODES} nodes and a Redis")
        with _nodes(_NODES, folder, None) as (nodes, store, server):
            four.measure(nodes, players, paired, store, server)
            # Those of the first crowd are in matches, which never end here.
            for length in (_FEW, many):
                _fill(store, length)
                _, cost = four.match(nodes, size.count(1000), store, server)
                four.commands.setdefault(length, []).append(cost)
    return [
        *alone.figures("one node"),
        *with_redis.figures("one node, Redis"),
        *four.figures(f"{_NODES} nodes, Redis"),
    ]


@contextmanager
def _nodes(
    count: int, folder: Path, redis_core: int | None
) -> Iterator[tuple[list[Node], str, int]]:
    """Run nodes and their Redis; gives the nodes, its address and its process."""
    with ExitStack() as stack:
        store, server = stack.enter_context(redis(folder, redis_core))
        shares = shared(folder, store)
        nodes = []
        for number in range(count):
            core = SERVER_CORE if number % 2 == 0 else LOAD_CORE
            node = Node(*_HIGH, *shares, module=_MODULE, core=core)
            nodes.append(stack.enter_context(node))
        await_leases(*nodes)
        stack.enter_context(
            _generator_on({LOAD_CORE} if count == 1 else {SERVER_CORE, LOAD_CORE})
        )
        # A script that Redis has never run is sent twice: this crowd does not count.
        with Crowd([node.port for node in nodes], 100) as crowd:
            crowd.queue()
        yield nodes, store, server


def _fill(store: str, count: int) -> None:
    subprocess.run(
        [sys.executable, "-m", "benchmarks.fill_queue", store, str(count)],
        check=True,
        cwd=HERE.parent,
    )


class _Found:
    """What was measured with some nodes, a value for each run."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.waits: list[float] = []
        #: By how many others wait: Redis commands per player.
        self.commands: dict[int, list[float]] = {}
        self.detail: dict[str, Any] = {}

    def measure(
        self,
        nodes: list[Node],
        players: int,
        paired: int,
        store: str = "",
        server: int = 0,
    ) -> None:
        """Have players queue in pairs, then many at once."""
        with Crowd([node.port for node in nodes], paired) as crowd:
            waits = sorted(crowd.queue_in_pairs())
        self.waits.append(1000 * waits[int(0.99 * (len(waits) - 1))])
        self.detail["p50_ms"] = round(1000 * waits[len(waits) // 2], 2)
        rate, cost = self.match(nodes, players, store, server)
        self.rates.append(rate)
        if store:
            self.commands.setdefault(0, []).append(cost)

    def match(
        self, nodes: list[Node], players: int, store: str, server: int
    ) -> tuple[float, float]:
        """Match players; returns how many per second, and Redis commands of each."""
        before = _commands(store) if store else 0
        pids = [node.pid for node in nodes]
        with Crowd([node.port for node in nodes], players) as crowd:
            of_nodes, of_redis = sum(map(cpu_of, pids)), cpu_of(server) if server else 0
            rate = crowd.queue()
            of_nodes = sum(map(cpu_of, pids)) - of_nodes
            self.detail["us_of_nodes_per_player"] = round(1e6 * of_nodes / players)
            if not store:
                return rate, 0.0
            of_redis = cpu_of(server) - of_redis
            self.detail["us_of_redis_per_player"] = round(1e6 * of_redis / players)
            return rate, (_commands(store) - before) / players

    def figures(self, who: str) -> list[Figure]:
        """Make its rows of the table."""
        rows = [
            Figure(
                f"players matched per second: {who}",
                "per second",
                tuple(self.rates),
                _RATE,
                at_least=True,
                detail=self.detail,
            ),
            Figure(
                f"queue to match_found, idle, p99: {who}",
                "ms",
                tuple(self.waits),
                _WAIT,
                detail=self.detail,
            ),
        ]
        for length, commands in self.commands.items():
            others = f", {length:,} others wait" if length else ""
            rows.append(
                Figure(
                    f"Redis commands per player{others}: {who}",
                    "commands",
                    tuple(commands),
                    _COMMANDS,
                )
            )
        return rows


def _commands(store: str) -> int:
    """Count the steps that Redis was sent, without what scripts call themselves."""
    host, _, port = store.removeprefix("redis://").partition("/")[0].partition(":")
    with socket.create_connection((host, int(port)), 10) as line:
        line.sendall(b"INFO commandstats\r\n")
        with line.makefile("rb") as file:
            text = file.read(int(file.readline()[1:])).decode()
    return sum(
        int(row.partition("calls=")[2].partition(",")[0])
        for row in text.splitlines()
        if row.startswith(("cmdstat_evalsha:", "cmdstat_eval:"))
    )
