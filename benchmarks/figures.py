"""What a measurement says: one figure, its bar, and the runs it comes from."""

from __future__ import annotations

from statistics import median
from typing import Any

import attrs


@attrs.frozen
class Figure:
    """
    One row of the table.

    :ivar runs: the figure of each run; the row shows their median.
    :ivar bar: what it must reach; ``None`` is reported only.
    :ivar at_least: the bar is a least one, not a most.
    :ivar detail: what else the generators said, of the median run.
    """

    name: str
    unit: str
    runs: tuple[float, ...]
    bar: float | None = None
    at_least: bool = False
    detail: dict[str, Any] = attrs.field(factory=dict)

    @property
    def value(self) -> float:
        """The median of the runs."""
        return median(self.runs)

    @property
    def is_met(self) -> bool | None:
        """Does the median reach the bar?"""
        if self.bar is None:
            return None
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "name": self.name,
            "unit": self.unit,
            "value": round(self.value, 3),
            "bar": self.bar,
            "met": self.is_met,
            "runs": [round(run, 3) for run in self.runs],
            "detail": self.detail,
        }

    def as_line(self) -> str:
        """For people."""
        told = f"{self.name}: {self.value:.4g} {self.unit}"
        if len(self.runs) > 1:
            told += f" ({min(self.runs):.4g} to {max(self.runs):.4g})"
        if self.bar is not None:
            sign, word = ">=" if self.at_least else "<=", "met" if self.is_met else "no"
            told += f"; bar {sign} {self.bar:g}: {word}"
        return told


def of_runs(
    name: str,
    unit: str,
    runs: list[dict[str, Any]],
    key: str,
    bar: float | None = None,
    *,
    at_least: bool = False,
) -> Figure:
    """Make a figure of what a generator told about each run."""
    middle = sorted(runs, key=lambda run: float(run[key]))[len(runs) // 2]
    values = tuple(float(run[key]) for run in runs)
    return Figure(name, unit, values, bar, at_least, middle)


@attrs.frozen
class Size:
    """
    How much of everything.

    :ivar runs: of each measurement.
    :ivar share: of the full size, 1.0 or 0.1.
    """

    runs: int
    share: float = 1.0

    def seconds(self, full: float) -> float:
        """How long a load lasts."""
        return max(0.3, full * self.share)

    def count(self, full: int, step: int = 4) -> int:
        """How many there are; a multiple of *step*."""
        return max(step, int(full * self.share) // step * step)
