"""
The soak of rooms, in some seconds; its long version has 1,000 players.

``python -m benchmarks.soak.rooms`` is that one, and says how long players waited.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.soak.rooms import Plan, soak


class RoomsSoakTests(SynchronousTestCase):
    """A real node, forty real connections."""

    timeout = 180

    def test_some_are_bad(self) -> None:
        """
        Forty play in ten rooms, though two of them never read and two send garbage.
        All lose their connections at once and regain their seats within the same ten
        seconds as a thousand do in the long version; no version goes back, every input
        is seen, and when all have left nothing is left over.
        """
        verdict = soak(
            Plan(players=40, mute=2, babblers=2, seconds=3.0),
            lambda text: None,
        )
        self.assertEqual(verdict.wrong, ())
        self.assertGreater(verdict.inputs, 0)
        self.assertGreater(verdict.sent_away, 0)
