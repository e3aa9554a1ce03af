"""Matches outlive their game process: a real node, real players, SIGKILL."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import admin_of
from tests.support.redis_servers import until
from vinom.client.match import Match
from vinom.client.sdk import Client, connect
from vinom.client.seat import Way
from vinom.games.tictactoe import TicTacToe
from vinom.node.asking import AdminLine, NotDone
from vinom.play.recording import read_recording, replay
from vinom.tools.commands.child_node import ChildNode


def process_at(port: int) -> int | None:
    """Find the process that has a UDP port of this machine."""
    inodes = set()
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            inodes.add(f"socket:[{fields[9]}]")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            links = [os.readlink(one) for one in (entry / "fd").iterdir()]
        except OSError:
            continue
        if not inodes.isdisjoint(links):
            return int(entry.name)
    return None


class ContinuityTests(TestCase):
    """Something dies under a match of two."""

    timeout = 120

    async def setUp(self) -> None:
        self.node = ChildNode(reactor, ["--warm=1"])
        self.clients: list[Client] = []
        self.addCleanup(self.node.stop)
        self.addCleanup(self.hang_up)
        await self.node.start()
        self.recordings = Path(self.node.state_dir) / "recordings"

    def hang_up(self) -> None:
        """Let all players go."""
        for client in self.clients:
            client.close()

    async def begin(self, ways: tuple[Way, Way] = ("udp", "udp")) -> list[Match]:
        """Two players meet."""
        game = TicTacToe.name
        for name, way in zip(("ann", "bob"), ways, strict=True):
            self.clients.append(
                await connect(
                    reactor, self.node.host, self.node.port, name=name, way=way
                )
            )
        matches = await gatherResults([one.queue(game) for one in self.clients])
        self.seen: list[list[int]] = [[], []]
        for match, seen in zip(matches, self.seen, strict=True):
            match.on_state(lambda m, seen=seen: seen.append(m.version))
        await until(lambda: all(match.view is not None for match in matches))
        return sorted(matches, key=lambda match: match.seat)

    def pid(self, match: Match) -> int:
        """The game process of a match."""
        found = process_at(match._seat._found.port)
        assert found is not None
        return found

    async def place(self, matches: list[Match], cell: int) -> None:
        """Whoever's turn it is places a mark, and both see it."""
        turn = matches[0].view["turn"]
        row, col = divmod(cell, 3)
        action = {"type": "place", "row": row, "col": col}
        matches[turn].act(action)
        await until(
            lambda: all(m.view["board"][row][col] == turn for m in matches), 20.0
        )

    def replayed(self, match_id: str) -> list[Any]:
        """Play every part of the match's recording again that is not empty yet."""
        results = []
        found = self.recordings.glob(f"{match_id}*.vinomrec")
        for path in sorted(found, key=lambda path: (len(path.name), path.name)):
            # The node makes the file, and the game process writes to it after a second.
            if not (data := path.read_bytes()):
                continue
            recording = read_recording(data)
            result = replay(recording, TicTacToe())
            self.assertIsNone(result.differing, path)
            results.append(recording)
        return results

    async def test_killed(self) -> None:
        """
        After SIGKILL both players keep their seats, see every mark that they saw
        before, and play on to the end; the recording's parts play to the same end.
        """
        matches = await self.begin()
        await self.place(matches, 0)
        await self.place(matches, 3)
        board, version = matches[0].view["board"], matches[0].version
        pid = self.pid(matches[0])
        os.kill(pid, signal.SIGKILL)
        await until(lambda: all(m.joins == 2 for m in matches), 20.0)
        self.assertEqual(matches[0].view["board"], board)
        self.assertGreaterEqual(matches[0].version, version)
        self.assertNotEqual(self.pid(matches[0]), pid)
        for cell in (1, 4, 2):
            await self.place(matches, cell)
        await until(lambda: all(m.outcome is not None for m in matches))
        for seen in self.seen:
            self.assertEqual(seen, sorted(seen))
        for client in self.clients:
            client.close()
        match_id = matches[0].match_id
        await until(lambda: self.replayed(match_id)[-1].ending is not None)
        parts = self.replayed(match_id)
        self.assertEqual(2, len(parts))
        self.assertIsNone(parts[0].ending)
        self.assertEqual("finished", parts[1].ending.end.reason)

    async def test_killed_under_a_browser(self) -> None:
        """
        A player who is connected through the lobby only sees a pause, and what they did
        in it counts.
        """
        matches = await self.begin(("udp", "lobby"))
        (lobby,) = (one for one in matches if one.way == "lobby")
        (dialed,) = (one for one in matches if one.way == "udp")
        cells = iter(range(9))
        if matches[0].view["turn"] != lobby.seat:
            await self.place(matches, next(cells))
        os.kill(self.pid(dialed), signal.SIGKILL)
        lobby.act({"type": "place", "row": 2, "col": 2})
        await until(lambda: dialed.joins == 2, 20.0)
        await until(
            lambda: all(m.view["board"][2][2] == lobby.seat for m in matches), 20.0
        )
        await self.place(matches, 4)
        await self.place(matches, 5)
        self.assertEqual(lobby.joins, 1)

    def admin(self) -> AdminLine:
        """The node's admin socket."""
        return admin_of(self.node)

    async def test_moved(self) -> None:
        """
        An operator moves a match to another game process; its players see a pause.
        """
        matches = await self.begin()
        await self.place(matches, 0)
        pid = self.pid(matches[0])
        (server,) = (
            name
            for name, one in self.admin().get("status")["fleet"]["game_servers"].items()
            if one["matches"]
        )
        self.admin().post(f"servers/{server}/move")
        await until(lambda: all(m.joins == 2 for m in matches), 20.0)
        self.assertNotEqual(self.pid(matches[0]), pid)
        await self.place(matches, 1)
        self.assertEqual(matches[0].view["board"][0][0], matches[1].view["board"][0][0])
        with self.assertRaisesRegex(NotDone, "no game server is called"):
            self.admin().post("servers/nobody/move")
