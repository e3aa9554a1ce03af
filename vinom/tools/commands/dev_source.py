"""The files of a game that is being written: find, watch and try to load them."""

from __future__ import annotations

import importlib
import os
import pdb
import sys
import traceback
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

import vinom
from vinom.base.printable import say
from vinom.errors import Misconfigured
from vinom.node.web.pages import described, folder_files, shown
from vinom.play.game_loader import load_game, name_of
from vinom.play.presentation import MEDIA_TYPES, present
from vinom.play.states import fingerprint

#: Files whose lines are of no use to an author in a traceback.
_OURS = (
    str(Path(vinom.__file__).resolve().parent),
    str(Path(importlib.__file__).resolve().parent),
    "<frozen importlib",
)

#: More names than this would only hide the next line of the terminal.
_MOST_NAMES = 8

#: What `look` finds: each file with the time of its last change and its size.
Look = tuple[tuple[str, int, int], ...]


class Loaded(Struct, frozen=True):
    """
    A game that was loaded once, in another process.

    :ivar name: in requests; empty if it failed.
    :ivar files: what pages load of it: its board and the board's files.
    :ivar wrong: the error in words for its author; empty if there is none.
    :ivar modules: files of the author's own modules that loading it imported.
    :ivar facts: a hash of what pages know of it.
    """

    name: str = ""
    files: tuple[str, ...] = ()
    wrong: str = ""
    modules: tuple[str, ...] = ()
    facts: str = ""

    def is_of(self, changed: Iterable[str]) -> bool:
        """
        Does a change of these Python files concern the game?

        Any does while it cannot be loaded: which of them would mend it is not known.
        """
        return bool(self.wrong) or not set(changed).isdisjoint(self.modules)

    def watched(self, folder: Path) -> str:
        """Name the files whose changes are noticed, in a folder, for its author."""
        start = os.path.realpath(folder)
        paths = map(os.path.realpath, (*self.modules, *self.files))
        names = [os.path.relpath(path, start) for path in paths]
        more = len(names) - _MOST_NAMES
        shown = ", ".join(names[:_MOST_NAMES])
        return f"{shown} and {more} more" if more > 0 else shown


#: Names our terminal to the node's process, which has no own one.
_TERMINAL = "DEV_TERMINAL"


def breakpoints() -> dict[str, str]:
    """
    Return what lets ``breakpoint()`` in a node's process talk to our terminal.

    Nothing, if there is no terminal or the author chose another debugger.
    """
    if not os.isatty(0) or "PYTHONBREAKPOINT" in os.environ:
        return {}
    return {
        _TERMINAL: os.ttyname(0),
        "PYTHONBREAKPOINT": f"{stop_here.__module__}.{stop_here.__name__}",
    }


def stop_here() -> None:
    """Stop at the author's line: what ``breakpoint()`` does, see `breakpoints`."""
    _debugger().set_trace(sys._getframe(1))


@cache
def _debugger() -> pdb.Pdb:
    # Not as our controlling terminal: Ctrl-C there is for `vinom dev`.
    fd = os.open(os.environ[_TERMINAL], os.O_RDWR | os.O_NOCTTY)
    return pdb.Pdb(stdin=open(os.dup(fd)), stdout=open(fd, "w"))


def find_sources(spec: str) -> Path:
    """
    Find what to watch without importing it: a package's folder, or one file.

    :param spec: ``package.module:Class``.
    :raises Misconfigured: no such module is in this folder or on the path.
    """
    module, colon, _ = spec.partition(":")
    if not (module and colon):
        raise Misconfigured(f"game {spec!r} must look like package.module:Class")
    parts = module.split(".")
    for folder in dict.fromkeys([*map(os.path.abspath, sys.path), os.getcwd()]):
        path = Path(folder, *parts)
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            top = Path(folder, parts[0])
            return top if top.is_dir() else top.with_suffix(".py")
    raise Misconfigured(
        f"game {spec!r}: there is no module {module} here; start this in the folder "
        f"that has {parts[0]}{'/' if parts[1:] else '.py'}"
    )


def look(sources: Path, modules: Iterable[str] = ()) -> Look:
    """
    List Python files, and when they changed.

    :param sources: of the game; see `find_sources`.
    :param modules: that it imports; see `Loaded.modules`.
    """
    # A game in one file may import its neighbours.
    paths = sources.rglob("*.py") if sources.is_dir() else sources.parent.glob("*.py")
    return tuple(sorted(_stamps({*paths, *map(Path, modules)})))


def changed_between(before: Look, after: Look) -> set[str]:
    """Name the files that are new, gone or written; links are resolved."""
    return {os.path.realpath(path) for path, *_ in set(before) ^ set(after)}


def look_at_pages(files: Iterable[str], site: Path | None) -> Look:
    """
    List what browsers load, and when it changed.

    :param files: of the game; see `Loaded.files`.
    :param site: the author's own page, if there is one.
    """
    paths = [Path(file) for file in files]
    if site is not None:
        paths += folder_files(site, tuple(MEDIA_TYPES)).values()
    return tuple(sorted(_stamps(paths)))


def _stamps(paths: Iterable[Path]) -> Iterator[tuple[str, int, int]]:
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            # Editors delete and rename files.
            continue
        yield str(path), status.st_mtime_ns, status.st_size


def try_loading(spec: str) -> Loaded:
    """Load a game, and see whether pages can show it."""
    try:
        game = load_game(spec)
        name, look = name_of(game), present(game)
        facts = fingerprint(msgspec.json.encode(described(game) | shown(name, look)))
    except Misconfigured as error:
        return Loaded(wrong=_in_words(error))
    modules = tuple(sorted(_imported(find_sources(spec))))
    files = tuple(map(str, look.files.values()))
    return Loaded(name, files, modules=modules, facts=facts)


def _imported(sources: Path) -> Iterator[str]:
    """Find the modules of this process that are the author's."""
    folder = (sources if sources.is_dir() else sources.parent).resolve()
    for module in tuple(sys.modules.values()):
        path = Path(os.path.realpath(getattr(module, "__file__", None) or ""))
        # An environment is often in the same folder.
        is_installed = "site-packages" in path.parts
        if path.suffix == ".py" and path.is_relative_to(folder) and not is_installed:
            yield str(path)


def read_loaded(output: bytes) -> Loaded:
    """Read what this module printed as a program."""
    # The game may print too, on other lines.
    return msgspec.json.decode((output.splitlines() or [b"{}"])[-1], type=Loaded)


def _in_words(error: Misconfigured) -> str:
    """Write the error with the author's own lines of the traceback."""
    cause = error.__cause__
    if cause is None:
        return str(error)
    shown = traceback.TracebackException.from_exception(cause)
    shown.stack = traceback.StackSummary.from_list(
        [line for line in shown.stack if not line.filename.startswith(_OURS)]
    )
    return "".join(shown.format(chain=False)).strip()


if __name__ == "__main__" and sys.stdin.readline():
    # In a child process, because a process imports a module only once. It was started
    # ahead, and waits for a line: what is imported above takes longer than most games.
    sys.dont_write_bytecode = True
    say(f"\n{msgspec.json.encode(try_loading(sys.argv[1])).decode()}", flush=True)
