"""Figures written into a page."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import Figure
from benchmarks.tables import has_place, write_table

MACHINE = {"date": "2026-11-22", "load_average": 0.1}
PAGE = """\
Performance
===========

Before.

.. measured: lines

.. csv-table:: before

   "old", 1 KB, ≤ 2

   older, 1 KB, ≤ 2

After.
"""


class TablesTests(SynchronousTestCase):
    """``python -m benchmarks --write PAGE``."""

    def test_table_takes_the_place_of_the_old_one(self) -> None:
        """
        A new measurement replaces the figures in the page, with the words around
        them unchanged, and the same page again after the same run.
        """
        figures = [
            Figure("idle lobby line", "KB", (4.2, 4.1, 4.4), 10.0),
            Figure("input, sealed", "us CPU", (1290.0,), 60.0, slower=2.0),
            Figure("ours over theirs", "times", (0.9,), 0.8, at_least=True),
            Figure("late", "ms", (1.0,), 2.0, note="the generator was late"),
            Figure("told only", "ms", (1.0,)),
        ]
        page = write_table(PAGE, "lines", figures, MACHINE)
        self.assertEqual(write_table(page, "lines", figures, MACHINE), page)
        before, after = PAGE.split(".. csv-table")[0], "\nAfter.\n"
        self.assertEqual(
            page,
            before
            + """\
.. csv-table:: 2026-11-22, load 0.1, 3 runs, 2.00 times slower

   idle lobby line, 4.2 KB (4.1–4.4), ≤ 10
   "input, sealed", "1,290 us", ≤ 60 **missed**
   ours over theirs, 0.9x, ≥ 0.8
   late, no figure: the generator was late, ≤ 2
"""
            + after,
        )
        bare = before.rstrip() + "\n" + after
        self.assertEqual(write_table(bare, "lines", figures, MACHINE), page)

    def test_page_without_a_place(self) -> None:
        """It is known before anything is measured, and not written to."""
        self.assertTrue(has_place(PAGE, "lines"))
        self.assertFalse(has_place(PAGE, "line"))
        self.assertEqual(
            write_table(PAGE, "dense", [Figure("a", "b", (1.0,))], MACHINE), PAGE
        )
