"""The files of a game that is being written: where they are, and whether they load."""

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
from vinom.web.game_catalogue import described

#: Whose lines an author can do nothing about.
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

    :raises Misconfigured: there is no such module beside you or on the path.
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
    """See which files there are, and when they were changed."""
    return tuple(sorted(_seen(sources)))


def _seen(sources: Path) -> Iterator[tuple[str, int, int]]:
    # A game in one file may import its neighbours.
    paths = sources.rglob("*.py") if sources.is_dir() else sources.parent.glob("*.py")
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            # Editors replace files.
            continue
        yield str(path), status.st_mtime_ns, status.st_size


def try_loading(spec: str) -> tuple[str, str]:
    """Load a game; returns its name, and what is wrong in words for its author."""
    try:
        game = load_game(spec)
        described(game)
    except Misconfigured as error:
        return "", _in_words(error)
    return name_of(game), ""


def _in_words(error: Misconfigured) -> str:
    """Say what is wrong, with the author's own lines of the traceback."""
    cause = error.__cause__
    if cause is None:
        return str(error)
    told = traceback.TracebackException.from_exception(cause)
    told.stack = traceback.StackSummary.from_list(
        [line for line in told.stack if not line.filename.startswith(_OURS)]
    )
    return "".join(told.format(chain=False)).strip()


if __name__ == "__main__":
    # In a process of its own: a module is imported once in each.
    found, wrong = try_loading(sys.argv[1])
    print(f"\n{found}", flush=True)
    print(wrong, file=sys.stderr)
    sys.exit(1 if wrong else 0)
