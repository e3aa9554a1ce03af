"""
Matches outlive their processes: real nodes, bots behind bad networks, and SIGKILL.

``VINOM_CONTINUITY=full`` in the environment: 40 matches, and a minute of kills; without
it a few matches, and some seconds. `vinom.tools.promises` says what must hold.
"""

from __future__ import annotations

import os
from pathlib import Path
from unittest import SkipTest

import attrs
from twisted.internet import defer, reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.cut_links import cut_links, no_links
from tests.support.quick import QuickMaze
from tests.support.redis_servers import redis_executable
from vinom.client.bots import Habits
from vinom.fleet.gameserver.lease import LEASE_SECONDS
from vinom.net.dtls.bad_network import Conditions
from vinom.tools.chaos.plan import Kind, Plan, Report, Strike, plan_strikes
from vinom.tools.chaos.run import ChaosRun

IS_FULL = os.environ.get("VINOM_CONTINUITY") == "full"

#: Four bots walk through a small maze of their own, again and again.
MAZES = Plan(
    spec="tests.support.quick:QuickMaze",
    matches=40 if IS_FULL else 4,
    seconds=60.0 if IS_FULL else 6.0,
    grace=60.0,
    conditions=Conditions(loss=0.1),
    habits=Habits(QuickMaze.name, QuickMaze(), {"rows": 5, "cols": 6}, pace=3.0),
    seed="continuity",
)


class ChaosCase(TestCase):
    """Many matches at once, and processes that are killed."""

    timeout = 600

    def striking(self, plan: Plan, kind: Kind, every: float) -> Plan:
        """Plan strikes of one kind."""
        strikes = plan_strikes((kind,), plan.seconds, every, plan.seed)
        return attrs.evolve(plan, strikes=strikes)

    async def run_chaos(self, plan: Plan) -> Report:
        """Run it, and return what was found."""
        lines: list[str] = []
        run = ChaosRun(reactor, plan, lines.append)
        code = await run.run()
        self.report = "\n".join([*lines, run.failure, run.report.as_text()])
        self.assertNotEqual(code, 2, self.report)
        return run.report

    def verify_kept(self, report: Report) -> None:
        """Check that every promise was kept, and that matches were really played."""
        if IS_FULL:
            # What a run at full size found belongs into its log.
            print(f"\n{report.as_text()}", flush=True)
        self.assertEqual((report.broken, report.trouble), ([], []), self.report)
        self.assertEqual(report.finished, report.begun, self.report)
        self.assertGreaterEqual(report.begun, MAZES.matches, self.report)
        self.assertGreater(report.acknowledged, 100, self.report)


