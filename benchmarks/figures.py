"""The result of a measurement: a figure, its bar, and the runs behind it."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import attrs

from benchmarks.machine import Failed

#: Share of the due inputs that must have been sent, or latencies are the generator's.
_IN_TIME = 0.99

_WORDS = {True: "met", False: "no", None: ""}


@attrs.frozen
class Figure:
    """
    One row of the table.

    :ivar runs: the figure of each run; the row shows their median.
    :ivar bar: what it must meet; ``None`` if it is only reported.
    :ivar at_least: the bar is a minimum, not a maximum.
    :ivar slower: by how much the bar was moved: how many times slower this machine is
        than the one where it was set, by a peer in the same minutes; ``None`` if the
        bar stands as it was set.
    :ivar detail: what else the generators reported of the median run.
    :ivar note: why the runs do not count as a measurement; empty if they do.
    """

    name: str
    unit: str
    runs: tuple[float, ...]
    bar: float | None = None
    at_least: bool = False
    detail: dict[str, Any] = attrs.field(factory=dict)
    slower: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """The median of the runs."""
        return median(self.runs)

    @property
    def is_met(self) -> bool | None:
        """Does the median reach the bar?"""
        if self.bar is None or self.note:
            return None
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "name": self.name,
            "unit": self.unit,
            "value": round(self.value, 3),
            "bar": self.bar,
            "met": self.is_met,
            "slower": self.slower,
            "runs": [round(run, 3) for run in self.runs],
            "detail": self.detail,
            "note": self.note,
        }

    def as_line(self) -> str:
        """Return it for people, in one line."""
        if self.note:
            return f"{self.name}: no figure: {self.note}"
        line = f"{self.name}: {self.value:.4g} {self.unit}"
        if len(self.runs) > 1:
            line += f" ({min(self.runs):.4g} to {max(self.runs):.4g})"
        if self.bar is not None:
            sign = ">=" if self.at_least else "<="
            here = "" if self.slower is None else f", {self.slower:.3g} times slower"
            line += f"; bar {sign} {self.bar:.4g}{here}: {_WORDS[self.is_met]}"
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
    return Figure(name, unit, values, bar, at_least, middle, note=_note(runs))


def ratio(
    name: str,
    ours: list[dict[str, Any]],
    theirs: list[dict[str, Any]],
    key: str,
    bar: float | None = None,
    *,
    at_least: bool = False,
) -> Figure:
    """Compare two generators' reports, run by run."""
    pairs = zip(ours, theirs, strict=True)
    values = tuple(our[key] / (their[key] or 1.0) for our, their in pairs)
    note = _note([*ours, *theirs])
    if not note and not all(their[key] for their in theirs):
        note = "nothing was answered in one of the runs"
    return Figure(name, "times", values, bar, at_least, note=note)


def _note(runs: list[dict[str, Any]]) -> str:
    """Find why reports do not count as a measurement; empty if they do."""
    return next((run["note"] for run in runs if "note" in run), "")


@attrs.frozen
class Size:
    """
    The size of measurements.

    :ivar runs: of each measurement.
    :ivar share: of the full size, 1.0 or 0.01.
    """

    runs: int
    share: float = 1.0

    @property
    def is_full(self) -> bool:
        """Is speed measured, and not only that measuring works?"""
        return self.share == 1.0

    def seconds(self, full: float, least: float = 0.3) -> float:
        """Scale the seconds of a load."""
        return max(least, full * self.share)

    def count(self, full: int, step: int = 4) -> int:
        """Scale a number, to a multiple of *step*."""
        return max(step, int(full * self.share) // step * step)


def in_time(
    size: Size, rate: float, measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """
    Load a server at a rate; once more if the generator was late with its inputs.

    A smaller size is to show that measuring works, on a busy machine too: there the
    report of a late generator has a note.

    :param rate: inputs per second that were due.
    :param measure: loads the server; returns the generator's report.
    :raises Failed: it was late twice.
    """
    for _ in range(2 if size.is_full else 1):
        result = measure()
        if result["inputs_s"] >= _IN_TIME * rate:
            return result
    late = (
        f"the generator was late: it sent {result['inputs_s']:g} of {rate:g} inputs "
        f"per second"
    )
    if size.is_full:
        raise Failed(f"{late}, twice: the machine is busy, or its core too slow")
    return result | {"note": late}
