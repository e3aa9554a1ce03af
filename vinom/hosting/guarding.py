"""The alarm that interrupts calls into games, and what the log says of slow ones."""

from __future__ import annotations

import atexit
import signal
import time
from contextlib import suppress
from functools import partial

from twisted.logger import Logger

from vinom.limits.buckets import TokenBucket
from vinom.play.guard import MOST_LOOKS, Guard, SlowCall

_log = Logger("vinom.games")


def guard_games(seconds: int = 1, is_told: bool = True) -> Guard:
    """
    Make the guard of this process; SIGALRM is its own from now on.

    Only the main thread can; its calls alone are guarded, and it is the one
    that runs the reactor. Each alarm wakes the reactor, as any signal does.

    :param seconds: that a call may take.
    :param is_told: does the log tell of slow calls?
    """
    logged = TokenBucket(0.2, 10)

    set_alarm = partial(signal.setitimer, signal.ITIMER_REAL)

    def tell(slow: SlowCall) -> None:
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
        tell if is_told else None,
        most_looks=MOST_LOOKS * seconds,
    )
    signal.signal(signal.SIGALRM, rung)
    # An alarm is left set after a call; without Python's handlers, near the end of
    # the process, it would kill it.
    atexit.register(set_alarm, 0.0)
    return guard
