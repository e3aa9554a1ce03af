"""The program ``vinom``: its commands, each imported only when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from vinom import __version__
from vinom.errors import Misconfigured

#: Command to its one line of help. Modules are imported when they are needed.
COMMANDS: dict[str, str] = {
    "demo": "start a node, let bots play, and watch",
    "play": "play a game in this terminal",
    "bots": "play with many bots and measure",
    "replay": "play a recording again and compare its end",
    "dev": "play a game while you write it, in a browser",
    "check": "check a game of yours for purity, replay and leaks",
    "doctor": "what keeps a node from running well here, and the remedies",
    "status": "what a node is doing",
    "matches": "the matches of a node",
    "rooms": "the rooms that a node hosts itself",
    "kick": "remove a player from a match",
    "end": "end a match",
    "drain": "take no new matches and stop when the last one ends",
    "keys": "list a node's keys, or let new ones take over",
    "explain": "why a player is not matched",
}

#: Commands that have a package of their own.
_PACKAGES = {"check": "vinom.check.command", "doctor": "vinom.doctor.command"}


def module_of(name: str) -> str:
    """Find the module of a command: it has ``add_arguments`` and ``run``."""
    return _PACKAGES.get(name, f"vinom.commands.{name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one subcommand.

    :param arguments: without the program's name; those of this process unless given.
    :returns: exit code: 2 if the caller must change something.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="vinom",
        description="Game sessions on Twisted. The server is: twistd vinom --help",
    )
    parser.add_argument("--version", action="version", version=f"vinom {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    # Only the asked one is imported: `vinom status` must not load a terminal.
    asked = next((word for word in given if not word.startswith("-")), None)
    for name, told in COMMANDS.items():
        command = commands.add_parser(name, help=told, description=told)
        if name == asked:
            module = importlib.import_module(module_of(name))
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    options = parser.parse_args(given)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        code: int = options.run(options)
    except Misconfigured as error:
        print(f"vinom {options.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more can be said.
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        return 130
    return code
