"""Call something later: once, or at deadlines that keep moving, of one or many."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import ceil, inf
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

#: With at most this many things each rings exactly on time.
FEW = 8
#: With more, alarms wait for the next multiple of this, seconds. A wake-up of
#: the process costs as much as the ticks of several rooms.
GRAIN = 0.003
#: Stale entries tolerated before a rebuild, in addition to one per thing.
_STALE = 64


class Timer:
    """
    One call at most that is made later.

    :ivar callee: what is called; whoever measures calls names it instead of us.
    """

    __slots__ = ("_call", "_clock", "callee")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.callee: Callable[..., Any]
        self._call: IDelayedCall | None = None

    @property
    def is_running(self) -> bool:
        """Will it be called?"""
        return self._call is not None

    def start(self, seconds: float, callee: Callable[..., Any], *args: Any) -> None:
        """Call it after this time, and not what was to be called before."""
        self.cancel()
        self.ensure(seconds, callee, *args)

    def ensure(self, seconds: float, callee: Callable[..., Any], *args: Any) -> None:
        """Call it after this time, unless something is to be called anyway."""
        if self._call is None:
            self.callee = callee
            self._call = self._clock.callLater(seconds, self._due, *args)

    def cancel(self) -> None:
        """Call nothing."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _due(self, *args: Any) -> None:
        self._call = None
        self.callee(*args)


class Alarm:
    """
    Ring when a deadline has come.

    Moving the deadline away costs nothing: the old call happens, finds that it
    is early, and is made again. That matters where each packet moves it.

    :param seconds: the clock of the deadlines; *clock*'s own unless given.
    :param deadline: names the next one; ``None`` is never.
    :param ring: called at that time; it must move the deadline.
    :ivar callee: the same; whoever measures calls names it instead of us.
    """

    def __init__(
        self,
        clock: IReactorTime,
        deadline: Callable[[], float | None],
        ring: Callable[[], None],
        seconds: Callable[[], float] | None = None,
    ) -> None:
        self._clock, self._deadline, self.callee = clock, deadline, ring
        self._seconds = seconds or clock.seconds
        self._call: IDelayedCall | None = None
        self._at = 0.0
        self._is_stopped = False

    def arm(self) -> None:
        """The deadline may have moved."""
        deadline = self._deadline()
        if deadline is None or self._is_stopped:
            return
        if self._call is not None:
            if self._at <= deadline:
                return
            self._call.cancel()
        self._at = deadline
        self._call = self._clock.callLater(
            max(0.0, deadline - self._seconds()), self._due
        )

    def stop(self) -> None:
        """Never ring again."""
        self._is_stopped = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _due(self) -> None:
        self._call = None
        deadline = self._deadline()
        if deadline is not None and deadline <= self._seconds():
            self.callee()
        self.arm()


class Rung(Protocol):
    """
    What `Alarms` rings.

    :ivar name: for the log.
    """

    name: str

    def deadline(self) -> float | None:
        """When to call `ring` next; ``None`` and infinity are never."""

    def ring(self, now: float) -> None:
        """Do what is due; it must move the deadline."""


class Alarms:
    """
    Ring each of many things when its deadline has come; one wake-up serves many.

    Moving a deadline away costs nothing: the old entry comes up, is early, and is made
    again.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, seconds: Callable[[], float]) -> None:
        """
        Ring nothing yet.

        :param clock: wakes us; its seconds are not read.
        :param seconds: the clock of the deadlines; it never goes back.
        """
        self._clock, self._seconds = clock, seconds
        # Of several entries of a thing the one it is booked for is valid.
        self._agenda: list[tuple[float, int, Rung]] = []
        self._booked: dict[Rung, float] = {}
        self._entries = 0
        self._call: IDelayedCall | None = None
        self._at = 0.0

    def add(self, thing: Rung) -> None:
        """Ring *thing* from now on; `arm` follows."""
        self._booked[thing] = inf

    def discard(self, thing: Rung) -> None:
        """Never ring *thing* again."""
        self._booked.pop(thing, None)
        self._tidy()
        if not self._booked:
            self._agenda.clear()
            if self._call is not None:
                self._call.cancel()
                self._call = None

    def arm(self, thing: Rung, at: float | None) -> None:
        """
        The deadline of *thing* may have moved.

        :param at: what it is now.
        """
        booked = self._booked.get(thing)
        if at is None or booked is None:
            return
        if len(self._booked) > FEW:
            if booked <= at + GRAIN:
                return
            at = ceil(at / GRAIN) * GRAIN
        elif booked <= at:
            return
        # Written out down to the wake-up: this is done for each input of a quiet room.
        self._booked[thing] = at
        self._entries += 1
        agenda = self._agenda
        heapq.heappush(agenda, (at, self._entries, thing))
        if len(agenda) > 2 * len(self._booked) + _STALE:
            self._tidy()
        if self._call is None:
            self._wake()
        elif self._at > at:
            self._call.cancel()
            self._wake()

    def _tidy(self) -> None:
        """
        Drop stale entries once they are many.

        A thing whose next deadline is minutes away, and that is busy until then,
        leaves one behind each time it is rung for something sooner.
        """
        if len(self._agenda) > 2 * len(self._booked) + _STALE:
            self._agenda.clear()
            for thing, at in self._booked.items():
                if at < inf:
                    self._entries += 1
                    heapq.heappush(self._agenda, (at, self._entries, thing))

    def _wake(self) -> None:
        """Have `_due` called when the first entry is due."""
        if self._agenda:
            self._at = at = self._agenda[0][0]
            pause = max(0.0, at - self._seconds())
            self._call = self._clock.callLater(pause, self._due)

    def _due(self) -> None:
        self._call = None
        agenda, booked, now = self._agenda, self._booked, self._seconds()
        due = []
        while agenda and agenda[0][0] <= now:
            at, _, thing = heapq.heappop(agenda)
            if booked.get(thing) == at:
                booked[thing] = inf
                due.append(thing)
        for thing in due:
            if thing not in booked:
                continue
            try:
                deadline = thing.deadline()
                if deadline is not None and deadline <= now:
                    thing.ring(now)
                    deadline = thing.deadline()
                self.arm(thing, deadline)
            except Exception:
                # One that fails must not keep the others from being rung.
                self._log.failure("{name} was not rung", name=thing.name)
        if self._call is None:
            self._wake()
