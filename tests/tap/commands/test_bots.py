"""What `vinom bots` prints for people."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vinom.client.tally import Tally
from vinom.tap.commands.bots import describe


class DescribeTests(SynchronousTestCase):
    """The first line of the report."""

    def line(self, started: int, finished: int, failed: int) -> str:
        report: dict[str, Any] = Tally().report()
        report["matches"] = {"started": started, "finished": finished, "failed": failed}
        return describe(report).splitlines()[0]

    def test_all_are_counted(self) -> None:
        """
        Matches that went well are not explained.
        """
        self.assertEqual(
            self.line(2, 2, 0), "matches      2 started, 2 finished, 0 failed"
        )
        # One that could not be joined was not started either.
        self.assertNotIn("left", self.line(1, 1, 1))

    def test_left(self) -> None:
        """
        Who wonders where matches went that did not end is told, and by which option.
        """
        self.assertEqual(
            self.line(3, 1, 0),
            "matches      3 started, 1 finished, 0 failed, "
            "2 left before the end (--grace)",
        )
