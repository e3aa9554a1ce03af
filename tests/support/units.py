"""
Run a program as a unit of ``deploy/systemd`` does, on a machine whose systemd does not.

Run as root: ``python -m tests.support.units UNIT STATE PROGRAM...``, which becomes the
program. Of the unit it obeys what decides over game servers: ``ProtectProc``,
``ProtectSystem``, ``StateDirectory``, ``UMask``, ``User`` with all capabilities gone,
``NoNewPrivileges``, ``RestrictAddressFamilies`` and ``SystemCallFilter``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.deploy.test_systemd import lines
from tests.support.containers import run
from tests.support.needs import do_without, needs

#: Nobody's: no process has it but those that are started here.
USER = 44001

_ROOT = Path(__file__).resolve().parents[2]
_NEW_MOUNTS = 0x20000
_READ_ONLY, _REMOUNT, _BIND, _ALL_BELOW, _PRIVATE = 1, 32, 4096, 16384, 1 << 18
_DROP_BOUND, _NO_NEW_PRIVILEGES = 24, 38
_ALLOW, _REFUSE, _EQUAL = 0x7FFF0000, 0x00050000 | errno.EPERM, 4


def command(unit: str, state: str, program: Sequence[str]) -> list[str]:
    """
    Write the command that runs a program as a unit does; skip the test without root.

    :param unit: its file's name.
    :param state: the folder that it may write.
    :param program: path and arguments.
    """
    needs("systemd-analyze")
    if os.geteuid() != 0:
        do_without("to run a program as a unit does needs root")
    return [sys.executable, "-m", "tests.support.units", unit, state, *program]


class UnderUnit:
    """A reactor whose nodes run as the unit of the node does."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def spawnProcess(
        self, protocol: Any, executable: str, args: Sequence[str], env: dict[str, str]
    ) -> Any:
        (state,) = (one[12:] for one in args if one.startswith("--state-dir="))
        # What measures coverage writes where the unit may not.
        env = {name: env[name] for name in env if not name.startswith("COVERAGE_")}
        env["PYTHONPATH"] = os.pathsep.join((str(_ROOT), env.get("PYTHONPATH", "")))
        return self._reactor.spawnProcess(
            protocol, executable, command("vinom.service", state, args), env
        )


def system_calls(unit: str) -> set[str]:
    """Find what the filter of a unit allows, as this machine's systemd reads it."""
    allowed: set[str] = set()
    for line in lines(unit, "SystemCallFilter"):
        named: set[str] = set()
        for word in line.removeprefix("~").split():
            named |= _group(word) if word.startswith("@") else {word}
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


def _group(name: str) -> set[str]:
    found: set[str] = set()
    for word in _groups()[name]:
        found |= _group(word) if word.startswith("@") else {word}
    return found


@cache
def _groups() -> dict[str, list[str]]:
    """Ask systemd for its groups of system calls."""
    groups: dict[str, list[str]] = {}
    for line in run("systemd-analyze", "syscall-filter").splitlines():
        if line.startswith("@"):
            groups[line] = members = []
        elif (word := line.strip()) and not word.startswith("#"):
            members.append(word)
    return groups


def _main(unit: str, state: str, *program: str) -> None:
    calls = system_calls(unit)
    libc: Any = ctypes.CDLL(None, use_errno=True)
    os.chown(state, USER, USER)
    _check(libc.unshare(_NEW_MOUNTS), "unshare")
    _mount(libc, None, "/", None, _PRIVATE | _ALL_BELOW)
    _show(libc, [Path(sys.base_prefix), Path(sys.prefix), _ROOT])
    if lines(unit, "ProtectSystem") == ["strict"]:
        _protect_system(libc, state)
    (hidden,) = lines(unit, "ProtectProc") or ["off"]
    _mount(libc, "proc", "/proc", "proc", 0, f"hidepid={hidden}".encode())
    os.umask(int(lines(unit, "UMask")[0], 8))
    for number in range(64):
        libc.prctl(_DROP_BOUND, number, 0, 0, 0)
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    _check(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no new privileges")
    os.chdir(state)
    _filter(calls, lines(unit, "RestrictAddressFamilies")[0].split())
    os.execv(program[0], program)


def _show(libc: Any, wanted: list[Path]) -> None:
    """Let the user see an interpreter, and code, that lie in somebody's home."""
    for path in wanted:
        closed = [p for p in path.parents if not p.stat().st_mode & 1]
        if not closed:
            continue
        opened = os.open(path, os.O_PATH)
        _mount(libc, "tmpfs", str(closed[-1]), "tmpfs", 0, b"mode=755")
        path.mkdir(parents=True)
        _mount(libc, f"/proc/self/fd/{opened}", str(path), None, _BIND | _ALL_BELOW)
        os.close(opened)


def _protect_system(libc: Any, state: str) -> None:
    """Make everything read-only but the state, ``/dev``, ``/proc`` and ``/sys``."""
    _mount(libc, state, state, None, _BIND)
    told = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    for point in (line.split()[4] for line in told.splitlines()):
        if point != state and not point.startswith(("/dev", "/proc", "/sys")):
            _mount(libc, None, point, None, _BIND | _REMOUNT | _READ_ONLY)


def _mount(
    libc: Any, what: str | None, at: str, kind: str | None, flags: int, data: Any = None
) -> None:
    given = [None if one is None else one.encode() for one in (what, at, kind)]
    _check(libc.mount(*given, ctypes.c_ulong(flags), data), f"mount {at}")


def _check(answer: int, what: str) -> None:
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


class _Compare(ctypes.Structure):
    """``struct scmp_arg_cmp``."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("how", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("other", ctypes.c_uint64),
    )


def _filter(calls: set[str], families: list[str]) -> None:
    library: Any = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_REFUSE)))
    # systemd, too, allows what its last step needs: to run the program.
    for name in (calls | {"execve"}) - {"socket"}:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            library.seccomp_rule_add(rules, ctypes.c_uint32(_ALLOW), number, 0)
    number = library.seccomp_syscall_resolve_name(b"socket")
    for family in families:
        only = _Compare(0, _EQUAL, getattr(socket, family), 0)
        library.seccomp_rule_add_array(
            rules, ctypes.c_uint32(_ALLOW), number, 1, ctypes.byref(only)
        )
    if library.seccomp_load(rules):
        raise OSError("the filter of system calls is not loaded")


if __name__ == "__main__":
    _main(*sys.argv[1:])
