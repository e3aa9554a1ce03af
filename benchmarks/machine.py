"""This machine: cores, compilers, costs of processes."""

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
#: Core of the servers, and core of the load generators.
SERVER_CORE, LOAD_CORE = 0, 1
#: Tries to find a socket: the kernel's table can miss some while others close.
_LOOKS = 25


class Failed(Exception):
    """A measurement could not be made; the message says why."""


class Missing(Failed):
    """Something has to be installed first."""


def pinned(core: int, command: list[str]) -> list[str]:
    """Run *command* on one core, if there are two and taskset is installed."""
    if len(os.sched_getaffinity(0)) < 2 or shutil.which("taskset") is None:
        return command
    return ["taskset", "-c", str(sorted(os.sched_getaffinity(0))[core]), *command]


#: Runs only while nothing else does, until its parent is gone.
_STAY_AWAKE = """
import contextlib, os
parent = os.getppid()
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
os.setsid()
with contextlib.suppress(OSError):
    open("/proc/self/autogroup", "w").write("19")
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""


@contextmanager
def awake() -> Iterator[int]:
    """
    Keep the servers' core from sleeping; return the process that does it.

    The hypervisor takes an idle core of a virtual machine away, and gives it back some
    milliseconds after work arrives. This delays the answers of any server, even of one
    in C that only echoes (decision 0029). The process that keeps the core awake runs
    at idle priority, and its CPU time is not counted. Where Linux shares CPU time among
    sessions (autogroup), a priority counts only within one: game servers that outlive
    their node have sessions of their own, and an idle process of another session took
    half of their core. So it has its own session, too, with the least share.
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


def load(program: Path, *arguments: object, timeout: float = 180.0) -> dict[str, Any]:
    """
    Run a generator; return what it measured.

    :raises Failed: it reports an error, or does not end.
    """
    command = pinned(LOAD_CORE, [str(program), *map(str, arguments)])
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failed(f"{program.name} did not end in {timeout:g} s") from None
    if ran.returncode:
        said = (ran.stderr or ran.stdout).strip()[-400:]
        raise Failed(f"{program.name} ended with {ran.returncode}: {said}")
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return result


def cpu_of(pid: int) -> float:
    """Return the CPU time of a process so far, user and kernel, seconds."""
    # The kernel's number for another process's CPU clock; see clock_getcpuclockid(3).
    return time.clock_gettime(~pid << 3 | 2)


def private_memory(pid: int) -> int:
    """Return the private memory of a process, bytes."""
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:")):
            total += int(line.split()[1]) * 1024
    return total


def descendants(pid: int) -> list[int]:
    """List the children of a process, and theirs."""
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
        # The process may have ended.
        with suppress(FileNotFoundError, ProcessLookupError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):
                    if os.readlink(descriptor) in wanted:
                        return pid
    return None


def describe() -> dict[str, Any]:
    """Describe what figures depend on."""
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return {
        "cores": len(os.sched_getaffinity(0)),
        "system": system,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "load_average": round(os.getloadavg()[0], 2),
    }
