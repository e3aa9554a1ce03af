"""``vinom servers`` and ``vinom drain SERVER``, as they are typed."""

from __future__ import annotations

import argparse

from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Misconfigured
from vinom.tools.commands.admin import VERBS, show_servers
from vinom.tools.commands.cli import declare


def typed(command: str, *words: str) -> argparse.Namespace:
    """Read the words of a command line."""
    parser = argparse.ArgumentParser()
    declare(VERBS[command], parser)
    return parser.parse_args(words)


class ServersTests(SynchronousTestCase):
    """What an operator types and sees."""

    def test_moved(self) -> None:
        """
        A game server is moved by its name, whatever that is.
        """
        request = VERBS["drain"].request(typed("drain", "a/b", "--move"))
        self.assertEqual((request.method, request.page), ("POST", "servers/a%2Fb/move"))

    def test_without_move(self) -> None:
        """
        Without ``--move`` the command says what it would be for, and asks nothing.
        """
        with self.assertRaisesRegex(Misconfigured, "add --move"):
            VERBS["drain"].request(typed("drain", "abc"))

    def test_listed(self) -> None:
        """
        Those with matches come first; without any, that is said.
        """
        warm = {"stage": "warm", "pid": 12, "port": None, "matches": []}
        busy = {"stage": "listening", "pid": 7, "port": 46000, "matches": ["m1"]}
        shown = show_servers({"fleet": {"game_servers": {"a": warm, "b": busy}}})
        self.assertEqual(
            [line.split() for line in shown.splitlines()],
            [
                ["SERVER", "STAGE", "PROCESS", "PORT", "MATCHES"],
                ["b", "listening", "7", "46000", "m1"],
                ["a", "warm", "12", "-", "-"],
            ],
        )
        none = show_servers({"fleet": {"game_servers": {}}})
        self.assertEqual(none, "no game servers")
