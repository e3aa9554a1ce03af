"""Windows that widen in steps while an entry waits."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isnan

import attrs


@attrs.frozen
class Steps:
    """
    The steps of a window.

    :ivar seconds: when each begins, seconds of waiting; the first is 0.
    """

    seconds: tuple[float, ...]

    @classmethod
    def of(cls, seconds: Sequence[float], *widths: Sequence[float]) -> Steps:
        """
        Check steps, and make them.

        :param seconds: when each begins.
        :param widths: for each thing that widens, its width in each step.
        :raises ValueError: the steps are not in order, or a width shrinks.
        """
        if not seconds or seconds[0] != 0:
            raise ValueError("steps must begin with one of seconds = 0")
        for column in (seconds, *widths):
            if any(isnan(one) or one < 0 for one in column):
                raise ValueError("steps must have numbers from 0 up")
            if list(column) != sorted(column):
                raise ValueError(
                    "each number of steps must be as large as the one before it, or "
                    f"larger, not {', '.join(f'{one:g}' for one in column)}"
                )
        return cls(tuple(seconds))

    def at(self, waited: float) -> int:
        """
        Find the step of an entry.

        :param waited: seconds; below 0 if a clock was set back, which counts as 0.
        """
        step = len(self.seconds) - 1
        while step and waited < self.seconds[step]:
            step -= 1
        return step

    def next_at(self, since: float, step: int) -> float:
        """When the step after this one begins for an entry; infinite after the last."""
        following = step + 1
        return since + self.seconds[following] if following < len(self.seconds) else inf
