"""A Redis that comes back empty: real nodes, a real Redis, SIGKILL."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import shared_by_nodes, start_leased_node, status_of
from tests.support.hanging_up import hang_up
from tests.support.redis_servers import RedisServer, until
from vinom.client.sdk import Client, connect
from vinom.games.tictactoe import TicTacToe
from vinom.tools.commands.child_node import ChildNode


class EmptiedStoreTests(TestCase):
    """Two nodes, a party, and a Redis that loses everything."""

    timeout = 120

    async def test_party(self) -> None:
        """
        A party is gone with the Redis that had it: its members, each connected to
        another node, are sent that, so that no host queues alone by mistake.
        """
        server = RedisServer()
        self.addCleanup(lambda: server.kill())
        shared = shared_by_nodes(self, server.url)
        starts = (start_leased_node(self, *shared, game_ports=4) for _ in range(2))
        nodes = await gatherResults([Deferred.fromCoroutine(one) for one in starts])
        clients: list[Client] = []
        self.addCleanup(hang_up, clients)
        for node, name in zip(nodes, ("ann", "bob"), strict=True):
            clients.append(
                await connect(reactor, node.host, node.port, name=name)  # type: ignore[arg-type]
            )
        ann = await clients[0].parties.create(TicTacToe.name)
        bob = await clients[1].parties.join(ann.party_id, token=ann.token)
        await until(lambda: len(ann.members) == 2)
        server.kill()
        await until(lambda: not any(self.is_ready(node) for node in nodes))
        # The same port, and empty.
        server = RedisServer(port=server.port)
        self.assertEqual(["lost", "lost"], [await ann.closed, await bob.closed])

    def is_ready(self, node: ChildNode) -> bool:
        """Does this node have its store?"""
        return bool(status_of(node)["store"]["available"])
