"""Tests of vinom.base.reactor.alarm: many rooms, few wake-ups."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.reactor.alarm import FEW, GRAIN, Alarms


class SomeRoom:
    """Wants to be rung at *at*."""

    name = "m"

    def __init__(self, at: float | None, rung: Callable[[SomeRoom], None]) -> None:
        self.at, self.rung = at, rung

    def deadline(self) -> float | None:
        return self.at

    def ring(self, now: float) -> None:
        self.rung(self)


class RoomAlarmsTests(SynchronousTestCase):
    """`Alarms`, with rooms whose deadlines tests set."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.rung: list[tuple[float, SomeRoom]] = []
        self.fails: SomeRoom | None = None
        self.alarms = Alarms(self.clock, self.clock.seconds)

    def ring(self, room: Any) -> None:
        self.rung.append((self.clock.seconds(), room))
        room.at = None
        if room is self.fails:
            raise ValueError("a fault of ours")

    def open(self, *deadlines: float) -> list[SomeRoom]:
        rooms = [SomeRoom(at, self.ring) for at in deadlines]
        for room in rooms:
            self.alarms.add(room)
        for room in rooms:
            self.alarms.arm(room, room.deadline())
        return rooms

    def test_few(self) -> None:
        """
        A few rooms are rung to the point.
        """
        one, other = self.open(1.0001, 1.0002)
        self.clock.pump([1.0001, 0.0001])
        self.assertEqual([room for _, room in self.rung], [one, other])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_never(self) -> None:
        """
        Rooms in which nothing will ever be due are left alone, however many there
        are, also after one of them was rung.
        """
        rooms = self.open(1.0, *(inf for _ in range(2 * FEW)))
        for room in rooms:
            self.alarms.arm(room, inf)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        rooms[0].rung = lambda room: setattr(room, "at", inf)
        self.clock.advance(1.0 + GRAIN)
        self.assertEqual(rooms[0].at, inf)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_many(self) -> None:
        """
        Many rooms share wake-ups, and none is rung early, or late by more than
        players could notice.
        """
        wanted = [1.0 + number / 10000 for number in range(5 * FEW)]
        self.open(*wanted)
        calls = 0
        while self.clock.getDelayedCalls():
            (call,) = self.clock.getDelayedCalls()
            self.clock.advance(call.getTime() - self.clock.seconds())
            calls += 1
        self.assertEqual(len(self.rung), 5 * FEW)
        for (at, _), asked in zip(self.rung, wanted, strict=True):
            self.assertGreaterEqual(at, asked)
            self.assertLess(at, asked + GRAIN + 1e-9)
        self.assertLess(calls, 5)

    def test_moved(self) -> None:
        """
        A deadline that moved is kept, wherever it moved.
        """
        later, sooner = self.open(1.0, 5.0)
        later.at, sooner.at = 3.0, 2.0
        self.alarms.arm(later, later.deadline())
        self.alarms.arm(sooner, sooner.deadline())
        self.clock.pump([0.5] * 10)
        self.assertEqual(self.rung, [(2.0, sooner), (3.0, later)])

    def test_over(self) -> None:
        """
        A room that is over is not rung, and the last one leaves no call behind.
        """
        one, other = self.open(1.0, 1.0)
        self.alarms.discard(one)
        self.clock.advance(1.0)
        self.assertEqual(self.rung, [(1.0, other)])
        self.alarms.discard(other)
        self.alarms.arm(other, other.deadline())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_over_meanwhile(self) -> None:
        """
        A room that another one's turn ended is left alone.
        """
        one, other = self.open(1.0, 1.0)
        ring = self.ring

        def ending(room: Any) -> None:
            ring(room)
            self.alarms.discard(other)

        one.rung = ending
        self.clock.advance(1.0)
        self.assertEqual(self.rung, [(1.0, one)])

    def test_failure(self) -> None:
        """
        A fault while one room is rung is logged, and costs the others nothing.
        """
        self.fails, other = self.open(1.0, 1.0)
        self.clock.advance(1.0)
        self.assertEqual(self.rung[-1][1], other)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_memory_is_bounded(self) -> None:
        """
        Rooms that are busy for hours before their far deadlines are rung each time,
        and the process does not grow by it.
        """
        rooms = self.open(*(9000.0 + number for number in range(2 * FEW)))
        most = 0
        for step in range(1, 2000):
            for room in rooms:
                room.at = step - 0.5
                self.alarms.arm(room, room.deadline())
            self.clock.advance(1.0)
            for number, room in enumerate(rooms):
                room.at = 9000.0 + number
                self.alarms.arm(room, room.deadline())
            most = max(most, len(self.alarms._agenda))
        self.assertEqual(len(self.rung), 1999 * len(rooms))
        self.assertLess(most, 200)
        self.clock.advance(9000.0 + len(rooms))
        self.assertEqual(len(self.rung), 2000 * len(rooms))

    def test_many_are_over(self) -> None:
        """
        Rooms that are over are forgotten while others go on.
        """
        first, *others = self.open(*(1000.0 for _ in range(500)))
        for room in others:
            self.alarms.discard(room)
        self.assertLess(len(self.alarms._agenda), 100)
        self.clock.advance(1000.01)
        self.assertEqual([room for _, room in self.rung], [first])
