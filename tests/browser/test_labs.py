"""The labs of the manual, in ``vinom dev``."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree
from typing import Any

from tests.support.browsers import Browser
from tests.support.pages import ROOT, PageTestCase

LABS = ROOT / "docs/labs"
#: Where the rows' pictures are; nothing before all of them are drawn.
_ROWS = """
const canvas = document.querySelector("canvas.field-canvas");
const rows = JSON.parse(canvas?.dataset.rows ?? "[null]");
return rows.includes(null) ? null : rows;
"""
#: What the upper half of the canvas shows.
_FIELD = """
const canvas = document.querySelector("canvas.field-canvas");
const copy = new OffscreenCanvas(canvas.width, canvas.height / 2);
const pen = copy.getContext("2d");
pen.drawImage(canvas, 0, 0);
const { data } = pen.getImageData(0, 0, copy.width, copy.height);
return data.reduce((sum, one) => (31 * sum + one) | 0, 0);
"""


class LabTests(PageTestCase):
    def open_lab(self, name: str, title: str, **more: Any) -> Browser:
        """Run a lab and play it."""
        folder = Path(self.mktemp())
        copytree(LABS, folder, ignore=lambda *_: ["__pycache__"])
        self.allow_network_complaints()
        port = self.develop(folder, f"labs:{name}")
        ann = self.player("Ann", port=port, **more)
        ann.press(f"Play {title} with friends")
        ann.until(_ROWS, what="all rows are drawn")
        return ann

    def rows(self, player: Browser, after: int = 0) -> list[float]:
        """Where the rows' pictures are, after some milliseconds."""
        return list(self.later(player, _ROWS, after))

    def later(self, player: Browser, script: str, after: int = 300) -> Any:
        """Run a script, after some milliseconds."""
        player.run_later(f"setTimeout(done, {after})")
        return player.run(script)

    def slide(self, player: Browser, number: int, value: int) -> None:
        """Move one of the sliders: delay, jitter, loss."""
        player.run(
            "const sliders = document.querySelectorAll('.lab-slider input');"
            "const range = sliders[arguments[0]];"
            "range.value = arguments[1]; range.dispatchEvent(new Event('input'))",
            number,
            value,
        )

    def test_interpolation(self) -> None:
        """
        The duck flies in two rows: as states come, and smoothly, a little later. The
        lobby's picture of it has both.
        """
        ann = self.open_lab("Interpolation", "Interpolation")
        (_, was), (_, later) = self.rows(ann), self.rows(ann, 200)
        self.assertNotEqual(was, later)
        self.picture("lab-interpolation", ann)
        bob = self.player("Bob", port=int(ann.run("return location.port")))
        bob.until(
            f"if (document.querySelector('.preview-board')) {{ {_ROWS} }}",
            what="a picture with both rows",
        )
        self.check(ann)

    def test_prediction(self) -> None:
        """
        With 400 ms each way the paddle moves at once in the row that predicts, and
        almost a second later in the one of the newest state.
        """
        ann = self.open_lab("Prediction", "Prediction", is_phone=True)
        self.slide(ann, 0, 400)
        press = (
            "const [left] = document.querySelectorAll('.board-field button');"
            "left.dispatchEvent(new PointerEvent(arguments[0]))"
        )
        ann.run(press, "pointerdown")
        newest, own = self.rows(ann, 350)
        self.assertLess(own, newest - 300)
        self.picture("lab-prediction", None, ann)
        ann.run(press, "pointerup")
        self.check(ann)

    def test_reconciliation(self) -> None:
        """
        After a gust the row that is never corrected is somewhere else; the others agree
        again.
        """
        ann = self.open_lab("Reconciliation", "Reconciliation")
        ann.until(
            f"const [alone, jumps, fades] = (() => {{ {_ROWS} }})();"
            "return Math.abs(alone - fades) > 1000 && Math.abs(jumps - fades) < 50",
            what="a gust",
        )
        self.picture("lab-reconciliation", ann)
        self.check(ann)

    def test_lag_compensation(self) -> None:
        """
        A player who is 250 ms away shoots at the duck and hits by what was seen.
        """
        ann = self.open_lab("LagCompensation", "Lag compensation")
        self.slide(ann, 0, 250)
        self.rows(ann, 2000)
        ann.until(
            "const canvas = document.querySelector('canvas.field-canvas');"
            "canvas.dispatchEvent(new KeyboardEvent('keydown', { key: ' ' }));"
            "const hits = parseInt(document.querySelector('.turn').textContent);"
            "return hits >= 4",
            what="four hits",
        )
        self.picture("lab-lag", ann)
        self.check(ann)

    def test_packing(self) -> None:
        """
        Forty ducks fly; a packed state has less than a fifth of the whole one's bytes,
        and still less once the ducks stand still.
        """
        ann = self.open_lab("Packing", "Packing")
        ann.until(
            f"const [whole, packed] = (() => {{ {_ROWS} }})() ?? [];"
            "return whole > 2000 && packed < whole / 5",
            what="packed states",
        )
        self.assertNotEqual(ann.run(_FIELD), self.later(ann, _FIELD))
        self.picture("lab-packing", ann)
        (_, before) = self.rows(ann)
        self.slide(ann, 0, 0)
        _, after = self.rows(ann, 3500)
        self.assertLess(after, 0.8 * before)
        self.assertEqual(ann.run(_FIELD), self.later(ann, _FIELD))
        self.check(ann)
