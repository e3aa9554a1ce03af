"""Matches outlive their node: a real node, real game servers, SIGKILL."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.ending import is_running, kill_all
from tests.support.hanging_up import hang_up
from tests.support.marks import place_marks
from tests.support.programs import short_folder
from tests.support.redis_servers import until
from tests.support.units import UnderUnit
from tests.system.test_node import Place, Twistd
from vinom.client.match import Match
from vinom.client.sdk import Client, connect
from vinom.games.tictactoe import TicTacToe
from vinom.play.recording import read_recording, replay
from vinom.tools.commands.admin import AdminLine

TIME_OF_DAY = Path(__file__).resolve().parents[1] / "support" / "time_of_day"


class Adopting(TestCase):
    """Opens a node with a match, and looks at its game servers."""

    timeout = 120
    spawner: Any = reactor

    def setUp(self) -> None:
        self.place = Place(short_folder(self))
        self.clients: list[Client] = []
        self.strays: set[int] = set()
        self.addCleanup(kill_all, self.strays)

    async def start(self, *arguments: str, **variables: str) -> Twistd:
        node = Twistd(
            *self.place.arguments(),
            "--game=vinom.games.tictactoe:TicTacToe",
            "--drain-seconds=0",
            *arguments,
            spawner=self.spawner,
            **variables,
        )
        self.addCleanup(node.kill)
        self.addCleanup(hang_up, self.clients)
        await node.says(" serves ")
        return node

    async def kill(self, node: Twistd) -> None:
        """End a node without a goodbye."""
        node.process.signalProcess("KILL")
        await node.ended

    def ask(self, path: str) -> Any:
        return AdminLine(self.place.state_dir / "admin.sock").get(path)

    def servers(self) -> dict[str, Any]:
        """The game servers, as an operator sees them."""
        found: dict[str, Any] = self.ask("status")["fleet"]["game_servers"]
        self.strays.update(one["pid"] for one in found.values() if one["pid"])
        return found

    def playing(self) -> dict[str, Any]:
        """The only game server that has a match."""
        (found,) = [one for one in self.servers().values() if one["matches"]]
        return dict(found)

    async def begin(self) -> list[Match]:
        """Let two players be matched, and place two marks."""
        for name in ("ann", "bob"):
            self.clients.append(
                await connect(reactor, "127.0.0.1", self.place.port, name=name)  # type: ignore[arg-type]
            )
        matches = await gatherResults(
            [client.queue("tictactoe") for client in self.clients]
        )
        await until(lambda: all(match.view is not None for match in matches))
        matches.sort(key=lambda match: match.seat)
        await place_marks(matches, 2)
        return list(matches)

    async def leave(self, matches: list[Match]) -> None:
        """Have all leave after the end of the round, which is the end of the match."""
        await until(lambda: all(match.outcome is not None for match in matches))
        for match in matches:
            match.leave()
        await until(lambda: not self.ask("status")["fleet"]["rooms"])


class AdoptionTests(Adopting):
    """A node is killed, or stopped, in the middle of a match."""

    async def test_killed_in_the_middle(self) -> None:
        """
        A match goes on while its node is dead, and to its end at the next node: in the
        same process, at the same port, which nobody else gets. Its result is kept, and
        its recording replays.
        """
        node = await self.start()
        matches = await self.begin()
        before = self.playing()
        await self.kill(node)
        await place_marks(matches, 1)
        await self.start()
        await until(lambda: self.playing()["stage"] == "listening")
        after = self.playing()
        for name in ("pid", "port", "matches"):
            self.assertEqual(after[name], before[name])
        counts = self.ask("status")["fleet"]
        self.assertEqual((counts["ports_free"], counts["ports_bound"]), (7, 1))
        await place_marks(matches, 2)
        (match_id,) = before["matches"]
        await until(lambda: self.ask("results")["results"])
        (kept,) = self.ask("results")["results"]
        result = kept["result"]
        self.assertEqual((result["match_id"], result["round"]), (match_id, 1))
        await self.leave(matches)
        await until(lambda: not is_running(before["pid"]))
        await until(lambda: self.ask("status")["fleet"]["ports_bound"] == 0)
        self.assertEqual(list((self.place.state_dir / "servers").iterdir()), [])
        path = self.place.state_dir / "recordings" / f"{match_id}.vinomrec"
        found = replay(read_recording(path.read_bytes()), TicTacToe())
        self.assertIsNone(found.differing)

    async def test_time_of_day_is_set(self) -> None:
        """
        The machine's time of day is set back, and then ahead, by more than any lease:
        the match goes on in its process, and none of its players is dropped.
        """
        clock = Path(self.mktemp()).absolute()
        shutil.copytree(TIME_OF_DAY, clock)
        path = os.pathsep.join((str(clock), *map(os.path.abspath, sys.path)))
        await self.start("--orphan-seconds=6", PYTHONPATH=path)
        matches = await self.begin()
        before = self.playing()["pid"]
        for step in ("-120", "300"):
            (clock / "step").write_text(step)
            # Longer than a lease.
            await deferLater(reactor, 7.0)  # type: ignore[arg-type]
            self.assertEqual(self.playing()["pid"], before)
            self.assertEqual([match.joins for match in matches], [1, 1])
            await place_marks(matches, 1)
        await place_marks(matches, 1)
        await self.leave(matches)


class UnitTests(Adopting):
    """The node runs as the unit of systemd has it: no rights, mounts of its own."""

    spawner = UnderUnit(reactor)

    async def test_killed_and_restarted(self) -> None:
        """
        A match outlives its node that is killed, and then `systemctl restart`: it goes
        on in the same process.
        """
        node = await self.start("--on-stop=leave")
        matches = await self.begin()
        before = self.playing()["pid"]
        for number in ("KILL", "TERM"):
            node.process.signalProcess(number)
            await node.ended
            node = await self.start("--on-stop=leave")
            await until(lambda: self.playing()["stage"] == "listening")
            self.assertEqual(self.playing()["pid"], before)
            await place_marks(matches, 1)
        await place_marks(matches, 1)
        await self.leave(matches)
        self.assertNotIn("lost", self.ask("status")["matches"]["ended"])
