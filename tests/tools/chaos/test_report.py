"""What a run prints, and its exit status."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from vinom.client.bots import Samples
from vinom.tools.chaos.plan import Report
from vinom.tools.promises.checker import Checked
from vinom.tools.promises.witness import PROMISES, Broken


class ReportTests(SynchronousTestCase):
    """A run of one match."""

    def setUp(self) -> None:
        self.report = Report("pig", "7", begun=1)

    def test_passed(self) -> None:
        """
        A run in which nothing was broken passes: status 0, and every promise kept.
        """
        self.report.add(Checked((), 12, 30, 2, True))
        self.report.pauses["move"] = pauses = Samples()
        pauses.add(0.25)
        self.assertEqual(self.report.exit_code, 0)
        text = self.report.as_text()
        self.assertTrue(text.endswith("pig: passed (seed 7)"), text)
        self.assertEqual(text.count("kept: "), len(PROMISES))
        facts = json.loads(json.dumps(self.report.as_json()))
        self.assertTrue(facts["passed"])
        self.assertEqual(facts["matches"], {"begun": 1, "finished": 1, "resumed": 1})
        self.assertEqual(facts["pause_ms"], {"move": {"p50": 250.0, "p99": 250.0}})

    def test_broken(self) -> None:
        """
        One broken promise fails the run: status 1, and the sentence that says what. A
        node that ends by itself does, too.
        """
        broken = Broken("versions", "m-1", "ann (seat 0): version 3 came after 4")
        self.report.add(Checked((broken,)))
        self.assertEqual(self.report.exit_code, 1)
        text = self.report.as_text()
        self.assertIn("versions  BROKEN 1 times: no player saw a version go back", text)
        self.assertIn("broken: versions: match m-1: ann (seat 0): version 3", text)
        self.assertTrue(text.endswith("pig: FAILED (seed 7)"), text)
        self.assertEqual(self.report.as_json()["promises"]["versions"], 1)
        report = Report("pig", "7", begun=1, trouble=["the node ended by itself"])
        self.assertEqual(report.exit_code, 1)
        self.assertIn("failed: the node ended by itself", report.as_text())

    def test_many_broken(self) -> None:
        """
        One cause breaks many states; what else it breaks is printed all the same, and
        how a recording differs comes first, for that names the cause.
        """
        states = [Broken("states", f"m-{n}", "another state") for n in range(30)]
        recording = Broken("recording", "m-1", "part 2 differs")
        self.report.add(Checked((*states, recording)))
        lines = [
            line
            for line in self.report.as_text().splitlines()
            if line.startswith("broken")
        ]
        self.assertEqual(lines[0], "broken: recording: match m-1: part 2 differs")
        self.assertEqual(len(lines), 6)
        self.assertIn("... and 25 more: see --json", self.report.as_text())

    def test_nothing_played(self) -> None:
        """
        A run in which no match began proves nothing: status 2.
        """
        self.report.begun = 0
        self.assertEqual(self.report.exit_code, 2)
        self.assertFalse(self.report.as_json()["passed"])
        text = self.report.as_text()
        self.assertNotIn("kept", text)
        self.assertTrue(text.endswith("pig: no match began (seed 7)"), text)

    def test_nothing_killed(self) -> None:
        """
        A run that was to kill and has killed nothing proves nothing: status 2. Not so
        if it has moved matches, or was interrupted before, and says so.
        """
        self.report.planned = 3
        self.assertEqual(self.report.exit_code, 2)
        self.assertFalse(self.report.as_json()["passed"])
        self.assertIn("pig: nothing was killed", self.report.as_text())
        self.report.strikes["move"] = 1
        self.assertEqual(self.report.exit_code, 0)
        self.report.strikes.clear()
        self.report.is_interrupted, self.report.seconds = True, 12.3
        self.assertEqual(self.report.exit_code, 0)
        self.assertIn("interrupted after 12 s", self.report.as_text())
