"""What one `queue` request costs while many others wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import Figure, Size
from tests.support.lobbies import LobbyWorld, MemoryLine
from tests.support.queues import KINDS, MANY, crowded

FEW = 10
_REQUESTS = 4000
_WARM_UP = 200


def queue_cost(size: Size, folder: Path, say: Callable[[str], None]) -> list[Figure]:
    """CPU of a `queue` request and its round, at 100,000 entries against ten."""
    requests = size.count(_REQUESTS)
    figures = []
    for kind in KINDS:
        ratios, micros = [], []
        for run in range(size.runs):
            say(f"queue_cost, {kind}: run {run + 1} of {size.runs}")
            few, many = _compare(
                crowded(FEW, kind), crowded(size.count(MANY), kind), requests
            )
            ratios.append(many / few)
            micros.append([round(few / 1000, 1), round(many / 1000, 1)])
        figures.append(
            Figure(
                f"queue request, {MANY:,} / {FEW}: {kind}",
                "x",
                tuple(ratios),
                1.2,
                detail={"requests": requests, "us": micros},
            )
        )
    return figures


def _compare(few: LobbyWorld, many: LobbyWorld, requests: int) -> tuple[float, float]:
    """Measure both alternately, nanoseconds of CPU per request."""
    sides = [(world, world.hello("ann")[0]) for world in (few, many)]
    spent = [0, 0]
    for number in range(_WARM_UP + requests):
        for side, (world, line) in enumerate(sides):
            took = _ask(world, line)
            if number >= _WARM_UP:
                spent[side] += took
    return spent[0] / requests, spent[1] / requests


def _ask(world: LobbyWorld, line: MemoryLine) -> int:
    """Queue, and cancel; return the cost of the queue request."""
    began = time.thread_time_ns()
    line.ask("queue", game="crowd")
    world.clock.advance(0)
    took = time.thread_time_ns() - began
    line.ask("cancel")
    return took
