"""The files of a game that is being written: find, watch and try to load them."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import vinom
from vinom.errors import Misconfigured
from vinom.game_loader import load_game, name_of
from vinom.printable import say
from vinom.web.game_catalogue import described

#: Files whose lines are of no use to an author in a traceback.
_OURS = (
    str(Path(vinom.__file__).resolve().parent),
    str(Path(importlib.__file__).resolve().parent),
    "<frozen importlib",
)

#: What `look` finds: each file with the time of its last change and its size.
Look = tuple[tuple[str, int, int], ...]


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


def _seen(sources: Path) -> Iterator[tuple[str, int, int]]:
    # A game in one file may import its neighbours.
    paths = sources.rglob("*.py") if sources.is_dir() else sources.parent.glob("*.py")
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            # Editors delete and rename files.
            continue
        yield str(path), status.st_mtime_ns, status.st_size


def try_loading(spec: str) -> tuple[str, str]:
    """Load a game; returns its name, and the error in words for its author."""
    try:
        game = load_game(spec)
        described(game)
    except Misconfigured as error:
        return "", _in_words(error)
    return name_of(game), ""


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
    found, wrong = try_loading(sys.argv[1])
    say(f"\n{found}", flush=True)
    say(wrong, file=sys.stderr)
    sys.exit(1 if wrong else 0)
