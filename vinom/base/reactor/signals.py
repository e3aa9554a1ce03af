"""SIGTERM, Ctrl-C and SIGHUP, as calls on the reactor's turn."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any


def catch_interrupts(reactor: Any, interrupted: Callable[[], None]) -> None:
    """
    Call *interrupted* for each SIGINT and SIGTERM, instead of stopping at once.

    Call this while the reactor runs: it installs its own handlers before.
    """

    def caught(number: int, frame: object) -> None:
        reactor.callFromThread(interrupted)

    signal.signal(signal.SIGINT, caught)
    signal.signal(signal.SIGTERM, caught)


def catch_hangups(
    reactor: Any, reload: Callable[[], None], interrupted: Callable[[], None]
) -> None:
    """
    Call *reload* for each SIGHUP; call this while the reactor runs.

    A node that has a terminal gets the same signal when the terminal closes; then
    *interrupted* is called, because Ctrl-C could no longer stop the node.
    """
    had_terminal = _has_terminal()

    def caught(number: int, frame: object) -> None:
        is_orphaned = had_terminal and not _has_terminal()
        reactor.callFromThread(interrupted if is_orphaned else reload)

    signal.signal(signal.SIGHUP, caught)


def _has_terminal() -> bool:
    """Do we have a controlling terminal that is still open? (source: tty(4))"""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
