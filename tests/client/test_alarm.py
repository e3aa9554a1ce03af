"""Deadlines that keep moving."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vinom.client.alarm import Alarm


class AlarmTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.rung = Clock(), []
        self.deadline: float | None = 2.0
        self.alarm = Alarm(self.clock, lambda: self.deadline, self.ring)
        self.alarm.arm()

    def ring(self) -> None:
        self.rung.append(self.clock.seconds())
        self.deadline = None

    def test_moved_away(self) -> None:
        """
        A deadline that moved away rings at its new time, and once.
        """
        self.deadline = 3.0
        self.alarm.arm()
        self.clock.pump([0.5] * 10)
        self.assertEqual(self.rung, [3.0])

    def test_moved_closer(self) -> None:
        """
        A deadline that moved closer rings then.
        """
        self.deadline = 1.0
        self.alarm.arm()
        self.clock.pump([0.5] * 10)
        self.assertEqual(self.rung, [1.0])

    def test_stopped(self) -> None:
        """
        A stopped alarm leaves nothing behind on the clock.
        """
        self.alarm.stop()
        self.alarm.arm()
        self.assertEqual(self.clock.getDelayedCalls(), [])
