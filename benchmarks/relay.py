"""Players relayed by the node, compared with the same players at a game server."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Figure, Size, in_time, of_runs, ratio
from benchmarks.machine import build, load
from benchmarks.node import SEATS, Node
from benchmarks.peers import Pyenet
from benchmarks.play import DENSE

PLAYERS = 100


def _play(udpload: Path, players: int, udp: str, *how: object) -> dict[str, Any]:
    """Play on a new node; returns the report of ``udpload``."""
    with Node(*DENSE, f"--udp={udp}") as node:
        matches = [node.start_match() for _ in range(players // SEATS)]
        # Measure the process that has the players' port.
        pid = node.server_of(matches[0])
        return load(udpload, node.write_seats(matches), pid, *how)


def relay(
    size: Size,
    folder: Path,
    say: Callable[[str], None],
    pyenet: Pyenet | None = None,
) -> list[Figure]:
    """``udp = relay``: inputs at saturation, and input to state at half of that."""
    udpload = build("udpload", folder, "ssl", "crypto")
    players = size.count(PLAYERS)
    warmup, seconds = size.seconds(1.0), size.seconds(3.0)
    full: list[dict[str, Any]] = []
    half: dict[str, list[dict[str, Any]]] = {"direct": [], "relay": []}
    for run in range(size.runs):
        say(f"relay, saturated: run {run + 1} of {size.runs}")
        # In less than a second a busy machine may give it no CPU at all.
        longer = size.seconds(3.0, least=1.0)
        full.append(_play(udpload, players, "relay", "all", warmup, longer))
    # One rate for all runs, so that a disturbed run does not choose its own.
    rate = max(players, round(median(result["done_s"] for result in full) / 2))
    for run in range(size.runs):
        say(f"relay, {rate} inputs per second: run {run + 1} of {size.runs}")
        for udp, into in half.items():
            how = udpload, players, udp, "open", warmup, seconds, rate
            into.append(in_time(size, rate, partial(_play, *how)))
    at_half = "input to state at half of that"
    return [
        of_runs("inputs at saturation, relayed", "per second", full, "done_s"),
        of_runs(f"{at_half}, direct, p99", "us", half["direct"], "p99_us"),
        of_runs("the same, relayed, p99", "us", half["relay"], "p99_us"),
        ratio("relayed over direct, p99", half["relay"], half["direct"], "p99_us", 2.0),
    ]
