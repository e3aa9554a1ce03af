"""Turn keys into the maze's actions, without waiting for the server."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

# Bits of a cell's open sides, and how a step changes (row, col).
_STEPS = {
    "up": (1, -1, 0),
    "right": (2, 0, 1),
    "down": (4, 1, 0),
    "left": (8, 0, -1),
}
#: Most steps without an answer; with more, a player would walk on long after the key
#: was released.
_MOST_AHEAD = 8


class MazeWalker:
    """
    Walk without waiting for the answer to each step.

    A move names the cell where it starts, so each one starts where the one before it
    leads. After a refusal the next one starts where the server shows us.

    :param setup: of `vinom.games.maze`, as decoded.
    :param seat: ours.
    :ivar at: where we will be once all steps are answered; ``None`` if none wait.
    """

    def __init__(self, setup: Mapping[str, Any], seat: int) -> None:
        self._walls, self._seat = setup["walls"], seat
        self._ahead: deque[int] = deque()
        self.at: tuple[int, int] | None = None

    def choose(self, key: str, view: Mapping[str, Any]) -> dict[str, Any] | None:
        """Find the action that a key means now; ``None`` if it has no effect."""
        if key == "dance":
            wins = view["over"] and self._seat in view["winners"]
            return {"type": "dance"} if wins else None
        step = _STEPS.get(key)
        if step is None or view["over"] or len(self._ahead) >= _MOST_AHEAD:
            return None
        row, col = self._here(view)
        if not int(self._walls[row][col], 16) & step[0]:
            return None
        return {"type": "move", "direction": key, "from": [row, col]}

    def sent(self, action: Mapping[str, Any], number: int) -> None:
        """Note that an action was sent, with this number; 0 if it was not."""
        if action["type"] == "move" and number:
            _, down, right = _STEPS[action["direction"]]
            row, col = action["from"]
            self.at = (row + down, col + right)
            self._ahead.append(number)

    def saw(self, acked: int) -> None:
        """Note that a state has answered everything up to this number."""
        while self._ahead and self._ahead[0] <= acked:
            self._ahead.popleft()
        if not self._ahead:
            self.at = None

    def refused(self) -> None:
        """Note that a step was refused: the steps after it will be, too."""
        self._ahead.clear()
        self.at = None

    def ahead_of(self, view: Mapping[str, Any]) -> Mapping[str, Any]:
        """Show us where we will be."""
        if self.at is None:
            return view
        at = list(view["at"])
        at[self._seat] = list(self.at)
        return {**view, "at": at}

    def _here(self, view: Mapping[str, Any]) -> tuple[int, int]:
        if self.at is not None:
            return self.at
        row, col = view["at"][self._seat]
        return row, col
