"""When a room starts, when kept places expire, and when it closes."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from vinom.rooms.seating import Member


class Timetable:
    """
    What is due in a room, except for what is played: that has deadlines of its own.

    Times are seconds on the rooms' clock, which never goes back.

    :ivar due: when something is due next; infinite if nothing is.
    :ivar is_deserted: nobody is connected, and play has not begun.
    """

    def __init__(
        self, fill_seconds: float, close_seconds: float, grace: float, now: float
    ) -> None:
        """
        Begin with an empty room.

        :param fill_seconds: how long it waits, after the last one joined, for more than
            the fewest players.
        :param close_seconds: how long it stays after the last person left.
        :param grace: how long a player whose connection was lost may come back.
        :param now: the time.
        """
        self._fill_seconds, self._close_seconds = fill_seconds, close_seconds
        self._grace = grace
        self._fill_at = self.due = inf
        self._empty_since = self._deserted_since = now
        self.is_deserted = False

    # What happens.

    def entered(self) -> None:
        """Somebody is a member."""
        self._empty_since = inf

    def emptied(self, now: float) -> None:
        """Nobody is a member any more."""
        self._empty_since = now

    def joined(self, now: float) -> None:
        """One more can play: wait a while for others."""
        self._fill_at = now + self._fill_seconds

    def hurry(self) -> None:
        """Wait for nobody else."""
        self._fill_at = -inf

    def started(self) -> None:
        """Play has begun."""
        self._fill_at = inf

    def note_deserted(self, is_deserted: bool, now: float) -> bool:
        """
        Note whether anybody is connected before play.

        :returns: whether that has changed.
        """
        if is_deserted is self.is_deserted:
            return False
        self.is_deserted, self._deserted_since = is_deserted, now
        return True

    def plan(
        self,
        members: Sequence[Member],
        connected: int,
        may_start: bool,
        expected_until: float = inf,
    ) -> None:
        """
        Find what is due next.

        :param members: of the room.
        :param connected: how many of them are.
        :param may_start: enough have a seat, and play has not begun.
        :param expected_until: when a seat is no longer kept for a newcomer.
        """
        due = expected_until
        if connected < len(members):
            due = min(due, min(one.lost_at for one in members) + self._grace)
        elif not members:
            due = min(due, self._empty_since + self._close_seconds)
        if self.is_deserted:
            due = min(due, self._deserted_since + self._close_seconds)
        if may_start:
            due = min(due, max(self._fill_at, 0.0))
        self.due = due

    # What is due.

    def has_waited(self, now: float) -> bool:
        """Did the room wait for more players for as long as it does?"""
        return now >= self._fill_at

    def must_close(self, now: float) -> bool:
        """Was nobody here for as long as an empty room stays?"""
        since = self._empty_since
        if self.is_deserted:
            since = min(since, self._deserted_since)
        return now >= since + self._close_seconds

    def expired(self, members: Sequence[Member], now: float) -> list[Member]:
        """List the members whose places are not kept any longer."""
        if now < self.due:
            return []
        return [member for member in members if now >= member.lost_at + self._grace]
