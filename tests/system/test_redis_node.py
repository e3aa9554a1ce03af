"""Real nodes whose store is a real Redis."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from tests.support.quick import QuickMaze
from tests.support.redis_servers import RedisServer, until
from vinom.client.load.bot import Bot, Habits
from vinom.client.load.tally import Tally
from vinom.client.match import Match, MatchResult
from vinom.client.sdk import Client, connect
from vinom.commands.child_node import ChildNode
from vinom.game import Chance
from vinom.keys.authority import Authority
from vinom.node.asking import AdminLine

OPTIONS = {"rows": 4, "cols": 5}


class RedisNodeTests(TestCase):
    """One node with ``--store redis://``."""

    timeout = 120

    def setUp(self) -> None:
        self.server = RedisServer()
        self.addCleanup(self.server.kill)
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        Authority.open(folder, "game.vinom", reactor.seconds)
        self.authority = folder / "authority"

    async def start(self, *arguments: str) -> ChildNode:
        node = ChildNode(
            reactor,
            [
                f"--store={self.server.url}",
                f"--authority-certificate-file={self.authority / 'ca.pem'}",
                f"--authority-key-file={self.authority / 'ca.key'}",
                f"--game={QuickMaze.__module__}:{QuickMaze.__name__}",
                "--warm=1",
                *arguments,
            ],
        )
        self.addCleanup(node.stop)
        await node.start()
        line = AdminLine(Path(node.state_dir) / "admin.sock")
        await until(lambda: line.get("status")["store"]["lease"])
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
            bot = self.make_bot(client, number, ended)
            running.append(bot.run())
        await until(lambda: len(ended) == 4)
        self.assertIn("match-of", self.sorts())
        results = await gatherResults(ended)
        self.assertEqual([result.reason for result in results], ["finished"] * 4)
        await gatherResults(running)
        await until(lambda: not self.sorts() & {"match", "match-of", "entry-of"})
        await node.stop()
        self.assertNotIn("node", self.sorts())

    def make_bot(
        self, client: Client, number: int, ended: list[Deferred[MatchResult]]
    ) -> Bot:
        """Make a bot that plays one match."""

        def found(match: Match) -> None:
            ended.append(match.ended)
            bot.stop()

        bot = Bot(
            reactor,
            client,
            QuickMaze.name,
            QuickMaze(),
            Habits(OPTIONS, pace=10.0),
            Tally(),
            Chance(number),
            watch=found,
        )
        return bot
