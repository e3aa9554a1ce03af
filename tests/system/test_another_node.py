"""Matches go on at another node: real nodes on one Redis, real game servers."""

from __future__ import annotations

import os
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from tests.support.child_nodes import admin_of, shared_by_nodes
from tests.support.ending import is_running, kill_all
from tests.support.hanging_up import hang_up
from tests.support.marks import cells_of, place_marks
from tests.support.redis_servers import redis_for, until
from vinom.client.match import Match
from vinom.client.sdk import Client, connect
from vinom.games.tictactoe import TicTacToe
from vinom.play.recording import read_recording, replay
from vinom.tools.commands.child_node import ChildNode

GAME = "vinom.games.tictactoe:TicTacToe"
#: At full size?
IS_FULL = os.environ.get("VINOM_CONTINUITY") == "full"


class AnotherNodeTests(TestCase):
    """A node is killed or stopped in mid-match, and others run beside it."""

    timeout = 120

    def setUp(self) -> None:
        self.server = redis_for(self)
        self.shared = (
            *shared_by_nodes(self, self.server.url),
            f"--game={GAME}",
            "--lease-seconds=1",
            "--fill-seconds=0",
            "--join-seconds=600",
            "--drain-seconds=30",
            "--warm=1",
        )
        self.clients: list[Client] = []
        self.strays: set[int] = set()
        self.seen: dict[int, list[int]] = {}
        self.addCleanup(kill_all, self.strays)

    async def start(self, *arguments: str) -> ChildNode:
        node = ChildNode(reactor, [*self.shared, *arguments], game_ports=8)
        self.addCleanup(node.stop)
        self.addCleanup(hang_up, self.clients)
        await node.start()
        await until(lambda: self.ask(node, "status")["store"]["lease"])
        return node

    async def start_both(self, *arguments: str) -> list[ChildNode]:
        """Start two nodes; only the first has these arguments."""
        starts = (self.start(*arguments), self.start())
        return list(await gatherResults([Deferred.fromCoroutine(s) for s in starts]))

    def ask(self, node: ChildNode, path: str) -> Any:
        return admin_of(node).get(path)

    def playing(self, node: ChildNode) -> dict[str, Any]:
        """The only game server of a node that has a match; empty without one."""
        servers = self.ask(node, "status")["fleet"]["game_servers"].values()
        self.strays.update(one["pid"] for one in servers if one["pid"])
        return next((dict(one) for one in servers if one["matches"]), {})

    async def begin(self, node: ChildNode) -> list[Match]:
        """Let two players be matched, and place two marks."""
        for name in ("ann", "bob"):
            self.clients.append(
                await connect(reactor, node.host, node.port, name=name)  # type: ignore[arg-type]
            )
        matches = await gatherResults(
            [client.queue("tictactoe") for client in self.clients]
        )
        for match in matches:
            seen = self.seen[match.seat] = []
            match.on_state(lambda match, seen=seen: seen.append(match.version))
        await until(lambda: all(match.view is not None for match in matches))
        matches.sort(key=lambda match: match.seat)
        await place_marks(matches, 2)
        return list(matches)

    async def finish(
        self, node: ChildNode, matches: list[Match], others: Any, marks: int = 3
    ) -> None:
        """Play to the end at a node; check what is kept of it there, and only there."""
        (match_id,) = {match.match_id for match in matches}
        before = self.playing(node)
        await place_marks(matches, marks)
        await until(lambda: all(match.outcome is not None for match in matches))
        for match in matches:
            match.leave()
        await until(lambda: not self.ask(node, "status")["fleet"]["rooms"])
        for seen in self.seen.values():
            self.assertEqual(seen, sorted(seen), "no version goes back")
        (kept,) = self.ask(node, "results")["results"]
        self.assertEqual(kept["result"]["match_id"], match_id)
        for other in others:
            self.assertEqual(self.ask(other, "results")["results"], [])
        await until(lambda: not is_running(before["pid"]))
        servers = Path(node.state_dir) / "servers"
        await until(lambda: list(servers.iterdir()) == [])
        path = Path(node.state_dir) / "recordings" / f"{match_id}.vinomrec"
        found = replay(read_recording(path.read_bytes()), TicTacToe())
        self.assertIsNone(found.differing)
        keys = self.server.command("KEYS", "*:server:*")
        await until(lambda: not self.server.command("KEYS", "*:servers-of:*"), 5)
        for key in keys:
            # Only that it is over is remembered.
            self.assertEqual(self.server.command("HGET", key, "data"), None)

    async def test_killed(self) -> None:
        """
        A node is killed in mid-match. Another one, with a state directory and ports of
        its own, goes on with the same process at the same port: a player who comes to
        its lobby gets the old seat, the match is played to its end, its result is kept
        once, and its recording replays.
        """
        node, other = await self.start_both()
        matches = await self.begin(node)
        before = self.playing(node)
        key = self.clients[0].identity.key
        seat = self.clients[0].match.seat  # type: ignore[union-attr]
        await node.kill()
        await place_marks(matches, 1)
        await until(lambda: self.playing(other).get("stage") == "listening")
        after = self.playing(other)
        for name in ("pid", "port", "matches"):
            self.assertEqual(after[name], before[name])
        again = await connect(reactor, other.host, other.port, player_key=key)  # type: ignore[arg-type]
        self.clients.append(again)
        match = await again.queue("tictactoe")
        self.assertEqual((match.match_id, match.seat), (matches[0].match_id, seat))
        await until(lambda: match.view is not None)
        self.assertEqual(cells_of(match), cells_of(matches[1 - seat]))
        matches[seat] = match
        await place_marks(matches, 1)
        # The node comes back to its state directory: the match is not its own any more.
        await node.start_again()
        await until(lambda: self.ask(node, "status")["store"]["lease"])
        self.assertEqual(self.playing(node), {})
        self.assertEqual(self.playing(other)["pid"], before["pid"])
        self.seen.clear()
        await self.finish(other, matches, [node], 1)

    async def start_machines(self, *more: str, age: float = 1.0) -> list[ChildNode]:
        """Start two nodes as on two machines, and a match at the first with a copy."""
        self.shared = (*self.shared, "--orphan-seconds=6", *more)
        node, other = await self.start_both()
        await self.begin(node)
        await deferLater(reactor, age)  # type: ignore[arg-type]
        self.playing(node)
        return [node, other]

    async def go_on_at(self, other: ChildNode) -> list[Match]:
        """Let both players go on at another node, which says that play went back."""
        keys = [client.identity.key for client in self.clients]
        await hang_up(self.clients)
        matches = []
        for key in keys:
            again = await connect(reactor, other.host, other.port, player_key=key)  # type: ignore[arg-type]
            self.clients.append(again)
            matches.append(await again.queue("tictactoe"))
        matches.sort(key=lambda match: match.seat)
        await until(lambda: all(match.view is not None for match in matches))
        self.assertEqual([match.went_back for match in matches], [True, True])
        self.assertEqual(sum(cell is not None for cell in cells_of(matches[0])), 2)
        return matches

    async def end_at(self, other: ChildNode, matches: list[Match]) -> None:
        """Play to the end, which leaves nothing in the store."""
        await place_marks(matches, 3)
        await until(lambda: all(match.outcome is not None for match in matches))
        for match in matches:
            match.leave()
        await until(lambda: not self.ask(other, "status")["fleet"]["rooms"])
        self.assertEqual(len(self.ask(other, "results")["results"]), 1)
        await until(lambda: not self.server.command("KEYS", "*:checkpoints-of:*"), 5)

    async def test_machine_dies(self) -> None:
        """
        A machine is gone, with its node, its game servers and all their files. Another
        one goes on with the match; its players learn that play went back.
        """
        node, other = await self.start_machines()
        gone = node.kill()
        kill_all(self.strays)
        await gone
        shutil.rmtree(node.state_dir)
        await self.end_at(other, await self.go_on_at(other))

    async def test_relay_dies(self) -> None:
        """
        A node to which its players are connected is killed: their match goes on at
        another one as soon as its lease is over.
        """
        node, other = await self.start_machines("--udp=relay")
        await node.kill()
        await self.end_at(other, await self.go_on_at(other))

    async def test_relay_starts_again(self) -> None:
        """If it is started again, its match goes on there, or at the other."""
        node, other = await self.start_machines("--udp=relay")
        await node.kill()
        await node.start_again()
        matches = await self.go_on_at(other)
        await self.end_at(node if self.playing(node) else other, matches)

    async def test_machine_that_slept(self) -> None:
        """
        A machine hangs until another one has gone on with its match, and wakes: it
        reports nothing of it. A game that asks for it has lost nothing.
        """
        stored = "tests.support.games:StoredTicTacToe"
        self.shared = tuple(one.replace(GAME, stored) for one in self.shared)
        node, other = await self.start_machines(age=0.0)
        server = self.playing(node)["pid"]
        for pid in (node.pid, server):
            os.kill(pid, signal.SIGSTOP)
        try:
            try:
                matches = await self.go_on_at(other)
            except BaseException:
                print(other.log_end(), flush=True)
                raise
            # The kernel ended it when its lease was over.
            self.assertFalse(is_running(server))
        finally:
            os.kill(node.pid, signal.SIGCONT)
        await until(lambda: self.playing(node) == {})
        await self.end_at(other, matches)
        self.assertEqual(self.ask(node, "status")["matches"]["ended"], {})

    async def test_all_at_once(self) -> None:
        """
        A node that is started again just as its lease ends, and two others: one of
        the three has the match, and the others leave it alone.
        """
        if not IS_FULL:
            raise SkipTest("set VINOM_CONTINUITY=full")
        nodes = [*await self.start_both(), await self.start()]
        matches = await self.begin(nodes[0])
        before = self.playing(nodes[0])
        await nodes[0].kill()
        await nodes[0].start_again()
        await until(lambda: any(self.listens(one) for one in nodes), 10)
        # Longer than all leases and heartbeats: whoever would take it has done so.
        await deferLater(reactor, 2.5)  # type: ignore[arg-type]
        (owner,) = [one for one in nodes if self.playing(one)]
        self.assertEqual(self.playing(owner)["pid"], before["pid"])
        await self.finish(owner, matches, [one for one in nodes if one is not owner])

    async def test_node_that_slept(self) -> None:
        """
        A node hangs for longer than its lease, and wakes when another one has its
        match. It leaves the match alone, and reports no end of it.
        """
        node, other = await self.start_both()
        matches = await self.begin(node)
        before = self.playing(node)
        os.kill(node.pid, signal.SIGSTOP)
        try:
            await until(partial(self.listens, other), 10)
            await place_marks(matches, 1)
        finally:
            os.kill(node.pid, signal.SIGCONT)
        await until(lambda: self.playing(node) == {})
        await place_marks(matches, 1)
        await deferLater(reactor, 1.5)  # type: ignore[arg-type]
        self.assertEqual(self.playing(other)["pid"], before["pid"])
        self.assertEqual(self.playing(node), {})
        await self.finish(other, matches, [node], 1)
        for one in (node, other):
            self.assertNotIn("lost", self.ask(one, "status")["matches"]["ended"])

    async def test_lone_node_that_slept(self) -> None:
        """
        A node that is alone hangs for longer than its lease: when it wakes it leaves
        its own match alone.
        """
        node = await self.start("--udp=relay")
        matches = await self.begin(node)
        before = self.playing(node)
        for number in range(2, 8 if IS_FULL else 3):
            os.kill(node.pid, signal.SIGSTOP)
            await deferLater(reactor, 2.0)  # type: ignore[arg-type]
            os.kill(node.pid, signal.SIGCONT)
            await until(
                lambda n=number: self.ask(node, "status")["store"]["lease"] >= n
            )
            await deferLater(reactor, 1.5)  # type: ignore[arg-type]
        servers = self.ask(node, "status")["fleet"]["game_servers"].values()
        pids = [one["pid"] for one in servers if one["matches"]]
        self.assertEqual(pids, [before["pid"]])
        await self.finish(node, matches, [])

    async def test_stopped(self) -> None:
        """
        Nodes are replaced one after the other, by SIGTERM: each hands its match to one
        that lives, at once, and exits, and so does the first, with on_stop = leave;
        nobody notices.
        """
        nodes = await self.start_both("--on-stop=leave")
        matches = await self.begin(nodes[0])
        before = self.playing(nodes[0])
        for number in range(3 if IS_FULL else 2):
            last, heir = nodes[-2:]
            os.kill(last.pid, signal.SIGTERM)
            await until(partial(self.has_exited, last), 10)
            await until(partial(self.listens, heir), 10)
            self.assertEqual(self.playing(heir)["pid"], before["pid"])
            await place_marks(matches, int(number < 2))
            nodes.append(await self.start())
        await self.finish(nodes[-2], matches, [nodes[-1]], 1)  # The fifth mark wins.

    def has_exited(self, node: ChildNode) -> bool:
        return node.exited

    def listens(self, node: ChildNode) -> bool:
        """Has it a link to the game server with the match?"""
        return bool(self.playing(node).get("stage") == "listening")
