"""
What is wrong with a machine: its limits, its clock, its disk.

``vinom doctor`` looks at this machine: limits, clock, disk.
"""

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

import attrs

from vinom.doctor.findings import Finding, failure, not_checked, ok, warning
from vinom.doctor.ports import open_files_limit
from vinom.dtls.port import widen_receive_buffer
from vinom.errors import Misconfigured
from vinom.keys.tokens import CLOCK_SKEW
from vinom.node.build import fleet_settings
from vinom.node.settings import Settings

#: What a node has open that does not depend on players: logs, ports, libraries.
_BASE_DESCRIPTORS = 64
#: For one game server: its control link and its pidfd.
_PER_SERVER = 2
#: A step of the wall clock that nobody would miss, seconds.
_STEP = 0.05
#: Less than this of free space, bytes, is as good as none.
_LEAST_SPACE = 64 * 10**6


def descriptors_needed(servers: int, players: int) -> int:
    """How many descriptors does a node have open when everything is full?"""
    return _BASE_DESCRIPTORS + _PER_SERVER * servers + players


def descriptors(
    soft: int, hard: int, whose: str, servers: int, players: int
) -> Finding:
    """
    Judge the limit of open files.

    :param whose: whose limit it is.
    :param servers: most game servers.
    :param players: most of them in matches: each has a line to the lobby.
    """
    name, needed = "descriptors", descriptors_needed(servers, players)
    told = (
        f"{whose} may open {soft} files; {servers} game servers and {players} players "
        f"with a line each need {needed}"
    )
    if soft >= needed:
        return ok(name, told)
    how = (
        f"ulimit -n {needed}, or LimitNOFILE={needed} in the systemd unit"
        if hard >= needed
        else f"LimitNOFILE={needed} in the systemd unit, or as root: the hard limit is "
        f"{hard}"
    )
    # It still starts, and refuses what does not fit.
    if soft < descriptors_needed(1, 2):
        return failure(name, told, how)
    return warning(name, told, how)


@attrs.frozen
class Buffers:
    """
    Room for datagrams that wait at one socket, bytes.

    :ivar asked: the setting.
    :ivar granted: what the kernel gave a socket that asked so.
    :ivar usual: what it gives who does not ask; ``None`` if it does not tell.
    :ivar most: what it gives at most; ``None`` as before.
    """

    asked: int
    granted: int
    usual: int | None
    most: int | None


def receive_buffer(buffers: Buffers) -> Finding:
    """Judge the room for bursts at a game port."""
    name = "receive buffer"
    limits = "".join(
        f", {key} is {value}"
        for key, value in (
            ("net.core.rmem_default", buffers.usual),
            ("net.core.rmem_max", buffers.most),
        )
        if value is not None
    )
    told = (
        f"the kernel grants {buffers.granted >> 10} of the {buffers.asked >> 10} KiB "
        f"that receive_buffer_kb asks{limits}"
    )
    if not buffers.asked:
        usual = f"{buffers.granted >> 10} KiB, as every socket: receive_buffer_kb is 0"
        return ok(name, usual)
    if buffers.granted >= buffers.asked:
        return ok(name, told)
    return warning(
        name,
        told,
        f"sysctl -w net.core.rmem_max={buffers.asked}, and keep it in /etc/sysctl.d; "
        "until then bursts lose datagrams earlier",
    )


@attrs.frozen
class Seen:
    """
    What was seen of the clock. Times: seconds.

    :ivar step: how far the wall clock moved against one that nobody sets.
    :ivar watched: for how long both were watched.
    :ivar is_synchronised: what the kernel says; ``None`` if it does not.
    :ivar reference: a server whose time was asked for.
    :ivar offset: how far we are ahead of it; ``None`` if it did not tell.
    """

    step: float
    watched: float
    is_synchronised: bool | None
    reference: str | None = None
    offset: float | None = None


