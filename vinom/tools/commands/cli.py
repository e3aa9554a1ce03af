"""The program ``vinom``: each command is imported only when it is typed."""

from __future__ import annotations

import argparse
import importlib
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vinom import __version__
from vinom.base.printable import say
from vinom.errors import Misconfigured

#: Command to its one line of help. Modules are imported when they are needed.
COMMANDS: dict[str, str] = {
    "demo": "start a node, or several, let bots play, and watch",
    "play": "play a game in this terminal",
    "bots": "play with many bots and measure",
    "replay": "play a recording again and compare its end",
    "shrink": "cut a recording that fails to the inputs that matter, as a test",
    "dev": "play a game while you write it, in a browser",
    "check": "check a game of yours for purity, replay and leaks",
    "schema": "write what a game and its clients exchange, for typed clients",
    "chaos": "kill processes under a game of yours, and check that matches go on",
    "doctor": "check this machine for problems, and say how to fix them",
    "status": "show what a node is doing",
    "matches": "list the matches of a node",
    "servers": "list the game servers of a node",
    "rooms": "list the rooms that a node hosts itself, or end one, or remove a player",
    "kick": "remove a player from a match",
    "end": "end a match",
    "drain": "let a node stop when its last match ends, or hand its rooms, or those of "
    "one game server, to others",
    "keys": "list a node's keys, or let new ones take over",
    "link-certificate": "make a gateway's certificate for its links to nodes",
    "explain": "explain why a player is not matched",
    "results": "list how rounds ended, and send those again that were not received",
}

#: Commands that have a package of their own.
_PACKAGES = {
    "check": "vinom.tools.check.command",
    "schema": "vinom.tools.schema.command",
    "chaos": "vinom.tools.chaos.command",
    "doctor": "vinom.tools.doctor.command",
    "link-certificate": "vinom.tools.commands.link_certificate",
}
#: Commands that are rows of one table.
_ADMIN = (
    *("status", "matches", "servers", "rooms", "results", "kick", "end", "drain"),
    *("keys", "explain"),
)


def command_of(name: str) -> Any:
    """
    Import a command.

    :returns: something with ``OPTIONS`` and ``run``: its module, or its row of
        `vinom.tools.commands.admin.VERBS`.
    """
    if name in _ADMIN:
        return importlib.import_module("vinom.tools.commands.admin").VERBS[name]
    return importlib.import_module(_PACKAGES.get(name, f"vinom.tools.commands.{name}"))


#: What the words stand for that options take; all others for text.
_KINDS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("N", "SEED", "PORT"), int),
    **dict.fromkeys(("SECONDS", "MINUTES", "RATE", "MS", "PERCENT"), float),
    **dict.fromkeys(("FILE", "DIR", "FOLDER"), Path),
}


def declare(command: Any, parser: argparse.ArgumentParser) -> None:
    """
    Declare the arguments of a command.

    Its ``OPTIONS`` are the text that its users read: names, and beside or below each
    its help. ``--name`` is a switch, ``--name WORD`` takes a value; a name without
    dashes is an argument. ``WORD...`` may be repeated, ``[WORD]`` left out, ``{a|b}``
    are choices. Limits (``>0``, ``>=0`` or ``1..5``) and the default (``= 4``) follow.
    ``[title]`` begins a group.

    :param command: see `command_of`. Its ``DESCRIPTION`` and what its ``prepare``
        declares are added.
    """
    group: Any = parser
    for entry in re.split(r"\n(?=\S)", command.OPTIONS.strip()):
        if entry.startswith("["):
            title, _, about = entry[1:].partition("]")
            group = parser.add_argument_group(title, about.strip())
        elif entry:
            _declare_one(group, entry)
    if hasattr(command, "DESCRIPTION"):
        parser.description = f"{parser.description}. {command.DESCRIPTION}"
    if hasattr(command, "prepare"):
        command.prepare(parser)


def _declare_one(parser: Any, entry: str) -> None:
    signature, text = re.split(r"\s{2,}", entry, maxsplit=1)
    signature, _, default = signature.partition(" = ")
    name, *words = signature.split()
    limits = words.pop() if words and words[-1][0] in ">0123456789" else ""
    how: dict[str, Any] = {"help": " ".join(text.split())}
    if not words and name.startswith("--"):
        how["action"] = "store_true"
    elif words and words[0].startswith("{"):
        how["choices"] = words[0].strip("{}").split("|")
        if default:
            how |= {"nargs": "?", "default": default}
    elif words:
        is_many, may_lack = words[0].endswith("..."), words[0].startswith("[")
        words[0] = words[0].removesuffix("...")
        if may_lack:
            words[0] = words[0].strip("[]")
        how["metavar"] = words[0] if len(words) == 1 else tuple(words)
        kind = how["type"] = _reader(name, words[0], limits)
        if default:
            how |= {"default": kind(default), "help": f"{how['help']} ({default})"}
        if is_many and name.startswith("--"):
            how |= {"action": "append", "default": []}
        elif is_many or may_lack or len(words) > 1:
            how["nargs"] = "+" if is_many else "?" if may_lack else len(words)
    parser.add_argument(name, **how)


def _reader(name: str, word: str, limits: str) -> Callable[[str], Any]:
    """Make what reads a value, and refuses a number that is beyond its limits."""
    kind = _KINDS.get(word, str)
    if not limits:
        return kind
    sign, least, most = re.findall(r"(>?=?)(\d+)\.*(\d*)", limits)[0]
    low, high = float(least), float(most or sys.float_info.max)
    words = f"{least} to {most}" if most else f"{least} or more"
    if sign == ">":
        low, words = math.nextafter(low, high), f"greater than {least}"
    if word == "PERCENT":
        words = f"a percentage, {words}"

    def read(text: str) -> Any:
        number = kind(text)
        if not low <= number <= high:
            raise Misconfigured(f"{name} {text} must be {words}")
        return number

    # If it is no number, argparse says so with this name.
    read.__name__ = kind.__name__
    return read


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one subcommand.

    :param arguments: without the program's name; those of this process unless given.
    :returns: exit code: 2 if the arguments or the settings are wrong.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="vinom",
        description="Game sessions on Twisted. The server is: twistd vinom --help",
    )
    parser.add_argument("--version", action="version", version=f"vinom {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    # Import only the one that was typed: `vinom status` must not load a terminal.
    typed = next((word for word in given if not word.startswith("-")), None)
    try:
        for name, line in COMMANDS.items():
            subparser = commands.add_parser(name, help=line, description=line)
            if name == typed:
                command = command_of(name)
                declare(command, subparser)
                subparser.set_defaults(run=command.run)
        options, unknown = parser.parse_known_args(given)
        if unknown:
            # Of `parse_args` the usage would be that of all commands.
            asked = commands.choices.get(options.command, parser)
            asked.error(f"unrecognized arguments: {' '.join(unknown)}")
        if options.command is None:
            parser.print_help()
            return 0
        code: int = options.run(options)
    except Misconfigured as error:
        say(f"vinom {typed}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output closed it, as `head` does.
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        return 130
    return code
