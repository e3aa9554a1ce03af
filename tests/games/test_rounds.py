"""What games with turns share: whose turn it is, and another round."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Rejected
from vinom.games.rounds import agree, ask_again, ensure_turn, is_agreed
from vinom.turns import Rematch


class RoundsTests(SynchronousTestCase):
    def test_turns(self) -> None:
        """
        Only the one whose turn it is may act, and nobody when the round is over.
        """
        ensure_turn(1, 1)
        for turn, code in ((0, "not_your_turn"), (None, "round_over")):
            refused = self.assertRaises(Rejected, ensure_turn, 1, turn)
            self.assertEqual(refused.code, code)

    def test_asking(self) -> None:
        """
        Each may ask once, in any order, when the round is over and somebody is there.
        """
        here = {0, 1, 3}
        self.assertEqual(ask_again(3, (), here, True), (3,))
        self.assertEqual(ask_again(0, (3,), here, True), (0, 3))
        asked = (0, 3)
        self.assertIs(ask_again(3, asked, here, True), asked)
        for who, is_over, code in ((here, False, "round_runs"), ({3}, True, "alone")):
            refused = self.assertRaises(Rejected, ask_again, 3, (), who, is_over)
            self.assertEqual(refused.code, code)

    def test_agreeing(self) -> None:
        """
        Another round begins when all who are here have asked, whether or not players
        who left had.
        """
        self.assertFalse(is_agreed((0,), {0, 1}))
        self.assertTrue(is_agreed((0, 1, 2), {0, 1}))
        self.assertFalse(is_agreed((0, 1), {0}))

    def test_bots(self) -> None:
        """
        A bot asks when others have, once.
        """
        self.assertIsNone(agree([], 1))
        self.assertEqual(agree([0], 1), Rematch())
        self.assertIsNone(agree([0, 1], 1))
