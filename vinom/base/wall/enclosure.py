"""
When each wall goes up.

1. The fork server has loaded all code and forked nobody (`Enclosure.enclose`): no new
   privileges, no files but the code, no TCP, no programs, no look into other processes.
2. A game server has been forked (`part`): a domain of its own, so that game servers are
   walled off from one another as from their node; and the limits of its resources.
3. It has its link and its port, and no player has sent anything (`settle`): no new
   socket, no new process, no signal to another one, no capabilities.

The kernel grants a folder with everything beneath it, so a folder in which something
hidden lies is taken apart. Nothing may be written but ``/dev/null``.
"""

from __future__ import annotations

import os
import resource
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

import attrs

from vinom.base.wall import kernel
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


#: What the interpreter and its libraries read at any time, where it exists.
SYSTEM = (
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/openssl.cnf",
    "/usr/lib/locale",
    "/usr/share/locale",
    "/usr/share/zoneinfo",
)

#: Where everything, everybody's files or the system's settings begin: of code there,
#: only the files themselves are granted.
_BROAD = ("/", "/etc", "/home", "/mnt", "/opt", "/root", "/srv", "/tmp", "/usr", "/var")

#: Most entries into which folders are taken apart.
MOST = 10_000


def code_paths(extra: Sequence[str] = ()) -> set[str]:
    """
    List the files and folders of the code that this process has loaded, or may load.

    That is: the interpreter's own library, installed packages, shared libraries, and
    for each module of another place its package, or, without one, its folder.

    :param extra: what games may read in addition.
    """
    found = {os.path.realpath(path) for path in extra}
    found |= {path for path in map(os.path.realpath, SYSTEM) if os.path.exists(path)}
    named = ("stdlib", "platstdlib", "purelib", "platlib")
    installed = {sysconfig.get_path(name) for name in named}
    installed |= {
        path
        for path in sys.path
        if path.endswith((".zip", "/site-packages", "/dist-packages"))
    }
    found |= {
        path
        for path in map(os.path.realpath, installed)
        if os.path.exists(path) and not _is_broad(path)
    }
    for name, module in tuple(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and os.path.isabs(path):
            found.add(_place_of(name, os.path.realpath(path)))
    found |= {_folder_of(path) for path in _libraries()}
    return _without_nested(found)


def _place_of(name: str, path: str) -> str:
    """Find the folder of a module's package; for one without, what it lies in."""
    levels = name.count(".") + (os.path.basename(path).startswith("__init__."))
    if not levels:
        return _folder_of(path)
    folder = path
    for _ in range(levels):
        folder = os.path.dirname(folder)
    return path if _is_broad(folder) else folder


def _folder_of(path: str) -> str:
    folder = os.path.dirname(path)
    return path if _is_broad(folder) else folder


def _is_broad(folder: str) -> bool:
    return folder in _BROAD or folder == os.path.realpath(os.path.expanduser("~"))


def _libraries() -> Iterator[str]:
    """List the shared libraries in this process."""
    with suppress(OSError), open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            words = line.split(maxsplit=5)
            if len(words) == 6 and words[5].startswith("/"):
                path = words[5].rstrip("\n")
                if os.path.isfile(path) and ".so" in os.path.basename(path):
                    yield path


def _without_nested(paths: Iterable[str]) -> set[str]:
    """Leave out what lies in a folder that is granted anyway."""
    kept: set[str] = set()
    for path in sorted(paths):
        if not _parents(path) & kept:
            kept.add(path)
    return kept


def _parents(path: str) -> set[str]:
    found = {path}
    while (folder := os.path.dirname(path)) != path:
        found.add(folder)
        path = folder
    return found


def lies_in(path: str, folder: str) -> bool:
    """Is *path* the folder, or something beneath it?"""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def without_hidden(paths: Iterable[str], hidden: Sequence[str]) -> list[str]:
    """
    Take hidden files and folders out of those that are granted.

    :param paths: real paths.
    :param hidden: real paths: what must not be granted.
    :returns: paths that contain nothing hidden, instead of those that do.
    :raises ValueError: there are too many entries beside a hidden one.
    """
    kept: list[str] = []
    waiting = sorted(paths)
    while waiting:
        path = waiting.pop()
        if any(lies_in(path, one) for one in hidden):
            continue
        if not any(lies_in(one, path) for one in hidden):
            kept.append(path)
            continue
        with suppress(OSError), os.scandir(path) as entries:
            # Links elsewhere would grant their targets.
            waiting += [one.path for one in entries if not one.is_symlink()]
        if len(kept) + len(waiting) > MOST:
            raise ValueError(
                f"{path} has more than {MOST} entries beside something hidden"
            )
    return sorted(kept)
