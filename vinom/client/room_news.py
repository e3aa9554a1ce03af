"""What a player knows of a room's news, across lines."""

from __future__ import annotations

from collections.abc import Sequence

from vinom.messages.rooms import EventTold, JoinRoomResult, ReconnectResult

#: What a room's place is told by.
Place = JoinRoomResult | ReconnectResult


class RoomNews:
    """
    Tell what is new of a room's announcements and events, each once.

    Announcements overtake events that wait for their state. What came since the last
    state is therefore kept one by one. Source: docs/protocol/rooms.rst, "Coming back".

    :ivar resume: the secret that gives the place back; empty before it was ours.
    :ivar heard: whatever has no higher number was heard.
    """

    def __init__(self) -> None:
        self.resume = ""
        self.heard = self._latest = 0
        self._since: set[int] = set()

    def sit(self, place: Place) -> None:
        """We have the place, for the first time or again."""
        if place.number < self.heard:
            # It is another room, of which nothing was heard: numbers never go back.
            self.heard = 0
            self._since.clear()
        self.resume, self._latest = place.resume, place.number

    def is_new(self, number: int) -> bool:
        """An announcement came: is it one that was not heard before?"""
        if number <= self.heard or number in self._since:
            return False
        self._since.add(number)
        self._latest = max(self._latest, number)
        return True

    def new_events(self, events: Sequence[EventTold]) -> list[EventTold]:
        """A state came: find the events that were not heard before."""
        new = [event for event in events if event.number > self.heard]
        # Every state brings all events until its own moment.
        self.heard = self._latest = max([self._latest, *(e.number for e in new)])
        self._since.clear()
        return new
