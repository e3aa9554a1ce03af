"""Many who wait, and one timer."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.reactor.waits import Waits


class Guest:
    """Somebody who waits."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.called_at: list[float] = []

    def overdue(self) -> None:
        self.called_at.append(self.clock.seconds())


class WaitsTests(SynchronousTestCase):
    """Deadlines in any order."""

    @settings(max_examples=200, deadline=None)
    @given(some.lists(some.tuples(some.integers(0, 9), some.booleans()), max_size=12))
    def test_everybody_in_time(self, plan: list[tuple[int, bool]]) -> None:
        """
        Each is called once and in time, those who left are not, and no timer stays.
        """
        clock = Clock()
        waits = Waits(clock)  # type: ignore[arg-type]  # a clock is enough
        stay, left = [], []
        for deadline, stays in plan:
            guest = Guest(clock)
            waits.add(guest, float(deadline))
            (stay if stays else left).append((guest, deadline))
        for guest, _ in left:
            waits.remove(guest)
            waits.remove(guest)
        self.assertEqual(len(waits), len(stay))
        clock.pump([0.05] * 200)
        for guest, deadline in stay:
            (at,) = guest.called_at
            self.assertTrue(deadline <= at <= deadline + 0.2, (deadline, at))
        self.assertTrue(all(not guest.called_at for guest, _ in left))
        self.assertEqual((clock.getDelayedCalls(), len(waits)), ([], 0))
