"""What datagrams from strangers cost a game server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Size, of_runs
from benchmarks.machine import Failed, build, load
from benchmarks.node import Node
from benchmarks.peers import Pyenet
from benchmarks.play import DENSE
from benchmarks.yardstick import Yardstick

#: What they send, its name, its bar, and from how many networks it comes. A server
#: checks a limited number of hellos of each network, so the cost of checking shows only
#: if they come from many.
_KINDS = (
    ("junk", "junk datagram", 10.0, 16),
    ("hello", "ClientHello without cookie", 30.0, 2000),
    ("hello", "the same above its network's budget", None, 1),
    ("ticket", "ClientHello with unknown ticket", 60.0, 2000),
)
#: Datagrams per second of the slower attack.
_PACE = 5000


def strangers(
    size: Size,
    folder: Path,
    say: Callable[[str], None],
    pyenet: Pyenet | None = None,
) -> list[Figure]:
    """Attacks on a game server, at full speed and at a slow pace."""
    yardstick = Yardstick(pyenet, size, folder)
    junkload = build("junkload", folder, "ssl", "crypto")
    floods: dict[str, list[dict[str, Any]]] = {name: [] for _, name, _, _ in _KINDS}
    paced: dict[str, list[dict[str, Any]]] = {name: [] for _, name, _, _ in _KINDS}
    seconds = size.seconds(2.0)
    for run in range(size.runs):
        say(f"strangers: run {run + 1} of {size.runs}")
        yardstick.measure()
        for kind, name, _, networks in _KINDS:
            for rate, into in ((0, floods), (_PACE, paced)):
                with Node(*DENSE) as node:
                    match = node.start_match()
                    seat = match.seats[0]
                    ticket, _, rest = seat["server_name"].partition(".")
                    where = seat["host"], match.port, f"{'a' * len(ticket)}.{rest}"
                    pid = node.server_of(match)
                    result = load(junkload, *where, pid, kind, seconds, rate, networks)
                if (kind == "hello") != (result["answers_held"] > 0):
                    raise Failed(f"{kind}: {result['answers_held']} answers")
                into[name].append(result)
    figures = []
    for _, name, bar, _ in _KINDS:
        figures.append(of_runs(name, "us CPU", floods[name], "cpu_us_each", bar))
        figures.append(
            of_runs(f"{name}, {_PACE} per second", "us CPU", paced[name], "cpu_us_each")
        )
    return yardstick.judge(figures)
