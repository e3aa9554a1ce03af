"""A Redis that comes back empty in mid-match: real nodes, a real Redis, SIGKILL."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import shared_by_nodes, start_leased_node, status_of
from tests.support.hanging_up import hang_up
from tests.support.marks import place_marks
from tests.support.redis_servers import RedisServer, until
from vinom.base.messages.lobby import Hello, MatchFound
from vinom.client.line import LineLost, LobbyRefusal
from vinom.client.lobby import LobbyClient
from vinom.client.sdk import Client, connect
from vinom.errors import Code
from vinom.games.tictactoe import TicTacToe
from vinom.tools.commands.child_node import ChildNode


class EmptiedStoreTests(TestCase):
    """Two nodes, one match, and a Redis that loses everything."""

    timeout = 120

    async def setUp(self) -> None:
        self.server = RedisServer()
        self.addCleanup(lambda: self.server.kill())
        self.shared = (
            *shared_by_nodes(self, self.server.url),
            "--fill-seconds=0",
            "--join-seconds=600",
            "--warm=1",
        )
        self.clients: list[Client] = []
        starts = (self.start(), self.start())
        self.nodes = list(
            await gatherResults([Deferred.fromCoroutine(one) for one in starts])
        )

    async def start(self) -> ChildNode:
        node = await start_leased_node(self, *self.shared, game_ports=4)
        self.addCleanup(hang_up, self.clients)
        return node

    async def begin(self) -> None:
        """Let two players be matched, each from a node of its own; place two marks."""
        for node, name in zip(self.nodes, ("ann", "bob"), strict=True):
            self.clients.append(
                await connect(reactor, node.host, node.port, name=name)  # type: ignore[arg-type]
            )
        self.keys = [client.identity.key for client in self.clients]
        self.matches = sorted(
            await gatherResults(
                [client.queue(TicTacToe.name) for client in self.clients]
            ),
            key=lambda match: match.seat,
        )
        await until(lambda: all(match.view is not None for match in self.matches))
        await place_marks(self.matches, 2)

    def come_back(self) -> None:
        """Start the Redis again, at the same port; it is empty."""
        self.server = RedisServer(port=self.server.port)

    async def ask(self, node: ChildNode, key: str) -> Any:
        """Ask a node where a player is, until it knows."""
        endpoint = TCP4ClientEndpoint(reactor, node.host, node.port)
        while True:
            # A new client each time: who is forgotten once would be somebody else.
            lobby = LobbyClient(
                reactor,  # type: ignore[arg-type]
                endpoint,
                Hello(protocol=1, player_key=key),
            )
            try:
                return await lobby.whereabouts()
            except LineLost:
                pass
            except LobbyRefusal as refusal:
                self.assertEqual(refusal.code, Code.STORE_UNAVAILABLE)
            await deferLater(reactor, 0.02)  # type: ignore[arg-type]

    async def ask_everywhere(self) -> list[Any]:
        """Ask both nodes where both players are, at the same time for both nodes."""

        async def ask_one(node: ChildNode) -> list[Any]:
            return [await self.ask(node, key) for key in self.keys]

        asked = [Deferred.fromCoroutine(ask_one(node)) for node in self.nodes]
        return [one for found in await gatherResults(asked) for one in found]

    async def test_running(self) -> None:
        """
        Both players find their match from either node as soon as the lobby answers at
        all, are never sent that there is none, and play it to its end.
        """
        await self.begin()
        match_id = self.matches[0].match_id
        self.server.kill()
        await until(lambda: not any(self.is_ready(node) for node in self.nodes))
        self.come_back()
        for _ in range(3):
            for found in await self.ask_everywhere():
                self.assertIsInstance(found, MatchFound)
                self.assertEqual(found.match_id, match_id)
        await place_marks(self.matches, 3)
        await until(lambda: all(match.outcome is not None for match in self.matches))
        for match in self.matches:
            match.leave()
        await until(lambda: not self.server.command("KEYS", "*:match:*"))
        self.assertEqual(self.server.command("KEYS", "*:match-of:*"), [])
        await until(lambda: not self.server.command("KEYS", "*:server:*"))

    async def test_party(self) -> None:
        """
        A party is gone with the Redis that had it: its members, each connected to
        another node, are sent that, so that no host queues alone by mistake.
        """
        players: list[Client] = []
        for node, name in zip(self.nodes, ("ann", "bob"), strict=True):
            players.append(await connect(reactor, node.host, node.port, name=name))  # type: ignore[arg-type]
        self.clients += players
        ann = await players[0].parties.create(TicTacToe.name)
        bob = await players[1].parties.join(ann.party_id, token=ann.token)
        await until(lambda: len(ann.members) == 2)
        self.server.kill()
        await until(lambda: not any(self.is_ready(node) for node in self.nodes))
        self.come_back()
        self.assertEqual(["lost", "lost"], [await ann.closed, await bob.closed])

    def is_ready(self, node: ChildNode) -> bool:
        """Does this node have its store?"""
        return bool(status_of(node)["store"]["available"])
