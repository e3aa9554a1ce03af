"""Games of the settings whose game servers are programs of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Misconfigured, Refused
from vinom.game import NoLoadout
from vinom.games.maze import Maze
from vinom.node.build import game_server_program, own_program
from vinom.node.games import GameTable, all_games
from vinom.node.settings import gather
from vinom.node.web.pages import GameCatalogue
from vinom.play.choices import canonical_options, read_loadout

NIM = {
    "command": ["node", "nim.mjs"],
    "seats": [2, 2],
    "title": "Nim",
    "options": {"sticks": 21, "fast": False, "pace": 1.5, "skin": "wood"},
}


class OwnGamesTests(SynchronousTestCase):
    """``[games.NAME]``."""

    def tables(self, **tables: Any) -> dict[str, GameTable]:
        """Read tables as the settings do."""
        read = gather({"games": json.dumps(tables)}, {}).games
        assert read is not None
        return dict(read)

    def test_toml(self) -> None:
        """
        A table of the file is read.
        """
        path = Path(self.mktemp())
        path.write_text('[games.nim]\ncommand = ["nim"]\nseats = [2, 3]\n')
        games = gather({}, {}, path).games
        assert games is not None
        self.assertEqual((("nim",), (2, 3)), (games["nim"].command, games["nim"].seats))

    def test_described(self) -> None:
        """
        A game that only its program knows has its seats, and options with defaults and
        types; its rooms are played by game servers.
        """
        game = all_games((), self.tables(nim=NIM))["nim"]
        self.assertEqual(("nim", (2, 2)), (game.name, game.seats))
        self.assertEqual(
            b'{"fast":false,"pace":1.5,"skin":"wood","sticks":21}',
            canonical_options(game, b"{}"),
        )
        for wrong in (b'{"sticks":"many"}', b'{"stones":1}', b'{"fast":1}'):
            no = self.assertRaises(Refused, canonical_options, game, wrong)
            self.assertEqual("bad_options", no.code)
        self.assertEqual(NoLoadout(), read_loadout(game, b"{}"))

    def test_everybody_has_a_view(self) -> None:
        """
        The node does not assume that all players of such a game see the same.
        """
        game = all_games((), self.tables(nim=NIM))["nim"]
        self.assertEqual([None, 0, 1], [game.audience(None, s) for s in (None, 0, 1)])

    def test_listed(self) -> None:
        """
        Pages list such a game like any other.
        """
        games = all_games((), self.tables(nim=NIM))
        listed = GameCatalogue(games)._found["nim"]
        self.assertEqual(("Nim", [2, 2]), (listed["title"], listed["seats"]))

    def test_installed(self) -> None:
        """
        A game that is installed keeps its rules; only its rooms change their place.
        """
        game = all_games((), self.tables(maze={"command": ["maze"]}))["maze"]
        self.assertIsInstance(game, Maze)

    def test_no_such_program(self) -> None:
        """
        A node does not start if a game's program is missing: it logged that with each
        attempt to start one, and its players waited.
        """
        usual = game_server_program(gather({"wall": "no"}, {}))
        control = Path("control.sock")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        program = folder / "server"
        for command, place in (
            ("no-such-program", ""),
            ("/nonexistent/server", ""),
            ("./server", str(folder)),
        ):
            table = GameTable(command=(command,), folder=place)
            told = str(
                self.assertRaises(
                    Misconfigured, own_program, usual, "nim", table, control
                )
            )
            self.assertIn(
                f"games.nim.command: there is no program {command}", told, place
            )
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        own_program(usual, "nim", table, control)
        own_program(usual, "nim", GameTable(command=("sh",)), control)

    def test_mistakes(self) -> None:
        """
        A wrong table is an error that names the game and what is wrong.
        """
        for table, words in (
            ({}, "set command"),
            ({"command": []}, "length >= 1"),
            ({"command": [""]}, "its command is empty"),
            ({"command": "nim"}, "command must be a list, not a text"),
            ({**NIM, "seats": [3, 2]}, "must have the smaller number first"),
            ({**NIM, "seats": [0, 2]}, ">= 1"),
            ({**NIM, "colour": "red"}, "there is no 'colour' in it"),
            ({**NIM, "options": {"a b": 1}}, "'a b' must be a name"),
            ({**NIM, "options": {"deep": {}}}, "options"),
            ({**NIM, "memory_mb": 1}, ">= 16"),
        ):
            told = str(self.assertRaises(Misconfigured, self.tables, nim=table))
            self.assertIn("games has a wrong game 'nim'", told)
            self.assertIn(words, told)
        told = str(self.assertRaises(Misconfigured, self.tables, **{"Nim!": NIM}))
        self.assertIn("not 'Nim!'", told)
        tables = self.tables(nim={**NIM, "teams": 3})
        told = str(self.assertRaises(Misconfigured, all_games, (), tables))
        self.assertIn("more teams than seats", told)
