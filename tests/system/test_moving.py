"""Rooms move to another node before theirs stops: real nodes, a real Redis, SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from tests.support import counting
from tests.support.child_nodes import admin_of, shared_by_nodes, start_leased_node
from tests.support.lines import Typed, typed
from tests.support.redis_servers import redis_for, until
from tests.support.tapping import (
    Balancer,
    Player,
    Watched,
    are_connected,
    is_settled,
)
from vinom.base.messages.lobby import Hello
from vinom.base.messages.rooms import JoinRoom
from vinom.client.lobby import SharedLine
from vinom.client.rooms import PlayerRooms
from vinom.games.tictactoe import TicTacToe
from vinom.tools.commands.admin import AdminLine
from vinom.tools.commands.child_node import ChildNode

#: How often all nodes are restarted: ``VINOM_CROWDS=full`` has all that is promised.
ROUNDS = 5 if os.environ.get("VINOM_CROWDS") == "full" else 1
GAMES = (counting.Counting, counting.CountingHere, counting.CountingOpen)


class MovingTests(TestCase):
    """A node is stopped while others can take its rooms."""

    timeout = 300

    async def setUp(self) -> None:
        self.server = redis_for(self)
        self.shared = shared_by_nodes(self, self.server.url)
        self.nodes: list[ChildNode] = []
        self.clients: list[PlayerRooms] = []
        self.refused: list[str] = []

    async def start(self, *arguments: str) -> ChildNode:
        """Start a node, and wait until others can reach it."""
        node = await start_leased_node(
            self,
            *self.shared,
            *(f"--game={one.__module__}:{one.__name__}" for one in GAMES),
            f"--game={TicTacToe.__module__}:{TicTacToe.__name__}",
            "--lease-seconds=5",
            "--warm=0",
            "--drain-seconds=20",
            *arguments,
        )
        # Before it stops: they would try to come back.
        self.addCleanup(self.hang_up)
        return node

    def hang_up(self) -> None:
        """Let all players go."""
        for client in self.clients:
            client.close()

    def admin(self, node: ChildNode) -> AdminLine:
        """Be the operator of a node."""
        return admin_of(node)

    async def join(self, first: int, game: str, room_id: str, name: str) -> Player:
        """Sit down in a room, through this node if possible."""
        lobby = Watched(reactor, Balancer(self.nodes, first), Hello(1, name=name))
        lobby.refused = self.refused
        client = PlayerRooms(SharedLine(reactor, lobby))
        self.clients.append(client)
        return Player(await client.join(JoinRoom(game, room_id)))

    async def term(self, node: ChildNode) -> None:
        """Stop a node as a supervisor does, and wait until it is gone."""
        os.kill(node.pid, signal.SIGTERM)
        await until(lambda: node.exited)

    async def settle(self, players: Sequence[Player]) -> None:
        """Wait until each has an answer to all it did, and nothing is wrong."""
        await until(lambda: all(is_settled(player) for player in players))
        for player in players:
            self.assertEqual(player.wrong, [])
            self.assertEqual(player.count, player.sent)
        self.assertEqual(self.refused, [])

    async def check_moved(self, game: str, stop: Callable[[], Any]) -> None:
        """Have one play at the node that stops, and one through another."""
        self.nodes += [await self.start(), await self.start()]
        players = [
            await self.join(0, game, "table", "ann"),
            await self.join(1, game, "table", "bob"),
        ]
        await until(lambda: all(one.room.view is not None for one in players))
        for player in players:
            for _ in range(5):
                player.tap()
        await self.settle(players)
        seats = [player.room.seat for player in players]
        tapping = [LoopingCall(player.tap) for player in players]
        for one in tapping:
            one.start(0.01)
        await stop()
        await until(lambda: self.nodes[0].exited)
        # It did not wait for rooms to end: they have gone on.
        await until(lambda: all(one.room.is_connected for one in players))
        for one in tapping:
            one.stop()
        for player in players:
            player.tap()
        await self.settle(players)
        self.assertEqual([player.room.seat for player in players], seats)
        (room,) = self.admin(self.nodes[1]).get("rooms")["rooms"]
        self.assertEqual(room["room_id"], "table")

    async def test_sigterm(self) -> None:
        """
        On SIGTERM a room goes on at another node, for a player of that node and for one
        of the other: no closed room, every action counted once, no version goes back.
        """
        await self.check_moved("counting", lambda: self.term(self.nodes[0]))

    async def test_drain_move(self) -> None:
        """
        ``vinom drain --move`` does the same.
        """
        await self.check_moved("counting", self.drain_move)

    async def drain_move(self) -> None:
        """Ask for it as an operator does."""
        status, text = await self.vinom(self.nodes[0], "drain", "--move")
        self.assertEqual(status, 0, text)
        self.assertIn("moving", text)

    async def vinom(self, node: ChildNode, *words: str) -> tuple[int, str]:
        """Type a command."""
        code = "import sys; from vinom.tools.commands.cli import main; sys.exit(main())"
        out, error, status = await getProcessOutputAndValue(
            sys.executable,
            ["-c", code, *words, f"--state-dir={node.state_dir}"],
            env=os.environ,
        )
        return status, (out + error).decode()

    async def test_backfill(self) -> None:
        """
        Players who wait get the free seats of a running room, at their node or another
        one, and those for whom there is none wait on; the seats are theirs and nobody
        else's.
        """
        config = Path(self.mktemp()).absolute()
        config.write_text(
            '[queues.fill]\ngame = "counting-open"\nseats = [4, 4]\nbackfill = true\n'
        )
        given = f"--config={config}"
        self.nodes += [await self.start(given), await self.start(given)]
        # The room begins with two.
        players = []
        for name in ("ann", "bob"):
            lobby = Watched(reactor, Balancer(self.nodes, 0), Hello(1, name=name))
            lobby.refused = self.refused
            client = PlayerRooms(SharedLine(reactor, lobby))
            self.clients.append(client)
            room = await client.join(JoinRoom("counting-open"))
            players.append(Player(room))
        room_id = players[0].room.room_id
        self.assertEqual(players[1].room.room_id, room_id)
        await until(lambda: all(one.room.view is not None for one in players))
        lines = [
            await typed(self, self.nodes[number], name)
            for number, name in ((1, "cat"), (0, "dan"), (1, "eve"))
        ]
        found = []
        for line in lines[:2]:
            offered = line.hear("room_found")
            await line.ask("queue", "queue_status", game="counting-open", queue="fill")
            found.append(await offered)
        self.assertEqual([one["room_id"] for one in found], [room_id] * 2)
        # Both seats are kept: a stranger gets none, and the third waits.
        stranger = await typed(self, self.nodes[0], "stranger")
        refused = await stranger.ask(
            "join_room", "error", game="counting-open", room_id=room_id
        )
        self.assertEqual(refused["code"], "room_full")
        status = await lines[2].ask(
            "queue", "queue_status", game="counting-open", queue="fill"
        )
        self.assertEqual((status["state"], status["position"]), ("waiting", 1))
        seats = [
            (
                await line.ask(
                    "join_room",
                    "join_room_result",
                    game="counting-open",
                    room_id=room_id,
                    create=False,
                )
            )["seat"]
            for line in lines[:2]
        ]
        self.assertEqual(sorted(seats), [2, 3])
        self.assertFalse([m for m in lines[2].heard if m["type"] == "room_found"])
        # One leaves, and the third gets its seat.
        offered = lines[2].hear("room_found")
        await lines[0].ask("leave_room", "room_done")
        self.assertEqual((await offered)["room_id"], room_id)
        await lines[2].ask(
            "join_room", "join_room_result", game="counting-open", room_id=room_id
        )

    async def test_no_other_node(self) -> None:
        """
        Where no other node can take its rooms, a node says so and goes on; on SIGTERM
        it waits for its players, as without a store.
        """
        self.nodes.append(await self.start())
        players = [
            await self.join(0, "counting", "table", name) for name in ("ann", "bob")
        ]
        status, text = await self.vinom(self.nodes[0], "drain", "--move")
        self.assertNotEqual(status, 0)
        self.assertIn("no other node", text)
        self.assertEqual(self.admin(self.nodes[0]).get("status")["state"], "serving")
        os.kill(self.nodes[0].pid, signal.SIGTERM)
        line = self.admin(self.nodes[0])
        await until(lambda: line.get("status")["state"] == "draining")
        for player in players:
            player.tap()
        await self.settle(players)
        self.hang_up()
        await until(lambda: self.nodes[0].exited)

    async def test_two_at_once(self) -> None:
        """
        Two nodes that get SIGTERM in the same moment do not hand each other their
        rooms, which nobody would take: both wait for their players.
        """
        self.nodes += [await self.start(), await self.start()]
        players = [
            await self.join(first, "counting", f"table{first}", name)
            for first, name in ((0, "ann"), (0, "bob"), (1, "cat"), (1, "dan"))
        ]
        await until(lambda: all(one.room.view is not None for one in players))
        # So that Redis finds all that one of them asks before what the other reports.
        self.server.pause()
        for node in self.nodes:
            os.kill(node.pid, signal.SIGTERM)
        await deferLater(reactor, 0.3, lambda: None)
        self.server.wake()
        await deferLater(reactor, 2.0, lambda: None)
        for node in self.nodes:
            facts = self.admin(node).get("status")
            self.assertEqual(facts["state"], "draining")
            self.assertEqual(facts["rooms"]["rooms"], 1)
        for player in players:
            player.tap()
        await self.settle(players)
        self.hang_up()
        await until(lambda: all(node.exited for node in self.nodes))

    async def test_rooms_that_stay(self) -> None:
        """
        A room that does not outlive its node is played to its end there, while the
        others have gone on.
        """
        self.nodes += [await self.start(), await self.start()]
        here = [
            await self.join(first, "counting-here", "here", f"h{first}")
            for first in (0, 1)
        ]
        moved = [
            await self.join(0, "counting", "table", name) for name in ("ann", "bob")
        ]
        players = [*here, *moved]
        await until(lambda: all(one.room.view is not None for one in players))
        os.kill(self.nodes[0].pid, signal.SIGTERM)
        line = self.admin(self.nodes[1])
        await until(lambda: line.get("status")["rooms"]["rooms"] == 1)
        await until(lambda: all(one.room.is_connected for one in players))
        for player in players:
            player.tap()
        await self.settle(players)
        self.assertFalse(self.nodes[0].exited)
        for client in self.clients[:2]:
            client.close()
        await until(lambda: self.nodes[0].exited)
        await self.settle(moved)

    async def test_queue_and_party(self) -> None:
        """
        A party that waits in the queue of the node finds itself, and its place in the
        queue, at another one.
        """
        self.nodes += [await self.start(), await self.start()]
        ann = await typed(self, self.nodes[0], "ann")
        welcome = next(one for one in ann.heard if one["type"] == "welcome")
        key = welcome["data"]["player_key"]
        party = await ann.ask("create_party", "party_created")
        # Any address will do, as this node has no direct_lobby.
        self.assertEqual(party["address"], "")
        await ann.ask("queue", "queue_status", game=TicTacToe.name)
        why = ann.hear("error")
        await self.term(self.nodes[0])
        self.assertEqual((await why)["code"], "unavailable")
        again = Typed()
        node = self.nodes[1]
        endpoint = TCP4ClientEndpoint(reactor, node.host, node.port)
        await connectProtocol(endpoint, again)
        self.addCleanup(again.transport.abortConnection)
        found = [again.hear("party_update"), again.hear("queue_status")]
        again.say("hello", protocol=1, player_key=key)
        update, status = await gatherResults(found)
        self.assertEqual(update["party"]["party_id"], party["party_id"])
        self.assertEqual((status["state"], status["game"]), ("waiting", TicTacToe.name))
        self.assertNotIn("draining", json.dumps(ann.heard))

    async def test_rolling_restart(self) -> None:
        """
        All nodes are restarted, one after the other, while players play in 20 rooms:
        no hello is refused, no room is lost, every action counts once.
        """
        starting = [Deferred.fromCoroutine(self.start()) for _ in range(3)]
        self.nodes += await gatherResults(starting)
        players = await gatherResults(
            [
                Deferred.fromCoroutine(
                    self.join(
                        (room + seat) % 3,
                        "counting",
                        f"room-{room}",
                        f"p{room}-{seat}",
                    )
                )
                for room in range(20)
                for seat in range(2)
            ]
        )
        await until(lambda: all(one.room.view is not None for one in players))
        tapping = [LoopingCall(player.tap) for player in players]
        for one in tapping:
            one.start(0.25)
            self.addCleanup(lambda one=one: one.running and one.stop())
        for _ in range(ROUNDS):
            for number in range(3):
                old = self.nodes[number]
                await self.term(old)
                self.nodes[number] = await self.start()
                await until(partial(are_connected, players))
                await deferLater(reactor, 0.2)
        for one in tapping:
            one.stop()
        await self.settle(players)
        self.assertGreater(min(player.sent for player in players), 5)
