"""
The system calls of the wall, by ``ctypes``: Python has none of them.

Numbers and layouts are those of Linux's ``prctl.h``, ``landlock.h``, ``seccomp.h`` and
``capability.h``. On another system every question is answered with "not here".
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import sys
from typing import Any

import attrs

_SET_DUMPABLE = 4
_SET_NO_NEW_PRIVS = 38
_CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522

#: By machine: number of seccomp(2), and of capset(2).
_CALLS = {"x86_64": (317, 126), "aarch64": (277, 91)}
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION = 1
_RULE_PATH_BENEATH = 1
_SECCOMP_FILTER, _SECCOMP_ALL_THREADS, _SECCOMP_AVAILABLE = 1, 1, 2
_RETURN_ERRNO = 0x00050000

#: May bind ports below 1024.
CAP_NET_BIND_SERVICE = 10


# Once, before the fork: each would be memory that a child does not share.
_library: Any = ctypes.CDLL(None, use_errno=True)
if sys.platform == "linux":
    _library.syscall.restype = ctypes.c_long


def machine() -> str:
    """Name the processor's kind, or nothing if the wall does not know it."""
    kind = platform.machine()
    is_known = sys.platform == "linux" and sys.maxsize > 1 << 32 and kind in _CALLS
    return kind if is_known else ""


def _system_call(number: int, *arguments: object) -> int:
    """
    Call the kernel.

    :raises OSError: it refused.
    """
    answer: int = _library.syscall(ctypes.c_long(number), *arguments)
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer


def _prctl(option: int, *arguments: int) -> None:
    given = [ctypes.c_ulong(one) for one in (*arguments, 0, 0, 0, 0)[:4]]
    if _library.prctl(ctypes.c_int(option), *given) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def hide_memory() -> None:
    """
    Close this process's memory and ``/proc`` files to others of the same user.

    Root, and what has CAP_SYS_PTRACE, may still look. It ends with the next execve(2).

    :raises OSError: the system has no such thing.
    """
    _prctl(_SET_DUMPABLE, 0)


def refuse_new_privileges() -> None:
    """Ignore set-user-id and the like from now on, also in children."""
    _prctl(_SET_NO_NEW_PRIVS, 1)


def drop_capabilities(keep: tuple[int, ...] = ()) -> None:
    """
    Give up what root may do beyond other users; without effect for them.

    :param keep: numbers of capabilities to keep, if there are any.
    """
    kind = machine()
    if not kind:
        return
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    held = (ctypes.c_uint32 * 6)()
    _system_call(_CALLS[kind][1] - 1, header, held)  # capget(2) is its neighbour
    if not any(held):
        # Perhaps it may not even call capset(2), as under our unit of systemd.
        return
    wanted = 0
    for one in keep:
        wanted |= 1 << one
    for word in range(2):
        mask = wanted >> (32 * word) & 0xFFFFFFFF
        effective, permitted = held[3 * word], held[3 * word + 1]
        held[3 * word], held[3 * word + 1] = effective & mask, permitted & mask
        held[3 * word + 2] = 0
    _prctl(_CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL)
    _system_call(_CALLS[kind][1], header, held)


@attrs.frozen
class Peer:
    """The process at the other end of a UNIX socket, when it connected."""

    pid: int
    uid: int


def peer_of(connection: socket.socket) -> Peer | None:
    """Ask the kernel who connected; ``None`` unless it is a UNIX socket of Linux."""
    if connection.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
        return None
    layout = "3i"
    told = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(layout)
    )
    pid, uid, _ = struct.unpack(layout, told)
    return Peer(pid, uid)


# Landlock.


def landlock_version() -> int:
    """Ask for the kernel's version of Landlock; 0 if it has none."""
    if not machine():
        return 0
    try:
        return _system_call(
            _LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(_LANDLOCK_VERSION)
        )
    except OSError:
        return 0


def make_ruleset(files: int, network: int, scopes: int, version: int) -> int:
    """
    Make a Landlock ruleset: rights that are refused unless a rule grants them.

    :param files: rights of files.
    :param network: rights of TCP; version 4 and newer.
    :param scopes: what ends at the domain's border; version 6 and newer.
    :param version: of the kernel.
    :returns: its descriptor.
    """
    attributes = struct.pack("3Q", files, network, scopes)
    size = 8 if version < 4 else 16 if version < 6 else 24
    return _system_call(
        _LANDLOCK_CREATE, attributes, ctypes.c_size_t(size), ctypes.c_uint(0)
    )


def allow_beneath(ruleset: int, folder: int, rights: int) -> None:
    """
    Grant rights to a file, or to everything beneath a folder.

    :param folder: its descriptor.
    """
    rule = struct.pack("=Qi", rights, folder)
    _system_call(
        _LANDLOCK_ADD,
        ctypes.c_int(ruleset),
        ctypes.c_int(_RULE_PATH_BENEATH),
        rule,
        ctypes.c_uint(0),
    )


def enforce(ruleset: int) -> None:
    """Put this thread, and what it starts from now on, into a domain."""
    _system_call(_LANDLOCK_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint(0))


# Seccomp.


def has_seccomp() -> bool:
    """Can filters of system calls be loaded?"""
    kind = machine()
    if not kind:
        return False
    action = ctypes.c_uint32(_RETURN_ERRNO)
    try:
        _system_call(
            _CALLS[kind][0],
            ctypes.c_uint(_SECCOMP_AVAILABLE),
            ctypes.c_uint(0),
            ctypes.byref(action),
        )
    except OSError:
        return False
    return True


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def load_filter(program: bytes) -> None:
    """
    Have the kernel ask a BPF program about each system call of all our threads.

    :param program: instructions, as `vinom.base.wall.filters` writes them.
    :raises OSError: it is refused.
    """
    loaded = _Program(len(program) // 8, program)
    answer = _system_call(
        _CALLS[machine()][0],
        ctypes.c_uint(_SECCOMP_FILTER),
        ctypes.c_uint(_SECCOMP_ALL_THREADS),
        ctypes.byref(loaded),
    )
    if answer > 0:
        raise OSError(f"thread {answer} has filters of its own")
