"""What processes count, and how it adds up."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.reactor.figures import (
    MOST_LABELS,
    OTHER,
    WORST,
    Histogram,
    Tally,
    cumulated,
    labelled,
)

BOUNDS = (0.1, 0.5, 1.0)


class HistogramTests(SynchronousTestCase):
    """Values by size."""

    def test_buckets(self) -> None:
        """
        A value on a bound counts as not larger, as Prometheus has it.
        """
        histogram = Histogram(BOUNDS)
        for value in (0.1, 0.2, 0.5, 7.0):
            histogram.add(value)
        buckets, total = cumulated(histogram.figures("wait"), "wait", BOUNDS)
        self.assertEqual(buckets, [(0.1, 1), (0.5, 3), (1.0, 3), (inf, 4)])
        self.assertAlmostEqual(total, 7.8)

    def test_empty(self) -> None:
        """
        A figure without events is not reported, and it reads as zeros.
        """
        figures = Histogram(BOUNDS).figures("wait")
        self.assertEqual(figures, {})
        buckets, total = cumulated(figures, "wait", BOUNDS)
        self.assertEqual([count for _, count in buckets], [0, 0, 0, 0])
        self.assertEqual(total, 0)

    @given(some.lists(some.lists(some.floats(0, 2, width=16))))
    def test_sums(self, processes: list[list[float]]) -> None:
        """
        Many processes together report the same as one that saw everything.
        """
        everything, tally = Histogram(BOUNDS), Tally()
        for values in processes:
            own = Histogram(BOUNDS)
            for value in values:
                own.add(value)
                everything.add(value)
            tally.retire(own.figures("wait"))
        wanted, total = cumulated(everything.figures("wait"), "wait", BOUNDS)
        found, summed = cumulated(tally.total([]), "wait", BOUNDS)
        self.assertEqual(found, wanted)
        self.assertAlmostEqual(summed, total)


class TallyTests(SynchronousTestCase):
    """The sum over game servers that come and go."""

    def test_counters_outlive_their_process(self) -> None:
        """
        What a game server counted stays when it is gone; its players do not.
        """
        tally = Tally()
        figures = {"datagrams_in": 10.0, "players": 4.0, "rtt_seconds": 0.1}
        other = {"datagrams_in": 5.0, "players": 2.0}
        before = tally.total([figures, other])
        self.assertEqual(before, {"datagrams_in": 15, "players": 6})
        tally.retire(figures)
        after = tally.total([other])
        self.assertEqual(after, {"datagrams_in": 15, "players": 2})
        self.assertEqual(tally.total([]), {"datagrams_in": 10})

    def test_slowest(self) -> None:
        """
        Of the slowest calls of all game servers the slowest is reported.
        """
        tally = Tally()
        total = tally.total([{f"{WORST}a": 0.2, f"{WORST}b": 0.1}, {f"{WORST}a": 0.3}])
        self.assertEqual(labelled(total, "slowest_call"), {"a": 0.3, "b": 0.1})
        tally.retire({f"{WORST}a": 0.2})
        self.assertEqual(tally.total([]), {})

    def test_labels_are_bounded(self) -> None:
        """
        However many calls have names, the number of series stays small.
        """
        tally = Tally()
        for number in range(100):
            tally.retire({f"slow_calls:call{number}": 1.0})
        found = labelled(tally.total([]), "slow_calls")
        self.assertEqual(len(found), MOST_LABELS + 1)
        self.assertEqual(found[OTHER], 100 - MOST_LABELS)
        self.assertEqual(sum(found.values()), 100)
