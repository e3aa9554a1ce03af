"""Run something on the reactor until it is done, or the user presses Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogBeginner,
)
from twisted.python.failure import Failure


class Running(Protocol):
    """Something that runs and can be stopped."""

    async def run(self) -> int:
        """Run; returns the exit code."""

    def stop(self) -> None:
        """End soon; called for the first Ctrl-C."""


_Running = TypeVar("_Running", bound=Running)


def run_in_foreground(build: Callable[[Any], _Running]) -> tuple[int, _Running]:
    """
    Run what *build* makes.

    The first SIGINT, SIGTERM or SIGHUP calls its ``stop``, the second ends the reactor.

    :param build: gets the reactor.
    :returns: the exit code, 130 after the second signal; and what ran.
    """
    from twisted.internet import reactor as installed

    # Its interface depends on the platform; this needs threads and signals.
    reactor: Any = installed
    _log_to_stderr()
    code, is_finished = 130, False
    ran: list[_Running] = []
    failures: list[Failure] = []

    def begin() -> None:
        running = build(reactor)
        ran.append(running)

        def interrupted(number: int, frame: object) -> None:
            _handle(at_once)
            reactor.callFromThread(running.stop)

        def at_once(number: int, frame: object) -> None:
            reactor.callFromThread(finish, 130)

        _handle(interrupted)
        Deferred.fromCoroutine(running.run()).addCallbacks(finish, failed)

    def finish(result: int) -> None:
        nonlocal code, is_finished
        if not is_finished:
            code, is_finished = result, True
            reactor.stop()

    def failed(failure: Failure) -> None:
        failures.append(failure)
        finish(1)

    reactor.callWhenRunning(begin)
    reactor.run()
    if failures:
        failures[0].raiseException()
    return code, ran[0]


def _handle(handler: Callable[[int, Any], None]) -> None:
    """Install *handler* for every signal that asks us to end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def _log_to_stderr() -> None:
    """Print warnings and errors to standard error, one line each."""
    observer = FilteringLogObserver(
        FileLogObserver(sys.stderr, _line),
        [LogLevelFilterPredicate(LogLevel.warn)],
    )
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def _line(event: LogEvent) -> str:
    text = formatEvent(event)
    failure = event.get("log_failure")
    if failure is not None:
        text = f"{text}\n{failure.getTraceback()}"
    return f"vinom: {text}\n"
