"""Find the processes that our own deployment has started, and no others."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path

#: PR_SET_CHILD_SUBREAPER of prctl(2).
_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """
    Become the parent of our children's children when their own parent dies.

    All processes that a killed node leaves behind can then be found and ended.
    """
    with suppress(Exception):
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)


def children_of(pid: int) -> list[int]:
    """List the children of a process; none if it has ended."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text("ascii").split())
    return found


def reap(known: set[int]) -> None:
    """Collect orphans that have exited, except the *known* processes."""
    for pid in set(children_of(os.getpid())) - known:
        with suppress(OSError):
            state = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
            if state.rpartition(")")[2].split()[0] == "Z":
                os.waitpid(pid, os.WNOHANG)


def end_orphans(known: set[int]) -> int:
    """Kill the remaining processes of a deployment; returns how many there were."""
    left = set(children_of(os.getpid())) - known
    for pid in left:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return len(left)
