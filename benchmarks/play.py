"""Playing over UDP: what an input, a handshake and a join cost."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Size, of_runs
from benchmarks.machine import HERE, SERVER_CORE, Failed, build, load, pinned
from benchmarks.node import SEATS, Node

#: One game server that hosts all rooms.
DENSE = ("--rooms-per-process=100000", "--warm=1")

Say = Callable[[str], None]


def _play(
    udpload: Path, players: int, *how: object, arguments: tuple[str, ...] = DENSE
) -> dict[str, Any]:
    """Play on a fresh node; gives what ``udpload`` told."""
    with Node(*arguments) as node:
        matches = [node.start_match() for _ in range(players // SEATS)]
        pid = node.server_of(matches[0])
        return load(udpload, node.write_seats(matches), pid, *how)


def single(size: Size, folder: Path, say: Say) -> list[Figure]:
    """One input in, four encrypted states out, nothing coalesced."""
    udpload = build("udpload", folder, "ssl", "crypto")
    busy, paced = [], []
    for run in range(size.runs):
        say(f"single: run {run + 1} of {size.runs}")
        players, seconds = size.count(200), size.seconds(3.0)
        busy.append(_play(udpload, players, "one", size.seconds(1.0), seconds))
        players = size.count(40)
        paced.append(
            _play(udpload, players, "open", size.seconds(1.0), seconds, players * 50)
        )
    for told in busy:
        if abs(told["states_per_input"] - SEATS) > 0.05:
            raise Failed(f"an input made {told['states_per_input']} states, not 4")
    return [
        of_runs(
            "input with its own four states",
            "us CPU",
            busy,
            "cpu_us_per_input",
            60.0,
        ),
        of_runs(
            "the same, 40 players, 50 inputs a second each at fixed times",
            "us CPU",
            paced,
            "cpu_us_per_input",
        ),
        of_runs("input to state at that rate, p99", "us", paced, "p99_us"),
    ]


def saturation(
    size: Size, folder: Path, say: Say, peer_python: str | None = None
) -> list[Figure]:
    """As many inputs as there can be; a turn's inputs make one broadcast."""
    udpload = build("udpload", folder, "ssl", "crypto")
    players, seconds = size.count(200), size.seconds(3.0)
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for run in range(size.runs):
        say(f"saturation: run {run + 1} of {size.runs}")
        ours.append(_play(udpload, players, "all", size.seconds(1.0), seconds))
        if peer_python is not None:
            enetload = build("enetload", folder, "enet")
            theirs.append(
                _pyenet(enetload, peer_python, players, size.seconds(1.0), seconds)
            )
    figures = [
        of_runs("input at saturation", "us CPU", ours, "cpu_us_per_input", 24.0),
        of_runs("inputs at saturation", "a second", ours, "done_s"),
    ]
    if theirs:
        ratios = tuple(
            our["done_s"] / their["done_s"]
            for our, their in zip(ours, theirs, strict=True)
        )
        figures += [
            of_runs("pyenet, reliable, in the clear", "a second", theirs, "done_s"),
            Figure("inputs, ours over pyenet's", "times", ratios, 0.8, True),
        ]
    return figures


def _pyenet(
    enetload: Path, python: str, players: int, warmup: float, seconds: float
) -> dict[str, Any]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [python, str(HERE / "peers" / "py_enet.py"), str(port)]
    peer = subprocess.Popen(
        pinned(SERVER_CORE, command), stdout=subprocess.PIPE, text=True
    )
    try:
        if peer.stdout is None or peer.stdout.readline() != "ready\n":
            raise Failed(f"{python} does not run pyenet")
        return load(enetload, port, peer.pid, players, warmup, seconds)
    finally:
        peer.kill()
        peer.wait()


def has_pyenet(python: str = sys.executable) -> bool:
    """Can this interpreter be the peer?"""
    ran = subprocess.run([python, "-c", "import enet"], capture_output=True)
    return ran.returncode == 0


def handshake(size: Size, folder: Path, say: Say) -> list[Figure]:
    """Hello, cookie, handshake, JOIN with a token, WELCOME, the first state."""
    udpload = build("udpload", folder, "ssl", "crypto")
    runs = []
    for run in range(size.runs):
        say(f"handshake: run {run + 1} of {size.runs}")
        # The first rooms warm nothing that lasts; a thousand joins take a second.
        runs.append(_play(udpload, size.count(400), "one", 0.0, 0.1))
    return [of_runs("handshake and join", "ms CPU", runs, "join_cpu_ms", 1.0)]