class ContinuityTests(ChaosCase):
    """Four players in each maze, and a tenth of all datagrams lost."""

    async def test_everything_in_turn(self) -> None:
        """
        ``kill -9`` of a random game process every second, then of the node itself three
        times; then every match is moved, and the node is restarted without waiting for
        matches, as for an upgrade: every match finishes, and all promises are kept.
        """
        kills, deaths = (60, 3) if IS_FULL else (3, 1)
        strikes = [Strike(float(at), "gameserver") for at in range(kills)]
        at = kills + 1.0
        strikes += [Strike(at + 10.0 * one, "node") for one in range(deaths)]
        at += 10.0 * (deaths - 1) + 5.0
        strikes += [Strike(at + 0.7 * one, "move") for one in range(MAZES.matches)]
        at += 0.7 * MAZES.matches + 0.5
        strikes.append(Strike(at, "restart"))
        plan = attrs.evolve(
            MAZES,
            strikes=tuple(strikes),
            # A busy machine may take ten seconds to start the node again.
            seconds=at + 10.0,
            arguments=("--on-stop=leave",),
        )
        report = await self.run_chaos(plan)
        self.verify_kept(report)
        self.assertGreaterEqual(report.strikes["gameserver"], kills * 0.8, self.report)
        self.assertEqual(report.strikes["node"], deaths, self.report)
        self.assertGreaterEqual(report.strikes["move"], MAZES.matches, self.report)
        self.assertEqual(report.strikes["restart"], 1, self.report)
        self.assertGreater(report.resumed, 0, self.report)

    async def test_hung_processes(self) -> None:
        """
        A game process is stopped, not dead: its node kills it, and another goes on.
        """
        report = await self.run_chaos(self.striking(MAZES, "hang", 3.0))
        self.verify_kept(report)
        self.assertGreater(report.strikes["hang"], 0, self.report)
        self.assertGreater(report.resumed, 0, self.report)

    async def cut_for(self, seconds: float) -> Report:
        """
        Play, and cut all links between the node and its game servers meanwhile.

        :param seconds: for how long there is no link.
        """
        # No match begins meanwhile, so those that run must be long.
        plan = attrs.evolve(
            MAZES,
            seconds=seconds + 4.0,
            grace=15.0,
            habits=Habits(
                QuickMaze.name, QuickMaze(), {"rows": 20, "cols": 30}, pace=2.0
            ),
            seed="cut",
        )
        lines: list[str] = []
        run = ChaosRun(reactor, plan, lines.append)
        done = defer.Deferred.fromCoroutine(run.run())
        while not (len(run.matches.running) >= plan.matches or done.called):
            await deferLater(reactor, 0.1)
        node = run.deployment.nodes[0]
        playing = len(run.matches.running)
        with no_links(Path(node.state_dir)):
            cut = cut_links(node.pid)
            before = versions(run)
            await deferLater(reactor, seconds)
            after = versions(run)
            self.stood = [one for one in before if after[one] == before[one]]
            found = (await node.ask("status"))["fleet"]["servers"]
            self.away = found.get("away", 0)
        code = await done
        report = run.report
        self.report = "\n".join([*lines, run.failure, report.as_text()])
        self.assertNotEqual(code, 2, self.report)
        self.assertGreaterEqual(cut, playing, self.report)
        self.assertGreaterEqual(playing, plan.matches, self.report)
        return report

    async def test_link_cut(self) -> None:
        """
        The links between node and game servers are cut for half a minute, which is
        within the lease: play goes on where it was, and nothing doubles.
        """
        report = await self.cut_for(30.0 if IS_FULL else 3.0)
        self.verify_kept(report)
        self.assertEqual(self.stood, [], "matches that stood still meanwhile")
        self.assertGreaterEqual(self.away, MAZES.matches, "links were there again")
        self.assertEqual(report.resumed, 0, self.report)

    async def test_link_cut_for_long(self) -> None:
        """
        The links are cut for longer than the lease: the game servers fall silent, and
        their matches go on elsewhere, once.
        """
        if not IS_FULL:
            raise SkipTest("it takes longer than a lease; set VINOM_CONTINUITY=full")
        report = await self.cut_for(LEASE_SECONDS + 15.0)
        self.verify_kept(report)
        self.assertGreaterEqual(report.resumed, MAZES.matches, self.report)
        self.assertEqual(report.most_parts, 2, "a match was resumed twice")

    async def test_store(self) -> None:
        """
        ``kill -9`` of Redis, which comes back empty: matches are not disturbed.
        """
        plan = attrs.evolve(MAZES, redis=redis_executable())
        report = await self.run_chaos(self.striking(plan, "store", plan.seconds))
        self.verify_kept(report)
        self.assertEqual(report.strikes["store"], 1, self.report)

    async def test_rolling_drain(self) -> None:
        """
        Two nodes with one Redis are replaced, one after the other, twice. Each hands
        its matches to the one that lives, with their processes and recordings: every
        match finishes, none in a second process, and all promises are kept.
        """
        if not IS_FULL:
            raise SkipTest("set VINOM_CONTINUITY=full")
        plan = attrs.evolve(
            MAZES,
            strikes=(Strike(4.0, "restart"), Strike(8.0, "restart")),
            seconds=60.0,
            redis=redis_executable(),
            nodes=2,
            # Long enough to be seen by several nodes.
            habits=Habits(
                QuickMaze.name, QuickMaze(), {"rows": 8, "cols": 10}, pace=3.0
            ),
            arguments=("--drain-seconds=60",),
            seed="roll",
        )
        report = await self.run_chaos(plan)
        self.verify_kept(report)
        self.assertEqual(report.strikes["restart"], 4, self.report)
        self.assertEqual(report.resumed, 0, self.report)


def versions(run: ChaosRun) -> dict[str, int]:
    """Find the newest version that anybody has seen of each match."""
    return {
        live.match_id: max(witness.version for witness in live.witnesses)
        for live in run.matches.by_id.values()
    }
