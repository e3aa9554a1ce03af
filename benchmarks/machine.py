"""This machine: cores, compilers, what processes cost."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
#: Core of the servers, and core of whoever loads them.
SERVER_CORE, LOAD_CORE = 0, 1
#: Whoever reads the kernel's table of sockets while others close theirs may miss some.
_LOOKS = 25


class Failed(Exception):
    """A measurement could not be made; the message says why."""


class Missing(Failed):
    """Something has to be installed first."""


def pinned(core: int, command: list[str]) -> list[str]:
    """Have *command* run on one core, where there are two and taskset."""
    if len(os.sched_getaffinity(0)) < 2 or shutil.which("taskset") is None:
        return command
    return ["taskset", "-c", str(sorted(os.sched_getaffinity(0))[core]), *command]


#: Works only while nobody else does, until whoever started it is gone.
_STAY_AWAKE = """
import os
parent = os.getppid()
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""


@contextmanager
def awake() -> Iterator[int]:
    """
    Keep the servers' core from going to sleep; gives the process that does it.

    A virtual machine's core that has nothing to do is taken away, and given back
    some milliseconds after something comes: whoever answers is then as slow as that,
    and so is a server in C that does nothing else (decision 0029). What keeps it
    awake gives way to everybody and is nobody's CPU time but its own.
    """
    keeper = subprocess.Popen(
        pinned(SERVER_CORE, [sys.executable, "-c", _STAY_AWAKE]),
        stdin=subprocess.DEVNULL,
    )
    try:
        yield keeper.pid
    finally:
        keeper.kill()
        keeper.wait()


def build(name: str, into: Path, *libraries: str) -> Path:
    """
    Compile one of the generators.

    :raises Missing: there is no compiler, or a library's headers are missing.
    """
    program = into / name
    command = ["gcc", "-O2", "-Wall", "-o", str(program), str(HERE / f"{name}.c")]
    try:
        built = subprocess.run(
            [*command, *(f"-l{each}" for each in libraries)],
            capture_output=True,
            text=True,
        )
    except FileNotFoundError as error:
        raise Missing("gcc is not installed") from error
    if built.returncode:
        kind = Missing if "No such file or directory" in built.stderr else Failed
        raise kind(f"{name} does not build: {built.stderr.strip()[-400:]}")
    return program


def load(program: Path, *arguments: object, patience: float = 180.0) -> dict[str, Any]:
    """
    Run a generator; returns what it measured.

    :raises Failed: it says that something is wrong.
    """
    command = pinned(LOAD_CORE, [str(program), *map(str, arguments)])
    ran = subprocess.run(command, capture_output=True, text=True, timeout=patience)
    if ran.returncode:
        said = (ran.stderr or ran.stdout).strip()[-400:]
        raise Failed(f"{program.name} ended with {ran.returncode}: {said}")
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return told


def cpu_of(pid: int) -> float:
    """CPU time of a process so far, user and kernel, seconds."""
    # The kernel's number for another process's CPU clock; see clock_getcpuclockid(3).
    return time.clock_gettime(~pid << 3 | 2)


def private_memory(pid: int) -> int:
    """Memory that is this process's alone, bytes."""
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:")):
            total += int(line.split()[1]) * 1024
    return total


def descendants(pid: int) -> list[int]:
    """Children, and theirs."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    found = [int(child) for child in children]
    return found + [below for child in found for below in descendants(child)]


def owner_of_udp(port: int, pids: list[int]) -> int:
    """
    Find which of some processes has a UDP port bound.

    :raises Failed: none has.
    """
    for _ in range(_LOOKS):
        owner = _owner_of(_sockets_at(port), pids)
        if owner is not None:
            return owner
        time.sleep(0.02)
    raise Failed(f"no process of the node has UDP port {port}")


def _sockets_at(port: int) -> set[str]:
    wanted = set()
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            wanted.add(f"socket:[{fields[9]}]")
    return wanted


def _owner_of(wanted: set[str], pids: list[int]) -> int | None:
    for pid in pids:
        # It may end meanwhile.
        with suppress(FileNotFoundError, ProcessLookupError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):
                    if os.readlink(descriptor) in wanted:
                        return pid
    return None


def describe() -> dict[str, Any]:
    """What a figure depends on."""
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return {
        "cores": len(os.sched_getaffinity(0)),
        "system": system,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "load_average": round(os.getloadavg()[0], 2),
    }
