"""How the page words refusals."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.javascript import run_script


class WordsTests(SynchronousTestCase):
    def test_not_now(self) -> None:
        """
        A player who cannot do something yet reads why, and when it will be possible.
        """
        asked = (
            ("not_now", "play has not begun", {"state": "gathering"}),
            ("not_now", "it may be back", {"retry_after": 11.2}),
        )
        self.assertEqual(
            run_script("words.mjs", asked),
            [
                "That can’t be done right now.",
                "It may be back. Try again in 12 seconds.",
            ],
        )
