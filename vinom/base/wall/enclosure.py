"""
When each wall goes up.

1. The fork server has loaded all code and forked nobody (`Enclosure.enclose`): no new
   privileges, no files but the code, no TCP, no programs, no look into other processes.
2. A game server has been forked (`part`): a domain of its own, so that game servers are
   walled off from one another as from their node; and the limits of its resources.
3. It has its link and its port, and no player has sent anything (`settle`): no new
   socket, no new process, no signal to another one, no capabilities.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from contextlib import suppress

import attrs

from vinom.base.wall import kernel
from vinom.base.wall.files import code_paths, without_hidden
from vinom.base.wall.filters import compile_rules, lasting_rules, settled_program

# Rights of files, by the version of Landlock that knows them (landlock.h).
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE_BLOCK = 1 << 11
_FILES = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
#: Bind and connect TCP.
_TCP, _TCP_SINCE = 3, 4
#: Abstract UNIX sockets and signals end at the domain's border.
_SCOPES, _SCOPES_SINCE = 3, 6
#: What may be written, of what may be read.
_WRITABLE = frozenset({"/dev/null"})

#: Longest file that a game server may write: as long as a recording may be, bytes.
FILE_BYTES = 64 << 20
#: A game server starts no thread, and no process, if its user has this many; root
#: and others with CAP_SYS_RESOURCE are not held to it.
USER_TASKS = 1024
#: Longest block of memory that may be kept from being swapped, bytes.
LOCKED_BYTES = 64 << 10


@attrs.frozen
class Enclosure:
    """
    The wall of one fork server.

    :ivar hidden: files and folders that no game server may read, wherever they lie.
    :ivar readable: files and folders that games may read beside the code.
    """

    hidden: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()

    def enclose(self) -> list[str]:
        """
        Wall this process in, and all that it will fork.

        :returns: what was not possible, one sentence each; the rest stands.
        """
        failed = missing()
        steps = [
            ("the limits of resources", _limit_fork_server),
            ("no new privileges", kernel.refuse_new_privileges),
            ("hidden memory", kernel.hide_memory),
            (
                "fewer capabilities",
                lambda: kernel.drop_capabilities((kernel.CAP_NET_BIND_SERVICE,)),
            ),
        ]
        if kernel.landlock_version():
            steps.append(("the wall of files", self._close_files))
        if kernel.has_seccomp():
            steps.append(("the filter of system calls", _forbid_programs))
        for name, step in steps:
            _try(name, step, failed)
        return failed

    def _close_files(self) -> None:
        version = kernel.landlock_version()
        files = _file_rights(version)
        hidden = [os.path.realpath(path) for path in self.hidden]
        granted = without_hidden(code_paths(self.readable), hidden)
        ruleset = kernel.make_ruleset(
            files,
            _TCP if version >= _TCP_SINCE else 0,
            _SCOPES if version >= _SCOPES_SINCE else 0,
            version,
        )
        try:
            for path in granted:
                # What went away meanwhile is not needed.
                with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                    _grant(ruleset, path)
            kernel.enforce(ruleset)
        finally:
            os.close(ruleset)


def part() -> None:
    """Part this game server, just forked, from its siblings."""
    for which, most in (
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NPROC, USER_TASKS),
    ):
        lower_limit(which, most)
    version = kernel.landlock_version()
    if version:
        # A ruleset must refuse something; this is refused already.
        scopes = _SCOPES if version >= _SCOPES_SINCE else 0
        # Where this fails the fork server's domain has failed too, and said so.
        with suppress(OSError):
            ruleset = kernel.make_ruleset(_MAKE_BLOCK, 0, scopes, version)
            try:
                kernel.enforce(ruleset)
            finally:
                os.close(ruleset)


def settle() -> None:
    """
    Close what is left: this game server has its link and its port.

    :raises OSError: the kernel refuses what it can do.
    """
    try:
        kernel.drop_capabilities()
    finally:
        if kernel.has_seccomp():
            machine = kernel.machine()
            kernel.load_filter(settled_program(machine, os.getpid()))


def missing() -> list[str]:
    """List what this kernel cannot do, and what that leaves open; one sentence each."""
    version = kernel.landlock_version()
    found = []
    if not version:
        found.append(
            "no Landlock: a game server can read the files of its user, such as keys"
        )
    else:
        if version < _TCP_SINCE:
            found.append(
                f"Landlock {version} has no rules for TCP; only the filter of system "
                "calls keeps a game server from connecting"
            )
        if version < _SCOPES_SINCE:
            found.append(
                f"Landlock {version} has no rules for signals; only the filter of "
                "system calls keeps a game server from sending them"
            )
    if not kernel.has_seccomp():
        found.append(
            "no seccomp filters: a game server can open sockets and start programs"
        )
    return found


def lower_limit(which: int, most: int) -> None:
    """
    Limit a resource of this process; a lower limit that it has stays.

    :param which: as in `resource.setrlimit`.
    :param most: the limit.
    """
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(which, (most, most))


def _limit_fork_server() -> None:
    # Its memory, and its children's, holds tokens and a key.
    lower_limit(resource.RLIMIT_CORE, 0)
    lower_limit(resource.RLIMIT_MEMLOCK, LOCKED_BYTES)
    if hasattr(resource, "RLIMIT_MSGQUEUE"):
        lower_limit(resource.RLIMIT_MSGQUEUE, 0)


def _forbid_programs() -> None:
    # Once before the fork: children share what the first call makes.
    settled_program(kernel.machine(), os.getpid())
    kernel.load_filter(compile_rules(lasting_rules(), kernel.machine()))


def _try(name: str, step: Callable[[], None], failed: list[str]) -> None:
    try:
        step()
    except (OSError, ValueError) as error:
        failed.append(f"{name}: {error}")


def _file_rights(version: int) -> int:
    rights = 0
    for since, those in _FILES.items():
        if version >= since:
            rights |= those
    return rights


def _grant(ruleset: int, path: str) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
        if path in _WRITABLE:
            rights |= _WRITE_FILE
        kernel.allow_beneath(ruleset, descriptor, rights)
    finally:
        os.close(descriptor)
