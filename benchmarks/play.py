"""Playing over UDP: what an input, a handshake and a join cost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Size, in_time, of_runs, ratio
from benchmarks.games.echoes import EachEcho
from benchmarks.machine import Failed, build, load
from benchmarks.node import SEATS, Node
from benchmarks.peers import Pyenet
from benchmarks.yardstick import Yardstick

#: One game server that hosts all rooms.
DENSE = ("--rooms-per-process=100000", "--warm=1")
_EACH = f"--game={EachEcho.__module__}:{EachEcho.__qualname__}"

Say = Callable[[str], None]


def _play(
    udpload: Path, players: int, *how: object, game: str = "roomecho"
) -> dict[str, Any]:
    """Play on a fresh node; return the report of ``udpload``."""
    with Node(*DENSE, _EACH) as node:
        matches = [node.start_match(game=game) for _ in range(players // SEATS)]
        pid = node.server_of(matches[0])
        return load(udpload, node.write_seats(matches), pid, *how)


def single(
    size: Size, folder: Path, say: Say, pyenet: Pyenet | None = None
) -> list[Figure]:
    """One input in, four encrypted states out, nothing coalesced."""
    yardstick = Yardstick(pyenet, size, folder)
    udpload = build("udpload", folder, "ssl", "crypto")
    busy, turns, paced = [], [], []
    for run in range(size.runs):
        say(f"single: run {run + 1} of {size.runs}")
        yardstick.measure()
        players, times = size.count(200), (size.seconds(1.0), size.seconds(3.0))
        busy.append(_play(udpload, players, "all", *times, game=EachEcho.name))
        turns.append(_play(udpload, players, "one", *times))
        players = size.count(40)
        how = udpload, players, "open", *times, players * 50
        paced.append(in_time(size, players * 50, partial(_play, *how)))
    for result in busy + turns:
        # An input of each player may have been on its way at either end of the time.
        cut = SEATS * result["players"] / max(1.0, result["done_s"] * times[1])
        if abs(result["states_per_input"] - SEATS) > 0.05 + cut:
            raise Failed(f"an input made {result['states_per_input']} states, not 4")
    what, key = "input with its own four states", "cpu_us_per_input"
    in_turn = "the same, one seat of each room at a time"
    apart = "the same, 40 players, 50 inputs per second each at fixed times"
    return [
        *yardstick.judge([of_runs(what, "us CPU", busy, key, 60.0)]),
        of_runs(f"rate of {what}", "per second", busy, "done_s"),
        of_runs(in_turn, "us CPU", turns, key),
        of_runs(apart, "us CPU", paced, key),
        of_runs("input to state at that rate, p99", "us", paced, "p99_us"),
    ]


def saturation(
    size: Size, folder: Path, say: Say, pyenet: Pyenet | None = None
) -> list[Figure]:
    """As many inputs as possible; the inputs of one turn make one broadcast."""
    yardstick = Yardstick(pyenet, size, folder)
    udpload = build("udpload", folder, "ssl", "crypto")
    players, seconds = size.count(200), size.seconds(3.0)
    ours: list[dict[str, Any]] = []
    for run in range(size.runs):
        say(f"saturation: run {run + 1} of {size.runs}")
        ours.append(_play(udpload, players, "all", size.seconds(1.0), seconds))
        yardstick.measure()
    busy = [{"share": run["done_s"] * run["cpu_us_per_input"] / 1e4} for run in ours]
    cost = of_runs("input at saturation", "us CPU", ours, "cpu_us_per_input", 24.0)
    figures = [
        *yardstick.judge([cost]),
        of_runs("inputs at saturation", "per second", ours, "done_s"),
        # The rest of its time it waits: there is always more to do.
        of_runs("at work meanwhile", "% of a core", busy, "share", 75.0, at_least=True),
    ]
    if theirs := yardstick.results:
        figures += [
            of_runs("pyenet, reliable, in the clear", "per second", theirs, "done_s"),
            ratio(
                "inputs, ours over pyenet's",
                *(ours, theirs, "done_s", 0.8),
                at_least=True,
            ),
        ]
    return figures


def handshake(
    size: Size, folder: Path, say: Say, pyenet: Pyenet | None = None
) -> list[Figure]:
    """Hello, cookie, handshake, JOIN with a token, WELCOME, the first state."""
    yardstick = Yardstick(pyenet, size, folder)
    udpload = build("udpload", folder, "ssl", "crypto")
    runs = []
    for run in range(size.runs):
        say(f"handshake: run {run + 1} of {size.runs}")
        yardstick.measure()
        # No warm-up: the first rooms cache nothing, and a thousand joins take a second.
        runs.append(_play(udpload, size.count(400), "one", 0.0, 0.1))
    joins = of_runs("handshake and join", "ms CPU", runs, "join_cpu_ms", 1.0)
    return yardstick.judge([joins])
