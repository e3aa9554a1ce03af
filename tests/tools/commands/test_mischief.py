"""The keys of the demonstration."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vinom.tools.commands.child_node import ChildNode
from vinom.tools.commands.mischief import Mischief, _Killed


@attrs.define
class ShownMatch:
    """The match on the screen."""

    outcome: dict[str, Any] | None = None
    is_over: bool = False


class NotesTests(SynchronousTestCase):
    def notes(self, match: ShownMatch) -> list[str]:
        """What the screen says after the process of a match was killed."""
        mischief = Mischief(Clock(), ChildNode(Clock()), lambda: None)
        mischief._killed = _Killed(match, 7, 3, 0.0)  # type: ignore[arg-type]
        return mischief.notes()

    def test_killed_while_it_plays(self) -> None:
        """
        A match whose process is killed is waited for, until it is known to be lost.
        """
        self.assertEqual(
            self.notes(ShownMatch()), ["killed process 7", "waiting for play..."]
        )
        self.assertEqual(
            self.notes(ShownMatch(is_over=True)),
            ["killed process 7", "the match was lost"],
        )

    def test_killed_after_the_end(self) -> None:
        """
        A match that had been played to its end is not called lost.
        """
        for is_over in (False, True):
            match = ShownMatch({"round": 1}, is_over)
            self.assertEqual(
                self.notes(match),
                ["killed process 7", "its match had ended: nothing was lost"],
            )
