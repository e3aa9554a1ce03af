"""The figures at the end of a run of bots."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.client.bots import Samples, Tally
from vinom.client.match import MatchResult

KEYS = {
    "matches",
    "inputs_per_s",
    "states_per_s",
    "input_to_state_ms",
    "queue_to_match_ms",
    "match_to_joined_ms",
    "handshakes",
    "errors",
}


def ended(reason: str = "finished", **facts: Any) -> MatchResult:
    known = {"version": 9, "view_hash": "ab", "seen_version": 9, "seen_hash": "ab"}
    return MatchResult("m", reason, **(known | facts))


class TallyTests(SynchronousTestCase):
    def played(
        self, *results: MatchResult, is_seen: bool = True, **facts: Any
    ) -> Tally:
        tally = Tally(**facts)
        for _ in results:
            tally.found("m")
        if is_seen:
            tally.saw("m", 1.0)
            tally.saw("m", 3.0)
        for result in results:
            tally.over(result, has_joined=True)
        return tally

    def test_report(self) -> None:
        """
        The report has the keys that others read, and no others, also if nothing
        happened.
        """
        tally = self.played(ended(), ended())
        tally.inputs = 8
        report = tally.report()
        self.assertEqual(set(report), KEYS)
        self.assertEqual(report["matches"], {"started": 1, "finished": 1, "failed": 0})
        self.assertEqual(report["inputs_per_s"], 4.0)
        self.assertEqual(report["states_per_s"], 1.0)
        self.assertEqual(report["input_to_state_ms"], {"p50": None, "p99": None})
        self.assertEqual(set(Tally().report()), KEYS)

    def test_rates_need_time(self) -> None:
        """
        Two states a moment apart do not make thousands per second.
        """
        tally = Tally()
        tally.found("m")
        tally.saw("m", 1.0)
        tally.saw("m", 1.0001)
        self.assertEqual(tally.report()["states_per_s"], 0.0)

    def test_ends(self) -> None:
        """
        A match fails if it broke for one player, if a last view differs from what the
        server announced or never arrived, or if one could not join. In games with
        secrets only versions are compared. A player who leaves after the last round has
        finished the match; before that only one of a game that never ends by itself. A
        match to which others did not come is neither finished nor failed.
        """
        left = ended("left", view_hash="")
        outcome = {"round": 1, "places": [[0]], "scores": [1]}
        void = ended("void", view_hash="")
        for tally, counts, errors in (
            (self.played(ended(), ended("lost")), (0, 1), {"lost": 1}),
            (self.played(ended(seen_hash="cd")), (0, 1), {"view_mismatch": 1}),
            (self.played(ended(seen_version=8)), (0, 1), {"version_mismatch": 1}),
            (self.played(ended(seen_hash="cd"), shows_all=False), (1, 0), {}),
            (
                self.played(ended("left", outcome=outcome, view_hash="")),
                (1, 0),
                {},
            ),
            (self.played(left, ends=True), (0, 0), {}),
            (self.played(left, ends=False), (1, 0), {}),
            (self.played(void, is_seen=False), (0, 0), {"void": 1}),
        ):
            self.assertEqual((tally.finished, tally.failed), counts)
            self.assertEqual(tally.report()["errors"], errors)
        self.assertEqual(self.played(void, is_seen=False).started, 0)
        tally = Tally()
        tally.found("m")
        tally.over(void, has_joined=False)
        self.assertEqual(tally.failed, 1)

    @given(st.lists(st.floats(0, 10), min_size=1, max_size=300))
    def test_percentiles(self, values: list[float]) -> None:
        """
        Half of the samples are not above p50, and all but a hundredth not
        above p99.
        """
        samples = Samples()
        for value in values:
            samples.add(value)
        summary = samples.summary_ms()
        for key, share in (("p50", 0.5), ("p99", 0.99)):
            found = summary[key]
            below = sum(round(value * 1000, 3) <= found for value in values)
            self.assertGreaterEqual(below, share * len(values))
        self.assertLessEqual(summary["p50"], summary["p99"])
