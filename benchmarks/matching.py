"""How many players nodes match, with a fleet that answers at once."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.crowd import Crowd
from benchmarks.figures import Figure, Size
from benchmarks.machine import LOAD_CORE, SERVER_CORE, cpu_of
from benchmarks.node import Node
from benchmarks.several import await_leases, redis, shared
from vinom.games.tictactoe import TicTacToe

_GAME = f"{TicTacToe.__module__}:{TicTacToe.__name__}"
_NODES = 4
#: Players who queue at once; those of the short and of the long queue; and in pairs.
_PLAYERS, _FEW, _MANY, _IN_PAIRS = 4000, 100, 10_000, 400
#: Bars: players per second; from `queue` to `match_found`, ms; commands.
_RATE, _WAIT, _COMMANDS = 1000.0, 25.0, 12.0
_HIGH = (
    f"--game={_GAME}",
    "--warm=0",
    "--accept-seconds=0",
    "--connections-per-address=100000",
    "--connections-per-network=100000",
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
    alone = _Found()
    with_redis = _Found()
    four = _Found()
    for run in range(size.runs):
        say(f"matching: run {run + 1} of {size.runs}")
        with (
            Node(*_HIGH, module="benchmarks.instant_node") as node,
            _generator_on({LOAD_CORE}),
        ):
            alone.measure([node], 0, size.count(_PLAYERS), size.count(_IN_PAIRS))
        for found, count, players in (
            (with_redis, 1, size.count(_PLAYERS)),
            (four, _NODES, size.count(_MANY)),
        ):
            with ExitStack() as stack:
                is_one = count == 1
                store, server = stack.enter_context(
                    redis(folder, SERVER_CORE if is_one else None)
                )
                shares = shared(folder, store)
                nodes = [
                    stack.enter_context(
                        Node(
                            *_HIGH,
                            *shares,
                            module="benchmarks.instant_node",
                            core=SERVER_CORE if number % 2 == 0 else LOAD_CORE,
                        )
                    )
                    for number in range(count)
                ]
                await_leases(*nodes)
                cores = {LOAD_CORE} if is_one else {SERVER_CORE, LOAD_CORE}
                stack.enter_context(_generator_on(cores))
                # A script that Redis has never run is sent twice: the first crowd
                # does not count.
                for _ in range(2):
                    before = _commands(store)
                    with Crowd([node.port for node in nodes], _FEW) as crowd:
                        crowd.queue()
                        cost = (_commands(store) - before) / _FEW
                found.few.append(cost)
                found.measure(nodes, server, players, size.count(_IN_PAIRS), store)
    return [
        *alone.figures("one node"),
        *with_redis.figures("one node and a Redis"),
        *four.figures(f"{_NODES} nodes and a Redis on two cores"),
    ]


class _Found:
    """What was measured with some nodes, a value for each run."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.waits: list[float] = []
        self.few: list[float] = []
        self.many: list[float] = []
        self.detail: dict[str, Any] = {}

    def measure(
        self, nodes: list[Node], server: int, players: int, paired: int, store: str = ""
    ) -> None:
        """Have players queue in pairs, then many at once."""
        ports = [node.port for node in nodes]
        with Crowd(ports, paired) as crowd:
            waits = sorted(crowd.queue_in_pairs())
        self.waits.append(1000 * waits[int(0.99 * (len(waits) - 1))])
        before = _commands(store) if store else 0
        with Crowd(ports, players) as crowd:
            spent = [cpu_of(node.pid) for node in nodes]
            redis_spent = cpu_of(server) if server else 0.0
            self.rates.append(crowd.queue())
            spent = [
                1e6 * (cpu_of(node.pid) - one)
                for node, one in zip(nodes, spent, strict=True)
            ]
            if store:
                self.many.append((_commands(store) - before) / players)
                redis_spent = 1e6 * (cpu_of(server) - redis_spent)
        self.detail = {
            "players": players,
            "us_of_a_node_per_player": round(sum(spent) / players),
            "us_of_redis_per_player": round(redis_spent / players),
            "p50_ms": round(1000 * waits[len(waits) // 2], 2),
        }

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
                f"last player's queue to match_found, idle, p99: {who}",
                "ms",
                tuple(self.waits),
                _WAIT,
                detail=self.detail,
            ),
        ]
        for length, commands in (
            (_FEW, self.few),
            (self.detail["players"], self.many),
        ):
            if commands:
                rows.append(
                    Figure(
                        f"Redis commands per player from hello to match, {length} in "
                        f"the queue: {who}",
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
