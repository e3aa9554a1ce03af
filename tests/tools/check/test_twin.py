"""``vinom check GAME --twin FILE``: the rules in two languages."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from math import sin
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from tests.support.glimpse import Glances, Glimpse
from tests.support.javascript import FOLDER
from tests.support.labs import LABS
from tests.support.needs import needs
from vinom.errors import Misconfigured
from vinom.game import Table
from vinom.tools.check import command, twin
from vinom.tools.commands.cli import declare


class Waves(Glimpse):
    """Moves by a sine, which differs from system to system."""

    def start(self, table: Table) -> Glances:
        return replace(super().start(table), tick=round(sin(0.0)))


def _looks() -> str:
    """The twin of `Glimpse`: what was shown is in each input."""
    return (
        "export function step(s, inputs, n) {"
        "  const seen = inputs.map(({ seat, tick }) => [seat, tick]);"
        "  return { tick: n, seen: [...s.seen, ...seen].slice(-10) };"
        "}"
    )


class TwinTests(SynchronousTestCase):
    def setUp(self) -> None:
        needs("node")
        self.patch(sys, "path", [str(LABS), *sys.path])

    def check(self, game: str, path: str | Path, *more: str) -> tuple[int, str]:
        """Run the command; the exit code, and what it printed."""
        parser = argparse.ArgumentParser()
        declare(command, parser)
        options = parser.parse_args([game, "--twin", str(path), "--games=1", *more])
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = command.run(options)
        return code, out.getvalue()

    def script(self, text: str) -> Path:
        """Write a twin."""
        path = Path(self.mktemp()).with_suffix(".mjs")
        path.write_text(text)
        return path

    def test_arena(self) -> None:
        """
        The arena's board predicts what the server computes, in every tick.
        """
        code, said = self.check("arena", FOLDER / "arena_twin.mjs")
        self.assertEqual((code, said[:10]), (0, "arena: ok "), said)
        self.assertIn("6 games, 2400 ticks; compared: players", said)

    def test_lab(self) -> None:
        """
        The twin of the manual agrees; a gust that it doesn't know is found, with the
        tick and the field.
        """
        code, said = self.check("labs:Prediction", LABS / "twin.js")
        self.assertEqual((code, said.partition(" (")[0]), (0, "prediction: ok"))
        code, said = self.check("labs:Reconciliation", LABS / "twin.js")
        self.assertEqual(code, 1)
        self.assertRegex(
            said, r"twin: tick 60: paddles\[0\].x is \d+ in the game, \d+ "
        )

    def test_what_was_shown(self) -> None:
        """
        Inputs have the tick that their player was shown.
        """
        code, said = self.check("tests.support.glimpse:Glimpse", self.script(_looks()))
        self.assertEqual(code, 0, said)

    def test_recording(self) -> None:
        """
        A recording takes the place of random games.
        """
        path = Path(self.mktemp())
        path.write_bytes(twin.random_recording(Glimpse(), "glimpse", 2, 5))
        asked = "tests.support.glimpse:Glimpse", self.script(_looks())
        code, said = self.check(*asked, f"--recording={path}")
        self.assertEqual(code, 0)
        self.assertIn("(1 games, 400 ticks; compared: seen, tick)", said)
        with self.assertRaisesRegex(Misconfigured, "No such file"):
            self.check(*asked, "--recording=none")

    def test_useless(self) -> None:
        """
        A step that returns nothing, or no object, is found; one that fails is named
        with its tick.
        """
        game = "tests.support.glimpse:Glimpse"
        for text, words in (
            ("export const step = () => ({});", "returned no field of the state"),
            (
                "export const step = () => ({ seen: {} });",
                "returned no field of the state",
            ),
            (
                "export const step = () => 5;",
                "tick 1: step() returned 5, not an object",
            ),
            (
                "export const step = () => ({ wind: 1 });",
                "wind is no field of the state",
            ),
            ("export const step = () => ({ seen: [] });", "items in the game, 0 in"),
            (
                "export const step = () => ({ tick: true });",
                "tick is 1 in the game, True",
            ),
        ):
            code, said = self.check(game, self.script(text))
            self.assertEqual(code, 1)
            self.assertIn(words, said)
        for text, words in (
            (
                "export const step = (s, _, n) => (n > 3 ? s.no.where : {});",
                "tick 4: TypeE",
            ),
            ("export const move = 5;", "exports no function step"),
            (
                "export const step = (s, _, n) => (n > 3 ? process.exit() : {});",
                "at tick 4: node ended",
            ),
            (
                "process.on('exit', () => process.exit(3)); "
                "export const step = () => ({});",
                "mjs: node ended",
            ),
        ):
            with self.assertRaisesRegex(Misconfigured, words):
                self.check(game, self.script(text))

    def test_inexact(self) -> None:
        """
        Functions that systems compute differently are named, in both languages.
        """
        text = f"{_looks()} export const far = (x, y) => Math.hypot(x, y) // Math.sin"
        code, said = self.check(
            f"{__name__}:Waves", self.script(text.replace("tick: n, ", ""))
        )
        self.assertEqual(code, 0, said)
        self.assertIn("uses Math.hypot: systems compute that differently", said)
        self.assertIn("glimpse uses sin: ", said)

    def test_cannot_be(self) -> None:
        """
        A game without ticks, a file that is not there, and no Node are said in a
        sentence.
        """
        with self.assertRaisesRegex(Misconfigured, "dice has no tick_hz"):
            self.check("dice", "twin.js")
        with self.assertRaisesRegex(Misconfigured, "there is no such file"):
            self.check("arena", "none.js")

        def which(name: str) -> Any:
            return None

        self.patch(twin, "which", which)
        with self.assertRaisesRegex(Misconfigured, "needs Node.js 20 or newer"):
            self.check("arena", FOLDER / "arena_twin.mjs")
