"""Games that end soon, for tests with real processes."""

from __future__ import annotations

from vinom.games.maze import Maze


class QuickMaze(Maze):
    """The maze, whose room closes at once when its winners are known."""

    name = "quickmaze"
    linger = 0.5
