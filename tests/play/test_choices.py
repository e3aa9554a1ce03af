"""Options and loadouts, as players send them."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Code, Refused
from vinom.game import Game
from vinom.games.maze import Maze, MazeOptions
from vinom.play.choices import (
    action_reader,
    canonical_loadout,
    canonical_options,
    json_action_reader,
    read_loadout,
    read_options,
)


class Numbers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers without bounds, wherever they may be."""

    one: int = 0
    many: tuple[int, ...] = ()
    keys: dict[int, int] = {}
    any: Any = None


class Counting(Game[Any, Any]):
    """A game whose author trusts in numbers."""

    actions = options = loadout = Numbers


class ChoicesTests(SynchronousTestCase):
    def test_left_out_choices(self) -> None:
        """
        What a player does not choose is the game's default.
        """
        self.assertEqual(read_options(Maze(), b"{}"), MazeOptions())
        self.assertEqual(read_options(Maze(), b'{"rows": 4}'), MazeOptions(rows=4))

    def test_actions_name_the_missing_field(self) -> None:
        """
        The author of a client sees which field of an action is missing.
        """
        read = action_reader(Maze())
        with self.assertRaises(Refused) as caught:
            read(msgspec.msgpack.encode({"type": "move", "direction": "up"}))
        self.assertEqual(caught.exception.code, Code.BAD_ACTION)
        self.assertEqual(caught.exception.details, {"field": "from"})

    def test_refusals_name_the_field(self) -> None:
        """
        A refusal names the invalid field.
        """
        for text, field in (
            (b'{"rows": "ten"}', "rows"),
            (b'{"rows": 1}', "rows"),
            (b'{"speed": 1}', "speed"),
            (b"[]", ""),
            (b"", ""),
            (b'{"rows": \xff}', ""),
        ):
            with self.assertRaises(Refused) as caught:
                read_options(Maze(), text)
            self.assertEqual(caught.exception.code, Code.BAD_OPTIONS)
            self.assertEqual(caught.exception.details, {"field": field})
        with self.assertRaises(Refused) as caught:
            read_loadout(Maze(), b'{"sword": 1}')
        self.assertEqual(caught.exception.code, Code.BAD_LOADOUT)

    def test_long_numbers(self) -> None:
        """
        A number that cannot be shown over UDP is not taken from JSON, wherever it
        is: one player could end the match of all, or its recording.
        """
        game = Counting()
        readers = (
            (Code.BAD_ACTION, "", json_action_reader(game)),
            (Code.BAD_OPTIONS, "", lambda text: read_options(game, text)),
            (Code.BAD_LOADOUT, "", lambda text: read_loadout(game, text)),
            (Code.BAD_OPTIONS, "o.", lambda text: canonical_options(game, text, "o")),
            (Code.BAD_LOADOUT, "l.", lambda text: canonical_loadout(game, text, "l")),
        )
        for code, root, read in readers:
            for number in (2**64, -(2**63) - 1, 10**30):
                for text, field in (
                    (f'{{"one":{number}}}', "one"),
                    (f'{{"many":[1,{number}]}}', "many[1]"),
                    (f'{{"keys":{{"{number}":1}}}}', "keys"),
                    (f'{{"any":{{"x":[{number}]}}}}', "any.x[0]"),
                    (f'{{"any":{"[" * 500}{number}{"]" * 500}}}', "any" + "[0]" * 500),
                ):
                    with self.assertRaises(Refused) as caught:
                        read(text.encode())
                    self.assertEqual(caught.exception.code, code)
                    self.assertEqual(caught.exception.details, {"field": root + field})
            for number in (2**64 - 1, -(2**63), 0):
                read(f'{{"one":{number},"keys":{{"{number}":{number}}}}}'.encode())
            read(b'{"any":["12345678901234567890123",0.12345678901234567890123]}')

    @given(st.binary(max_size=200))
    @settings(max_examples=300, deadline=None)
    def test_any_bytes(self, text: bytes) -> None:
        """
        Any options that a player sends are read or refused.
        """
        try:
            self.assertIsInstance(read_options(Maze(), text), MazeOptions)
        except Refused as refused:
            self.assertEqual(refused.code, Code.BAD_OPTIONS)
