"""What is new of a room's announcements and events."""

from __future__ import annotations

from typing import Any

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.messages.rooms import EventTold, ReconnectResult
from vinom.client.line_seat import RoomNews


def _place(number: int) -> ReconnectResult:
    null = Raw(b"null")
    facts: dict[str, Any] = {"room_id": "r1", "game": "pair", "seat": 0}
    facts |= {"resume": f"secret {number}", "state": "playing", "host": 0}
    facts |= {"players": (), "options": null, "setup": null, "version": 1, "acted": 0}
    return ReconnectResult(**facts, number=number, lost=0)


def _events(*numbers: int) -> list[EventTold]:
    return [EventTold(number, 1, "said", None) for number in numbers]


class RoomNewsTests(SynchronousTestCase):
    """Nothing is delivered twice, and nothing is taken away."""

    def setUp(self) -> None:
        self.news = RoomNews()
        self.news.sit(_place(3))

    def new(self, *numbers: int) -> list[int]:
        """A state with these events comes: which are new?"""
        return [event.number for event in self.news.new_events(_events(*numbers))]

    def test_overtaken(self) -> None:
        """
        An announcement takes no event away that comes after it with its state.
        """
        self.assertTrue(self.news.is_new(6))
        self.assertEqual((self.news.heard, self.new(4, 5)), (0, [4, 5]))
        self.assertEqual(self.news.heard, 6)

    def test_again(self) -> None:
        """
        What comes again on another line is not new, neither before a state nor after.
        """
        self.assertTrue(self.news.is_new(4))
        self.news.sit(_place(5))
        self.assertFalse(self.news.is_new(4))
        self.assertEqual(self.new(5, 6), [5, 6])
        self.news.sit(_place(7))
        self.assertFalse(self.news.is_new(4))
        self.assertEqual(self.new(5, 6, 8), [8])

    def test_place_counts(self) -> None:
        """
        What was before a place's description is known with the first state.
        """
        self.assertEqual((self.news.heard, self.new()), (0, []))
        self.assertEqual((self.news.heard, self.news.resume), (3, "secret 3"))

    def test_another_room(self) -> None:
        """
        A room that counts from the beginning is another one, and all of it is new.
        """
        self.new(8)
        self.news.sit(_place(1))
        self.assertTrue(self.news.is_new(2))
        self.assertEqual(self.new(3), [3])
