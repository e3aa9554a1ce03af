"""The result of a measurement: a figure, its bar, and the runs behind it."""

from __future__ import annotations

from statistics import median
from typing import Any

import attrs

_WORDS = {True: "met", False: "no", None: ""}


@attrs.frozen
class Figure:
    """
    One row of the table.

    :ivar runs: the figure of each run; the row shows their median.
    :ivar bar: what it must meet; ``None`` if it is only reported.
    :ivar at_least: the bar is a minimum, not a maximum.
    :ivar slower: how many times slower this machine is than the one where the bar
        was set, by a peer in the same minutes; ``None`` if that is not known, or
        does not matter.
    :ivar detail: what else the generators reported of the median run.
    """

    name: str
    unit: str
    runs: tuple[float, ...]
    bar: float | None = None
    at_least: bool = False
    detail: dict[str, Any] = attrs.field(factory=dict)
    slower: float | None = None

    @property
    def value(self) -> float:
        """The median of the runs."""
        return median(self.runs)

    @property
    def is_met(self) -> bool | None:
        """Does the median reach the bar?"""
        return None if self.bar is None else self._reaches(self.bar)

    @property
    def bar_here(self) -> float | None:
        """The bar at the speed of this machine."""
        if self.bar is None or self.slower is None:
            return None
        return self.bar / self.slower if self.at_least else self.bar * self.slower

    @property
    def is_met_here(self) -> bool | None:
        """Does the median reach the bar at the speed of this machine?"""
        bar = self.bar_here
        return None if bar is None else self._reaches(bar)

    def _reaches(self, bar: float) -> bool:
        return self.value >= bar if self.at_least else self.value <= bar

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "name": self.name,
            "unit": self.unit,
            "value": round(self.value, 3),
            "bar": self.bar,
            "met": self.is_met,
            "bar_here": self.bar_here,
            "met_here": self.is_met_here,
            "runs": [round(run, 3) for run in self.runs],
            "detail": self.detail,
        }

    def as_line(self) -> str:
        """Return it for people, in one line."""
        line = f"{self.name}: {self.value:.4g} {self.unit}"
        if len(self.runs) > 1:
            line += f" ({min(self.runs):.4g} to {max(self.runs):.4g})"
        if self.bar is not None:
            sign = ">=" if self.at_least else "<="
            line += f"; bar {sign} {self.bar:g}: {_WORDS[self.is_met]}"
            if self.bar_here is not None:
                line += (
                    f"; machine {self.slower:.3g} times slower than the bar's, "
                    f"{sign} {self.bar_here:.4g}: {_WORDS[self.is_met_here]}"
                )
        return line


def of_runs(
    name: str,
    unit: str,
    runs: list[dict[str, Any]],
    key: str,
    bar: float | None = None,
    *,
    at_least: bool = False,
) -> Figure:
    """Make a figure of a generator's reports, one per run."""
    middle = sorted(runs, key=lambda run: float(run[key]))[len(runs) // 2]
    values = tuple(float(run[key]) for run in runs)
    return Figure(name, unit, values, bar, at_least, middle)


@attrs.frozen
class Size:
    """
    The size of measurements.

    :ivar runs: of each measurement.
    :ivar share: of the full size, 1.0 or 0.1.
    """

    runs: int
    share: float = 1.0

    def seconds(self, full: float) -> float:
        """Scale the seconds of a load."""
        return max(0.3, full * self.share)

    def count(self, full: int, step: int = 4) -> int:
        """Scale a number, to a multiple of *step*."""
        return max(step, int(full * self.share) // step * step)
