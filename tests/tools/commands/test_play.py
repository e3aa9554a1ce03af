"""Which lobby player commands use."""

from __future__ import annotations

import argparse

from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import authority
from vinom.errors import Misconfigured
from vinom.play.game_loader import find_game
from vinom.tools.commands import play
from vinom.tools.commands.cli import declare
from vinom.tools.commands.play import (
    LobbyAddress,
    lobby_address,
    parse_address,
    parse_json,
)


class DialingTests(SynchronousTestCase):
    def read(self, *words: str) -> LobbyAddress:
        parser = argparse.ArgumentParser()
        declare(play, parser)
        return lobby_address(parser.parse_args(["maze", *words]))

    def test_addresses(self) -> None:
        """
        Names, IPv4 and IPv6 addresses are understood, and shown as typed.
        """
        for text, host in (
            ("localhost:4600", "localhost"),
            ("127.0.0.1:4600", "127.0.0.1"),
            ("[::1]:4600", "::1"),
        ):
            self.assertEqual(parse_address(text), (host, 4600))
            self.assertEqual(str(self.read("--connect", text)), text)

    def test_bad_addresses(self) -> None:
        """
        Anything else is refused with one line that shows the form.
        """
        for text in ("", "host", "host:", ":1", "::1:4600", "h:0", "h:65536", "h:x"):
            error = self.assertRaises(Misconfigured, parse_address, text)
            self.assertIn("HOST:PORT", str(error))

    def test_tls(self) -> None:
        """
        An authority's certificate, or this machine's trust, switches TLS on.
        """
        self.assertIsNone(self.read().tls)
        self.assertIs(self.read("--tls").tls, True)
        path = self.mktemp()
        self.assertRaises(Misconfigured, self.read, "--tls-authority", path)
        with open(path, "wb") as file:
            file.write(b"PEM")
        error = self.assertRaises(Misconfigured, self.read, "--tls-authority", path)
        self.assertIn("is not a certificate in PEM", str(error))
        anchor = authority().anchor
        with open(path, "wb") as file:
            file.write(anchor)
        self.assertEqual(self.read("--tls-authority", path).tls, anchor)

    def test_name_without_tls(self) -> None:
        """
        A certificate without TLS is an error, and not ignored.
        """
        words = ("--tls-name", "play.example.org")
        error = self.assertRaises(Misconfigured, self.read, *words)
        self.assertIn("--tls-name needs", str(error))
        self.assertEqual(self.read(*words, "--tls").tls_name, words[1])

    def test_games(self) -> None:
        """
        A game is found by name or by class; an unknown one names the known.
        """
        self.assertEqual(find_game("maze")[0], "maze")
        self.assertEqual(find_game("vinom.games.maze:Maze")[0], "maze")
        error = self.assertRaises(Misconfigured, find_game, "chess")
        self.assertIn("maze", str(error))

    def test_json(self) -> None:
        """
        Options of a game are one JSON object.
        """
        self.assertIsNone(parse_json("--options", None))
        self.assertEqual(parse_json("--options", '{"rows": 4}'), {"rows": 4})
        for text in ("{", "[]", "1"):
            self.assertRaises(Misconfigured, parse_json, "--options", text)
