"""What is killed, and when."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.tools.chaos.plan import KINDS, plan_strikes


class StrikesTests(SynchronousTestCase):
    """Strikes are drawn before the run begins."""

    def test_shares(self) -> None:
        """
        In a long run most strikes are at single matches, of each kind as many.
        """
        strikes = plan_strikes(KINDS[:5], 600.0, 5.0, "a")
        self.assertEqual(
            Counter(strike.kind for strike in strikes),
            {"gameserver": 27, "hang": 27, "move": 26, "node": 20, "store": 20},
        )

    @given(
        st.sets(st.sampled_from(KINDS)),
        st.floats(1.0, 600.0),
        st.floats(0.5, 100.0),
        st.text(),
    )
    def test_each_kind_and_in_time(self, kinds, seconds, every, seed) -> None:
        """
        Each kind that was asked for happens at least once, and all within the run.
        """
        asked = tuple(kind for kind in KINDS if kind in kinds)
        strikes = plan_strikes(asked, seconds, every, seed)
        self.assertEqual({strike.kind for strike in strikes}, kinds)
        times = [strike.at for strike in strikes]
        self.assertEqual(times, sorted(times))
        self.assertTrue(all(0 <= at <= seconds for at in times))
