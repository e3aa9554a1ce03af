"""What ``vinom doctor`` checks of a machine: its limits, its clock, its disk."""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import shutil
import socket
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from vinom.doctor.findings import Finding, failure, not_checked, ok, warning
from vinom.doctor.ports import open_files_limit
from vinom.dtls.port import widen_receive_buffer
from vinom.errors import Misconfigured
from vinom.keys.tokens import CLOCK_SKEW
from vinom.node.build import fleet_settings, game_user
from vinom.node.settings import Settings
from vinom.wall.enclosure import missing

#: Files that a node has open whoever plays: logs, ports, libraries.
_BASE_DESCRIPTORS = 64
#: For one game server: its control link and its pidfd; two files for the checkpoints of
#: a time without a link; and a pipe for what it prints.
_PER_SERVER = 5
#: With less free space than this a node cannot run, bytes.
_LEAST_SPACE = 64 * 10**6


def descriptors_needed(servers: int, players: int) -> int:
    """Count the files that a node has open when every game server is full."""
    return _BASE_DESCRIPTORS + _PER_SERVER * servers + players


def descriptors(
    soft: int, hard: int, whose: str, servers: int, players: int
) -> Finding:
    """
    Judge the limit of open files.

    :param soft: the limit.
    :param hard: as far as a process may raise it.
    :param whose: the process that has the limit.
    :param servers: most game servers.
    :param players: most players in matches; each has a line to the lobby.
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
    # A node starts with fewer, and refuses what does not fit.
    if soft < descriptors_needed(1, 2):
        return failure(name, told, how)
    return warning(name, told, how)


def receive_buffer(
    asked: int, granted: int, usual: int | None, most: int | None
) -> Finding:
    """
    Judge the room for bursts at a game port. Sizes: bytes.

    :param asked: the setting.
    :param granted: what the kernel gave a socket that requested that.
    :param usual: what a socket gets that requests nothing; ``None`` if unknown.
    :param most: the kernel's limit; ``None`` if unknown.
    """
    name = "receive buffer"
    if not asked:
        return ok(name, f"{granted >> 10} KiB, the default: receive_buffer_kb is 0")
    limits = "".join(
        f", {key} is {value}"
        for key, value in (
            ("net.core.rmem_default", usual),
            ("net.core.rmem_max", most),
        )
        if value is not None
    )
    told = (
        f"the kernel grants {granted >> 10} of the {asked >> 10} KiB that "
        f"receive_buffer_kb requests{limits}"
    )
    if granted >= asked:
        return ok(name, told)
    return warning(
        name,
        told,
        f"sysctl -w net.core.rmem_max={asked}, and keep it in /etc/sysctl.d; until "
        "then bursts lose datagrams earlier",
    )


_SYNCHRONISE = "run an NTP client, such as systemd-timesyncd or chrony"


def clock_offset(reference: str, offset: float | None) -> Finding:
    """
    Judge the difference to another machine's clock.

    :param reference: URL of the server that was asked for its time.
    :param offset: how far this clock is ahead, seconds; ``None``: no answer.
    """
    name = "clock offset"
    if offset is None:
        return not_checked(
            name,
            f"{reference} did not send the time",
            "give --time-from the URL of a web server that can be reached",
        )
    told = f"{abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} {reference}"
    if abs(offset) > CLOCK_SKEW:
        refused = f"{told}; tokens are refused from {CLOCK_SKEW:.0f} s"
        return failure(name, refused, _SYNCHRONISE)
    # A Date header has whole seconds.
    if abs(offset) > 2.0:
        tolerated = f"{told}; {CLOCK_SKEW:.0f} s are tolerated"
        return warning(name, tolerated, _SYNCHRONISE)
    return ok(name, told)


def clock(is_synchronised: bool | None) -> Finding:
    """Judge the kernel's opinion of its clock; ``None`` if it has none."""
    if is_synchronised is None:
        return not_checked(
            "clock",
            "the kernel does not report whether its clock is synchronised",
            "compare it with a web server's time: --time-from URL",
        )
    if is_synchronised:
        return ok("clock", "the kernel reports that its clock is synchronised")
    told = "the kernel reports that no program synchronises its clock"
    return warning("clock", told, _SYNCHRONISE)


def state_directory(
    path: str, exists: bool, is_writable: bool, owner: str | None
) -> Finding:
    """
    Judge where the node keeps things.

    :param exists: is it there already?
    :param is_writable: may this user write there, or create it?
    :param owner: its owner, or that of the folder it would be created in; ``None``
        if that is this user.
    """
    name = "state directory"
    if not is_writable:
        whose = f"; it belongs to {owner}" if owner else ""
        return failure(
            name,
            f"{path} is not writable for this user{whose}",
            "run this as the node's user, or set state_dir to a directory of its own",
        )
    if not exists:
        return ok(name, f"{path} does not exist yet; the node creates it")
    if owner is not None:
        return warning(
            name,
            f"{path} belongs to {owner}, not to this user",
            "run this as the node's user, so that it sees what the node will see",
        )
    return ok(name, f"{path} is writable")


