"""``vinom play maze``: play in this terminal."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from typing import Any

from twisted.internet.defer import Deferred

from vinom.client.play import MazeGame
from vinom.client.sdk import Client, connect
from vinom.client.terminal import Keyboard, Screen, can_draw, has_colour, has_unicode
from vinom.errors import Misconfigured
from vinom.tap.dialing import add_lobby_arguments, lobby_address, parse_json
from vinom.tap.foreground import run_in_foreground


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked."""
    parser.add_argument("game", choices=["maze"], help="what to play")
    add_lobby_arguments(parser)
    parser.add_argument("--name", help="what others see (your user name)")
    parser.add_argument("--options", metavar="JSON", help="the game's options")


def run(options: argparse.Namespace) -> int:
    """
    Play; 0 unless the lobby cannot be reached or refuses us.

    :raises Misconfigured: this is no terminal, or the options make no sense.
    """
    if not (sys.stdin.isatty() and can_draw(sys.stdout, os.environ)):
        raise Misconfigured("this needs a terminal; vinom bots plays without one")
    lobby = lobby_address(options)
    wish = parse_json("--options", options.options)
    name = options.name or _user_name()
    screen = Screen(sys.stdout)
    games: list[AtTerminal] = []

    def build(reactor: Any) -> AtTerminal:
        def dial() -> Deferred[Client]:
            return connect(
                reactor,
                lobby.host,
                lobby.port,
                name=name,
                tls=lobby.tls,
                tls_name=lobby.tls_name,
            )

        game = MazeGame(
            reactor,
            dial,
            str(lobby),
            wish,
            screen,
            colour=has_colour(os.environ),
            ascii_only=not has_unicode(sys.stdout),
        )
        games.append(AtTerminal(reactor, game, screen))
        return games[0]

    try:
        return run_in_foreground(build)
    finally:
        for at_terminal in games:
            at_terminal.give_back()
            for words in at_terminal.game.last_words:
                print(words)


class AtTerminal:
    """A game, with the terminal taken for as long as it lasts."""

    def __init__(self, reactor: Any, game: MazeGame, screen: Screen) -> None:
        self.game, self._screen = game, screen
        self._keyboard = Keyboard(reactor, game.press)

    def run(self) -> Deferred[int]:
        """Take the terminal and play; fires with the exit code."""
        self._screen.enter()
        self._keyboard.start()
        return self.game.run().addBoth(self._done)

    def stop(self) -> None:
        """Quit."""
        self.game.stop()

    def give_back(self) -> None:
        """Give the terminal back; a second time does nothing."""
        self._keyboard.stop()
        self._screen.leave()

    def _done(self, result: Any) -> Any:
        self.give_back()
        return result


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "player"
