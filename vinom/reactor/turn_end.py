"""What is done once when a turn of the reactor ends, however often it was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Shape

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger


class Unsent(Shape):
    """A connection that has something to send."""

    def flush(self) -> None:
        """Send it."""


class TurnEnd:
    """
    What all connections and rooms of a node have to do at the end of a turn.

    First come the calls, in order: a room that makes one broadcast of all that
    happened. Then come the connections, each once, with what the calls sent as well.

    :param clock: for the one timed call of a turn that nobody ends by `run`.
    :ivar is_coming: `run` will be called when this turn ends. Who hands out a turn's
        events sets it: then what they ask for needs no timed call, which would cost
        more than most messages.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._calls: list[Callable[[], None]] = []
        self._lines: list[Unsent] = []
        self.is_coming = False

    def call(self, call: Callable[[], None]) -> None:
        """Do *call* when this turn ends, or after the calls that are done now."""
        self._calls.append(call)
        if not self.is_coming:
            self._come()

    def flush(self, line: Unsent) -> None:
        """Flush *line* when this turn ends; ask once for each turn."""
        self._lines.append(line)
        if not self.is_coming:
            self._come()

    def run(self) -> None:
        """The turn ends: do all that was asked for, and what is asked for meanwhile."""
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
            self.is_coming = False

    def _come(self) -> None:
        self.is_coming = True
        self._clock.callLater(0, self.run)
