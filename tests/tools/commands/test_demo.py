"""`vinom demo`, without a node."""

from __future__ import annotations

import sys
from io import StringIO
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.support.played import PlayedWorld
from vinom.client.sdk import Client
from vinom.tools.commands.cli import main
from vinom.tools.commands.demo import Demonstration, Killed, MazeDemo
from vinom.tools.commands.demo_nodes import (
    Group,
    NamedNode,
    compose_nodes,
    describe_nodes,
)

NAMES = ("ann", "bob", "cleo", "dan")


class SlowNode:
    """A node that has yet to start."""

    host, port = "127.0.0.1", 4600

    def __init__(self) -> None:
        self.serves: Deferred[None] = Deferred()

    def start(self) -> Deferred[None]:
        return self.serves

    def stop(self) -> Deferred[None]:
        return succeed(None)

    def log_end(self) -> str:
        return ""


class DemoTests(SynchronousTestCase):
    def test_slow_start(self) -> None:
        """
        A demo is shown for as long as was asked, however long its node took to start.
        """
        reactor, node = MemoryReactorClock(), SlowNode()
        maze = MazeDemo(reactor, NAMES, 4, 6.0)
        demo = Demonstration(reactor, maze, None, 5.0)
        self.patch(maze, "_node", node)
        self.patch(sys, "stdout", StringIO())
        self.addCleanup(demo.stop)
        Deferred.fromCoroutine(demo.run())
        reactor.advance(60.0)
        node.serves.callback(None)
        reactor.advance(1.0)
        # Four that play with each other, and one for a guest.
        self.assertEqual(len(reactor.tcpClients), 5)
        self.assertEqual({client[1] for client in reactor.tcpClients}, {4600})

    def test_too_many_nodes(self) -> None:
        """
        A number of nodes that cannot be drawn is refused, with the limits.
        """
        errors = StringIO()
        self.patch(sys, "stderr", errors)
        for number in ("0", "6"):
            self.assertEqual(main(["demo", "--nodes", number]), 2)
            self.assertIn(f"--nodes {number} must be 1 to 5", errors.getvalue())


@attrs.define
class EndedMatch:
    """The match of a process that was killed."""

    outcome: dict[str, Any] | None = None
    is_over: bool = False


class MazeDemoTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = PlayedWorld()
        self.demo = MazeDemo(self.world.reactor, NAMES, 2, 6.0)

    def play(self, *names: str) -> None:
        """Have players in a match that may be shown."""
        for name in names:
            client = Client(self.world.reactor, self.world.player(name))
            client.hello()
            self.world.pass_time(0.2)
            if name != "guest":
                self.demo.bots.add(client.identity.player_id)
            client.queue("maze").addCallback(self.demo.add)
        self.world.pass_time(6.0)
        seats: dict[str, Any] = {"at": [[0, 0], [0, 3]], "scores": [0, 0]}
        over = {"over": False, "winners": [], "dancing": []}
        self.world.servers[-1].state(1, {**seats, **over, "points": "0110", "left": 2})
        self.world.pass_time(0.2)

    def draw(self) -> str:
        return "\n".join(self.demo.compose(100, 30).lines(colour=False))

    def test_nothing_yet(self) -> None:
        """
        Before the first match the screen is not empty, and no line is printed.
        """
        self.assertIn("vinom demo", self.draw())
        self.assertEqual(self.demo.lines(), [])

    def test_match_and_command(self) -> None:
        """
        A match is drawn, with the command that joins it, and the keys; without a
        terminal one line shows the score.
        """
        self.play("ann", "bob")
        text = self.draw()
        self.assertIn("2 points left", text)
        self.assertIn("vinom play maze", text)
        self.assertIn("l loses 20% of packets\n k kills the game process", text)
        (line,) = self.demo.lines()
        self.assertRegex(line, r"match \w+: .*ann.*, 2 points left")
        self.demo.press("loss")
        self.assertRegex(self.draw(), "(?s)20% loss is on.*l stops the loss")

    def test_guest_first(self) -> None:
        """
        A match with a guest is shown rather than one among bots.
        """
        self.play("ann", "bob")
        self.assertIn("ann", self.draw())
        self.play("cleo", "guest")
        self.assertIn("guest", self.draw())

    def test_killed(self) -> None:
        """
        A match whose process is killed is waited for, until it goes on or is known to
        be lost; one that had been played to its end is not called lost.
        """
        self.play("ann", "bob")
        ended = {"round": 1}
        for match, after, words in (
            (EndedMatch(), None, "waiting for play..."),
            (EndedMatch(), 0.25, "resumed: 0.25 s"),
            (EndedMatch(is_over=True), None, "the match was lost"),
            (EndedMatch(ended), None, "its match had ended: nothing"),
            (EndedMatch(ended, True), None, "its match had ended: nothing"),
        ):
            self.demo.killed = Killed(match, 7, 3, 0.0, after)
            text = self.draw()
            self.assertIn("killed 7", text)
            self.assertIn(words, text)
        self.demo.killed = "no admin socket"
        self.assertIn("no admin socket", self.draw())


class NodesPictureTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.nodes = [NamedNode(Clock(), letter) for letter in "AB"]
        one, other = self.nodes
        one.state, other.state = "serving", "killed"
        one.status = {"players": 2, "store": {"lease": 3}}
        players = [{"name": "ann"}, {"name": "bob"}]
        one.matches = [{"match_id": "abcdefgh", "players": players}]
        self.groups = [
            Group("party", {"ann": "A", "bob": None}, "plays in match abcdef"),
            Group("room", {"ivy": "A"}, "tictactoe"),
        ]

    def draw(self, width: int, height: int, **how: Any) -> list[str]:
        notes = [f"note {number}" for number in range(50)]
        store, title = "127.0.0.1:6379  7 keys", "vinom demo · 2 nodes"
        picture = compose_nodes(
            (width, height), title, store, self.nodes, self.groups, notes
        )
        return picture.lines(**how)

    def test_who_is_where(self) -> None:
        """
        The picture has each node with its players and matches, each party, and Redis.
        """
        lines = self.draw(80, 24, colour=False)
        text = "\n".join(lines)
        address = self.nodes[0].address
        self.assertIn(f"node A  {address}  lease 3  2 players: ann ivy", text)
        self.assertIn("match abcdef  ann bob", text)
        self.assertIn("node B  killed", text)
        self.assertIn("ann (A) bob (away)", text)
        self.assertIn("Redis   127.0.0.1:6379  7 keys", text)
        self.assertIn("q ends", lines[-1])
        self.assertIn("note 49", text)
        self.assertNotIn("note 0\n", text)

    def test_every_size(self) -> None:
        """
        It fits terminals of any size, those without Unicode too.
        """
        for width, height in ((1, 1), (20, 5), (40, 12), (80, 24), (200, 60)):
            lines = self.draw(width, height, colour=False, ascii_only=True)
            self.assertLessEqual(len(lines), height)
            self.assertLessEqual(max(map(len, lines)), width)
            self.assertTrue("".join(lines).isascii())

    def test_line(self) -> None:
        """
        Without a terminal one line has the same, and who is without a node.
        """
        line = "A: {}, match abcdef  ann bob; B: killed"
        self.assertEqual(
            describe_nodes(self.nodes, self.groups),
            line.format("ann ivy") + "; without a node: bob",
        )
        self.assertEqual(describe_nodes(self.nodes, ()), line.format("nobody"))
