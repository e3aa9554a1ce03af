"""Real nodes whose store is a real Redis."""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import admin_of, shared_by_nodes, start_node
from tests.support.match_bots import play_one
from tests.support.quick import QuickMaze
from tests.support.redis_servers import make_client, redis_for, until
from tests.system.test_websocket_node import Player as WebPlayer
from vinom.base.messages.envelope import encode_request
from vinom.base.messages.lobby import MatchFound, Queue
from vinom.base.model import NodeFacts, Player, QueueEntry
from vinom.base.settings.values import read_store_address
from vinom.client.line import LobbyRefusal
from vinom.client.match import Match, MatchResult
from vinom.client.sdk import connect
from vinom.errors import Misconfigured
from vinom.games.tictactoe import TicTacToe
from vinom.node.settings import Settings
from vinom.play.choices import canonical_options
from vinom.store.redis.lobby import RedisLobbyStore
from vinom.store.redis.nodes import RedisNodeStore
from vinom.tools.commands.admin import show_status
from vinom.tools.commands.child_node import ChildNode, NodeFailed, free_port


class RedisNodeTests(TestCase):
    """One node with ``--store redis://``."""

    timeout = 120

    def setUp(self) -> None:
        self.server = redis_for(self)
        self.shared = shared_by_nodes(self, self.server.url)

    async def start(self, *arguments: str) -> ChildNode:
        node = await start_node(
            self,
            *self.shared,
            f"--game={QuickMaze.__module__}:{QuickMaze.__name__}",
            "--warm=1",
            *arguments,
        )
        await until(lambda: self.status(node)["lease"])
        return node

    def sorts(self) -> set[str]:
        """List the sorts of keys in Redis."""
        return {key.split(":")[3] for key in self.server.command("KEYS", "*")}

    async def test_plays_a_match(self) -> None:
        """
        Two players are matched, play to the end, and are free again.
        """
        node = await self.start()
        running: list[Deferred[None]] = []
        ended: list[Deferred[MatchResult]] = []
        for number, name in enumerate(("ann", "bob", "cat", "dan")):
            client = await connect(reactor, node.host, node.port, name=name)
            running.append(
                play_one(client, number, lambda match: ended.append(match.ended))
            )
        await until(lambda: len(ended) == 4)
        self.assertIn("match-of", self.sorts())
        results = await gatherResults(ended)
        self.assertEqual([result.reason for result in results], ["finished"] * 4)
        await gatherResults(running)
        shown = show_status(admin_of(node).get("status"))
        self.assertRegex(shown, r"store +redis://127\.0\.0\.1:\d+/0, lease 1")
        await until(lambda: not self.sorts() & {"match", "match-of", "entry-of"})
        await node.stop()
        self.assertNotIn("node", self.sorts())

    async def test_commands_per_player(self) -> None:
        """
        A player costs at most 12 commands from login to match, in a long queue too.
        """
        node = await self.start("--warm=8")
        # A script that Redis has never run is sent twice.
        await self.matched(node, "w")
        costs = [await self.matched(node, "a")]
        await self.fill_queue(400)
        costs.append(await self.matched(node, "b"))
        for cost in costs:
            self.assertLessEqual(cost, 12)
        # The looks at clock and lease fall as they may.
        self.assertLess(abs(costs[1] - costs[0]), 3)

    async def matched(self, node: ChildNode, sort: str) -> float:
        """Log in eight players, and match them; returns commands per player."""
        before = self.commands()
        matches: list[Match] = []
        clients = []
        for number in range(8):
            client = await connect(
                reactor, node.host, node.port, name=f"{sort}{number}"
            )
            clients.append(client)
            queued = client.queue(TicTacToe.name, on_found=matches.append)
            queued.addErrback(lambda _: None)
        await until(lambda: len(matches) == 8)
        cost = (self.commands() - before) / 8
        for client in clients:
            client.close()
        # What their goodbyes and the ends of their matches cost is not the next ones'.
        await until(lambda: not self.sorts() & {"line", "match", "lines-of"})
        return cost

    def commands(self) -> int:
        """Count what nodes have sent, without what scripts call themselves."""
        lines = self.server.command("INFO", "commandstats").splitlines()
        counts = {
            name.removeprefix("cmdstat_"): int(rest.partition(",")[0])
            for name, _, rest in (line.partition(":calls=") for line in lines)
            if rest
        }
        return counts.get("evalsha", 0) + counts.get("eval", 0)

    async def fill_queue(self, count: int) -> None:
        """Have so many players wait who are away, so they cannot be matched."""
        client = make_client(self.server.port, "vinom:1:main:", "filler")
        client.startService()
        await until(lambda: client.is_available)
        facts = NodeFacts("filler", {}, "1")
        await RedisNodeStore(client).register(facts, 60)
        store = RedisLobbyStore(client, time.time)
        options = canonical_options(TicTacToe(), b"{}")
        for number in range(count):
            player = Player(f"away{number}", "away")
            await store.enqueue(
                QueueEntry(
                    f"away{number}",
                    (player,),
                    TicTacToe.name,
                    1.0 + number,
                    options,
                    suspended=True,
                )
            )
        self.assertEqual((await store.waiting(TicTacToe.name, options)).players, count)
        await maybeDeferred(client.stopService)

    async def test_redis_is_stopped(self) -> None:
        """
        While Redis does not answer, logins and requests are refused with the time to
        try again, and the node is not ready. When Redis goes on, the node is ready, and
        who queued meanwhile is matched.
        """
        http = free_port()
        node = await self.start(f"--http={http}")
        here = await connect(reactor, node.host, node.port, name="ann")
        self.addCleanup(here.close)
        page = WebPlayer(http, "cleo")
        await page.hello()
        self.addCleanup(lambda: deferToThread(page.socket.close))
        self.assertEqual(await self.ready(http), (200, "ready"))
        self.server.pause()
        await until(lambda: not self.status(node)["available"])
        refusal = await self.refused(connect(reactor, node.host, node.port, name="bob"))
        self.assertEqual(refusal.code, "store_unavailable")
        self.assertEqual(refusal.details["retry_after"], 1)
        self.assertEqual(await self.ready(http), (503, "store_unavailable"))
        refused = await page.ask(encode_request(Queue(TicTacToe.name), 2))
        self.assertEqual(refused["error"]["code"], "store_unavailable")
        # The SDK tries again for a while.
        queued = here.queue(TicTacToe.name)
        self.server.wake()
        await until(lambda: self.status(node)["available"])
        self.assertEqual(await self.ready(http), (200, "ready"))
        await page.send(encode_request(Queue(TicTacToe.name), 3))
        found = await page.push(MatchFound)
        self.assertEqual((await queued).match_id, found.match_id)

    async def refused(self, request: Deferred[Any]) -> LobbyRefusal:
        """Wait for the refusal of a request."""
        try:
            await request
        except LobbyRefusal as refusal:
            return refusal
        raise AssertionError("it was not refused")

    async def test_one_authority(self) -> None:
        """
        A client that pinned the deployment's authority reaches every node, and is the
        same player at each.
        """
        nodes = [await self.start() for _ in range(2)]
        anchor = Path(self.shared[1].partition("=")[2]).read_bytes()
        first = await connect(
            reactor, nodes[0].host, nodes[0].port, name="ann", tls=anchor
        )
        key, player_id = first.identity.key, first.identity.player_id
        first.close()
        second = await connect(
            reactor, nodes[1].host, nodes[1].port, player_key=key, tls=anchor
        )
        self.assertEqual(second.identity.player_id, player_id)
        second.close()
        self.assertEqual(self.count("node"), 2)

    def count(self, sort: str) -> int:
        """Count the keys of one sort."""
        return len(self.server.command("KEYS", f"vinom:1:main:{sort}:*"))

    def test_own_authority(self) -> None:
        """
        A node with links to others that would make its own authority is refused in
        one sentence; one without may do so.
        """
        store = read_store_address(self.server.url)
        Settings(store=store)
        with self.assertRaises(Misconfigured) as caught:
            Settings(store=store, node_link="4602")
        self.assertIn("authority_certificate_file", str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    async def test_redis_that_cannot_be_used(self) -> None:
        """
        A node whose Redis refuses its password does not start, and says why.
        """
        self.server.command("CONFIG", "SET", "requirepass", "secret")
        with self.assertRaises(NodeFailed) as caught:
            await self.start()
        self.assertIn("cannot start: store redis://127", str(caught.exception))
        self.assertIn("NOAUTH", str(caught.exception))

    def status(self, node: ChildNode) -> dict[str, Any]:
        """Ask a node about its store."""
        line = admin_of(node)
        found: dict[str, Any] = line.get("status")["store"]
        return found

    async def ready(self, port: int) -> tuple[int, str]:
        """Ask a node whether it is ready, as a balancer does."""

        def ask() -> tuple[int, str]:
            line = HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                line.request("GET", "/ready")
                answer = line.getresponse()
                return answer.status, json.loads(answer.read())["status"]
            finally:
                line.close()

        found: tuple[int, str] = await deferToThread(ask)
        return found
