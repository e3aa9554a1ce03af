"""What is killed, and when."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.chaos.strikes import KINDS, plan_strikes


class StrikesTests(SynchronousTestCase):
    """Kills are drawn before the run begins."""

    def test_no_kinds(self) -> None:
        """
        Without ``--kill`` nothing is killed.
        """
        self.assertEqual(plan_strikes((), 60.0, 5.0, Random(1)), [])

    def test_same_seed(self) -> None:
        """
        The same seed draws the same kills, another one others.
        """
        first, again, other = (
            plan_strikes(KINDS, 60.0, 5.0, Random(seed)) for seed in ("a", "a", "b")
        )
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_shares(self) -> None:
        """
        In a long run most strikes are at single matches, of each kind as many.
        """
        kinds = tuple(kind for kind in KINDS if kind not in ("restart", "roll"))
        strikes = plan_strikes(kinds, 600.0, 5.0, Random(1))
        counts = Counter(strike.kind for strike in strikes)
        self.assertEqual(
            counts, {"gameserver": 27, "hang": 27, "move": 26, "node": 20, "store": 20}
        )

    @given(
        st.sets(st.sampled_from(KINDS), min_size=1),
        st.floats(1.0, 600.0),
        st.floats(0.5, 100.0),
        st.integers(),
    )
    def test_each_kind_and_in_time(self, kinds, seconds, every, seed) -> None:
        """
        Each kind that was asked for is killed at least once, and all within the run.
        """
        asked = tuple(kind for kind in KINDS if kind in kinds)
        strikes = plan_strikes(asked, seconds, every, Random(seed))
        self.assertEqual({strike.kind for strike in strikes}, set(asked))
        times = [strike.at for strike in strikes]
        self.assertEqual(times, sorted(times))
        self.assertTrue(all(0 <= at <= seconds for at in times))
