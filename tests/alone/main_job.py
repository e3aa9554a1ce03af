"""The main job as a whole: lobby, game processes, DTLS, bots, and clean-up."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import admin_of, start_node
from tests.support.match_bots import play_one
from tests.support.quick import QuickMaze
from vinom.client.match import MatchResult
from vinom.client.sdk import Client, connect
from vinom.play.recording import read_recording, replay
from vinom.tools.commands.child_node import free_port_range

PORTS = 64
WARM = 4
MATCHES = 50
ROUNDS = 5
#: What a node may grow by in each later round, bytes: 0.2 MB are guests and ends.
GROWTH = 1.5e6
#: How long a node may take to close what its last players left, seconds.
PATIENCE = 30.0


def memory_of(pid: int) -> int:
    """Resident memory, bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no VmRSS for {pid}")


def descriptors_of(pid: int) -> int:
    """Open descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def processes_below(pid: int) -> int:
    """Children, and their children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return len(children) + sum(processes_below(int(child)) for child in children)


class ManyMatchesTests(TestCase):
    """
    Everything at once.

    :cvar more: more arguments of the node.
    :cvar growth: what the node may grow by in each round, bytes.
    :cvar links: descriptors that the node may open later, for what is in front of it.
    """

    timeout = 400
    more: tuple[str, ...] = ()
    growth = GROWTH
    links = 0

    async def play_round(self, number: int) -> list[MatchResult]:
        """Start bots for every match at once; return every bot's result."""
        ended: list[Deferred[MatchResult]] = []

        def bring(index: int) -> Deferred[None]:
            def ready(client: Client) -> Deferred[None]:
                seed = number * 1000 + index
                return play_one(client, seed, lambda match: ended.append(match.ended))

            return connect(
                reactor, self.node.host, self.node.port, name=f"bot-{index}"
            ).addCallback(ready)

        await gatherResults([bring(index) for index in range(4 * MATCHES)])
        return await gatherResults(ended)

    def check_ends(self, results: list[MatchResult]) -> None:
        """Every match finished, and everybody saw the same end of it."""
        self.assertEqual(len(results), 4 * MATCHES)
        by_match: dict[str, list[MatchResult]] = {}
        for result in results:
            self.assertEqual(result.reason, "finished")
            by_match.setdefault(result.match_id, []).append(result)
        self.assertEqual(len(by_match), MATCHES)
        for match_id, players in by_match.items():
            path = Path(self.node.state_dir) / "recordings" / f"{match_id}.vinomrec"
            replayed = replay(read_recording(path.read_bytes()), QuickMaze())
            end = replayed.version, replayed.view_hash
            for result in players:
                self.assertEqual(result.outcome, players[0].outcome)
                self.assertEqual((result.version, result.view_hash), end, match_id)
                self.assertEqual((result.seen_version, result.seen_hash), end)

    def status(self) -> dict[str, Any]:
        """What the node says of itself."""
        return admin_of(self.node).get("status")

    async def settle(self) -> dict[str, Any]:
        """Wait until the last game server is gone and the warm ones are back."""
        while True:
            status = self.status()
            fleet = status["fleet"]
            if (
                fleet["ports_free"] == PORTS
                and fleet["servers"]["warm"] == WARM
                and sum(fleet["servers"].values()) == WARM
                and status["lines"] == 0
            ):
                return status
            await deferLater(reactor, 0.1)

    async def test_fifty_matches_at_once(self) -> None:
        """
        Two hundred players finish fifty matches at once, five times over;
        all four of a match end on the state that its replay gives, and nothing
        of them is left behind in the node.
        """
        first, last = free_port_range(PORTS)
        self.node = await start_node(
            self,
            "--game=tests.support.quick:QuickMaze",
            f"--ports={first}-{last}",
            f"--warm={WARM}",
            "--connections-per-address=1000",
            "--matches-per-address=1000",
            "--guest-rate=200",
            # The results of one round: more do not take more memory.
            f"--results-most={MATCHES}",
            # Fifty game servers begin at once; nobody is to play without the rest.
            "--fill-seconds=60",
            "--join-seconds=120",
            *self.more,
        )
        pid = self.node.pid
        await self.settle()
        processes = processes_below(pid)
        # The node closes the line of `status` a moment after we do.
        await deferLater(reactor, 0.5)
        # The file of results is opened for the first one.
        descriptors, memory = descriptors_of(pid) + 1 + self.links, []
        for number in range(ROUNDS):
            self.check_ends(await self.play_round(number))
            status = await self.settle()
            self.assertEqual(status["players"], 0)
            self.assertEqual(status["matches"]["playing"], 0)
            self.assertEqual(status["fleet"]["ports_bound"], 0)
            self.assertEqual(status["fleet"]["waiting"], 0)
            self.assertEqual(processes_below(pid), processes)
            give_up = reactor.seconds() + PATIENCE
            while (left := descriptors_of(pid)) > descriptors:
                self.assertLess(reactor.seconds(), give_up, f"{left}, {descriptors}")
                await deferLater(reactor, 0.1)
            memory.append(memory_of(pid))
        # What leaks grows in most rounds, if by steps (2 MB, 0, 2 MB), which the least
        # of them would miss; what a busier moment needed is kept once (1.7, 0.3 and
        # 0.05 MB were seen), which their sum would take for a leak.
        growths = [after - before for before, after in pairwise(memory[1:])]
        self.assertLess(median(growths), self.growth, memory)
