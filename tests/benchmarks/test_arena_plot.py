"""The arena far away: what the page shows is smooth, and close to the truth."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.arena_picture import draw
from benchmarks.arena_plot import WIDTH, play
from benchmarks.lab_plot import draw as draw_lab
from tests.support.labs import frames_of
from tests.support.needs import needs


class ArenaFarAwayTests(SynchronousTestCase):
    def test_corrections(self) -> None:
        """
        At 150 ms more or less 50, and with a twentieth of all datagrams lost, what is
        shown moves evenly: it is never put right by a player's width, nearly all of it
        is less than an eighth of that from the truth, and it is hardly older than a
        quarter of a second.
        """
        needs("node")
        seen = play(20, seed=4)
        came, made = len(seen.arrivals), len(seen.truth)
        # The network was as bad as it should be: lost, or overtaken.
        self.assertLess(came, 0.95 * made)
        self.assertGreater(came, 0.7 * made)
        # Somebody dashed.
        self.assertGreater(seen.fastest, WIDTH * 8)
        self.assertLess(seen.largest, WIDTH)
        right = sum(error < WIDTH / 8 for error in seen.errors())
        self.assertGreater(right, 0.98 * len(seen.errors()))
        self.assertLess(seen.lag, 0.35)
        self.assertIn("largest correction", draw(seen))


class LabFarAwayTests(SynchronousTestCase):
    def test_picture(self) -> None:
        """
        The picture of the own paddle far away shows what is drawn and what is right.
        """
        needs("node")
        picture = draw_lab(frames_of("prediction", "Prediction", 1))
        self.assertIn("half a paddle", picture)
        self.assertEqual(picture.count("<polyline"), 9)
