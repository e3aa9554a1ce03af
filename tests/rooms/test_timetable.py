"""When a room starts, keeps a place, and closes, without the room."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from vinom.rooms.round import Timetable
from vinom.rooms.seating import Member


class TimetableTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.times = Timetable(
            fill_seconds=5.0,
            close_seconds=30.0,
            grace=900.0,
            now=100.0,
            deserted_seconds=30.0,
        )
        self.ann = Member(0, "ann-id", "ann")

    def test_empty(self) -> None:
        """
        A room without members closes after its time, and not before.
        """
        self.times.plan([], 0, may_start=False)
        self.assertEqual(self.times.due, 130.0)
        self.assertFalse(self.times.must_close(129.9))
        self.assertTrue(self.times.must_close(130.0))
        self.times.entered()
        self.times.plan([self.ann], 1, may_start=False)
        self.assertEqual(self.times.due, inf)
        self.assertFalse(self.times.must_close(1e9))

    def test_deserted(self) -> None:
        """
        A room that waits for players, none of whom is connected, closes as early; the
        change is reported once, in each direction.
        """
        self.times.entered()
        self.assertTrue(self.times.note_deserted(True, 200.0))
        self.assertFalse(self.times.note_deserted(True, 220.0))
        self.assertTrue(self.times.must_close(230.0))
        self.assertTrue(self.times.note_deserted(False, 225.0))
        self.assertFalse(self.times.must_close(230.0))

    def test_place_expires(self) -> None:
        """
        A place is kept for as long as promised, and always while its player is here.
        """
        bob = Member(1, "bob-id", "bob")
        self.times.entered()
        self.ann.lost_at = 150.0
        self.times.plan([self.ann, bob], 1, may_start=False)
        self.assertEqual(self.times.due, 1050.0)
        self.assertEqual(self.times.expired([self.ann, bob], 1049.9), [])
        self.assertEqual(self.times.expired([self.ann, bob], 1050.0), [self.ann])

    def test_start(self) -> None:
        """
        A room with the fewest players waits a while for more, again for each who
        comes, and not once its host has had enough.
        """
        self.times.entered()
        for now in (200.0, 203.0):
            self.times.joined(now)
        self.times.plan([self.ann], 1, may_start=True)
        self.assertEqual(self.times.due, 208.0)
        self.assertFalse(self.times.has_waited(207.9))
        self.assertTrue(self.times.has_waited(208.0))
        self.times.joined(205.0)
        self.times.hurry()
        self.assertTrue(self.times.has_waited(205.0))
        self.times.started()
        self.assertFalse(self.times.has_waited(1e9))
