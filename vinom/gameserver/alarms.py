"""The rooms of one game server are rung in company: one wake-up serves many."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import ceil, inf

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vinom.gameserver.room import HostedRoom

#: Up to so many rooms each alarm rings to the point.
FEW = 8
#: With more, alarms wait for the next multiple of this, seconds. A wake-up of
#: the process costs as much as the ticks of several rooms.
GRAIN = 0.003
#: Entries that are no good any more: so many may lie about, and as many as rooms.
_STALE = 64


class RoomAlarms:
    """
    Ring each room when its deadline has come.

    Moving a deadline away costs nothing: the old entry comes up, is early, and
    is made again.

    :param ring: called with the room; it must move the deadline.
    :param seconds: the clock of the deadlines.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        ring: Callable[[HostedRoom], None],
        seconds: Callable[[], float],
    ) -> None:
        self._clock, self._ring, self._seconds = clock, ring, seconds
        # Of several entries of a room the one it is booked for is good.
        self._agenda: list[tuple[float, int, HostedRoom]] = []
        self._booked: dict[HostedRoom, float] = {}
        self._entries = 0
        self._call: IDelayedCall | None = None
        self._at = 0.0

    def add(self, hosted: HostedRoom) -> None:
        """A room was opened; `arm` follows."""
        self._booked[hosted] = inf

    def discard(self, hosted: HostedRoom) -> None:
        """A room is over."""
        self._booked.pop(hosted, None)
        self._tidy()
        if not self._booked:
            self._agenda.clear()
            if self._call is not None:
                self._call.cancel()
                self._call = None

    def arm(self, hosted: HostedRoom) -> None:
        """Its deadline may have moved."""
        booked = self._booked.get(hosted)
        at = hosted.deadline()
        if at is None or booked is None:
            return
        if len(self._booked) > FEW:
            if booked < at + GRAIN:
                return
            at = ceil(at / GRAIN) * GRAIN
        elif booked <= at:
            return
        self._booked[hosted] = at
        self._enter(at, hosted)
        self._tidy()
        self._wake()

    def _enter(self, at: float, hosted: HostedRoom) -> None:
        self._entries += 1
        heapq.heappush(self._agenda, (at, self._entries, hosted))

    def _tidy(self) -> None:
        """
        Drop entries that are no good, once they are many.

        A room whose next deadline is minutes away, and that is busy until then,
        leaves one behind each time it is rung for something sooner.
        """
        if len(self._agenda) > 2 * len(self._booked) + _STALE:
            self._agenda.clear()
            for hosted, at in self._booked.items():
                if at < inf:
                    self._enter(at, hosted)

    def _wake(self) -> None:
        """See to it that somebody looks when the first entry is due."""
        if not self._agenda:
            return
        at = self._agenda[0][0]
        if self._call is not None:
            if self._at <= at:
                return
            self._call.cancel()
        self._at = at
        self._call = self._clock.callLater(max(0.0, at - self._seconds()), self._due)

    def _due(self) -> None:
        self._call = None
        agenda, booked, now = self._agenda, self._booked, self._seconds()
        due = []
        while agenda and agenda[0][0] <= now:
            at, _, hosted = heapq.heappop(agenda)
            if booked.get(hosted) == at:
                booked[hosted] = inf
                due.append(hosted)
        for hosted in due:
            if hosted not in booked:
                continue
            try:
                deadline = hosted.deadline()
                if deadline is not None and deadline <= now:
                    self._ring(hosted)
                self.arm(hosted)
            except Exception:
                # The others are not to wait for one that fails.
                self._log.failure(
                    "match {match_id} was not rung",
                    match_id=hosted.room.plan.match_id,
                )
        self._wake()
