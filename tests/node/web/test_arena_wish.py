"""When the arena's board sends the direction that its player chose."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.javascript import run_script


class ArenaWishTests(SynchronousTestCase):
    def sent(self, *steps: tuple[Any, ...]) -> Any:
        """Run the page's own code; returns what it sent."""
        return run_script("wish.mjs", steps)

    def test_once(self) -> None:
        """
        Each direction is sent once, diagonals are not faster, and a player who stands
        sends nothing.
        """
        sent = self.sent(
            (0, "take"),
            (10, "want", 1, 0),
            (10, "take"),
            (500, "take"),
            (600, "want", 3, 4),
            (600, "take"),
        )
        self.assertEqual(
            sent, [[None, False], [[100, 0], False], [None, False], [[60, 80], False]]
        )

    def test_not_too_often(self) -> None:
        """
        Of several directions within one tick the last is sent, after the tick.
        """
        sent = self.sent(
            (10, "want", 1, 0),
            (10, "take"),
            (20, "want", 0, 1),
            (20, "take"),
            (30, "want", 0, -1),
            (60, "take"),
        )
        self.assertEqual(sent, [[[100, 0], False], [None, True], [[0, -100], False]])

    def test_key_held_all_the_while(self) -> None:
        """
        A player who returns, or begins a round, with a key held down keeps running; a
        player who has let go of it does not run where its bot was heading.
        """
        sent = self.sent(
            (10, "want", -1, 0),
            (10, "take"),
            (5000, "forgotten"),
            (5000, "take"),
            (6000, "want", 0, 0),
            (6000, "take"),
            (9000, "forgotten"),
            (9000, "take"),
        )
        self.assertEqual(
            [way for way, _ in sent], [[-100, 0], [-100, 0], [0, 0], [0, 0]]
        )
