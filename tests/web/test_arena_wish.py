"""The way that a player of the arena's page wants to go, as the node is told of it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.javascript import run_script


class ArenaWishTests(SynchronousTestCase):
    def told(self, *steps: tuple[Any, ...]) -> Any:
        """Have the page's own code do it."""
        return run_script("wish.mjs", steps)

    def test_once(self) -> None:
        """
        A direction is sent once, all are equally fast, and standing sends nothing.
        """
        told = self.told(
            (0, "take"),
            (10, "want", 1, 0),
            (10, "take"),
            (500, "take"),
            (600, "want", 3, 4),
            (600, "take"),
        )
        self.assertEqual(
            told, [[None, False], [[100, 0], False], [None, False], [[60, 80], False]]
        )

    def test_not_too_often(self) -> None:
        """
        Of several directions within one step the last is sent, when the step is over.
        """
        told = self.told(
            (10, "want", 1, 0),
            (10, "take"),
            (20, "want", 0, 1),
            (20, "take"),
            (30, "want", 0, -1),
            (60, "take"),
        )
        self.assertEqual(told, [[[100, 0], False], [None, True], [[0, -100], False]])

    def test_key_held_all_the_while(self) -> None:
        """
        A player who returns, or begins a round, with a key held moves without letting
        go of it; one who let go meanwhile does not run where the bot was heading.
        """
        told = self.told(
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
            [way for way, _ in told], [[-100, 0], [-100, 0], [0, 0], [0, 0]]
        )
