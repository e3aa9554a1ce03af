"""How fast this machine is, measured by the speed of other projects' servers."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import attrs

from benchmarks.figures import Figure, Size
from benchmarks.machine import build, load
from benchmarks.peers import Pyenet, running

#: Their inputs per second on the machine where the bars were set, medians over quiet
#: and busy minutes: pyenet reliable and unencrypted, Colyseus by broadcast,
#: ``websockets``.
THERE = {"pyenet": 49_100.0, "Colyseus": 26_900.0, "websockets": 21_300.0}
#: Units that depend on the machine's speed alone.
_UNITS = frozenset({"us CPU", "ms CPU", "% of a core", "us", "per second"})


def slowness(peer: str, here: list[float]) -> float:
    """
    Return how many times slower this machine is than that of the bars.

    :param here: inputs per second of *peer* in each run.
    """
    return THERE[peer] / median(here)


def on_this_machine(figures: list[Figure], slower: float) -> list[Figure]:
    """Move the bars that depend on speed alone to this machine's speed."""
    return [
        attrs.evolve(
            figure,
            bar=figure.bar / slower if figure.at_least else figure.bar * slower,
            slower=slower,
        )
        if figure.bar is not None and figure.unit in _UNITS
        else figure
        for figure in figures
    ]


@attrs.frozen
class Yardstick:
    """
    Measures pyenet with each of our runs, if it is installed.

    :ivar results: the generator's report of each of its runs.
    """

    pyenet: Pyenet | None
    size: Size
    folder: Path
    results: list[dict[str, Any]] = attrs.field(factory=list)

    def measure(self) -> None:
        """Load it now, for as long as ours is loaded."""
        if self.pyenet is None:
            return
        enetload = self.folder / "enetload"
        if not enetload.exists():
            build("enetload", self.folder, "enet")
        size = self.size
        how = size.count(200), size.seconds(1.0), size.seconds(3.0)
        with running(self.pyenet) as (port, pid):
            self.results.append(load(enetload, port, pid, *how))

    @property
    def slower(self) -> float | None:
        """How many times slower this machine is; ``None`` if that is not known."""
        if not self.results or not self.size.is_full:
            return None
        return slowness("pyenet", [result["done_s"] for result in self.results])

    def judge(self, figures: list[Figure]) -> list[Figure]:
        """Move the bars of figures of the same minutes to this machine's speed."""
        slower = self.slower
        return figures if slower is None else on_this_machine(figures, slower)
