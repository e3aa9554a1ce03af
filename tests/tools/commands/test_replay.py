"""``vinom replay``, as typed."""

from __future__ import annotations

import argparse
import contextlib
import io
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from tests.play.test_room import plan_for
from tests.support.games import Say, Teller
from vinom.errors import Misconfigured
from vinom.game import Chance, Game
from vinom.games.maze import Maze
from vinom.play.hosting.guarding import guard_games
from vinom.play.hosting.recordings import Recordings
from vinom.play.recording import read_recording
from vinom.play.room import Closed, Room
from vinom.tools.commands import replay as command
from vinom.tools.commands.cli import declare


class Slower(Teller):
    """A later version that gives another answer."""

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        return super().act(s, seat, action, now + 1.0)


class Endless(Teller):
    """Does not get over the word for it."""

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        while action.word == "loop":
            pass
        return super().act(s, seat, action, now)


class ReplayTests(SynchronousTestCase):
    def record(self, game: Game[Any, Any], words: tuple[str, ...] = ()) -> Path:
        """Record a match of some words, or a maze played by bots."""
        directory = Path(self.mktemp())
        recording = Recordings(directory).open(plan_for(game), game, 1.7e9)
        guard = guard_games()
        room = Room(plan_for(game), game, 0.0, record=recording.record, guard=guard)
        room.join(0, 0.0)
        room.join(1, 0.0)
        for count, word in enumerate(words):
            room.act(count % 2, Say(word), 0.5 * count)
        if not words:
            self.play_bots(game, room)
        if room.phase != "closed":
            room.close("ended", 60.0)
        for effect in room.take_effects():
            if isinstance(effect, Closed):
                recording.close(effect.end, room.state, effect.report)
        return recording.path

    def play_bots(self, game: Game[Any, Any], room: Room) -> None:
        chance, setup = Chance(3), msgspec.msgpack.decode(room.setup())
        for step in range(40):
            _, chance = chance.draw()
            view = msgspec.msgpack.decode(room.view("all"))
            room.act(step % 2, game.bot(view, step % 2, chance, setup), step * 0.25)

    def run_command(self, *arguments: str) -> tuple[int, str]:
        parser = argparse.ArgumentParser()
        declare(command, parser)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = command.run(parser.parse_args(arguments))
        return code, out.getvalue()

    def test_the_same(self) -> None:
        """
        A faithful recording exits 0 and is summed up.
        """
        code, out = self.run_command(str(self.record(Maze())))
        self.assertEqual(code, 0)
        self.assertIn("m1: maze, 2 players, 40 inputs, version 41", out)
        self.assertIn("recorded end: ended", out)
        self.assertIn("the same end, with the same state ", out)

    def test_different(self) -> None:
        """
        With other rules it exits 1 and names the first differing field.
        """
        path = self.record(Teller(), ("hi", "ho"))
        spec = f"{Slower.__module__}:{Slower.__name__}"
        code, out = self.run_command(str(path), "--game", spec)
        self.assertEqual(code, 1)
        self.assertIn("differs: lines[0]: '0.0 0 hi', then '1.0 0 hi'", out)
        self.assertIn("raise its schema", out)

    def test_crash_and_cut(self) -> None:
        """
        A crash is shown again, and a file without end is reported as such.
        """
        path = self.record(Teller(), ("hi", "boom"))
        spec = "tests.support.games:Teller"
        code, out = self.run_command(str(path), "--game", spec)
        self.assertEqual(code, 0)
        self.assertIn("the game failed: ZeroDivisionError: boom", out)
        self.assertIn("m1: teller, 2 players, 2 inputs, ", out)
        path.write_bytes(self.record(Teller(), ("hi", "ho")).read_bytes()[:-3])
        code, out = self.run_command(str(path), "--game", spec)
        self.assertEqual(code, 0)
        self.assertIn(
            "it has no end: the match is still running, or its process was killed", out
        )

    def test_one_input(self) -> None:
        """
        A recording of one input is summed up as such.
        """
        path = self.record(Teller(), ("hi",))
        _, out = self.run_command(str(path), "--game", "tests.support.games:Teller")
        self.assertIn("2 players, 1 input, version", out)

    def test_endless(self) -> None:
        """
        A call that was interrupted is interrupted again, and reported; the replay does
        not hang.
        """
        path = self.record(Endless(), ("hi", "loop"))
        spec = f"{Endless.__module__}:{Endless.__name__}"
        for more in ([], ["--watch", "--speed", "100"]):
            code, out = self.run_command(str(path), "--game", spec, *more)
            self.assertEqual(code, 0)
            self.assertIn("recorded end: crashed", out)
            self.assertIn("failed: TooSlow: act() took more than 1 s", out)

    def test_several(self) -> None:
        """
        A whole directory of recordings can be replayed at once; one that cannot
        be read does not keep the others from it.
        """
        maze, teller = self.record(Maze()), self.record(Teller(), ("hi",))
        code, out = self.run_command(str(maze), str(maze))
        self.assertEqual(code, 0)
        self.assertEqual(out.count("the same end, with the same state "), 2)
        told = io.StringIO()
        with contextlib.redirect_stderr(told):
            code, out = self.run_command(str(teller), "/no/such/file", str(maze))
        self.assertEqual(code, 2)
        self.assertEqual(out.count("the same end, with the same state "), 1)
        first, second = told.getvalue().splitlines()
        self.assertIn(f"{teller}: the game 'teller' is not installed", first)
        self.assertEqual(
            second, "vinom replay: /no/such/file: No such file or directory"
        )

    def test_mistakes(self) -> None:
        """
        Each mistake is one sentence.
        """
        teller = self.record(Teller(), ("hi",))
        nonsense = Path(self.mktemp())
        nonsense.write_text("hello")
        for arguments, why in (
            ((str(teller),), "'teller' is not installed"),
            ((str(nonsense),), "is not a recording"),
            (("/no/such/file",), "No such file"),
            ((str(teller), "--speed", "0"), "--speed"),
            (
                (str(teller), "--game", "vinom.games.roomecho:RoomEcho"),
                "the game cannot read an action",
            ),
        ):
            with self.assertRaisesRegex(Misconfigured, why):
                self.run_command(*arguments)

    def test_watching_without_a_terminal(self) -> None:
        """
        Without a terminal each change is a line, at the pace it was played.
        """
        for game, words, expected in (
            (Maze(), (), "points left"),
            (Teller(), ("hi", "ho"), '{"lines":["0.0 0 hi","0.5 1 ho"]}'),
        ):
            recording = read_recording(self.record(game, words).read_bytes())
            out, waits = io.StringIO(), []
            result = command._watched(recording, game, out, waits.append, 2.0)
            self.assertIsNone(result.differing)
            self.assertEqual(len(out.getvalue().splitlines()), result.version)
            self.assertIn(expected, out.getvalue())
            self.assertAlmostEqual(sum(waits), result.time / 2.0)

    def test_pictures(self) -> None:
        """
        On a terminal the maze is a maze, and another game its public view.
        """
        pictures: list[list[str]] = []
        for game, words in ((Maze(), ()), (Teller(), ("hi",))):
            recording = read_recording(self.record(game, words).read_bytes())
            picture = command.Picture(recording.header.plan, game)
            command.replay(
                recording,
                game,
                lambda play, picture=picture: pictures.append(
                    picture.draw(play, 100, 40).lines()
                ),
            )
        self.assertTrue(any("│" in line for line in pictures[0]))
        self.assertIn('"0.0 0 hi"', "".join(pictures[-1]))
