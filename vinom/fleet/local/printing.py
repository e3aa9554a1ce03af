"""
What a game server prints, at its own end. Without Twisted, imported before the fork.

It goes through a pipe to the node's log. The node may be gone, and it reads only so
much (`vinom.fleet.local.forklink.PipedOutput`); neither is to stop a game that prints.
"""

from __future__ import annotations

import io
import os
from typing import Any


class _Unfailing(io.RawIOBase):
    """Write to a descriptor whatever it takes now, and drop the rest."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._dropped = descriptor, 0

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        text = bytes(data)
        if self._dropped:
            # The first line is the end of one that was cut.
            told = f"\n{self._dropped} printed lines were dropped before this one\n"
            text = told.encode() + text
        try:
            sent = os.write(self._descriptor, text)
        except OSError:
            sent = 0
        if sent:
            self._dropped = 0
        self._dropped += text[sent:].count(b"\n")
        return len(data)


def print_without_fail(descriptor: int) -> io.TextIOWrapper:
    """Make a stream for a descriptor; no method fails, or waits if that does not."""
    raw: Any = _Unfailing(descriptor)
    return io.TextIOWrapper(
        raw, encoding="utf-8", errors="backslashreplace", line_buffering=True
    )
