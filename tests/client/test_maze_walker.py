"""Walking ahead of the server's answers."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vinom.client.terminal.play import MazeWalker

#: One corridor of four cells, from left to right.
SETUP = {"rows": 1, "cols": 4, "walls": ("2aa8",)}


def view(col: int = 0, **facts: Any) -> dict[str, Any]:
    seats = {"at": [[0, col], [0, 3]], "over": False, "winners": [], "dancing": []}
    return seats | facts


class MazeWalkerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.walker = MazeWalker(SETUP, 0)

    def press(self, key: str, number: int, now: dict[str, Any]) -> Any:
        action = self.walker.choose(key, now)
        if action is not None:
            self.walker.sent(action, number)
        return action

    def test_steps_ahead(self) -> None:
        """
        Keys pressed faster than the server answers all count.
        """
        first = self.press("right", 1, view())
        second = self.press("right", 2, view())
        self.assertEqual((first["from"], second["from"]), ([0, 0], [0, 1]))
        self.assertEqual(self.walker.ahead_of(view())["at"][0], [0, 2])
        self.walker.saw(1)
        self.assertEqual(self.walker.ahead_of(view(1))["at"][0], [0, 2])
        self.walker.saw(2)
        self.assertEqual(self.walker.ahead_of(view(2)), view(2))

    def test_walls(self) -> None:
        """
        A step into a wall is not even sent.
        """
        for key in ("left", "up", "down"):
            self.assertIsNone(self.press(key, 1, view()))

    def test_refused(self) -> None:
        """
        After a refusal the player stands where the server says.
        """
        self.press("right", 1, view())
        self.walker.refused()
        self.assertEqual(self.walker.ahead_of(view())["at"][0], [0, 0])
        self.assertEqual(self.press("right", 2, view())["from"], [0, 0])

    def test_not_sent(self) -> None:
        """
        A key pressed while the line is down moves nobody.
        """
        self.press("right", 0, view())
        self.assertEqual(self.walker.ahead_of(view()), view())

    def test_bounded(self) -> None:
        """
        Without answers the player stops walking after a few steps.
        """
        sent = [
            self.press("right" if number % 2 else "left", number, view())
            for number in range(1, 30)
        ]
        self.assertLess(sum(action is not None for action in sent), 10)

    def test_dance(self) -> None:
        """
        Only winners dance, and only when it is over.
        """
        self.assertIsNone(self.press("dance", 1, view()))
        self.assertIsNone(self.press("dance", 1, view(over=True, winners=[1])))
        over = view(over=True, winners=[0, 1])
        self.assertEqual(self.press("dance", 1, over), {"type": "dance"})
        self.assertIsNone(self.press("right", 2, over))
