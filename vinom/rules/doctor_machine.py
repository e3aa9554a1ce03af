"""What is wrong with a machine: its limits, its clock, its disk."""

from __future__ import annotations

import attrs

from vinom.rules.doctor import Finding, failure, not_checked, ok, warning

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
