"""SIGTERM, Ctrl-C and SIGHUP, as calls on the reactor's turn."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any


def catch_interrupts(reactor: Any, interrupted: Callable[[], None]) -> None:
    """
    Call *interrupted* for each SIGINT and SIGTERM in place of stopping at once.

    To be called when the reactor runs: it installs its own before.
    """

    def caught(number: int, frame: object) -> None:
        reactor.callFromThread(interrupted)

    signal.signal(signal.SIGINT, caught)
    signal.signal(signal.SIGTERM, caught)


def catch_hangups(
    reactor: Any, reload: Callable[[], None], interrupted: Callable[[], None]
) -> None:
    """
    Call *reload* for each SIGHUP; to be called when the reactor runs.

    The same signal says that the terminal is gone, to a node that has one: that
    one is *interrupted*, because nobody could stop it by Ctrl-C any more.
    """
    had_terminal = _has_terminal()

    def caught(number: int, frame: object) -> None:
        is_orphaned = had_terminal and not _has_terminal()
        reactor.callFromThread(interrupted if is_orphaned else reload)

    signal.signal(signal.SIGHUP, caught)


def _has_terminal() -> bool:
    """Is there a terminal that controls us, and does it live? (source: tty(4))"""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
