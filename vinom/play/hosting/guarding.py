"""The alarm that interrupts calls into games, and the log of slow calls."""

from __future__ import annotations

import atexit
import signal
import time
from contextlib import suppress
from functools import partial

from twisted.logger import Logger

from vinom.base.limits.buckets import TokenBucket
from vinom.play.guard import MOST_LOOKS, Guard, SlowCall

_log = Logger("vinom.games")


def guard_games(seconds: int = 1, logs_slow: bool = True) -> Guard:
    """
    Make the guard of this process; from now on it owns SIGALRM.

    Only the main thread can call this, and only its calls are guarded; it is the one
    that runs the reactor. Each alarm wakes the reactor, like any signal.

    :param seconds: longest call.
    :param logs_slow: whether slow calls are logged.
    """
    logged = TokenBucket(0.2, 10)

    set_alarm = partial(signal.setitimer, signal.ITIMER_REAL)

    def report(slow: SlowCall) -> None:
        with suppress(Exception):
            if logged.take(time.monotonic()):
                _log.warn(
                    "match {match_id}: {call}() of game {game} took {seconds:.3f} s",
                    match_id=slow.match_id,
                    game=slow.game,
                    call=slow.call,
                    seconds=slow.seconds,
                )

    def rung(number: int, frame: object) -> None:
        guard.look()

    guard = Guard(
        time.monotonic,
        time.thread_time,
        set_alarm,
        report if logs_slow else None,
        most_looks=MOST_LOOKS * seconds,
    )
    signal.signal(signal.SIGALRM, rung)
    # An alarm may still be set after a call. Near the end of the process, without
    # Python's handlers, it would kill the process.
    atexit.register(set_alarm, 0.0)
    return guard
