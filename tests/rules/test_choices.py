"""Options and loadouts, as players send them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Code, Refused
from vinom.games.maze import Maze, MazeOptions
from vinom.rules.choices import (
    canonical_loadout,
    canonical_options,
    read_loadout,
    read_options,
)


class ChoicesTests(SynchronousTestCase):
    def test_equal_choices_are_equal_bytes(self) -> None:
        """
        Players who chose the same meet, however they wrote it.
        """
        texts = (b"{}", b'{"rows": 10}', b'{"cols":20,"rows":10}', b'{"minutes": 5}')
        written = {canonical_options(Maze(), text) for text in texts}
        self.assertEqual(written, {b'{"cols":20,"minutes":5.0,"rows":10}'})
        self.assertEqual(canonical_loadout(Maze(), b" {} "), b"{}")
        self.assertEqual(read_options(Maze(), b"{}"), MazeOptions())

    def test_refusals_name_the_field(self) -> None:
        """
        A player is told which field is wrong.
        """
        for text, field in (
            (b'{"rows": "ten"}', "rows"),
            (b'{"rows": 1}', "rows"),
            (b'{"speed": 1}', ""),
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
