"""What the page says of refusals."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.javascript import run_script


class WordsTests(SynchronousTestCase):
    def test_not_now(self) -> None:
        """
        A refusal with a time names the moment and the reason.
        """
        asked = (
            ("not_now", "play has not begun", {"state": "gathering"}),
            ("not_now", "it may be back", {"retry_after": 11.2}),
        )
        self.assertEqual(
            run_script("words.mjs", asked),
            [
                "That cannot be done right now.",
                "It may be back. Try again in 12 seconds.",
            ],
        )
