"""
Log lines that strangers can cause: a few, and then how many more there were.

A flood of refused input must not fill the disk, nor hide the rest of the log.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, formatEvent
from twisted.python.failure import Failure

from vinom.base.limits.buckets import TokenBucket
from vinom.errors import StoreUnavailable

#: How long left-out lines are counted before the count is logged, seconds.
REPORT_SECONDS = 10.0


@attrs.frozen
class LogBounds:
    """
    How many log lines of one kind strangers can cause; a kind is one format.

    :ivar rate: lines per second.
    :ivar burst: most lines at once.
    """

    rate: float = 1.0
    burst: float = 20.0


@attrs.define(eq=False)
class BoundedLog:
    """
    Log within bounds; each kind of line has its own budget.

    :ivar clock: for rates, and for the count that follows.
    :ivar bounds: of each kind.
    """

    _log: Logger
    clock: IReactorTime
    bounds: LogBounds = attrs.field(factory=LogBounds)
    _budgets: dict[str, TokenBucket] = attrs.field(factory=dict, init=False)
    # By kind: how many, and the last of them.
    _left_out: dict[str, tuple[int, Any]] = attrs.field(factory=dict, init=False)

    def info(self, format: str, **values: Any) -> None:
        """
        Log one line, or count it.

        :param format: constant text of ours, never of a stranger: it names the kind.
        """
        if self._may(format, values):
            self._log.info(format, **values)

    def warn(self, format: str, **values: Any) -> None:
        """Log one line of level warn, or count it."""
        if self._may(format, values):
            self._log.warn(format, **values)

    def error(self, format: str, **values: Any) -> None:
        """Log one line of level error, or count it."""
        if self._may(format, values):
            self._log.error(format, **values)

    def failure(self, format: str, failure: Failure, **values: Any) -> None:
        """Log one traceback, or count it."""
        if self._may(format, values):
            self._log.failure(format, failure, **values)

    def _may(self, kind: str, values: dict[str, Any]) -> bool:
        budget = self._budgets.get(kind)
        if budget is None:
            bounds = self.bounds
            budget = self._budgets[kind] = TokenBucket(bounds.rate, bounds.burst)
        if budget.take(self.clock.seconds()):
            return True
        if not self._left_out:
            self.clock.callLater(REPORT_SECONDS, self._report)
        count, _ = self._left_out.get(kind, (0, {}))
        self._left_out[kind] = count + 1, values
        return False

    def _report(self) -> None:
        left_out, self._left_out = self._left_out, {}
        for kind, (count, last) in left_out.items():
            self._log.info(
                "{count} more lines were not logged, the last one: {last}",
                count=count,
                last=formatEvent({"log_format": kind, **last}),
            )


def log_unless_away(log: Logger, format: str, failure: Failure, **values: Any) -> None:
    """
    Log a traceback, unless shared storage did not answer.

    That concerns every call: the store logs it once, and counts the calls.

    :param format: what failed.
    """
    if failure.check(StoreUnavailable):
        log.debug(f"{format}: {{why}}", why=failure.value, **values)
    else:
        log.failure(format, failure, **values)


def in_background(
    log: Logger, work: Coroutine[Any, Any, Any], format: str, **values: Any
) -> Deferred[Any]:
    """
    Begin work that nobody must wait for; a failure is logged.

    :param format: what failed.
    :returns: resolves when the work ends, also if it failed.
    """
    return Deferred.fromCoroutine(work).addErrback(
        lambda failure: log_unless_away(log, format, failure, **values)
    )
