"""``vinom schema GAME``: write what a game and its clients exchange."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from vinom.base.printable import say
from vinom.errors import Misconfigured
from vinom.play.contract import contract_of, document
from vinom.play.game_loader import find_game
from vinom.tools.schema.csharp import csharp
from vinom.tools.schema.gdscript import gdscript
from vinom.tools.schema.kinds import Reading
from vinom.tools.schema.lock import changes
from vinom.tools.schema.typescript import typescript

OPTIONS = """
game PACKAGE.MODULE:CLASS
              this game, or the installed one of this name
--to {json|ts|cs|gd}
              print a JSON Schema, or types for TypeScript, C# or GDScript (json)
--lock FILE   write the JSON Schema into this file, to keep it under version control
--check       with --lock: compare with that file, print what has changed, and exit
              with 1 if anything has
"""

DESCRIPTION = """
Print the actions, options, view, setup and events that a game declares, for programs
that are no part of it.
"""

_WRITERS: dict[str, tuple[str, Callable[[Reading], str]]] = {
    "ts": ("//", typescript),
    "cs": ("//", csharp),
    "gd": ("#", gdscript),
}


def run(options: argparse.Namespace) -> int:
    """
    Print a contract, or compare it.

    :returns: exit code: 1 if it differs from the file of ``--lock``.
    :raises Misconfigured: there is no such game or file.
    """
    if options.check and options.lock is None:
        raise Misconfigured("--check needs --lock FILE, with what to compare")
    name, game = find_game(options.game)
    found = document(contract_of(game))
    if options.lock is None:
        sys.stdout.write(_written(found, options.game, options.to or "json"))
        return 0
    if not options.check:
        options.lock.write_text(_written(found, options.game, "json"), "utf-8")
        return 0
    try:
        agreed = json.loads(options.lock.read_text("utf-8"))
        differing = changes(agreed, found)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise Misconfigured(
            f"{options.lock} can't be compared: {error}; write it without --check"
        ) from error
    for change in differing:
        say(f"{name}: {change}")
    if differing:
        say(f"if that is right, write {options.lock} again without --check")
    return 1 if differing else 0


def _written(found: dict[str, Any], game: str, language: str) -> str:
    if language == "json":
        return json.dumps(found, indent=2) + "\n"
    mark, write = _WRITERS[language]
    head = f"{mark} Written by: vinom schema {game} --to {language}\n"
    return head + write(Reading.of(found))
