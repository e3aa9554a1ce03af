"""What is logged while a test runs."""

from __future__ import annotations

from typing import Any

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase


def _observe(test: SynchronousTestCase, observer: Any) -> None:
    globalLogPublisher.addObserver(observer)
    test.addCleanup(globalLogPublisher.removeObserver, observer)


def watch_events(test: SynchronousTestCase) -> list[LogEvent]:
    """Keep what is logged from now on, until *test* is over."""
    found: list[LogEvent] = []
    _observe(test, found.append)
    return found


def watch_log(test: SynchronousTestCase, words: str = "") -> list[str]:
    """Keep the texts of it; only of what contains these words."""
    found: list[str] = []

    def observe(event: LogEvent) -> None:
        if words in (text := formatEvent(event)):
            found.append(text)

    _observe(test, observe)
    return found
