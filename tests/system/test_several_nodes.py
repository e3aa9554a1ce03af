"""Two real nodes with a real Redis: players meet, play and come back as at one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.trial.unittest import TestCase

from tests.support.quick import QuickMaze
from tests.support.redis_servers import RedisServer, until
from vinom.client.load.bot import Bot, Habits
from vinom.client.load.tally import Tally
from vinom.client.lobby import LobbyClient
from vinom.client.match import Match, MatchResult
from vinom.client.sdk import connect
from vinom.commands.child_node import ChildNode
from vinom.game import Chance
from vinom.games.tictactoe import TicTacToe
from vinom.keys.authority import Authority
from vinom.messages.catalogue import PROTOCOL
from vinom.messages.envelope import Failed
from vinom.messages.lobby import Hello, MatchFound
from vinom.node.asking import AdminLine

OPTIONS = {"rows": 4, "cols": 5}


class SeveralNodesTests(TestCase):
    """Ann comes to node A, Bob to node B."""

    timeout = 120

    async def setUp(self) -> None:
        self.server = RedisServer()
        self.addCleanup(self.server.kill)
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        Authority.open(folder, "game.vinom", reactor.seconds)
        self.authority = folder / "authority"
        self.a, self.b = [await self.start() for _ in range(2)]

    async def start(self) -> ChildNode:
        """Start a node, and wait until others can reach it."""
        node = ChildNode(
            reactor,
            [
                f"--store={self.server.url}",
                f"--authority-certificate-file={self.authority / 'ca.pem'}",
                f"--authority-key-file={self.authority / 'ca.key'}",
                f"--game={QuickMaze.__module__}:{QuickMaze.__name__}",
                "--warm=1",
                "--node-link=0",
            ],
        )
        self.addCleanup(node.stop)
        await node.start()
        line = AdminLine(Path(node.state_dir) / "admin.sock")
        await until(lambda: line.get("status")["store"]["lease"])
        return node

    def lobby(self, node: ChildNode, **who: Any) -> LobbyClient:
        """Be a player at a node."""
        endpoint = HostnameEndpoint(reactor, node.host, node.port)
        lobby = LobbyClient(reactor, endpoint, Hello(PROTOCOL, **who))
        self.addCleanup(lobby.close)
        return lobby

    async def find(self, *lobbies: LobbyClient) -> list[MatchFound]:
        """Have two players queue, one after the other: the node of the last matches."""
        waiting: list[object] = []
        first, second = lobbies
        searches = [first.find_match(TicTacToe.name, on_status=waiting.append)]
        await until(lambda: waiting)
        searches.append(second.find_match(TicTacToe.name))
        found: list[MatchFound] = await gatherResults(searches)
        return found

    async def test_play(self) -> None:
        """
        Two players who queue at two nodes are matched at once, and play to the end.
        """
        ended: list[Deferred[MatchResult]] = []
        bots: list[Bot] = []
        running = []
        for number, node in enumerate((self.a, self.b, self.a, self.b)):
            client = await connect(reactor, node.host, node.port, name=f"p{number}")
            bot = Bot(
                reactor,
                client,
                QuickMaze.name,
                QuickMaze(),
                Habits(OPTIONS, pace=10.0),
                Tally(),
                Chance(number),
                watch=lambda match: ended.append(match.ended),
            )
            bots.append(bot)
            running.append(bot.run())
        await until(lambda: len(ended) == 4)
        for bot in bots:
            bot.stop()
        results = await gatherResults(ended)
        self.assertEqual([result.reason for result in results], ["finished"] * 4)
        await gatherResults(running)

    async def test_back_through_another_node(self) -> None:
        """
        A player whose line was cut comes back through a node that does not host the
        match, gets a new ticket there, and plays over UDP.
        """
        ann, bob = self.lobby(self.a, name="ann"), self.lobby(self.b, name="bob")
        first = await self.find(ann, bob)
        self.assertEqual(first[0].match_id, first[1].match_id)
        key = bob.identity.key
        again = self.lobby(self.a, player_key=key)
        found = await again.whereabouts()
        assert isinstance(found, MatchFound)
        self.assertEqual(found.match_id, first[1].match_id)
        self.assertEqual(found.seat, first[1].seat)
        self.assertNotEqual(found.server_name, first[1].server_name)
        matches = []
        for lobby, way_in in ((ann, first[0]), (again, found)):
            match = Match(reactor, lobby, way_in, way="udp")
            self.addCleanup(match.leave)
            match.start()
            matches.append(match)
        await gatherResults([match.joined for match in matches])
        self.assertEqual([match.way for match in matches], ["udp", "udp"])

    async def test_second_hello(self) -> None:
        """
        A second hello at another node closes the line to the first, with the reason.
        """
        ann = self.lobby(self.a, name="ann")
        said: list[Any] = []
        lost: list[bool] = []
        await ann.open_line(said.append, lambda: lost.append(True))
        await self.lobby(self.b, player_key=ann.identity.key).hello()
        await until(lambda: lost)
        errors = [one.code for one in said if isinstance(one, Failed)]
        self.assertEqual(errors, ["replaced"])