def disk(free: int, used: int, recordings: int) -> Finding:
    """
    Judge the space for recordings. Sizes: bytes.

    :param free: on the disk.
    :param used: by recordings.
    :param recordings: how much they may use.
    """
    told = (
        f"{_megabytes(free)} are free; recordings may use {_megabytes(recordings)} "
        f"and use {_megabytes(used)}"
    )
    if free < _LEAST_SPACE:
        return failure("disk", told, "free some space: the node cannot write its keys")
    if free < recordings - used:
        how = "free some space, or lower recordings_mb or recordings_days"
        return warning("disk", told, how)
    return ok("disk", told)


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"


_CORE = Path("/proc/sys/net/core")
#: How long a web server may take to answer, seconds.
_TIMEOUT = 5.0
# From linux/timex.h: the flag and the state of a clock that is not synchronised.
_STA_UNSYNC = 0x40
_TIME_ERROR = 5


def examine_limits(
    settings: Settings, node: int | None, most_seats: int
) -> list[Finding]:
    """
    Look at the limits of files and of buffers.

    :param node: process of the running node; its limit is checked then, not ours.
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
    usual, most = _number(_CORE / "rmem_default"), _number(_CORE / "rmem_max")
    soft, hard = (1 << 30 if one == resource.RLIM_INFINITY else one for one in limit)
    return [
        descriptors(soft, hard, whose, servers, players),
        receive_buffer(asked, granted, usual, most),
    ]


def _number(path: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(path.read_text())
    return None


def wall(is_on: bool, gaps: list[str], is_root: bool, user: str | None) -> Finding:
    """
    Judge what keeps a game server from everything else.

    :param is_on: the setting.
    :param gaps: what this kernel cannot do.
    :param is_root: will the node run as root?
    :param user: that game servers run as; ``None`` for the node's.
    """
    name = "wall"
    if not is_on:
        return warning(
            name,
            "wall is no: a game can read the node's keys, and do what its user may",
            "remove wall = no; let games read other files by game_data",
        )
    if gaps:
        return warning(
            name,
            f"around game servers, but this kernel has {'; '.join(gaps)}",
            "run Linux 6.12 or newer with Landlock enabled (lsm= on the kernel's "
            "command line), and allow landlock and seccomp in the container",
        )
    told = "around game servers: files, TCP, programs, other processes"
    if is_root and user is None:
        return warning(
            name,
            f"{told}; behind it they run as root",
            "run the node as a user of its own, or set game_user",
        )
    return ok(name, f"{told}; they run as {user}" if user else told)


def examine_wall(settings: Settings) -> list[Finding]:
    """Look at what this kernel can refuse to game servers, and as whom they run."""
    try:
        game_user(settings)
    except Misconfigured as error:
        told, _, remedy = str(error).partition(": ")
        return [failure("wall", told, remedy)]
    is_root = os.geteuid() == 0
    return [wall(settings.wall == "yes", missing(), is_root, settings.game_user)]


def examine_clock(reference: str | None) -> list[Finding]:
    """
    Look at the clock.

    :param reference: URL of a server whose time is compared with ours.
    """
    findings = [clock(_is_synchronised())]
    if reference is not None:
        findings.append(clock_offset(reference, offset_from(reference)))
    return findings


def offset_from(url: str) -> float | None:
    """
    Ask a web server for the time.

    :returns: how far this clock is ahead, seconds; ``None`` without an answer.
    :raises Misconfigured: it is not the URL of a web server.
    """
    if not url.startswith(("http://", "https://")):
        raise Misconfigured(f"--time-from must be an http or https URL, not {url!r}")
    asked = time.time()
    try:
        with urlopen(Request(url, method="HEAD"), timeout=_TIMEOUT) as answer:
            date = answer.headers.get("Date")
    except HTTPError as error:
        # The server has no such page, but its answer has the time.
        date = error.headers.get("Date")
    except (OSError, ValueError):
        return None
    now = (asked + time.time()) / 2
    try:
        # Whole seconds, rounded down: half a second later is the best guess.
        return now - (parsedate_to_datetime(date).timestamp() + 0.5)
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
        # At least as long as the rest, on every architecture.
        ("rest", ctypes.c_char * 256),
    )


def _is_synchronised() -> bool | None:
    """Ask the kernel; modes of 0 change nothing."""
    answer = _Timex()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(answer))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    return state != _TIME_ERROR and not answer.status & _STA_UNSYNC


def examine_store(settings: Settings) -> list[Finding]:
    """Look at where the node keeps things."""
    path = settings.state_dir.absolute()
    # The directory, or the folder in which it would be created.
    # (`Path.exists` fails where we may not look.)
    there = next(one for one in (path, *path.parents) if os.path.exists(one))
    is_writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    uid = there.stat().st_uid
    owner = None if uid == os.geteuid() else _user(uid)
    wanted = settings.recordings_mb * 10**6 if settings.recordings_days > 0 else 0
    return [
        state_directory(str(path), there == path, is_writable, owner),
        disk(shutil.disk_usage(there).free, _size_of(settings.recordings_dir), wanted),
    ]


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _size_of(folder: Path) -> int:
    total = 0
    with suppress(OSError):
        for path in folder.iterdir():
            # The node deletes old recordings meanwhile.
            with suppress(OSError):
                total += path.stat().st_size
    return total
