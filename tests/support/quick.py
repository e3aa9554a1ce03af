"""Games that end soon, for tests with real processes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from vinom.game import Game, Outcome, Table
from vinom.games.maze import Maze


class QuickMaze(Maze):
    """The maze, whose room closes at once when its winners are known."""

    name = "quickmaze"
    linger = 0.5


class Tap(Struct, frozen=True):
    """One point."""


class Taps(Struct, frozen=True):
    """Everybody's points."""

    points: tuple[int, ...]
    is_over: bool = False


class Second(Game[Taps, Tap]):
    """The player with the most taps in a second wins."""

    name = "second"
    actions = Tap
    seats = (2, 2)
    linger = 0.1

    def start(self, table: Table) -> Taps:
        return Taps((0,) * len(table.seats))

    def act(self, s: Taps, seat: int, action: Tap, now: float) -> Taps:
        if s.is_over:
            return s
        points = list(s.points)
        points[seat] += 1
        return Taps(tuple(points))

    def deadline(self, s: Taps) -> float | None:
        return None if s.is_over else 1.0

    def advance(self, s: Taps, now: float) -> Taps:
        return replace(s, is_over=True)

    def outcome(self, s: Taps) -> Outcome | None:
        if not s.is_over:
            return None
        most = max(s.points)
        losers = tuple(seat for seat, n in enumerate(s.points) if n < most)
        winners = tuple(seat for seat, n in enumerate(s.points) if n == most)
        return Outcome(1, (winners, losers) if losers else (winners,), s.points)

    def view(self, s: Taps, audience: Hashable) -> dict[str, Any]:
        return {"points": s.points, "is_over": s.is_over}


class Longer(Second):
    """The same, for a minute."""

    name = "longer"

    def deadline(self, s: Taps) -> float | None:
        return None if s.is_over else 60.0


class Brawl(Second):
    """Two teams of three, and a draw after a moment."""

    name = "brawl"
    seats = (6, 6)
    teams = 2

    def deadline(self, s: Taps) -> float | None:
        return None if s.is_over else 0.2
