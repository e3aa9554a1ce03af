"""SIGTERM and Ctrl-C, as calls on the reactor's turn."""

from __future__ import annotations

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
