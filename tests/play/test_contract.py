"""What a game and its clients agree on, read from the game's declarations."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, msgpack
from twisted.trial.unittest import SynchronousTestCase

from tests.support.battleships import Battle, ShowingAll
from tests.support.games import TaleView, Teller
from vinom.games.maze import Maze
from vinom.games.tictactoe import TicTacToe, TicTacToeOptions
from vinom.play.contract import contract_of, document, misfit


class Rolled(Struct, frozen=True):
    """Dice were rolled."""

    dice: tuple[int, ...]
    score: int = 0


class Short(Struct, frozen=True, omit_defaults=True):
    """Is sent without its defaults."""

    score: int = 0


class Telling(Maze):
    """Declares its events, and its view by hand."""

    shows = Rolled
    tells = {"rolled": Rolled, "short": Short, "passed": None}  # noqa: RUF012 - as authors write it


class ContractTests(SynchronousTestCase):
    def test_views(self) -> None:
        """
        A view is declared by `shows`, by what view() is annotated to return, or by the
        state of a game without a view of its own; a game that declares none has none.
        """
        self.assertIs(contract_of(Telling()).parts["view"], Rolled)
        self.assertIs(contract_of(Teller()).parts["view"], TaleView)
        self.assertIs(contract_of(ShowingAll()).parts["view"], Any)
        found = contract_of(TicTacToe())
        self.assertEqual(found.parts["view"].__name__, "TicTacToeView")
        self.assertIs(found.parts["setup"], TicTacToeOptions)
        self.assertIn("board", found.parts["view"].__struct_fields__)

    def test_secrets(self) -> None:
        """
        Who reads a default view learns that the entries of other seats are null.
        """
        ships = document(contract_of(Battle()))["$defs"]["BattleView"]["properties"]
        entries = ships["ships"]["items"]["anyOf"]
        self.assertIn({"type": "null"}, entries)
        self.assertNotIn("chance", ships)

    def test_events(self) -> None:
        """
        Events are declared by kind; those of `TurnGame` are, without a word.
        """
        found = contract_of(TicTacToe())
        self.assertEqual(sorted(found.events)[:2], ["asked", "began"])
        self.assertFalse(found.is_closed)
        self.assertTrue(contract_of(Telling()).is_closed)

    def test_document(self) -> None:
        """
        The schema names fields as they are sent, with what docstrings say of them;
        what the server sends has all its fields, unless it leaves out defaults.
        """
        found = document(contract_of(Telling()))
        events = found["properties"]["events"]
        self.assertEqual(list(events["properties"]), ["rolled", "short", "passed"])
        self.assertFalse(events["additionalProperties"])
        defs = found["$defs"]
        self.assertEqual(defs["Rolled"]["required"], ["dice", "score"])
        self.assertEqual(defs["Short"]["required"], [])
        # Players send options, and may leave them out.
        self.assertEqual(defs["MazeOptions"]["required"], [])
        board = document(contract_of(TicTacToe()))["$defs"]["TicTacToeView"]
        self.assertIn("row by row", board["properties"]["board"]["description"])
        self.assertNotIn(":ivar", board["description"])

    def test_misfits(self) -> None:
        """
        What is sent and is not of its type is told apart: wrong, missing, undeclared.
        """
        for sent, why in (
            ({"dice": [1, 2], "score": 3}, ""),
            ({"dice": [1.5], "score": 3}, r"Expected `int`, got `float` - at `\$.dice"),
            ({"dice": [1]}, "score: 0 is missing"),
            ({"dice": [1], "score": 0, "pips": 7}, "pips: 7 is new"),
        ):
            self.assertRegex(
                misfit(msgpack.encode(sent), Rolled), f"^{why}" if why else "^$"
            )
        self.assertEqual(misfit(msgpack.encode({}), Short), "")
