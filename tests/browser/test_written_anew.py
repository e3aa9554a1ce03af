"""A board with predicted movement, written from the manual alone."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

from tests.support.pages import ROOT, PageTestCase

SNAKES = ROOT / "tests/support/newcomer"
_FIELD = "return document.querySelector('canvas.field-canvas')?.width > 300"
_DELAY = """
const delay = document.getElementById("bench-delay");
delay.value = 300;
delay.dispatchEvent(new Event("input"));
"""
#: Press under the snake, which then turns down.
_DOWN = """
const field = document.querySelector("canvas.field-canvas");
const { left, bottom } = field.getBoundingClientRect();
const touched = { clientX: left + 5, clientY: bottom - 5 };
field.dispatchEvent(new PointerEvent("pointerdown", touched));
"""


class SnakesTests(PageTestCase):
    def test_duel(self) -> None:
        """
        Two steer their snakes, one of them far away and by touch, until it has run into
        the edge; the other has won.
        """
        folder = Path(self.mktemp())
        copytree(SNAKES, folder, ignore=lambda *_: ["__pycache__"])
        port = self.develop(folder, "snakes:Snakes")
        ann = self.player("Ann", is_phone=True, port=port)
        bob = self.player("Bob", port=port)
        for one in (ann, bob):
            one.press("Play Snakes")
        for one in (ann, bob):
            one.until(_FIELD, what="the field is drawn")
        ann.run(_DELAY)
        ann.run(_DOWN)
        bob.see("You won")
        ann.see("Bob won.")
        self.check(ann)
        self.check(bob)
