"""Rooms sleep over the end of their node: real nodes, with memory and with Redis."""

from __future__ import annotations

import json
import os
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.trial.unittest import TestCase

from tests.support import letters
from tests.support.child_nodes import (
    shared_by_nodes,
    start_leased_node,
    start_node,
    status_of,
)
from tests.support.lines import Typed
from tests.support.redis_servers import redis_for, until
from vinom.tools.commands.child_node import ChildNode

_GAMES = [f"--game={one.__module__}:{one.__name__}" for one in (letters.Notes,)]


@attrs.frozen
class Seated:
    """
    A player in the room.

    :ivar key: its player key.
    :ivar joined: what it was answered.
    :ivar state: comes with the first state.
    """

    line: Typed
    key: str
    joined: dict[str, Any]
    state: Deferred[dict[str, Any]]


async def enter(node: ChildNode, **who: Any) -> Seated:
    """Say hello and take a seat."""
    endpoint = TCP4ClientEndpoint(reactor, node.host, node.port)
    line = await connectProtocol(endpoint, Typed())
    welcome = await line.ask("hello", "welcome", protocol=1, **who)
    asked, state = {"game": "notes", "room_id": "r1"}, line.hear("game_state")
    joined = await line.ask("join_room", "join_room_result", **asked)
    return Seated(line, welcome["player_key"], joined, state)


def rooms_of(node: ChildNode) -> int:
    """Count the rooms in a node's memory."""
    return int(status_of(node)["rooms"]["rooms"])


class MemoryTests(TestCase):
    """A node alone, which keeps such rooms in a file."""

    timeout = 120

    async def test_killed(self) -> None:
        """
        One moves and both leave; the node is killed. When it runs again Bob has his
        seat with his key alone; and when all are away again the deadline comes.
        """
        node = await start_node(self, *_GAMES, "--warm=0")
        await self.check(node, [node.kill, node.start_again])

    async def check(self, node: ChildNode, restart: list[Any]) -> None:
        """Play one move, sleep, restart, and come back."""
        players = [await enter(node, name=name) for name in ("ann", "bob")]
        turn = (await players[0].state)["view"]["turn"]
        shown = players[1 - turn].line.hear(
            "game_state", lambda state: state["view"]["board"][1][1] is not None
        )
        move = {"type": "place", "row": 1, "col": 1}
        action = {"type": "action", "id": 1, "data": move}
        players[turn].line.sendLine(json.dumps(action).encode())
        await shown
        await self.leave(node, *players)
        for step in restart:
            await step()
        bob = await enter(node, player_key=players[1].key)
        self.assertEqual(bob.joined["seat"], 1)
        view = (await bob.state)["view"]
        self.assertEqual((view["board"][1][1], view["turn"]), (turn, 1 - turn))
        await self.leave(node, bob)
        await until(lambda: node.admin.get("results")["results"], 40.0)
        ann = await enter(node, player_key=players[0].key)
        self.assertEqual(ann.joined["state"], "over")
        state = await ann.state
        self.assertEqual(state["view"]["winner"], turn)
        self.assertGreater(state["time"], letters.Notes.seconds)
        ann.line.transport.loseConnection()

    async def leave(self, node: ChildNode, *players: Seated) -> None:
        """Close connections, and wait until the room sleeps."""
        for one in players:
            one.line.transport.loseConnection()
        await until(lambda: rooms_of(node) == 0)


class RedisTests(MemoryTests):
    """Two nodes with a Redis."""

    async def test_killed(self) -> None:
        """
        The same, with another node that knows the players.
        """
        server = redis_for(self)
        shared = shared_by_nodes(self, server.url)
        node, other = [
            await start_leased_node(
                self, *shared, *_GAMES, "--warm=0", "--lease-seconds=5"
            )
            for _ in range(2)
        ]
        await self.check(node, [other.kill])

    async def test_all_killed(self) -> None:
        """
        The same, when both nodes are killed at once, and the Redis keeps its data.
        """
        server = redis_for(self)
        shared = shared_by_nodes(self, server.url)
        node, other = [
            await start_leased_node(
                self, *shared, *_GAMES, "--warm=0", "--lease-seconds=5"
            )
            for _ in range(2)
        ]
        await self.check(node, [other.kill, node.kill, node.start_again])

    async def test_redis_killed(self) -> None:
        """
        The same, when the Redis is killed, too, and has written a file.
        """
        folder = os.path.abspath(self.mktemp())
        os.mkdir(folder)
        kept = "--appendonly", "yes", "--dir", folder
        server = redis_for(self, *kept)
        shared = shared_by_nodes(self, server.url)
        node = await start_leased_node(
            self, *shared, *_GAMES, "--warm=0", "--lease-seconds=5"
        )

        async def restart() -> None:
            server.kill()
            redis_for(self, *kept, port=server.port)

        await self.check(node, [node.kill, restart, node.start_again])
