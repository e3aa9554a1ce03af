"""``vinom check``, as an author types it."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import re
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from tests.support.games import Cards
from vinom.errors import Misconfigured
from vinom.tools.check import command
from vinom.tools.commands.cli import declare


class Shaky(Cards):
    """Fails with its first action."""

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        raise ZeroDivisionError("boom")


class Endless(Cards):
    """Never sees its first action through."""

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        while True:
            pass


CARDS = "tests.support.games:Cards"


class Slow(Cards):
    """Has very much to show before it is over."""

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        chance = s.chance.draw()[1]
        if now < 50:
            return replace(s, chance=chance)
        return super().act(replace(s, chance=chance), seat, action, now)


class Deadly(Cards):
    """Ends its process."""

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        os._exit(7)


class Terminal(io.StringIO):
    """Where somebody looks."""

    def isatty(self) -> bool:
        return True


class CheckTests(SynchronousTestCase):
    def run_command(self, *arguments: str, **settings: Any) -> tuple[int, str]:
        code, out, _ = self.run_watched(io.StringIO(), *arguments, **settings)
        return code, out

    def run_watched(
        self,
        stderr: io.StringIO,
        *arguments: str,
        seconds: Callable[[], float] = lambda: 0.0,
    ) -> tuple[int, str, str]:
        """Run the command; the exit code, what it prints, and its progress."""
        parser = argparse.ArgumentParser()
        declare(command, parser)
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(stderr):
            code = command.run(parser.parse_args(arguments), seconds)
        return code, out.getvalue(), stderr.getvalue()

    def test_a_good_game(self) -> None:
        """
        A good game exits 0.
        """
        code, out = self.run_command("tests.support.games:Cards", "--games", "1")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"^cards: ok \(2 games, \d+ steps\)\n$")

    def test_how_much_is_played(self) -> None:
        """
        As many games are played as were asked for; unless they were counted, none
        begins when the time is over, but every number of players gets its game.
        """
        for arguments, clock, games in (
            ((), lambda: 0.0, 6),
            ((), itertools.count(step=20).__next__, 2),
            (("--games", "4"), itertools.count(step=20).__next__, 8),
            (("--seconds", "0"), lambda: 0.0, 2),
            (("--games", "1", "--seconds", "20"), lambda: 0.0, 2),
        ):
            _, out = self.run_command(CARDS, "--jobs", "1", *arguments, seconds=clock)
            self.assertIn(f"cards: ok ({games} games, ", out, arguments)

    def test_time_that_is_over(self) -> None:
        """
        A game whose time is over is cut short, and the command says so.
        """
        arguments = ("--seconds", "3", "--jobs", "1")
        slow = "tests.tools.check.test_command:Slow"
        code, out = self.run_command(
            slow, *arguments, seconds=itertools.count().__next__
        )
        self.assertEqual(code, 0)
        self.assertIn("note: games of 2, 3 players were cut short", out)
        self.assertIn("cards: ok (2 games, ", out)

    def test_progress(self) -> None:
        """
        At a terminal one line shows which game is played and is wiped in the end;
        elsewhere a short check is silent, and a long one prints a line every few
        seconds.
        """
        arguments = (CARDS, "--games", "3", "--jobs", "1")
        _, _, told = self.run_watched(Terminal(), *arguments)
        lines = told.split("\r\x1b[K")
        self.assertEqual(lines[1], "cards: game 1, 2 players")
        self.assertEqual(lines[-1], "")
        self.assertNotIn("\n", told)
        _, _, told = self.run_watched(io.StringIO(), *arguments)
        self.assertEqual(told, "")
        _, _, told = self.run_watched(
            io.StringIO(), *arguments, seconds=itertools.count().__next__
        )
        self.assertRegex(told, r"^(cards: .+\n){1,7}$")
        self.assertRegex(told, r"cards: game \d, [23] players\n")

    def test_the_seed_shows_it_again(self) -> None:
        """
        The seed of a finding, given with --seed, finds it in the first game.
        """
        dividing = "tests.support.broken_games:Dividing"
        # Options that it fails with come in the second round of games.
        few = ("--games", "2", "--seed", "16", "--jobs", "1")
        code, out = self.run_command(dividing, *few)
        self.assertEqual(code, 1)
        found = re.search(
            r"^fault: ZeroDivisionError.*\[seed (\d+), (.*)\]$", out, re.M
        )
        assert found is not None, out
        self.assertIn('options {"moves":0}', found[2])
        _, again = self.run_command(dividing, "--games", "1", "--seed", found[1])
        self.assertIn(found[0], again)

    def test_several_processes(self) -> None:
        """
        Games are played in several processes, and a process that a game takes down is
        a finding, with its seed.
        """
        clock = itertools.count(step=5).__next__
        arguments = ("--games", "3", "--jobs", "2")
        turns = "tests.support.broken_games:Turns"
        code, out = self.run_command(turns, *arguments, seconds=clock)
        self.assertEqual(code, 1)
        self.assertRegex(out, r"^left: after seat \d left, play waits for it again and")
        self.assertIn("turns: 1 to change (9 games, ", out)
        clock = itertools.count(step=5).__next__
        deadly = "tests.tools.check.test_command:Deadly"
        code, out = self.run_command(deadly, *arguments, seconds=clock)
        self.assertEqual(code, 1)
        self.assertRegex(
            out, r"^fault: the process that played it ended with exit code 7; .*\[seed "
        )

    def test_secrets(self) -> None:
        """
        The table shows who is shown which field of the state, and is the same each
        time.
        """
        drawing = "tests.support.broken_games:Drawing"
        code, out = self.run_command(drawing, "--secrets", "--jobs", "1")
        self.assertEqual(code, 0)
        # The fields of a chance are Vinom's own.
        rows = [line.split("  ") for line in out.splitlines() if "chance" not in line]
        cells = [[cell.strip() for cell in row if cell] for row in rows]
        self.assertEqual(
            cells,
            [
                ["drawing: who is shown which field of the state"],
                ["field", "phase", "seats", "spectators", "setup", "events", "outcome"],
                ["gone[]", "all", "-", "-", "-", "-", "-"],
                ["hands[][]", "all", "own", "-", "-", "-", "-"],
                ["pile[]", "all", "-", "-", "-", "own, one", "-"],
                ["turn", "all", "all", "all", "-", "-", "-"],
            ],
        )
        _, again = self.run_command(drawing, "--secrets", "--jobs", "2")
        self.assertEqual(again, out)

    def test_secrets_by_phase(self) -> None:
        """
        The table shows in which phase a secret is laid open, and that the event of a
        shot tells everybody of it: whether it hit.
        """
        battle = "tests.support.battleships:Battle"
        _, out = self.run_command(battle, "--secrets", "--jobs", "1")
        rows = [line.split("  ") for line in out.splitlines() if "ships" in line]
        self.assertEqual(
            [[cell.strip() for cell in row if cell] for row in rows],
            [
                ["ships[][]", "hiding", "own", "-", "-", "-", "-"],
                ["ships[][]", "over", "all", "all", "-", "-", "-"],
                ["ships[][]", "shooting", "own", "-", "-", "all", "-"],
            ],
        )

    def test_a_secret_that_is_not_declared(self) -> None:
        """
        A game that keeps a field apart for each seat passes, with the advice to declare
        it; one that declares it gets no advice.
        """
        advice = "note: each seat alone sees its own 'ships': with secret = ('ships',)"
        for name, told in (("Undeclared", True), ("Battle", False)):
            spec = f"tests.support.battleships:{name}"
            code, out = self.run_command(spec, "--games", "1", "--jobs", "1")
            self.assertEqual(code, 0, out)
            self.assertEqual(advice in out, told, out)

    def test_a_game_that_depends_on_its_process(self) -> None:
        """
        A second process finds a game whose result depends on the order of a set.
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
        self.assertRegex(out, r"(?m)^leak: cards\[\d\] is not public")

    def test_an_endless_game(self) -> None:
        """
        A call that never returns is reported with its line; the check ends.
        """
        spec = f"{Endless.__module__}:{Endless.__name__}"
        code, out = self.run_command(spec, "--games", "1")
        self.assertEqual(code, 1)
        self.assertRegex(
            out, r"TooSlow: act\(\) took more than 2 s.*test_command.py:\d+"
        )

    def test_a_failing_game(self) -> None:
        """
        An exception is reported once, with the author's own file and line.
        """
        code, out = self.run_command("tests.tools.check.test_command:Shaky")
        self.assertEqual(code, 1)
        faults = [line for line in out.splitlines() if line.startswith("fault: ")]
        self.assertEqual(len(faults), 1, out)
        self.assertRegex(
            faults[0],
            r"^fault: ZeroDivisionError: boom \(test_command.py:\d+, in act\) "
            r"\[seed 0, 2 players, .*at \d+\.\d+ s, version \d+\]$",
        )

    def test_one_fault_at_several_times(self) -> None:
        """
        A fault whose words differ only in their numbers is one finding, in a sentence
        without the name of our own exception; one player is a player.
        """
        code, out = self.run_command("tests.support.broken_games:TwoClocks")
        self.assertEqual(code, 1)
        self.assertRegex(
            out,
            r"\Afault: deadline\(\) is still \S+ after advance\(\) at \S+: handle .*\n"
            r"(?:note: .*\n)?clocks: 1 to change ",
        )
        _, out = self.run_command("tests.support.broken_games:Alone")
        self.assertRegex(out, r"^leak: .* \[seed 0, 1 player\]")

    def test_mistakes(self) -> None:
        """
        A game that is not there is one sentence.
        """
        for arguments, why in (
            (("chess",), "no installed game is called 'chess'"),
            (("no_such:Game",), "cannot import"),
            (("maze", "--games", "0"), "--games"),
            (("maze", "--seconds", "nan"), "--seconds"),
        ):
            with self.assertRaisesRegex(Misconfigured, why):
                self.run_command(*arguments)
