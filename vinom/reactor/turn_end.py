"""What is done once when a turn of the reactor ends, however often it was wished."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Shape

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger


class Unsent(Shape):
    """A line to which something is to be said."""

    def flush(self) -> None:
        """Send it."""


class TurnEnd:
    """
    One timed call a turn, for all lines and rooms of a node.

    First come the calls, in order: a room that makes one broadcast of all that
    happened. Then come the lines, each once, with what the calls said as well.

    Who hands out a turn's events may say so: then what they bring needs no timed
    call, which would cost more than most messages.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._calls: list[Callable[[], None]] = []
        self._lines: list[Unsent] = []
        self._is_armed = self._is_told = False

    def events_begin(self) -> None:
        """The turn's events are handed out now; `events_over` will follow."""
        self._is_told = True

    def events_over(self) -> None:
        """All of them were dealt with."""
        self._is_told = False
        if self._is_armed:
            self._end()

    def call(self, call: Callable[[], None]) -> None:
        """Do *call* when this turn ends, or after the calls that are done now."""
        self._calls.append(call)
        if not self._is_armed:
            self._arm()

    def flush(self, line: Unsent) -> None:
        """Flush *line* when this turn ends; ask once for each turn."""
        self._lines.append(line)
        if not self._is_armed:
            self._arm()

    def _arm(self) -> None:
        self._is_armed = True
        if not self._is_told:
            self._clock.callLater(0, self._end)

    def _end(self) -> None:
        # Still armed: what is wished from here on is done by these loops.
        try:
            while self._calls or self._lines:
                calls, self._calls = self._calls, []
                for call in calls:
                    try:
                        call()
                    except Exception:
                        self._log.failure("a call at a turn's end failed")
                if self._calls:
                    continue
                lines, self._lines = self._lines, []
                for line in lines:
                    try:
                        line.flush()
                    except Exception:
                        self._log.failure("a line could not be flushed")
        finally:
            self._is_armed = False
