"""Figures written into a page."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import Figure
from benchmarks.tables import has_place, write_table

MACHINE = {
    "date": "2026-11-22",
    "system": "Debian",
    "python": "3.11.2",
    "cores": 2,
    "load_average": 0.1,
}
PAGE = """\
Performance
===========

Before.

.. measured: lines

Old.

.. end of lines

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
            Figure("input", "us CPU", (90.0,), 60.0, slower=2.0),
            Figure("joins", "per second", (1000.0,), 3000.0, True, slower=2.0),
            Figure("told only", "ms", (1.0,)),
        ]
        page = write_table(PAGE, "lines", figures, MACHINE)
        self.assertEqual(write_table(page, "lines", figures, MACHINE), page)
        self.assertTrue(page.startswith("Performance\n===========\n\nBefore.\n"))
        self.assertTrue(page.endswith(".. end of lines\n\nAfter.\n"))
        self.assertNotIn("Old.", page)
        for row in (
            ("idle lobby line", "4.2 KB (4.1 to 4.4)", "at most 10 KB", "yes"),
            (
                *("input", "90 us CPU", "at most 60 us"),
                "**no**; at most 120 us at this machine's speed: yes",
            ),
            (
                *("joins", "1,000 per second", "at least 3,000 per second"),
                "**no**; at least 1,500 per second at this machine's speed: **no**",
            ),
            ("told only", "1 ms", "none", ""),
        ):
            self.assertIn(("   * - " + "\n     - ".join(row)).rstrip(), page)

    def test_page_without_a_place(self) -> None:
        """It is known before anything is measured, and not written to."""
        self.assertTrue(has_place(PAGE, "lines"))
        self.assertFalse(has_place(PAGE, "line"))
        self.assertEqual(
            write_table(PAGE, "dense", [Figure("a", "b", (1.0,))], MACHINE), PAGE
        )
