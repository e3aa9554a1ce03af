"""``vinom doctor`` looks at this machine: limits, clock, disk."""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from vinom.errors import Misconfigured
from vinom.net.udp_socket import widen_receive_buffer
from vinom.rules.doctor import Finding
from vinom.rules.doctor_machine import (
    Buffers,
    Folder,
    Seen,
    clock,
    descriptors,
    memory_store,
    receive_buffer,
    state_directory,
)
from vinom.services.keyring_tokens import CLOCK_SKEW
from vinom.tap.doctor_owners import open_files_limit
from vinom.tap.parts import fleet_settings
from vinom.tap.settings import Settings

_CORE = Path("/proc/sys/net/core")
#: How long a web server may take to tell the time, seconds.
_PATIENCE = 5.0
# From linux/timex.h: the flag and the state of a clock that nobody disciplines.
_STA_UNSYNC = 0x40
_TIME_ERROR = 5


def examine_limits(
    settings: Settings, node: int | None, most_seats: int
) -> list[Finding]:
    """
    Look at the limits of files and of buffers.

    :param node: process of the running node, whose limit is looked at then.
    :param most_seats: of all games, in one match.
    """
    limit = open_files_limit(node) if node else None
    whose = "the running node"
    if limit is None:
        limit, whose = resource.getrlimit(resource.RLIMIT_NOFILE), "this shell"
    first, last = settings.ports
    playing = min(last - first + 1, fleet_settings(settings).policy.most)
    servers = fleet_settings(settings).policy.most
    players = playing * settings.rooms_per_process * most_seats
    asked = settings.receive_buffer_kb << 10
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        granted = widen_receive_buffer(tried, asked)
    buffers = Buffers(
        asked, granted, _number(_CORE / "rmem_default"), _number(_CORE / "rmem_max")
    )
    soft, hard = (1 << 30 if one == resource.RLIM_INFINITY else one for one in limit)
    return [
        descriptors(soft, hard, whose, servers, players),
        receive_buffer(buffers),
    ]


def _number(path: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(path.read_text())
    return None


def watch_clock(seconds: float) -> Callable[[str | None], list[Finding]]:
    """
    Begin to watch the clock.

    :param seconds: for so long at least.
    :returns: ends it, and says what was seen; takes the URL of a server whose time
        is asked for.
    """
    began, steady = time.time(), time.monotonic()

    def finish(reference: str | None) -> list[Finding]:
        time.sleep(max(0.0, steady + seconds - time.monotonic()))
        watched = time.monotonic() - steady
        step = time.time() - began - watched
        offset = None if reference is None else offset_from(reference)
        seen = Seen(step, watched, _is_synchronised(), reference, offset)
        return clock(seen, CLOCK_SKEW)

    return finish


def offset_from(url: str) -> float | None:
    """
    Ask a web server for the time.

    :returns: how far this clock is ahead, seconds; ``None`` if it does not tell.
    :raises Misconfigured: it is no URL of a web server.
    """
    if not url.startswith(("http://", "https://")):
        raise Misconfigured(f"--time-from must be an http or https URL, not {url!r}")
    asked = time.time()
    try:
        with urlopen(Request(url, method="HEAD"), timeout=_PATIENCE) as answer:
            told = answer.headers.get("Date")
    except HTTPError as error:
        # It refuses the page, and still knows the time.
        told = error.headers.get("Date")
    except (OSError, ValueError):
        return None
    now = (asked + time.time()) / 2
    try:
        # Whole seconds, cut off: half a second later is the likeliest.
        return now - (parsedate_to_datetime(told).timestamp() + 0.5)
    except (TypeError, ValueError):
        return None


class _Timex(ctypes.Structure):
    """``struct timex`` of adjtimex(2), as far as it is read."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        # More than what is left of it, on every architecture.
        ("rest", ctypes.c_char * 256),
    )


def _is_synchronised() -> bool | None:
    """Ask the kernel; modes of 0 change nothing."""
    told = _Timex()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(told))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    return state != _TIME_ERROR and not told.status & _STA_UNSYNC


def examine_store(settings: Settings) -> list[Finding]:
    """Look at where the node keeps things."""
    path = settings.state_dir.absolute()
    # Where it is, or the folder in which it would be made.
    # (`Path.exists` fails where we may not look.)
    there = next(one for one in (path, *path.parents) if os.path.exists(one))
    is_writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    owner = there.stat().st_uid
    is_recorded = settings.recordings_days > 0
    folder = Folder(
        str(path),
        there == path,
        is_writable,
        None if owner == os.geteuid() else _user(owner),
        shutil.disk_usage(there).free,
        _size_of(settings.recordings_dir),
    )
    wanted = settings.recordings_mb * 10**6 if is_recorded else 0
    return [memory_store(), *state_directory(folder, wanted)]


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _size_of(folder: Path) -> int:
    total = 0
    with suppress(OSError):
        for path in folder.iterdir():
            # Old recordings go while we look.
            with suppress(OSError):
                total += path.stat().st_size
    return total
