"""
Two clocks: delays pass evenly, and the time of day is for tokens and stamps.

Somebody may set the time of day: an operator, NTP, a hypervisor. Twisted's reactors
count their delays by it, so a step back would stop every heartbeat, and a step ahead
would end every connection as silent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def pass_evenly(reactor: Any) -> None:
    """
    Have a reactor count time by a clock that nobody sets.

    What waits already is called as late as it was to be.

    :param reactor: one of Twisted's; `time_of_day` gives its other clock.
    """
    reactor.time_of_day = time.time
    ahead = time.monotonic() - reactor.seconds()
    for call in reactor.getDelayedCalls():
        # Its `reset` counts by this.
        call.seconds = time.monotonic
        call.delay(ahead)
    reactor.seconds = time.monotonic


def time_of_day(reactor: Any) -> Callable[[], float]:
    """Return the clock of tokens, tickets and stamps: seconds of the Unix epoch."""
    clock: Callable[[], float] = getattr(reactor, "time_of_day", reactor.seconds)
    return clock


def with_time_of_day(reactor: Any) -> Any:
    """Return a reactor for what has stamps: its seconds are those of the epoch."""
    return _TimeOfDay(reactor)


class _TimeOfDay:
    def __init__(self, reactor: Any) -> None:
        self._reactor, self.seconds = reactor, time_of_day(reactor)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


def on_reactors_clock(reactor: Any, at: float) -> float:
    """
    Convert a time of day to the clock of a reactor's delays.

    :param at: seconds since the Unix epoch.
    """
    return at + float(reactor.seconds()) - time_of_day(reactor)()


def on_clock_of_day(reactor: Any, at: float) -> float:
    """
    Convert a time on the clock of a reactor's delays to the time of day.

    :param at: seconds of ``reactor.seconds``.
    """
    return at - float(reactor.seconds()) + time_of_day(reactor)()
