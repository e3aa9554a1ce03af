"""What `vinom bots` prints for people."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vinom.client.bots import Tally
from vinom.tools.commands.bots import describe, why_none
from vinom.tools.commands.play import LobbyAddress


class DescribeTests(SynchronousTestCase):
    """The first line of the report."""

    def line(self, started: int, finished: int, failed: int) -> str:
        report: dict[str, Any] = Tally().report()
        report["matches"] = {"started": started, "finished": finished, "failed": failed}
        return describe(report).splitlines()[0]

    def test_all_are_counted(self) -> None:
        """
        Matches that went well are not explained; those that were left early are, with
        the option that limits them.
        """
        all_well = "matches      2 started, 2 finished, 0 failed"
        self.assertEqual(self.line(2, 2, 0), all_well)
        # One that could not be joined was not started either.
        self.assertNotIn("left", self.line(1, 1, 1))
        left = "matches      3 started, 1 finished, 0 failed, 2 left before the end"
        self.assertEqual(self.line(3, 1, 0), f"{left} (--grace)")


class WhyNoneTests(SynchronousTestCase):
    """What is printed when no match began."""

    def test_why(self) -> None:
        """
        Bots that reach no lobby end at once: the address is printed, and that no 30 s
        have passed is not claimed. A refusal is printed in the lobby's words. Where
        nothing went wrong, the table was not full.
        """
        for errors, words in (
            (
                {"line_lost": 4},
                "no match began: cannot reach a lobby at 127.0.0.1:4600; set --connect",
            ),
            ({"bad_options": 12}, "no match began"),
            (
                {},
                "no match began in 30 s; a match waits for more players before it "
                "starts with empty seats: raise --seconds or --players",
            ),
        ):
            why = why_none(errors, LobbyAddress("127.0.0.1", 4600), 30.0)
            self.assertEqual(why, words)
