"""A game for weeks and one of 20 steps per second, written from the manual alone."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.needs import needs
from tests.support.newcomer import reversi, snakes
from tests.support.newcomer.reversi import DAY, Place, Reversi
from tests.support.newcomer.snakes import Snakes, Steer
from vinom.testing import play
from vinom.tools.check import command
from vinom.tools.commands.cli import declare

FOLDER = Path(reversi.__file__).parent


class ReversiTests(SynchronousTestCase):
    def test_turns(self) -> None:
        """
        A disc turns those it encloses; one that encloses nothing is refused.
        """
        match = play(Reversi)
        self.assertEqual(match.view().turn, 0)
        match.act(0, Place(2, 3))
        self.assertEqual(match.view().board[3][3], 0)
        self.assertEqual(match.rejected(1, Place(7, 7)), "turns_nothing")

    def test_days(self) -> None:
        """
        Both players are away; three days after the last move the one to move has lost.
        """
        match = play(Reversi)
        match.drop(0)
        match.drop(1)
        match.wait(3 * DAY - 1)
        self.assertIsNone(match.outcome)
        match.wait(1)
        self.assertEqual(match.outcome.places, ((1,), (0,)))


class SnakesTests(SynchronousTestCase):
    def test_edge(self) -> None:
        """
        Who turns at the edge lives; who doesn't has lost.
        """
        match = play(Snakes)
        match.tick(70)
        match.act(0, Steer(1))
        match.tick(20)
        self.assertIsNone(match.outcome)
        match.tick(20)
        self.assertEqual(match.outcome.places, ((0,), (1,)))

    def test_prediction(self) -> None:
        """
        The rules that the board predicts by are those of the game.
        """
        needs("node")
        self.patch(sys, "path", [str(FOLDER), *sys.path])
        parser = argparse.ArgumentParser()
        declare(command, parser)
        game, twin = f"{snakes.__name__}:Snakes", str(FOLDER / "rules.js")
        options = parser.parse_args([game, "--twin", twin, "--games=2"])
        with contextlib.redirect_stdout(io.StringIO()) as said:
            self.assertEqual(command.run(options), 0)
        self.assertIn("compared: snakes", said.getvalue())
