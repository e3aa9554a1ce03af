"""Turn keys into a maze's actions, a step ahead of the server."""

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
#: Steps that may be under way; more would walk on long after the key is up.
_MOST_AHEAD = 8


class MazeWalker:
    """
    Walk without waiting for the answer to each step.

    A move says where it starts, so the next one has to start where the last
    one will have led. When the server refuses one, all start again from where
    the server says we are.

    :ivar at: where we will be when everything is answered.
    """

    def __init__(self, setup: Mapping[str, Any], seat: int) -> None:
        self._walls, self._seat = setup["walls"], seat
        self._ahead: deque[int] = deque()
        self.at: tuple[int, int] | None = None

    def choose(self, key: str, view: Mapping[str, Any]) -> dict[str, Any] | None:
        """Which action a key means now; ``None`` is none."""
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
        """An action is on its way, with this number."""
        if action["type"] == "move" and number:
            _, down, right = _STEPS[action["direction"]]
            row, col = action["from"]
            self.at = (row + down, col + right)
            self._ahead.append(number)

    def saw(self, acked: int) -> None:
        """A state came that answers everything up to this number."""
        while self._ahead and self._ahead[0] <= acked:
            self._ahead.popleft()
        if not self._ahead:
            self.at = None

    def refused(self) -> None:
        """One was refused, and with it all that start where it led."""
        self._ahead.clear()
        self.at = None

    def ahead_of(self, view: Mapping[str, Any]) -> Mapping[str, Any]:
        """The view with us where we will be."""
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
