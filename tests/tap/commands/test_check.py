"""``vinom check``, as an author types it."""

from __future__ import annotations

import argparse
import contextlib
import io
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.games import Cards
from vinom.errors import Misconfigured
from vinom.tap.commands import check as command


class Shaky(Cards):
    """Fails with its first action."""

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        raise ZeroDivisionError("boom")


class Endless(Cards):
    """Never sees its first action through."""

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        while True:
            pass


class CheckTests(SynchronousTestCase):
    def run_command(self, *arguments: str) -> tuple[int, str]:
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = command.run(parser.parse_args(arguments))
        return code, out.getvalue()

    def test_a_good_game(self) -> None:
        """
        A good game exits 0.
        """
        code, out = self.run_command("tests.support.games:Cards", "--games", "1")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"^cards: ok \(2 games, \d+ steps\)\n$")

    def test_a_game_that_depends_on_its_process(self) -> None:
        """
        A game whose result hangs on the order of a set is found out by a
        second process.
        """
        code, out = self.run_command("tests.support.games:HashOrdered", "--games", "1")
        self.assertEqual(code, 1)
        self.assertIn("hash_seed: step 0", out)

    def test_a_leaking_game(self) -> None:
        """
        What was found is printed, one line each, and it exits 1.
        """
        code, out = self.run_command("tests.support.games:Peeking")
        self.assertEqual(code, 1)
        self.assertIn("leak: cards[0] is not public", out)

    def test_an_endless_game(self) -> None:
        """
        A call that never returns is told with its line; the check ends.
        """
        spec = f"{Endless.__module__}:{Endless.__name__}"
        code, out = self.run_command(spec, "--games", "1")
        self.assertEqual(code, 1)
        self.assertRegex(out, r"TooSlow: act\(\) took more than 2 s.*test_check.py:\d+")

    def test_a_failing_game(self) -> None:
        """
        An exception is told once, with the author's own file and line.
        """
        code, out = self.run_command("tests.tap.commands.test_check:Shaky")
        self.assertEqual(code, 1)
        faults = [line for line in out.splitlines() if line.startswith("fault: ")]
        self.assertEqual(len(faults), 1, out)
        self.assertRegex(
            faults[0],
            r"^fault: ZeroDivisionError: boom \(test_check.py:\d+, in act\) "
            r"\[at \d+\.\d+ s, version \d+\]$",
        )

    def test_mistakes(self) -> None:
        """
        A game that is not there is one sentence.
        """
        for arguments, why in (
            (("chess",), "no installed game is called 'chess'"),
            (("no_such:Game",), "cannot import"),
            (("maze", "--games", "0"), "--games"),
        ):
            with self.assertRaisesRegex(Misconfigured, why):
                self.run_command(*arguments)
