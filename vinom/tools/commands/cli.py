"""The program ``vinom``: each command is imported only when it is typed."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
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
    "dev": "play a game while you write it, in a browser",
    "check": "check a game of yours for purity, replay and leaks",
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

    :returns: something with ``add_arguments`` and ``run``: its module, or its row
        of `vinom.tools.commands.admin.VERBS`.
    """
    if name in _ADMIN:
        return importlib.import_module("vinom.tools.commands.admin").VERBS[name]
    return importlib.import_module(_PACKAGES.get(name, f"vinom.tools.commands.{name}"))


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
    for name, line in COMMANDS.items():
        subparser = commands.add_parser(name, help=line, description=line)
        if name == typed:
            command = command_of(name)
            command.add_arguments(subparser)
            subparser.set_defaults(run=command.run)
    options, unknown = parser.parse_known_args(given)
    if unknown:
        # Of `parse_args` the usage would be that of all commands.
        asked = commands.choices.get(options.command, parser)
        asked.error(f"unrecognized arguments: {' '.join(unknown)}")
    if options.command is None:
        parser.print_help()
        return 0
    try:
        code: int = options.run(options)
    except Misconfigured as error:
        say(f"vinom {options.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output closed it, as `head` does.
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        return 130
    return code
