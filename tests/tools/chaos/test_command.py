"""``vinom chaos``: its options."""

from __future__ import annotations

import argparse

from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Misconfigured
from vinom.net.dtls.bad_network import Conditions
from vinom.tools.chaos import command
from vinom.tools.chaos.plan import Plan, Report
from vinom.tools.commands.cli import declare
from vinom.tools.promises.witness import Broken


class OptionsTests(SynchronousTestCase):
    """What may be typed."""

    def plan(self, *typed: str) -> Plan:
        """Read a command line."""
        parser = argparse.ArgumentParser()
        declare(command, parser)
        return command.read_plan(parser.parse_args(typed))

    def test_defaults(self) -> None:
        """
        Without options nothing is lost or killed, and each run has a seed of its own.
        """
        plan = self.plan()
        self.assertEqual(
            (plan.habits.name, plan.matches, plan.seconds), ("maze", 20, 120.0)
        )
        self.assertEqual((plan.conditions, plan.strikes, plan.redis), (None, (), ""))
        self.assertNotEqual(plan.seed, self.plan().seed)

    def test_everything(self) -> None:
        """
        A game of one's own, a bad network and all that can be killed without Redis,
        which the same seed repeats; a node that is restarted leaves its matches to the
        next one.
        """
        typed = (
            *("--game", "tests.support.planted:Adding", "--matches", "3"),
            *("--minutes", "0.5", "--loss", "10", "--options", '{"most": 5}'),
            *("--kill", "node,move, restart,gameserver", "--seed"),
        )
        plan = self.plan(*typed, "4")
        self.assertEqual(
            (plan.habits.name, plan.matches, plan.seed), ("adding", 3, "4")
        )
        self.assertEqual(plan.conditions, Conditions(loss=0.1))
        self.assertEqual(plan.habits.options, {"most": 5})
        self.assertEqual(plan.arguments, ("--on-stop=leave",))
        self.assertEqual(
            {one.kind for one in plan.strikes},
            {"node", "move", "restart", "gameserver"},
        )
        self.assertEqual(plan.strikes, self.plan(*typed, "4").strikes)
        self.assertNotEqual(plan.strikes, self.plan(*typed, "5").strikes)
        self.assertEqual(self.plan("--kill", "node").arguments, ())

    def test_refused(self) -> None:
        """
        What cannot be done is refused in a sentence that names the option.
        """
        for typed, words in (
            (["--kill", "gameserver,cat"], "--kill cat: must be one or more of"),
            (["--matches", "0"], "--matches 0 must be 1 or more"),
            (["--matches", "201"], "for a game of 4 players"),
            (["--loss", "100"], "--loss 100 must be a percentage"),
            (["--minutes", "0"], "--minutes 0 must be greater than 0"),
            (["--every", "nan"], "--every nan must be"),
            (["--game", "nosuch"], "no installed game is called 'nosuch'"),
            (["--game", "tests.support.games:Teller"], "it has no bot method"),
            (["--options", '{"pile": 1}'], "--options: Object contains unknown field"),
            (["--keep", __file__], "is a file: name a folder"),
        ):
            error = self.assertRaises(Misconfigured, self.plan, *typed)
            self.assertIn(words, str(error))

    def test_what_to_do_next(self) -> None:
        """
        After a failure the author reads which commands lead to the fault.
        """
        plan = self.plan("--game", "tests.support.planted:Adding", "--keep", "kept")
        broken = Broken("recording", "m-1", "part 2 differs")
        report = Report(plan.habits.name, plan.seed, begun=1, broken=[broken])
        self.assertEqual(
            command.next_steps(plan, report),
            "next: vinom check tests.support.planted:Adding\n"
            "next: vinom replay kept/recordings/m-1.vinomrec --game "
            "tests.support.planted:Adding --watch",
        )
        report.broken.clear()
        self.assertEqual(command.next_steps(plan, report), "")

    def test_store_without_redis(self) -> None:
        """
        Where there is no redis-server, one sentence says so, and how to get one.
        """

        def none(wish: str) -> str:
            raise Misconfigured(f"{wish} needs a Redis")

        self.patch(command, "redis_executable", none)
        error = self.assertRaises(Misconfigured, self.plan, "--kill", "store")
        self.assertEqual(str(error), "--kill store needs a Redis")
