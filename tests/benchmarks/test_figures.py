"""What measurements say of their bars."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import Figure
from benchmarks.yardstick import on_this_machine, slowness


class BarsTests(SynchronousTestCase):
    """Bars as they are written, and at the speed of this machine."""

    def test_slower_machine_allows_more_time(self) -> None:
        """On a machine half as fast one sees both verdicts, and which is which."""
        half = slowness("pyenet", [49_100 / 2, 1.0, 49_100])
        (figure,) = on_this_machine([Figure("input", "us CPU", (90.0,), 60.0)], half)
        self.assertFalse(figure.is_met)
        self.assertTrue(figure.is_met_here)
        self.assertEqual(
            figure.as_line(),
            "input: 90 us CPU; bar <= 60: no; machine 2 times slower than the bar's, "
            "<= 120: met",
        )

    def test_slower_machine_need_do_less(self) -> None:
        """Rates are judged the other way round."""
        (figure,) = on_this_machine(
            [Figure("joins", "per second", (1400.0,), 3000.0, at_least=True)], 2.0
        )
        self.assertEqual(figure.bar_here, 1500.0)
        self.assertFalse(figure.is_met_here)

    def test_faster_machine_asks_for_more(self) -> None:
        """Nobody gains by a fast machine either."""
        (figure,) = on_this_machine([Figure("input", "us CPU", (50.0,), 60.0)], 0.5)
        self.assertTrue(figure.is_met)
        self.assertFalse(figure.is_met_here)

    def test_memory_and_ratios_are_what_they_are(self) -> None:
        """Memory and ratios are judged alike on a slow machine."""
        figures = [
            Figure("process", "MB", (9.0,), 8.0),
            Figure("over theirs", "times", (0.7,), 0.8, at_least=True),
            Figure("reported", "us CPU", (0.7,)),
        ]
        self.assertEqual(on_this_machine(figures, 2.0), figures)
