"""Two real nodes that players reach directly: they go to the node of their room."""

from __future__ import annotations

import os
import signal

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import shared_by_nodes, start_leased_node, status_of
from tests.support.javascript import FOLDER, needs_javascript
from tests.support.needs import path_of
from tests.support.redis_servers import redis_for, until
from vinom.client.rooms import LiveRoom
from vinom.client.sdk import Client, connect
from vinom.games.tictactoe import TicTacToe
from vinom.tools.commands.child_node import ChildNode, free_port


class SentAwayTests(TestCase):
    """The room is on node A, and Bob comes to node B."""

    timeout = 180

    async def setUp(self) -> None:
        self.server = redis_for(self)
        self.shared = shared_by_nodes(self, self.server.url)

    async def start(self, at: int | None = None) -> ChildNode:
        """
        Start a node.

        :param at: the port that players are sent to; its own unless given.
        """
        port, self.http = free_port(), free_port()
        return await start_leased_node(
            self,
            *self.shared,
            f"--http={self.http}",
            "--warm=0",
            "--lease-seconds=2",
            f"--direct-lobby=127.0.0.1:{at or port}",
            f"--direct-websocket=ws://127.0.0.1:{at or self.http}/ws",
            port=port,
        )

    async def player(self, node: ChildNode, name: str) -> Client:
        """Connect to a node."""
        client = await connect(reactor, node.host, node.port, name=name)
        self.addCleanup(client.close)
        return client

    async def pair(self, at: int | None = None) -> tuple[LiveRoom, LiveRoom]:
        """Have Ann in a room of node A, and Bob in it through node B."""
        self.a = await self.start(at)
        self.b = await self.start()
        self.ann, bob = [
            await self.player(node, name)
            for node, name in ((self.a, "ann"), (self.b, "bob"))
        ]
        first = await self.ann.join_room(TicTacToe.name, "r1")
        second = await bob.join_room(TicTacToe.name, "r1")
        self.assertEqual((first.seat, second.seat), (0, 1))
        await until(lambda: first.view is not None and second.view is not None)
        return first, second

    def players(self) -> list[int]:
        """Count the players of both nodes."""
        return [status_of(node)["players"] for node in (self.a, self.b)]

    async def move(self, rooms: tuple[LiveRoom, LiveRoom]) -> None:
        """Have whose turn it is take a cell; both see it."""
        mover = rooms[rooms[0].view["turn"]]
        cells = [cell for row in mover.view["board"] for cell in row]
        row, col = divmod(cells.index(None), 3)
        version = mover.version
        mover.act({"type": "place", "row": row, "col": col})
        await until(lambda: all(room.version > version for room in rooms))

    async def test_followed(self) -> None:
        """
        Bob plays at the node of the room. When that node dies, he comes back through
        the one that he came to, which goes on with the room.
        """
        rooms = await self.pair()
        await until(lambda: self.players() == [2, 0])
        await self.move(rooms)
        await self.move(rooms)
        before = rooms[1].version
        # She knows no other node.
        self.ann.close()
        os.kill(self.a.pid, signal.SIGKILL)
        await until(lambda: not rooms[1].is_connected)
        await until(lambda: rooms[1].is_connected, 30.0)
        self.assertGreaterEqual(rooms[1].version, before)
        self.assertEqual(status_of(self.b)["players"], 1)
        cells = [cell for row in rooms[1].view["board"] for cell in row]
        self.assertEqual(len([cell for cell in cells if cell is not None]), 2)

    async def test_nowhere(self) -> None:
        """
        Nobody listens at the address: Bob is served through the link, at his own node.
        """
        rooms = await self.pair(at=free_port())
        self.assertEqual(self.players(), [1, 1])
        await self.move(rooms)
        await self.move(rooms)

    async def script(self, scenario: str, at: int | None = None) -> None:
        """Play a scenario of play.mjs, with both nodes."""
        needs_javascript()
        await self.start(at)
        first = self.http
        await self.start()
        words = ["play.mjs", scenario, str(first), str(self.http)]
        out, errors, code = await getProcessOutputAndValue(
            path_of("node"), words, path=str(FOLDER), reactor=reactor
        )
        printed = (out + errors).decode(errors="replace")
        self.assertEqual(code, 0, printed)
        self.assertIn(f"{scenario}: done", printed)

    async def test_javascript(self) -> None:
        """
        vinom.js goes to the node of the room, again after its connection was lost; and
        stays with a second room.
        """
        await self.script("sent")

    async def test_javascript_nowhere(self) -> None:
        """
        vinom.js is served through the link if it cannot reach the address.
        """
        await self.script("nowhere", at=free_port())
