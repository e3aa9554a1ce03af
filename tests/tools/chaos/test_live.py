"""How long a kill keeps the players of a match away."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vinom.tools.chaos.run import LiveMatch


class LiveMatchTests(SynchronousTestCase):
    """A match of two players."""

    def setUp(self) -> None:
        self.match = LiveMatch("m1")
        for seat in (0, 1):
            self.match.joined(seat)
            self.assertIsNone(self.match.seen(seat, 1.0))

    def test_last_player_counts(self) -> None:
        """
        The pause lasts until the last player has the seat again and sees a state.
        """
        self.match.struck(10.0)
        self.assertTrue(self.match.is_away)
        self.assertIsNone(self.match.seen(0, 10.1), "it was sent before the kill")
        self.match.joined(0)
        self.assertIsNone(self.match.seen(0, 10.2))
        self.match.joined(1)
        self.assertEqual(self.match.seen(1, 10.5), 0.5)
        self.assertFalse(self.match.is_away)
        self.assertIsNone(self.match.seen(1, 10.6))

    def test_player_whose_match_is_over(self) -> None:
        """
        Nobody waits for a player who has left, or whose match is over.
        """
        self.match.struck(10.0)
        self.match.over(1)
        self.match.joined(0)
        self.assertEqual(self.match.seen(0, 11.0), 1.0)
        self.match.struck(12.0)
        self.match.over(0)
        self.assertFalse(self.match.is_away)

    def strike(self, now: float) -> None:
        """Strike the match; its players are back half a second later."""
        self.assertTrue(self.match.may_be_struck(now))
        self.match.struck(now)
        self.assertFalse(self.match.may_be_struck(now))
        for seat in (0, 1):
            self.match.joined(seat)
            self.match.seen(seat, now + 0.5)

    def test_struck_again(self) -> None:
        """
        A match is struck again when its players are back, and eight times a minute.
        """
        for number in range(8):
            self.strike(10.0 + 6 * number)
        self.assertFalse(self.match.may_be_struck(69.0))
        self.assertTrue(self.match.may_be_struck(70.1))
        self.match.over(0)
        self.match.over(1)
        self.assertFalse(self.match.may_be_struck(200.0))

    def test_struck_in_a_row(self) -> None:
        """
        A match is not struck four times in a row: in a slow one so little is played
        meanwhile that the node may give it up, which breaks no promise.
        """
        for number in range(3):
            self.strike(10.0 + number)
        self.assertFalse(self.match.may_be_struck(13.0))
        self.assertFalse(self.match.may_be_struck(17.9))
        self.strike(18.1)
        self.strike(19.0)

    def test_longest_silence_counts(self) -> None:
        """
        Players who are shown states until they are moved were not away meanwhile;
        silence before the strike does not count either.
        """
        self.match.struck(10.0, "move")
        self.assertIsNone(self.match.seen(1, 10.5))
        self.match.joined(0)
        self.assertIsNone(self.match.seen(0, 10.2))
        self.assertIsNone(self.match.seen(0, 10.7))
        self.match.joined(1)
        self.assertAlmostEqual(self.match.seen(1, 10.8) or 0.0, 0.3)

    def test_spared(self) -> None:
        """
        A move that the node refuses counts as none.
        """
        self.match.struck(10.0, "move")
        self.match.spared()
        self.assertFalse(self.match.is_away)