def clock(seen: Seen, skew: float) -> list[Finding]:
    """
    Judge the time of day.

    :param skew: how much clocks may differ, seconds.
    """
    sync = "run an NTP client, such as systemd-timesyncd or chrony"
    findings = []
    if seen.reference is not None and seen.offset is None:
        findings.append(
            not_checked(
                "clock offset",
                f"{seen.reference} did not tell the time",
                "give --time-from the URL of a web server that can be reached",
            )
        )
    elif seen.offset is not None:
        way = "ahead of" if seen.offset > 0 else "behind"
        told = f"{abs(seen.offset):.1f} s {way} {seen.reference}"
        # A Date header has whole seconds.
        if abs(seen.offset) > skew:
            findings.append(
                failure(
                    "clock offset",
                    f"{told}; tokens are refused from {skew:.0f} s",
                    sync,
                )
            )
        elif abs(seen.offset) > 2.0:
            findings.append(
                warning("clock offset", f"{told}; {skew:.0f} s are tolerated", sync)
            )
        else:
            findings.append(ok("clock offset", told))
    if seen.is_synchronised is None:
        findings.append(
            not_checked(
                "clock",
                "the kernel does not tell whether its clock is synchronised",
                "give --time-from URL, which is asked for its time",
            )
        )
    elif seen.is_synchronised:
        findings.append(ok("clock", "the kernel says that its clock is synchronised"))
    else:
        findings.append(
            warning(
                "clock", "the kernel says that nothing synchronises its clock", sync
            )
        )
    if abs(seen.step) > _STEP:
        findings.append(
            warning(
                "clock steps",
                f"the time of day jumped by {seen.step:+.2f} s within the "
                f"{seen.watched:.1f} s of this check",
                "let one program only set the clock, and let it slew instead of step",
            )
        )
    else:
        findings.append(
            ok(
                "clock steps",
                f"no jump within the {seen.watched:.1f} s of this check",
            )
        )
    return findings


@attrs.frozen
class Folder:
    """
    The state directory, or what will hold it.

    :ivar exists: is it there already?
    :ivar is_writable: may this user write there, or make it?
    :ivar owner: whose it is, if not this user's.
    :ivar free: space, bytes.
    :ivar used: what recordings take already, bytes.
    """

    path: str
    exists: bool
    is_writable: bool
    owner: str | None
    free: int
    used: int


def state_directory(folder: Folder, recordings: int) -> list[Finding]:
    """
    Judge where the node keeps things.

    :param recordings: how much recordings may take, bytes.
    """
    name = "state directory"
    if not folder.is_writable:
        whose = f"; it belongs to {folder.owner}" if folder.owner else ""
        found = failure(
            name,
            f"{folder.path} cannot be written by this user{whose}",
            "run this as the node's user, or set state_dir to a directory of its own",
        )
    elif folder.owner is not None and folder.exists:
        found = warning(
            name,
            f"{folder.path} belongs to {folder.owner}, not to this user",
            "run this as the node's user: what it sees is what the node will see",
        )
    elif folder.exists:
        found = ok(name, f"{folder.path} can be written")
    else:
        found = ok(name, f"{folder.path} is not there yet; the node makes it")
    free, missing = folder.free, recordings - folder.used
    told = (
        f"{_megabytes(free)} are free; recordings may take {_megabytes(recordings)} "
        f"and take {_megabytes(folder.used)}"
    )
    if free < _LEAST_SPACE:
        space = failure("disk", told, "make room: not even keys could be written")
    elif free < missing:
        space = warning(
            "disk", told, "make room, or set recordings_mb or recordings_days lower"
        )
    else:
        space = ok("disk", told)
    return [found, space]


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"


def memory_store() -> Finding:
    """Say what it means that there is no shared store."""
    return ok(
        "store",
        "memory: nothing to reach; queues and matches are this node's alone and end "
        "with it, recordings and keys stay",
    )


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
