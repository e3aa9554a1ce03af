"""Rooms outlive their node: real nodes, a real Redis, SIGKILL and SIGTERM."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from msgspec import Raw
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.support.child_nodes import shared_by_nodes, start_leased_node, status_of
from tests.support.marks import cells_of, place_marks
from tests.support.redis_servers import redis_for, until
from vinom.base.messages.lobby import Hello
from vinom.base.messages.rooms import JoinRoom
from vinom.client.lobby import LobbyClient
from vinom.client.rooms import LiveRoom, PlayerRooms
from vinom.games.dice import Dice
from vinom.games.tictactoe import TicTacToe
from vinom.play.recording import Recording, read_recording, replay
from vinom.tools.commands.child_node import ChildNode

_TABLE = JoinRoom(TicTacToe.name, "table")


@implementer(IStreamClientEndpoint)
class Balancer:
    """
    Reaches the node that it is set to, as a balancer in front of all would.

    :ivar node: the node.
    """

    def __init__(self, node: ChildNode) -> None:
        self.node = node

    def connect(self, factory: Any) -> Deferred[Any]:
        endpoint = TCP4ClientEndpoint(reactor, self.node.host, self.node.port)
        found: Deferred[Any] = endpoint.connect(factory)
        return found


class SurvivingTests(TestCase):
    """A node is killed, without a goodbye, or stopped."""

    timeout = 120

    async def setUp(self) -> None:
        self.server = redis_for(self)
        self.shared = shared_by_nodes(self, self.server.url)
        self.players: list[PlayerRooms] = []
        self.seen: dict[str, list[int]] = {}

    async def start(self, *arguments: str) -> ChildNode:
        node = await start_leased_node(
            self, *self.shared, "--lease-seconds=2", "--warm=0", *arguments
        )
        # Before it stops: they would try to come back.
        self.addCleanup(self.hang_up)
        return node

    def hang_up(self) -> None:
        """Let all players go."""
        for player in self.players:
            player.close()

    async def join(
        self, balancer: Balancer, name: str, asked: JoinRoom = _TABLE
    ) -> LiveRoom:
        lobby = LobbyClient(reactor, balancer, Hello(protocol=1, name=name))  # type: ignore[arg-type]
        player = PlayerRooms(reactor, lobby)  # type: ignore[arg-type]
        self.players.append(player)
        room = await player.join(asked)
        seen = self.seen[name] = []
        room.on_state(lambda room: seen.append(room.version))
        return room

    async def begin(self, balancer: Balancer) -> list[LiveRoom]:
        """Let two sit down, and place two marks."""
        rooms = [await self.join(balancer, name) for name in ("ann", "bob")]
        await until(lambda: all(room.view is not None for room in rooms))
        await place_marks(rooms, 2)
        return rooms

    async def finish(self, rooms: list[LiveRoom], cells: Any) -> None:
        """Check that both are back in their seats, and play to the end."""
        self.assertEqual([room.seat for room in rooms], [0, 1])
        self.assertEqual([cells_of(room) for room in rooms], [cells, cells])
        await place_marks(rooms, 3)
        await until(lambda: all(room.state == "over" for room in rooms))
        for seen in self.seen.values():
            self.assertEqual(seen, sorted(seen), "no version goes back")
        self.assertFalse(any(room.is_over for room in rooms))

    async def test_another_node(self) -> None:
        """
        Two players of a room come back through another node to the same seats at the
        same board, and finish.
        """
        node, other = await self.start(), await self.start()
        balancer = Balancer(node)
        rooms = await self.begin(balancer)
        cells = cells_of(rooms[0])
        balancer.node = other
        os.kill(node.pid, signal.SIGKILL)
        await until(lambda: not any(room.is_connected for room in rooms))
        await until(lambda: all(room.is_connected for room in rooms))
        await self.finish(rooms, cells)
        for room in rooms:
            room.leave()
        await self.verify_recording(other)

    async def test_stopped_while_players_are_away(self) -> None:
        """
        SIGTERM to the only node while both players of a slow game are away: after the
        next start the game is there, with turn, clock and seats.
        """
        node = await self.start("--drain-seconds=1")
        balancer = Balancer(node)
        options = Raw(b'{"target": 600, "turn_seconds": 321.0}')
        asked = JoinRoom(Dice.name, "table", options)
        rooms = [await self.join(balancer, name, asked) for name in ("ann", "bob")]
        await until(lambda: all(room.view is not None for room in rooms))
        rooms[rooms[0].view["turn"]].act({"type": "roll"})
        await until(lambda: rooms[0].view["due"] > 321.0)
        view, time, setup = rooms[0].view, rooms[0].time, rooms[0].setup
        self.hang_up()
        await until(lambda: not status_of(node)["players"])
        await node.end()
        balancer.node = await self.start()
        # With the id alone, as a page that was opened again.
        asked = JoinRoom(Dice.name, "table")
        rooms = [await player.join(asked) for player in self.players]
        await until(lambda: all(room.is_connected for room in rooms))
        self.assertEqual([room.seat for room in rooms], [0, 1])
        await until(lambda: all(room.view is not None for room in rooms))
        self.assertEqual((rooms[0].view, rooms[0].setup), (view, setup))
        self.assertGreaterEqual(rooms[0].time, time)
        self.assertLess(rooms[0].time, time + 5.0)
        self.assertFalse(any(room.is_over for room in rooms))

    async def verify_recording(self, node: ChildNode) -> None:
        """Replay the part that the other node recorded, from its checkpoint."""
        folder = Path(node.state_dir) / "recordings"
        await until(lambda: [one for one in self.read(folder) if one.ending])
        (recording,) = self.read(folder)
        part = recording.header.part
        assert part is not None
        self.assertEqual(part.number, 2)
        match_id = recording.header.plan.match_id
        self.assertEqual(part.before, f"{match_id}.vinomrec")
        result = replay(recording, TicTacToe())
        self.assertIsNone(result.differing)
        self.assertGreater(result.version, part.version)

    def read(self, folder: Path) -> list[Recording]:
        """Read what was recorded of later parts, but for files just made."""
        found = [one.read_bytes() for one in folder.glob("*.2.vinomrec")]
        return [read_recording(data) for data in found if data]
