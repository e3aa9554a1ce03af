"""Playing the maze in a terminal."""

from __future__ import annotations

from io import StringIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.support.played import PlayedWorld, ScriptedServer
from vinom.base.printable import say
from vinom.client.line import LobbyRefusal
from vinom.client.sdk import Client
from vinom.client.terminal.play import MazeGame
from vinom.client.terminal.screen import Canvas


def view(col: int = 0, **facts: Any) -> dict[str, Any]:
    """The corridor, with us and one other."""
    seen = {
        "at": [[0, col], [0, 3]],
        "scores": [col, 0],
        "points": "0110",
        "left": 2,
        "over": False,
        "winners": [],
        "dancing": [],
    }
    return seen | facts


class PaperDisplay:
    """Keeps what was drawn last."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def size(self) -> tuple[int, int]:
        return 100, 30

    def show(self, picture: Canvas) -> None:
        self.lines = picture.lines(colour=False)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class PlayTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = PlayedWorld()
        self.display = PaperDisplay()

    def quit(self, game: Any, done: Deferred[int]) -> None:
        """Quit; the program ends as it should."""
        game.press("quit")
        self.pass_time()
        self.assertEqual(self.successResultOf(done), 0)

    def pass_time(self, seconds: float = 0.2) -> None:
        self.world.pass_time(seconds)

    def client(self, name: str) -> Deferred[Client]:
        client = Client(self.world.reactor, self.world.player(name))
        return client.hello().addCallback(lambda _: client)

    def server(self) -> ScriptedServer:
        return self.world.servers[-1]


class MazeGameTests(PlayTestCase):
    def start(self) -> tuple[MazeGame, Deferred[int]]:
        game = MazeGame(
            self.world.reactor,
            lambda: self.client("ann"),
            "127.0.0.1:4600",
            None,
            self.display,
        )
        done = Deferred.fromCoroutine(game.run())
        self.addCleanup(self.pass_time)
        self.addCleanup(game.stop)
        self.pass_time()
        return game, done

    def play(self) -> tuple[MazeGame, Deferred[int], ScriptedServer]:
        game, done = self.start()
        self.world.player("bob").find_match("maze")
        # Two are enough for a table of four after five seconds.
        self.pass_time(6.0)
        self.server().state(1, view())
        self.pass_time()
        return game, done, self.server()

    def test_waiting(self) -> None:
        """
        One who waits for others sees it, and can quit.
        """
        game, done = self.start()
        self.assertIn("waiting for other players, position 1", self.display.text)
        self.quit(game, done)

    def test_walking(self) -> None:
        """
        Arrow keys move the player, on the screen at once.
        """
        game, _, server = self.play()
        self.assertIn("│ A   ·   ·", self.display.text)
        game.press("right")
        game.press("right")
        self.assertIn("A", self.display.lines[2][8:12])
        self.pass_time()
        moves = [(move["type"], move["from"]) for move in server.actions]
        self.assertEqual(moves, [("move", [0, 0]), ("move", [0, 1])])
        server.state(2, view(2), applied=2)
        self.pass_time()
        self.assertIn("A", self.display.lines[2][8:12])

    def test_refused_step(self) -> None:
        """
        A refused step is taken back on the screen.
        """
        game, _, server = self.play()
        game.press("right")
        self.pass_time()
        server.refuse_action(1, "not_there")
        self.pass_time()
        self.assertIn("│ A ", self.display.text)

    def test_winner_dances(self) -> None:
        """
        The winner is shown the key to dance with, and the dance is seen.
        """
        game, _, server = self.play()
        server.state(2, view(2, over=True, winners=[0]))
        self.pass_time()
        self.assertIn("space dances", self.display.text)
        game.press("dance")
        self.pass_time()
        self.assertEqual(server.actions, [{"type": "dance"}])

    def test_again(self) -> None:
        """
        After a match enter looks for the next one.
        """
        game, done, server = self.play()
        server.state(2, view(2, over=True, winners=[0]))
        server.end("finished", 2, "")
        self.world.fleet.end(0)
        self.pass_time(0.5)
        self.assertIn("enter plays again", self.display.text)
        game.press("again")
        self.pass_time(1.0)
        self.assertIn("waiting for other players", self.display.text)
        self.quit(game, done)
        self.assertIn("wins with 2", game.last_words[0])

    def test_void(self) -> None:
        """
        When the others do not come the player waits on, without a key.
        """
        game, done, server = self.play()
        server.end("void", 1, "")
        self.world.fleet.end(0, "void", present=(0, 1))
        self.pass_time(2.0)
        self.assertIn("waiting for other players", self.display.text)
        self.quit(game, done)

    def test_line_lost(self) -> None:
        """
        A player whose line is lost sees that it is being taken back.
        """
        _, _, server = self.play()
        self.world.reactor.dead.add(server.port)
        self.pass_time(3.5)
        self.assertIn("connection lost", self.display.text)

    def test_quit_while_playing(self) -> None:
        """
        Quitting gives the seat up and ends the program.
        """
        game, done, server = self.play()
        self.quit(game, done)
        self.assertTrue(server.has_left)

    def test_no_lobby(self) -> None:
        """
        Without a lobby the program ends with one line that names what to set.
        """
        self.world.endpoint.is_up = False
        game, done = self.start()
        self.assertEqual(self.successResultOf(done), 1)
        (line,) = game.last_words
        self.assertIn("127.0.0.1:4600", line)
        self.assertTrue(line.endswith("; set --connect to a lobby"), line)

    def test_evil_lobby(self) -> None:
        """
        What a lobby sends does not control the player's terminal.
        """
        evil = "\x1b]0;PWNED\x07\x1b[31mEVIL\x1b[2J"
        refused: Deferred[Client] = Deferred()
        game = MazeGame(self.world.reactor, lambda: refused, evil, None, self.display)
        done = Deferred.fromCoroutine(game.run())
        self.pass_time()
        self.assertIn(r"\x1b[31mEVIL", self.display.text)
        self.assertTrue(all(line.isprintable() for line in self.display.lines))
        refused.errback(LobbyRefusal(evil, evil))
        self.assertEqual(self.successResultOf(done), 1)
        out = StringIO()
        say(game.last_words[0], file=out)
        self.assertIn(r"\x1b[31mEVIL\x1b[2J", out.getvalue())
        self.assertTrue(out.getvalue().removesuffix("\n").isprintable())
