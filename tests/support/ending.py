"""Ends of processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path


def is_running(pid: int) -> bool:
    """Is there a process that is more than a memory?"""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def kill_all(pids: Iterable[int]) -> None:
    """Kill game servers that a test has left, such as those whose node it killed."""
    for pid in filter(is_running, pids):
        os.kill(pid, signal.SIGKILL)


def end(process: subprocess.Popen[bytes]) -> None:
    """Have a process end that was started without a reactor; kill it after 10 s."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
