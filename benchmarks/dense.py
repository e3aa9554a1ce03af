"""One game server with many rooms of a game that ticks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Size, in_time, of_runs
from benchmarks.games.roomtick import RoomTick
from benchmarks.machine import build, cpu_of, load
from benchmarks.node import SEATS, Node
from benchmarks.peers import Pyenet
from benchmarks.play import DENSE
from benchmarks.yardstick import Yardstick

PLAYERS = 1000
#: Inputs per second of each player.
INPUTS = 20
_TICK_MS = 1000 / RoomTick.tick_hz
_GAME = f"{RoomTick.__module__}:{RoomTick.__qualname__}"


def run_dense(
    size: Size, udpload: Path, players: int, times: tuple[float, float], *more: str
) -> dict[str, Any]:
    """
    Play in rooms of a 20 Hz game.

    :param times: of the warm-up and of the measurement, seconds.
    :param more: arguments of the node.
    """
    how = udpload, players, times, *more
    return in_time(size, players * INPUTS, partial(_run, *how))


def _run(
    udpload: Path, players: int, times: tuple[float, float], *more: str
) -> dict[str, Any]:
    # The first matches wait for their players until the last match exists.
    with Node(*DENSE, f"--game={_GAME}", "--join-seconds=60", *more) as node:
        matches = [
            node.start_match(game=RoomTick.name) for _ in range(players // SEATS)
        ]
        pid, before = node.server_of(matches[0]), cpu_of(node.pid)
        result = load(
            udpload,
            *(node.write_seats(matches), pid, "open", *times),
            players * INPUTS,
        )
        # The node's over the whole run.
        result["both_cpu"] = result["server_cpu"] + (cpu_of(node.pid) - before) / sum(
            times
        )
    result["p99_ms"] = result["p99_us"] / 1000
    result["server_share"] = 100 * result["server_cpu"]
    result["states_of_each"] = result["states_s"] / players
    return result


def dense(
    size: Size,
    folder: Path,
    say: Callable[[str], None],
    pyenet: Pyenet | None = None,
) -> list[Figure]:
    """1,000 players in 250 rooms of a 20 Hz game, in one game server."""
    yardstick = Yardstick(pyenet, size, folder)
    udpload = build("udpload", folder, "ssl", "crypto")

    def measure(players: int, why: str = "") -> list[Figure]:
        runs = []
        for run in range(size.runs):
            say(f"dense: run {run + 1} of {size.runs}, {players} players")
            if not why:
                yardstick.measure()
            times = (size.seconds(3.0), size.seconds(10.0))
            runs.append(run_dense(size, udpload, players, times))
        return _figures(players, runs, why)

    players = size.count(PLAYERS)
    figures = measure(players)
    slower = yardstick.slower
    if slower is not None and slower > 1:
        fewer = int(players / slower) // SEATS * SEATS
        figures += measure(fewer, ", scaled to this machine's speed")
    return figures


def _figures(players: int, runs: list[dict[str, Any]], why: str) -> list[Figure]:
    what = f"{players:,} players in rooms of 20 Hz{why}"
    share, states = "% of a core", "per second for each"
    return [
        of_runs(what, share, runs, "server_share", 60.0),
        of_runs("input to state there, p99", "ms", runs, "p99_ms", _TICK_MS + 10),
        of_runs("states there", states, runs, "states_of_each", 19.0, at_least=True),
    ]
