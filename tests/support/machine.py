"""One at a time: tests that need the whole machine."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

#: Of this user, for workers of trial have nothing else in common.
_LOCK = Path(tempfile.gettempdir()) / f"vinom-tests-{os.getuid()}.lock"


async def take_turn(test: TestCase) -> None:
    """
    Wait until no other test that called this runs, in this process or another.

    Hundreds of players and processes of two such tests at once take so long on two
    cores that time limits of the product end what the tests want to see. Others run
    beside them all the same. The turn ends after all cleanups of *test* that follow.
    """
    lock = _LOCK.open("a")
    test.addCleanup(lock.close)
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await deferLater(reactor, 0.1)
        else:
            return
