"""Tests of vinom.base.limits.pressure: when nobody new should come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.limits.pressure import Overload


class OverloadTests(SynchronousTestCase):
    """Slow turns, and how long they were."""

    def work(
        self, overload: Overload, now: float, took: float, pause: float, seconds: float
    ) -> float:
        """Make turn after turn for a while; returns when that was over."""
        end = now + seconds
        while now < end:
            now += pause + took
            overload.turned(took, now)
        return now

    def test_quick_turns(self) -> None:
        """
        A process that is busy all the time, and quick, takes everybody.
        """
        overload = Overload()
        now = self.work(overload, 0.0, 0.005, 0.0, 10.0)
        self.assertFalse(overload.is_high(now))
        self.assertAlmostEqual(overload.average, 0.005, places=3)

    def test_slow_turns(self) -> None:
        """
        When turns take long, new players are refused within a second or two, and
        accepted when that is over.
        """
        overload = Overload()
        now = self.work(overload, 0.0, 0.1, 0.001, 2.0)
        self.assertTrue(overload.is_high(now))
        self.assertTrue(overload.is_high(now + 0.3))
        now = self.work(overload, now, 0.001, 0.01, 3.0)
        self.assertFalse(overload.is_high(now))

    def test_one_slow_call(self) -> None:
        """
        One call that hangs for a moment turns nobody away.
        """
        overload = Overload()
        overload.turned(0.2, 10.0)
        self.assertFalse(overload.is_high(10.0))

    def test_nothing_to_do(self) -> None:
        """
        A newcomer to a process that fell idle gets in, even if it was busy before.
        """
        overload = Overload()
        now = self.work(overload, 0.0, 0.5, 0.0, 5.0)
        self.assertTrue(overload.is_high(now))
        self.assertFalse(overload.is_high(now + 5.0))

    def test_sways(self) -> None:
        """
        Between both bounds it stays as it was.
        """
        overload = Overload()
        now = self.work(overload, 0.0, 0.035, 0.0, 10.0)
        self.assertFalse(overload.is_high(now))
        now = self.work(overload, now, 0.1, 0.0, 5.0)
        self.assertTrue(overload.is_high(now))
        now = self.work(overload, now, 0.035, 0.0, 10.0)
        self.assertTrue(overload.is_high(now))

    @given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5))))
    def test_never_more_than_the_longest(
        self, turns: list[tuple[float, float]]
    ) -> None:
        """
        The average is within what was measured, for any turns.
        """
        overload, now = Overload(), 0.0
        for took, pause in turns:
            now += pause + took
            overload.turned(took, now)
            self.assertGreaterEqual(overload.average, 0.0)
            self.assertLessEqual(
                overload.average, max(took for took, _ in turns) + 1e-9
            )
