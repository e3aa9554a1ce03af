"""How fast this machine is, by what known servers of others do on it."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import attrs

from benchmarks.figures import Figure, Size
from benchmarks.machine import build, load
from benchmarks.peers import Pyenet, running

#: What they did a second where the bars were set, medians over quiet minutes and
#: others: pyenet reliable and in the clear, Colyseus by broadcast, ``websockets``.
THERE = {"pyenet": 49_100.0, "Colyseus": 26_900.0, "websockets": 21_300.0}
#: What depends on the machine's speed and nothing else.
_UNITS = frozenset({"us CPU", "ms CPU", "% of a core", "us", "a second"})


def slowness(peer: str, here: list[float]) -> float:
    """
    Tell how many times slower this machine is than that of the bars.

    :param here: what *peer* did a second in each run.
    """
    return THERE[peer] / median(here)


def on_this_machine(figures: list[Figure], slower: float) -> list[Figure]:
    """Let each figure say also whether it meets its bar at this machine's speed."""
    return [
        attrs.evolve(figure, slower=slower)
        if figure.bar is not None and figure.unit in _UNITS
        else figure
        for figure in figures
    ]


@attrs.frozen
class Yardstick:
    """
    Measures pyenet beside each of our runs, if it is here.

    :ivar told: what its load told about each of its runs.
    """

    pyenet: Pyenet | None
    size: Size
    folder: Path
    told: list[dict[str, Any]] = attrs.field(factory=list)

    def measure(self) -> None:
        """Load it now, as long as ours is loaded."""
        if self.pyenet is None:
            return
        enetload = self.folder / "enetload"
        if not enetload.exists():
            build("enetload", self.folder, "enet")
        size = self.size
        how = size.count(200), size.seconds(1.0), size.seconds(3.0)
        with running(self.pyenet) as (port, pid):
            self.told.append(load(enetload, port, pid, *how))

    @property
    def slower(self) -> float | None:
        """How many times slower this machine is; ``None`` if that is not known."""
        if not self.told or self.size.share < 1:
            return None
        return slowness("pyenet", [told["done_s"] for told in self.told])

    def judge(self, figures: list[Figure]) -> list[Figure]:
        """Let figures of the same minutes say what they are at this machine's speed."""
        slower = self.slower
        return figures if slower is None else on_this_machine(figures, slower)
