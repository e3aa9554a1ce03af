"""
Four players in a maze over UDP, for one trip after another.

``python -m benchmarks.trips.players PORT`` prints ``ready`` when all of them play. For
each line that it reads, the first player moves; when everybody has seen that, it prints
when the move left and when the last state was there, nanoseconds.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from twisted.internet import stdio
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import react
from twisted.protocols.basic import LineReceiver

from vinom.client.sdk import Match, connect

SEATS = 4
#: Sides of a cell: the bit of each in a wall's digit, and its step and the way back.
_SIDES = (
    (1, "up", (-1, 0), "down"),
    (2, "right", (0, 1), "left"),
    (4, "down", (1, 0), "up"),
    (8, "left", (0, -1), "right"),
)


def move(setup: Any, at: list[int], is_away: bool) -> dict[str, Any]:
    """
    Go from the start to an open cell beside it, or back.

    :param setup: of the maze.
    :param at: ``[row, col]``, where the first seat is now.
    :param is_away: is that the cell beside the start?
    """
    row, col = setup["starts"][0]
    digit = int(setup["walls"][row][col], 16)
    _, there, _, back = next(side for side in _SIDES if side[0] & digit)
    return {"type": "move", "direction": back if is_away else there, "from": at}


class Moves(LineReceiver):
    """Move when a line comes, and print when that was."""

    delimiter = b"\n"

    def __init__(self, matches: list[Match]) -> None:
        self._matches = sorted(matches, key=lambda match: match.seat)
        self._waiting: set[int] = set()
        self._asked_at = 0
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        for match in self._matches:
            match.on_state(self._seen)
        self.sendLine(b"ready")

    def lineReceived(self, line: bytes) -> None:
        first = self._matches[0]
        at = first.view["at"][0]
        is_away = list(at) != list(first.setup["starts"][0])
        self._waiting = set(range(SEATS))
        self._asked_at = time.monotonic_ns()
        first.act(move(first.setup, at, is_away))

    def _seen(self, match: Match) -> None:
        if match.seat in self._waiting:
            self._waiting.remove(match.seat)
            if not self._waiting:
                times = f"{self._asked_at} {time.monotonic_ns()}"
                self.sendLine(times.encode())

    def connectionLost(self, reason: object = None) -> None:
        self.gone.callback(None)


async def _play(clock: Any, port: int) -> None:
    clients = await gatherResults(
        [
            connect(clock, "127.0.0.1", port, name=f"p{number}", way="udp")
            for number in range(SEATS)
        ]
    )
    matches = await gatherResults([client.queue("maze") for client in clients])
    await gatherResults([_first_view(match) for match in matches])
    moves = Moves(matches)
    stdio.StandardIO(moves, reactor=clock)
    await moves.gone


def _first_view(match: Match) -> Deferred[None]:
    seen: Deferred[None] = Deferred()

    def look(_: Match) -> None:
        if not seen.called:
            seen.callback(None)

    match.on_state(look)
    if match.view is not None:
        look(match)
    return seen


def main() -> None:
    """Play until the other end hangs up."""
    react(lambda clock: ensureDeferred(_play(clock, int(sys.argv[1]))))


if __name__ == "__main__":
    main()
