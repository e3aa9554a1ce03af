"""
What ``vinom doctor`` checks of a machine: its limits, its clock, its disk; and whether
a game server starts on it, as the node starts one.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from vinom.base.wall.enclosure import missing
from vinom.errors import Misconfigured
from vinom.fleet.local.forklink import Answer, arguments, child_environment
from vinom.fleet.local.forkserver import (
    MESSAGE_LIMIT,
    NODE_DESCRIPTOR,
    NotStarted,
    Start,
    Started,
)
from vinom.net.dtls.port import RECEIVE_BUFFER, widen_receive_buffer
from vinom.net.lines.limits import DESCRIPTOR_RESERVE
from vinom.node.build import fleet_settings, game_server_program, game_user
from vinom.node.settings import Settings
from vinom.tools.doctor.findings import Finding, Subject
from vinom.tools.doctor.ports import open_files_limit

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
    about, needed = Subject("descriptors"), descriptors_needed(servers, players)
    message = (
        f"{whose} may open {soft} files; {servers} game servers and {players} players "
        f"with a line each need {needed}"
    )
    if soft >= needed:
        return about.ok(message)
    how = (
        f"ulimit -n {needed}, or LimitNOFILE={needed} in the systemd unit"
        if hard >= needed
        else f"LimitNOFILE={needed} in the systemd unit, or as root: the hard limit is "
        f"{hard}"
    )
    # A node starts with fewer, and refuses what does not fit.
    if soft < descriptors_needed(1, 2):
        return about.failure(message, how)
    return about.warning(message, how)


def descriptor_reserve(limit: int) -> Finding:
    """
    Judge the descriptors that newcomers cannot take.

    :param limit: of open files.
    """
    about, reserve = Subject("descriptor reserve"), DESCRIPTOR_RESERVE
    message = f"newcomers leave {reserve} of {limit} descriptors free"
    if reserve * 2 > limit:
        return about.warning(
            message, f"raise the limit of open files, such as ulimit -n {reserve * 8}"
        )
    return about.ok(message)


def receive_buffer(
    asked: int, granted: int, usual: int | None, most: int | None
) -> Finding:
    """
    Judge the room for bursts at a game port. Sizes: bytes.

    :param asked: what the node requests.
    :param granted: what the kernel gave a socket that requested that.
    :param usual: what a socket gets that requests nothing; ``None`` if unknown.
    :param most: the kernel's limit; ``None`` if unknown.
    """
    about = Subject("receive buffer")
    limits = "".join(
        f", {key} is {value}"
        for key, value in (
            ("net.core.rmem_default", usual),
            ("net.core.rmem_max", most),
        )
        if value is not None
    )
    message = (
        f"the kernel grants {granted >> 10} of the {asked >> 10} KiB that "
        f"the node requests{limits}"
    )
    if granted >= asked:
        return about.ok(message)
    return about.warning(
        message,
        f"sysctl -w net.core.rmem_max={asked}, and keep it in /etc/sysctl.d; until "
        "then bursts lose datagrams earlier",
    )


_SYNCHRONISE = "run an NTP client, such as systemd-timesyncd or chrony"


def clock(is_synchronised: bool | None) -> Finding:
    """Judge the kernel's opinion of its clock; ``None`` if it has none."""
    about = Subject("clock")
    if is_synchronised is None:
        return about.not_checked(
            "the kernel does not report whether its clock is synchronised",
            "compare it with another machine's: date -u +%T",
        )
    if is_synchronised:
        return about.ok("the kernel reports that its clock is synchronised")
    message = "the kernel reports that no program synchronises its clock"
    return about.warning(message, _SYNCHRONISE)


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
    about = Subject("state directory")
    if not is_writable:
        whose = f"; it belongs to {owner}" if owner else ""
        return about.failure(
            f"{path} is not writable for this user{whose}",
            "run this as the node's user, or set state_dir to a directory of its own",
        )
    if not exists:
        return about.ok(f"{path} does not exist yet; the node creates it")
    if owner is not None:
        return about.warning(
            f"{path} belongs to {owner}, not to this user",
            "run this as the node's user, so that it sees what the node will see",
        )
    return about.ok(f"{path} is writable")


def disk(free: int, used: int, recordings: int) -> Finding:
    """
    Judge the space for recordings. Sizes: bytes.

    :param free: on the disk.
    :param used: by recordings.
    :param recordings: how much they may use.
    """
    about = Subject("disk")
    message = (
        f"{_megabytes(free)} are free; recordings may use {_megabytes(recordings)} "
        f"and use {_megabytes(used)}"
    )
    if free < _LEAST_SPACE:
        how = "free some space: the node cannot write its keys"
        return about.failure(message, how)
    if free < recordings - used:
        how = "free some space, or lower recordings_mb or recordings_days"
        return about.warning(message, how)
    return about.ok(message)


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"


