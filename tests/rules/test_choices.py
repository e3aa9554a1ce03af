"""Options and loadouts, as players send them."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Code, Refused
from vinom.games.maze import Maze, MazeOptions
from vinom.rules.choices import (
    action_reader,
    read_loadout,
    read_options,
)


class ChoicesTests(SynchronousTestCase):
    def test_left_out_choices(self) -> None:
        """
        What a player does not choose is the game's default.
        """
        self.assertEqual(read_options(Maze(), b"{}"), MazeOptions())
        self.assertEqual(read_options(Maze(), b'{"rows": 4}'), MazeOptions(rows=4))

    def test_actions_name_the_missing_field(self) -> None:
        """
        Whoever writes a client is told which field of an action is missing.
        """
        read = action_reader(Maze())
        with self.assertRaises(Refused) as caught:
            read(msgspec.msgpack.encode({"type": "move", "direction": "up"}))
        self.assertEqual(caught.exception.code, Code.BAD_ACTION)
        self.assertEqual(caught.exception.details, {"field": "from"})

    def test_refusals_name_the_field(self) -> None:
        """
        A player is told which field is wrong.
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

    @given(st.binary(max_size=200))
    @settings(max_examples=300, deadline=None)
    def test_any_bytes(self, text: bytes) -> None:
        """
        Whatever a player sends as options is read or refused.
        """
        try:
            self.assertIsInstance(read_options(Maze(), text), MazeOptions)
        except Refused as refused:
            self.assertEqual(refused.code, Code.BAD_OPTIONS)
