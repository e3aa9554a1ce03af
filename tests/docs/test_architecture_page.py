"""The page for those who change the code agrees with the gate."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.test_architecture import FLOORS

ROOT = Path(__file__).resolve().parents[2]


class FloorsTests(SynchronousTestCase):
    """The picture of floors, and a paragraph for each package."""

    def setUp(self) -> None:
        self.page: dict[str, Any] = runpy.run_path(
            str(ROOT / "docs" / "_ext" / "vinom_floors.py")
        )

    def test_picture(self) -> None:
        """
        A newcomer sees the floors that the test holds, the ground at the bottom.
        """
        source = (ROOT / "tests" / "test_architecture.py").read_text(encoding="utf-8")
        floors = self.page["read_floors"](source)
        self.assertEqual(floors, [floor.split() for floor in FLOORS])
        rows = self.page["draw"](floors).splitlines()[1::2]
        self.assertEqual(len(rows), len(FLOORS))
        for row, floor in zip(reversed(rows), FLOORS, strict=True):
            self.assertEqual(
                row.strip("| ").replace("(", "").replace(")", ""),
                "   ".join(floor.split()),
            )

    def test_every_package_says_what_it_is(self) -> None:
        """
        No package is a bare name on the page.
        """
        for concept in " ".join(FLOORS).split():
            self.assertGreater(len(self.page["paragraph_of"](concept)), 20, concept)
