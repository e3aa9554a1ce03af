"""
Nodes on machines of their own, with nothing in common but a Redis on a third one.

The machines are namespaces of this one, which takes root. They share its disk and its
clock; no process sees another's. ``VINOM_CONTINUITY=full``: each death five times.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import shared_by_nodes
from tests.support.hanging_up import hang_up
from tests.support.machines import MachineNode, Reaching, Switch
from tests.support.marks import cells_of, place_marks
from tests.support.redis_servers import RedisServer, until
from vinom.base.messages.lobby import Hello
from vinom.base.messages.rooms import JoinRoom
from vinom.client.lobby import LobbyClient, SharedLine
from vinom.client.match import Match
from vinom.client.rooms import LiveRoom, PlayerRooms
from vinom.client.sdk import Client, connect
from vinom.games.tictactoe import TicTacToe
from vinom.node.build import AWAY_MARGIN

IS_FULL = os.environ.get("VINOM_CONTINUITY") == "full"
#: How often a machine dies.
DEATHS = 5 if IS_FULL else 1
#: The default lease, and how much later a room plays again at the latest, seconds.
LEASE, MARGIN = 10.0, 2.0


class MachinesCase(TestCase):
    """Two machines with a node each, and a third with a Redis."""

    timeout = 600

    def setUp(self) -> None:
        self.switch = Switch(self)
        self.store, *self.machines = [self.switch.machine() for _ in range(3)]
        self.redis = RedisServer(host=self.store.address, before=self.store.before)
        self.addCleanup(self.redis.kill)
        self.shared = shared_by_nodes(self, self.redis.url)
        self.nodes: list[MachineNode] = []

    async def start(self, *arguments: str, is_told: bool = True) -> None:
        """Start both nodes; players come from other machines, if they are told that."""
        if is_told:
            arguments = (*arguments, "--allow-plaintext", "--guests=yes")
        for machine in self.machines:
            node = MachineNode(
                reactor, machine, *self.shared, *arguments, is_told=is_told
            )
            self.nodes.append(node)
            self.addCleanup(node.stop)
        # Before nodes stop: players would try to come back.
        self.addCleanup(self.hang_up)
        await gatherResults([node.start() for node in self.nodes])

    def hang_up(self) -> Any:
        """Let all players go."""

    def report(self, seconds: float) -> None:
        """Print how long it took until play went on."""
        if IS_FULL:
            print(f"\n{self._testMethodName}: back after {seconds:.2f} s", flush=True)

    async def replace(self, node: MachineNode) -> None:
        """Start a node again on its machine, and let the other one die next."""
        node.machine.plug()
        await node.start_again()
        self.nodes.reverse()


class RoomsTests(MachinesCase):
    """Rooms of the nodes."""

    def setUp(self) -> None:
        super().setUp()
        self.players: list[PlayerRooms] = []
        self.seen: list[list[int]] = []
        self.closed: list[Any] = []

    def hang_up(self) -> None:
        for player in self.players:
            player.close()

    async def join(self, at: Reaching, name: str, room_id: str) -> LiveRoom:
        """Sit down in a room, at a node."""
        lobby = LobbyClient(reactor, at, Hello(protocol=1, name=name))  # type: ignore[arg-type]
        player = PlayerRooms(SharedLine(reactor, lobby))
        self.players.append(player)
        room = await player.join(JoinRoom(TicTacToe.name, room_id))
        seen: list[int] = []
        self.seen.append(seen)
        room.on_state(lambda room: seen.append(room.version))
        room.closed.addCallback(self.closed.append)
        return room

    async def begin(
        self, number: int = 0, first: int = 0
    ) -> tuple[list[LiveRoom], list[Reaching]]:
        """Make a room at a node, join it at the other, and place two marks."""
        ways = [Reaching(reactor, self.nodes[one]) for one in (first, 1 - first)]
        names = [f"{name}{number}" for name in ("ann", "bob")]
        rooms = [
            await self.join(way, name, f"table{number}")
            for way, name in zip(ways, names, strict=True)
        ]
        await until(lambda: all(room.view is not None for room in rooms))
        await place_marks(rooms, 2)
        return rooms, ways

    async def finish(self, rooms: list[LiveRoom]) -> None:
        """Play to the end; nobody lost a place, and no version went back."""
        self.assertEqual([room.seat for room in rooms], [0, 1])
        await place_marks(rooms, 2)
        await until(lambda: all(room.state == "over" for room in rooms))
        for seen in self.seen:
            self.assertEqual(seen, sorted(seen), "no version goes back")
        self.assertEqual(self.closed, [])

    async def test_told_nothing(self) -> None:
        """
        Nodes that are told no more than the store and the authority, and serve players
        of their own machines: those play in one room.
        """
        await self.start(is_told=False)
        rooms, _ = await self.begin()
        self.assertEqual([node.host for node in self.nodes], ["127.0.0.1"] * 2)
        await place_marks(rooms, 1)
        await self.finish(rooms)

    async def test_machine_dies(self) -> None:
        """
        A machine dies. Its rooms play again at the other one within a lease and 2 s,
        for a player who was connected to the dead one, and for one who was not.
        """
        await self.start("--warm=0")
        for number in range(DEATHS):
            await self.check_dies(number)

    async def check_dies(self, number: int) -> None:
        """Have a machine die: its room plays again, in time."""
        rooms, ways = await self.begin(number)
        cells = cells_of(rooms[0])
        dead, ways[0].node = self.nodes
        died_at = time.monotonic()
        await dead.die()
        await until(lambda: not any(room.is_connected for room in rooms))
        await until(lambda: all(room.is_connected for room in rooms))
        self.assertEqual([cells_of(room) for room in rooms], [cells, cells])
        await place_marks(rooms, 1)
        back = time.monotonic() - died_at
        self.report(back)
        self.assertLess(back, LEASE + MARGIN)
        await self.finish(rooms)
        await self.replace(dead)

    async def check_store_away(
        self, stop: Callable[[], None], go_on: Callable[[], None]
    ) -> None:
        """Have the store away for 8 s: a room of each node goes on."""
        await self.start("--warm=0")
        pairs = [(await self.begin(one, one))[0] for one in range(2)]
        stop()
        await deferLater(reactor, 8.0)  # type: ignore[arg-type]
        go_on()
        back_at = time.monotonic()
        for rooms in pairs:
            await place_marks(rooms, 1)
        self.report(time.monotonic() - back_at)
        for rooms in pairs:
            await self.finish(rooms)

    async def test_store_stands_still(self) -> None:
        """The Redis stands still for 8 s: no room is lost."""
        await self.check_store_away(self.redis.pause, self.redis.wake)

    async def test_store_unplugged(self) -> None:
        """Nothing reaches the Redis for 8 s: no room is lost."""
        await self.check_store_away(self.store.unplug, self.store.plug)


class MatchesTests(MachinesCase):
    """Matches in game servers."""

    def setUp(self) -> None:
        super().setUp()
        self.clients: list[Client] = []

    def hang_up(self) -> Any:
        return hang_up(self.clients)

    async def matches(self, node: MachineNode, **who: list[str]) -> list[Match]:
        """Let two players queue at a node, or come back to it."""
        ((name, values),) = who.items()
        for value in values:
            self.clients.append(
                await connect(reactor, node.host, node.port, **{name: value})  # type: ignore[arg-type]
            )
        found = [client.queue(TicTacToe.name) for client in self.clients]
        matches = await gatherResults(found)
        await until(lambda: all(match.view is not None for match in matches))
        return sorted(matches, key=lambda match: match.seat)

    async def check_dies(self, most: float, *arguments: str) -> None:
        """Have a machine die with a match: it goes on at the other one in time."""
        await self.start("--warm=1", "--join-seconds=600", *arguments)
        for number in range(DEATHS):
            await self.check_death(number, most)

    async def check_death(self, number: int, most: float) -> None:
        """Have the first machine die, and start it again."""
        dead, other = self.nodes
        names = [f"{name}{number}" for name in ("ann", "bob")]
        matches = await self.matches(dead, name=names)
        await place_marks(matches, 2)
        cells = cells_of(matches[0])
        # A copy is at most a second old.
        await deferLater(reactor, 1.5)  # type: ignore[arg-type]
        died_at = time.monotonic()
        await dead.die()
        keys = [client.identity.key for client in self.clients]
        await hang_up(self.clients)
        matches = await self.matches(other, player_key=keys)
        back = time.monotonic() - died_at
        self.report(back)
        self.assertEqual([match.went_back for match in matches], [True, True])
        self.assertEqual([cells_of(match) for match in matches], [cells, cells])
        self.assertLess(back, most)
        await place_marks(matches, 3)
        await until(lambda: all(one.outcome is not None for one in matches))
        await hang_up(self.clients)
        await self.replace(dead)

    async def test_machine_dies(self) -> None:
        """
        Its game server must have ended, too: the match waits for that, and for two
        looks of the other node.
        """
        most = LEASE + 6.0 + AWAY_MARGIN + 2 * MARGIN
        await self.check_dies(most, "--orphan-seconds=6")

    async def test_machine_with_a_relay_dies(self) -> None:
        """Nobody reaches a game server behind a relay: the match waits for a lease."""
        await self.check_dies(LEASE + 2 * MARGIN, "--orphan-seconds=6", "--udp=relay")