_CORE = Path("/proc/sys/net/core")
# From linux/timex.h: the state of a clock that is not synchronised.
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
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        granted = widen_receive_buffer(tried, RECEIVE_BUFFER)
    usual, most = _number(_CORE / "rmem_default"), _number(_CORE / "rmem_max")
    soft, hard = (1 << 30 if one == resource.RLIM_INFINITY else one for one in limit)
    return [
        descriptors(soft, hard, whose, servers, players),
        descriptor_reserve(soft),
        receive_buffer(RECEIVE_BUFFER, granted, usual, most),
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
    about = Subject("wall")
    if not is_on:
        return about.warning(
            "wall is no: a game can read the node's keys, and do what its user may",
            "remove wall = no; let games read other files by game_data",
        )
    if gaps:
        return about.warning(
            f"around game servers, but this kernel has {'; '.join(gaps)}",
            "run Linux 6.12 or newer with Landlock enabled (lsm= on the kernel's "
            "command line), and allow landlock and seccomp in the container",
        )
    message = "around game servers: files, TCP, programs, other processes"
    if is_root and user is None:
        return about.warning(
            f"{message}; behind it they run as root",
            "run the node as a user of its own, or set game_user",
        )
    return about.ok(f"{message}; they run as {user}" if user else message)


def examine_wall(settings: Settings) -> list[Finding]:
    """Look at what this kernel can refuse to game servers, and as whom they run."""
    try:
        game_user(settings)
    except Misconfigured as error:
        return [Subject("wall").refused(error)]
    is_root = os.geteuid() == 0
    return [wall(settings.wall == "yes", missing(), is_root, settings.game_user)]


def is_clock_synchronised() -> bool | None:
    """Ask the kernel; ``None`` if it does not say."""
    try:
        # A struct timex (linux/timex.h) whose modes are 0: nothing is changed.
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def examine_disk(settings: Settings) -> list[Finding]:
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


_ABOUT = Subject("game servers")
#: How long one may take to open its link, seconds.
_DEADLINE = 30.0
#: How much of what it prints is read, bytes.
_PRINTED = 64 * 1024
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
# The fork server finds its node at a fixed descriptor, which only a shell can give it.
_SHELL = f'exec "$0" "$@" {NODE_DESCRIPTOR}<&0 </dev/null'


def examine_game_servers(settings: Settings) -> list[Finding]:
    """Start one game server, and wait for its link; nothing where pods play."""
    if settings.pods is not None:
        return []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vinom-") as folder:
        # With game_user, another user looks for the socket.
        os.chmod(folder, 0o711)
        with open(Path(folder, "output"), "w+") as output:
            try:
                problem = _start_one(
                    settings, Path(folder, "control.sock"), output.fileno()
                )
            except (Misconfigured, OSError) as error:
                problem = str(error)
            output.seek(0)
            printed = [line for line in output.read().splitlines() if line.strip()]
    if not problem:
        took = time.monotonic() - began
        return [_ABOUT.ok(f"one was started, and opened its link in {took:.1f} s")]
    last = f"; it printed: {printed[-1]}" if printed else ""
    return [
        _ABOUT.failure(
            f"none can be started: {problem}{last}",
            f"let {settings.game_user or 'the node'} run {sys.executable}; check the "
            "limits of memory and processes (server_memory_mb, TasksMax of the unit)",
        )
    ]


def _start_one(settings: Settings, control: Path, output: int) -> str:
    """Start one; returns why that does not work, or nothing."""
    program = game_server_program(settings, control)
    user, name = program.user, "doctor"
    fork = arguments(
        program.entry, program.preload, program.settings, 0.0, program.wall
    )
    start = Start(
        name, dict(program.settings), program.memory, program.descriptors, (), {}, ""
    )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, socket.socket(socket.AF_UNIX) as node:
        node.bind(str(control))
        control.chmod(0o666)
        node.listen()
        command = [sys.executable, "-P", "-m", "vinom.fleet.local.forkserver", *fork]
        fork_server = subprocess.Popen(
            ["/bin/sh", "-c", _SHELL, *command],
            stdin=theirs.fileno(),
            stdout=output,
            stderr=output,
            env=child_environment(os.environ),
            user=None if user is None else user.uid,
            group=None if user is None else user.gid,
        )
        theirs.close()
        pid, pipe = 0, -1
        try:
            with suppress(BrokenPipeError):
                ours.send(msgspec.json.encode(start))
            give_up = time.monotonic() + _DEADLINE
            while (left := give_up - time.monotonic()) > 0:
                ready = select.select([node, ours], [], [], left)[0]
                if node in ready:
                    return ""
                if ours not in ready:
                    break
                data, found = b"", list[int]()
                with suppress(ConnectionResetError):
                    data, found, _, _ = socket.recv_fds(ours, MESSAGE_LIMIT, 2)
                if not data:
                    return f"the fork server ended with status {fork_server.wait()}"
                match _answers.decode(data):
                    case Started(_, pid):
                        pidfd, pipe = found
                        os.close(pidfd)
                    case NotStarted(_, why):
                        return why
                    case ended:
                        return f"it ended with status {ended.status}"
            return f"it did not open its link within {_DEADLINE:.0f} s"
        finally:
            with suppress(ProcessLookupError):
                if pid:
                    os.kill(pid, signal.SIGKILL)
            fork_server.kill()
            fork_server.wait()
            if pipe >= 0:
                os.set_blocking(pipe, False)
                with suppress(BlockingIOError):
                    os.write(output, os.read(pipe, _PRINTED))
                os.close(pipe)
