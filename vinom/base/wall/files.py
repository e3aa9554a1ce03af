"""
What a game server may read: the code, and nothing that is hidden.

The kernel grants a folder with everything beneath it, so a folder in which something
hidden lies is taken apart. Nothing may be written but ``/dev/null``.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

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
