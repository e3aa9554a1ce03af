"""The files of a game that is being written: find, watch and try to load them."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

import vinom
from vinom.errors import Misconfigured
from vinom.game_loader import load_game, name_of
from vinom.presentation import MEDIA_TYPES, present
from vinom.printable import say
from vinom.web.game_catalogue import described
from vinom.web.static_pages import folder_files

#: Files whose lines are of no use to an author in a traceback.
_OURS = (
    str(Path(vinom.__file__).resolve().parent),
    str(Path(importlib.__file__).resolve().parent),
    "<frozen importlib",
)

#: What `look` finds: each file with the time of its last change and its size.
Look = tuple[tuple[str, int, int], ...]


@attrs.frozen
class Loaded:
    """
    A game that was loaded once, in another process.

    :ivar name: in requests; empty if it failed.
    :ivar files: what pages load of it: its board and the board's files.
    :ivar wrong: the error in words for its author; empty if there is none.
    """

    name: str = ""
    files: tuple[str, ...] = ()
    wrong: str = ""


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


def look(sources: Path) -> Look:
    """List the files below *sources*, and when they changed."""
    return tuple(sorted(_seen(sources)))


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


def _seen(sources: Path) -> Iterator[tuple[str, int, int]]:
    # A game in one file may import its neighbours.
    paths = sources.rglob("*.py") if sources.is_dir() else sources.parent.glob("*.py")
    return _stamps(paths)


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
        described(game)
        files = present(game).files.values()
    except Misconfigured as error:
        return Loaded(wrong=_in_words(error))
    return Loaded(name_of(game), tuple(str(path) for path in files))


def read_loaded(output: str) -> Loaded:
    """Read what this module printed as a program."""
    # The game may print too, on other lines.
    found = json.loads((output.splitlines() or ["{}"])[-1])
    return Loaded(found["name"], tuple(found["files"]), found["wrong"])


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


if __name__ == "__main__":
    # In a child process, because a process imports a module only once.
    say(f"\n{json.dumps(attrs.asdict(try_loading(sys.argv[1])))}", flush=True)
