"""The page for those who change the code agrees with the gate."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.test_architecture import WINGS

ROOT = Path(__file__).resolve().parents[2]


class WingsTests(SynchronousTestCase):
    """The picture of wings, and a paragraph for each."""

    def setUp(self) -> None:
        self.page: dict[str, Any] = runpy.run_path(
            str(ROOT / "docs" / "_ext" / "vinom_wings.py")
        )

    def test_picture(self) -> None:
        """
        A newcomer sees the wings that the test holds, and what each may import.
        """
        source = (ROOT / "tests" / "test_architecture.py").read_text(encoding="utf-8")
        wings = self.page["read_wings"](source)
        self.assertEqual(wings, WINGS)
        rows = self.page["draw"](wings).splitlines()[1::2]
        self.assertEqual(
            [row.strip("| ").split() for row in rows],
            [[wing, *below.split()] for wing, below in WINGS.items()],
        )

    def test_every_wing_says_what_it_is(self) -> None:
        """
        No wing is a bare name on the page.
        """
        for wing in WINGS:
            self.assertGreater(len(self.page["paragraph_of"](wing)), 20, wing)
