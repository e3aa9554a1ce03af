"""``vinom schema GAME``: write what a game and its clients exchange."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vinom.base.printable import say
from vinom.errors import Misconfigured
from vinom.play.contract import contract_of, document
from vinom.play.game_loader import find_game
from vinom.tools.schema.csharp import csharp
from vinom.tools.schema.gdscript import gdscript
from vinom.tools.schema.kinds import Reading
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
#: What a schema says for people alone.
_WORDS = ("description", "title")


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


def changes(agreed: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List what differs between two documents, in a sentence each."""
    old, new = dict(_facts(agreed)), dict(_facts(now))
    found = []
    for name in dict.fromkeys((*old, *new)):
        whole = name.partition(".")[0]
        if name in old and name in new:
            if old[name] != new[name]:
                found.append(f"{name} was {old[name]}, is {new[name]}")
        # Of a structure that is new or gone, the fields go without saying.
        elif whole == name or (whole in old and whole in new):
            found.append(f"{name} is {'gone' if name in old else 'new'}")
    return found


def _facts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """List what clients depend on: parts, events, structures and their fields."""
    parts = dict(document["properties"])
    events = parts.pop("events")
    for part, node in parts.items():
        yield part, _compact(node)
    for kind, node in events["properties"].items():
        yield f"event {kind!r}", _compact(node)
    yield "other events", "sent" if events["additionalProperties"] else "not sent"
    for name, node in document["$defs"].items():
        if "properties" not in node:
            yield name, _compact(node)
            continue
        yield name, "a structure"
        for field, kind in node["properties"].items():
            lacks = "" if field in node.get("required", ()) else ", or left out"
            yield f"{name}.{field}", _compact(kind) + lacks


def _compact(node: Any) -> str:
    return json.dumps(_without_words(node), sort_keys=True)


def _without_words(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: _without_words(one) for key, one in node.items() if key not in _WORDS
        }
    return [_without_words(one) for one in node] if isinstance(node, list) else node
