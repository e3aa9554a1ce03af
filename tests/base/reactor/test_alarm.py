"""A deadline that keeps moving."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.reactor.alarm import Alarm


class AlarmTests(SynchronousTestCase):
    """`Alarm`, with a deadline that tests set."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.deadline: float | None = None
        self.rung: list[float] = []
        self.alarm = Alarm(self.clock, lambda: self.deadline, self.ring)

    def ring(self) -> None:
        self.rung.append(self.clock.seconds())
        self.deadline = None

    def test_rings(self) -> None:
        """
        It rings at its deadline, once, wherever that moved meanwhile; one that moved
        away costs no second call.
        """
        for first, then in ((3.0, 3.0), (3.0, 5.0), (5.0, 2.0)):
            self.setUp()
            self.deadline = first
            self.alarm.arm()
            self.deadline = then
            self.alarm.arm()
            self.assertEqual(1, len(self.clock.getDelayedCalls()))
            self.clock.pump([1.0] * 6)
            self.assertEqual([then], self.rung)

    def test_stopped(self) -> None:
        """
        A stopped alarm leaves nothing behind and never rings.
        """
        self.deadline = 2.0
        self.alarm.arm()
        self.alarm.stop()
        self.alarm.arm()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_other_clock(self) -> None:
        """
        Deadlines may be on another clock than the calls.
        """
        alarm = Alarm(
            self.clock,
            lambda: self.deadline,
            self.ring,
            lambda: self.clock.seconds() + 100,
        )
        self.deadline = 102.0
        alarm.arm()
        self.clock.pump([1.0] * 3)
        self.assertEqual([2.0], self.rung)
