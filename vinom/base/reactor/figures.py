"""
Figures: what processes count for metrics, as flat names and numbers.

A game server reports ``{name: number}`` to its node. A name decides how they add up:
``rtt_seconds:0.1`` is a bucket, ``slow_calls:vinom.x`` has a label, and what is
listed in `NOW` or `WORST` is not a counter. Everything else only ever grows, and is
kept when the process that counted it is gone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from math import inf

import attrs

#: How things are at the moment: they end with their process.
NOW = frozenset(
    {
        *("rooms", "players", "associations", "pressed", "overloaded"),
        "relayed_matches",
    }
)
#: Averages of one process, for operators who look at it; they do not add up.
OWN = frozenset({"rtt_seconds", "jitter_seconds", "loss"})
#: Of these the largest counts.
WORST = "slowest_call:"
#: Different labels that are counted, for each name; code has finitely many,
#: but nothing here depends on that.
MOST_LABELS = 32
#: What the rest is counted as.
OTHER = "other"

RTT_BOUNDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
LOSS_BOUNDS = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
TURN_BOUNDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0),
)
WAIT_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
#: How long calls of the store take, seconds.
CALL_BOUNDS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0),
)


@attrs.define
class Histogram:
    """
    Count values by size.

    :ivar bounds: the largest value of each bucket, rising; one more has the rest.
    :ivar counts: of each bucket.
    """

    bounds: tuple[float, ...]
    total: float = 0.0
    counts: list[int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def figures(self, name: str) -> dict[str, float]:
        """Write it down; empty buckets are left out."""
        found = {
            f"{name}:{bound:g}": float(count)
            for bound, count in zip((*self.bounds, inf), self.counts, strict=True)
            if count
        }
        if found:
            found[f"{name}:sum"] = self.total
        return found


def cumulated(
    figures: Mapping[str, float], name: str, bounds: Iterable[float]
) -> tuple[list[tuple[float, float]], float]:
    """
    Read what `Histogram.figures` wrote, or a sum of such.

    :returns: for each bound (the last is infinite) how many values are not
        larger; and the sum of all values.
    """
    count, buckets = 0.0, []
    for bound in (*bounds, inf):
        count += figures.get(f"{name}:{bound:g}", 0.0)
        buckets.append((bound, count))
    return buckets, figures.get(f"{name}:sum", 0.0)


def labelled(figures: Mapping[str, float], name: str) -> dict[str, float]:
    """Find all figures of a name, by label."""
    return {
        key.removeprefix(f"{name}:"): value
        for key, value in figures.items()
        if key.startswith(f"{name}:")
    }


@attrs.define
class Labels:
    """Keep the first `MOST_LABELS` labels, and call the rest `OTHER`."""

    _known: set[str] = attrs.field(factory=set)

    def admit(self, label: str) -> str:
        """Give the label, or `OTHER`."""
        if label not in self._known:
            if len(self._known) >= MOST_LABELS:
                return OTHER
            self._known.add(label)
        return label


@attrs.define
class Tally:
    """
    Sum what many processes count, with those that are gone.

    What a process counted must not vanish with it: a counter that falls looks
    like a restart to Prometheus, and half of our processes live for one match.
    """

    _gone: dict[str, float] = attrs.field(factory=dict)
    _labels: Labels = attrs.field(factory=Labels)

    def retire(self, figures: Mapping[str, float]) -> None:
        """A process is over; these were its last figures."""
        for name, value in figures.items():
            if name not in NOW and not name.startswith(WORST):
                self._add(self._gone, name, value)

    def total(self, living: Iterable[Mapping[str, float]]) -> dict[str, float]:
        """Sum everything that ever was and is."""
        sums = dict(self._gone)
        for figures in living:
            for name, value in figures.items():
                self._add(sums, name, value)
        return sums

    def _add(self, sums: dict[str, float], name: str, value: float) -> None:
        if name in OWN:
            return
        if name.startswith(WORST):
            name = WORST + self._labels.admit(name.removeprefix(WORST))
            sums[name] = max(sums.get(name, 0.0), value)
            return
        if name.startswith("slow_calls:"):
            label = self._labels.admit(name.removeprefix("slow_calls:"))
            name = f"slow_calls:{label}"
        sums[name] = sums.get(name, 0.0) + value
