"""What a player sees: mazes, scores and names on a sheet of characters."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

import attrs
from msgspec import msgpack
from msgspec.structs import replace
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.printable import say
from vinom.client.terminal.scene import Scene, compose, draw_maze, headline
from vinom.client.terminal.screen import Canvas, Screen, can_draw, fit, width_of
from vinom.game import Chance, Seat, Table
from vinom.games.maze import Maze, MazeOptions, MazeState

NAMES = ("ann", "Bob", "cleo", "日本")


def decoded(value: Any) -> Any:
    """What a client makes of what a game shows."""
    return msgpack.decode(msgpack.encode(value))


def scene(
    rows: int = 10, cols: int = 20, names: tuple[str, ...] = NAMES, **facts: Any
) -> Scene:
    """A maze that just began, with some facts of its state changed."""
    game = Maze()
    seats = tuple(Seat(name) for name in names)
    state = game.start(Table(seats, MazeOptions(rows=rows, cols=cols), Chance(1)))
    state = replace(state, **facts)
    setup, view = game.setup(state), game.view(state, "all")
    return Scene(decoded(setup), decoded(view), names, you=0)


def drawn(scene: Scene, columns: int, rows: int) -> list[str]:
    """Draw a scene without colours."""
    return compose(scene, columns, rows).lines(colour=False)


def width(line: str) -> int:
    return sum(map(width_of, line))


class CanvasTests(SynchronousTestCase):
    def test_wide_and_combined(self) -> None:
        """
        Names in any script keep what follows in its column.
        """
        canvas = Canvas(2, 8)
        self.assertEqual(canvas.put(0, 0, "日本"), 4)
        canvas.put(0, 4, "|")
        self.assertEqual(canvas.put(1, 0, "e\u0301"), 1)
        canvas.put(1, 1, "|")
        self.assertEqual(canvas.lines(colour=False), ["日本|", "e\u0301|"])

    def test_not_printable(self) -> None:
        """
        Nothing that is drawn controls the terminal, and nothing hides.
        """
        canvas = Canvas(1, 40)
        canvas.put(0, 0, "\x1b[2Jann\u202e\n")
        self.assertEqual(canvas.lines(colour=False), [r"\x1b[2Jann\u202e\n"])

    def test_evil_names(self) -> None:
        """
        A lobby that sends names and titles with escapes controls no terminal.
        """
        evil = "\x1b]0;PWNED\x07"
        shown = scene(names=(evil,) * 4)
        shown = attrs.evolve(shown, title=evil, notes=(evil,), keys=evil)
        for width in (30, 80, 120):
            for line in drawn(shown, width, 40):
                self.assertTrue(line.isprintable(), line)
        out = StringIO()
        say(headline(shown), file=out)
        self.assertTrue(out.getvalue().removesuffix("\n").isprintable())

    def test_outside(self) -> None:
        """
        What does not fit is not drawn, and half of a wide letter neither.
        """
        canvas = Canvas(1, 3)
        canvas.put(0, 2, "日")
        canvas.put(5, 0, "x")
        canvas.put(0, -1, "ab")
        self.assertEqual(canvas.lines(colour=False), ["b"])

    def test_colours_are_switched_off(self) -> None:
        """
        A coloured line ends in plain, so that nothing else is coloured.
        """
        canvas = Canvas(1, 4)
        canvas.put(0, 0, "ab", "31")
        canvas.put(0, 2, "c")
        self.assertEqual(canvas.lines(colour=True), ["\x1b[0;31mab\x1b[0mc"])

    def test_fit(self) -> None:
        """
        A long name is cut and shows it.
        """
        self.assertEqual(fit("alexander", 5), "alex…")
        self.assertEqual(fit("ann", 3), "ann")
        self.assertEqual(fit("日本日本", 5), "日本…")


class MazeTests(SynchronousTestCase):
    walls = ("6c", "11")  # 2 by 2, with one wall: between the lower two cells

    def draw(self, cell: int = 3) -> list[str]:
        setup = {"rows": 2, "cols": 2, "walls": self.walls}
        view = {"at": [[0, 0], [1, 1]], "points": "0150", "dancing": []}
        return draw_maze(setup, view, ("ann", "bob"), cell=cell).lines(colour=False)

    def test_walls_points_players(self) -> None:
        """
        Walls are lines, points are dots and diamonds, players their letters.
        """
        self.assertEqual(
            self.draw(),
            ["╭───────╮", "│ A   · │", "│   ╷   │", "│ ◆ │ B │", "╰───┴───╯"],
        )

    def test_narrow(self) -> None:
        """
        A maze can be drawn with narrow cells, too.
        """
        self.assertEqual(
            self.draw(cell=1), ["╭───╮", "│A ·│", "│ ╷ │", "│◆│B│", "╰─┴─╯"]
        )

    def test_winners_dance(self) -> None:
        """
        A player who dances moves from one frame to the next.
        """
        setup = {"rows": 2, "cols": 2, "walls": self.walls}
        view = {"at": [[0, 0], [1, 1]], "points": "0000", "dancing": [0]}
        frames = {
            draw_maze(setup, view, ("ann", "bob"), frame=frame).lines(colour=False)[1]
            for frame in range(8)
        }
        self.assertEqual(len(frames), 3)
        self.assertIn("│\\o/    │", frames)

    def test_crowd(self) -> None:
        """
        Two in one cell are shown in turn, but we always see ourselves.
        """
        setup = {"rows": 2, "cols": 2, "walls": self.walls}
        view = {"at": [[0, 0], [0, 0]], "points": "0000", "dancing": []}

        def seen(you: int | None) -> set[str]:
            return {
                draw_maze(setup, view, ("ann", "bob"), you, frame=frame).lines(
                    colour=False
                )[1][2]
                for frame in range(8)
            }

        self.assertEqual(seen(None), {"A", "B"})
        self.assertEqual(seen(1), {"B"})


class SceneTests(SynchronousTestCase):
    def test_fits_any_terminal(self) -> None:
        """
        No line is ever wider, and no picture higher, than the terminal.
        """
        mazes = [scene(), scene(64, 64), scene(2, 2, NAMES[:2]), scene(left=0)]
        for maze in mazes:
            for columns in (10, 20, 40, 60, 79, 80, 81, 100, 130, 400):
                for rows in (3, 8, 24, 50):
                    lines = drawn(maze, columns, rows)
                    self.assertLessEqual(len(lines), rows)
                    self.assertLessEqual(max(map(width, lines)), columns)

    def test_standard_terminal(self) -> None:
        """
        On 80 by 24 the whole maze, everybody and the keys are visible.
        """
        maze = attrs.evolve(scene(), rtt=0.0012, keys="arrows move")
        lines = drawn(maze, 80, 24)
        text = "\n".join(lines)
        self.assertEqual(len(re.findall("^[│├╰╭]", text, re.MULTILINE)), 21)
        for shown in ("ann (you)", "Bob", "cleo", "日本", "RTT 1.2 ms", "5:00 left"):
            self.assertIn(shown, text)
        self.assertIn("arrows move", lines[-1] + lines[-2])

    def test_cut_around_the_player(self) -> None:
        """
        In a maze larger than the terminal the player stays visible.
        """
        for at in ((0, 0), (63, 63), (30, 31)):
            state: dict[str, Any] = {"at": (at, (5, 5))}
            lines = drawn(scene(64, 64, ("Zoe", "bob"), **state), 60, 20)
            self.assertIn("Z", re.sub("Zoe", "", "\n".join(lines)))

    def test_winner(self) -> None:
        """
        At the end everybody sees who won, and who shares.
        """
        over: dict[str, Any] = {"over": True, "scores": (9, 4, 9, 1)}
        one = scene(winners=(1,), **over)
        self.assertIn("Bob wins with 4", "\n".join(drawn(one, 110, 30)))
        two = scene(winners=(0, 2), **over)
        self.assertIn("ann and cleo share 9", headline(two))

    def test_winner_beside_a_maze(self) -> None:
        """
        The score a player won with is not cut off in a terminal of 80 columns.
        """
        over: dict[str, Any] = {"over": True, "scores": (198, 80, 3, 4)}
        for winner, name in enumerate(NAMES):
            lines = drawn(scene(winners=(winner,), **over), 80, 24)
            panel = " ".join(line[61:].strip() for line in lines)
            score = over["scores"][winner]
            self.assertRegex(panel, f"★ {name} wins +with +{score}")

    def test_a_command_is_shown_whole(self) -> None:
        """
        In a small terminal the whole command to join can still be read.
        """
        command = "join: .venv/bin/vinom play maze --connect 127.0.0.1:39759"
        maze = attrs.evolve(scene(), keys=f"{command} · Ctrl-C ends")
        for columns in (30, 40, 50, 60, 80):
            lines = drawn(maze, columns, 12)
            text = " ".join(" ".join(lines).split())
            self.assertIn(f"{command} · Ctrl-C ends", text.replace("9 C", "9 · C"))
            self.assertNotIn("…", "".join(lines[-3:]))

    def test_title_and_clock(self) -> None:
        """
        The time left stands alone, however long the title is.
        """
        maze = attrs.evolve(scene(), title="a title that is far too long for this")
        line = drawn(maze, 30, 8)[0]
        self.assertRegex(line, "… +5:00 left")

    def test_headline(self) -> None:
        """
        Without a terminal one line shows the score.
        """
        line = headline(scene(names=("ann", "Bob"), scores=(3, 4), left=70))
        self.assertEqual(line, "ann 3, Bob 4, 70 points left")

    def test_ascii(self) -> None:
        """
        A terminal without Unicode gets nothing else than ASCII.
        """
        lines = compose(scene(), 80, 24).lines(ascii_only=True)
        self.assertTrue("".join(lines).isascii())
        self.assertIn("+---", lines[1])

    def test_state_is_typed_as_drawn(self) -> None:
        """
        What is drawn is what the maze shows today.
        """
        fields = set(Maze().view(_any_state(), "all").__struct_fields__)
        self.assertLessEqual({"at", "scores", "points", "left", "over"}, fields)


def _any_state() -> MazeState:
    seats = (Seat("ann"), Seat("bob"))
    return Maze().start(Table(seats, MazeOptions(), Chance(1)))


class ScreenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.out = TextIOWrapper(BytesIO(), "utf-8", write_through=True)
        self.screen = Screen(self.out, {})

    def show(self, *lines: str) -> str:
        """Show lines; returns what is written."""
        picture = Canvas(len(lines), 20)
        for row, line in enumerate(lines):
            picture.put(row, 0, line, "31")
        return self.written(lambda: self.screen.show(picture))

    def written(self, act: Callable[[], None]) -> str:
        """What something writes to the terminal."""
        before = len(self.out.buffer.getvalue())
        act()
        return str(self.out.buffer.getvalue()[before:].decode())

    def test_only_changes_are_written(self) -> None:
        """
        A picture that stays the same costs the terminal nothing.
        """
        self.assertIn("one", self.show("one", "two"))
        changed = self.show("one", "too")
        self.assertIn("too", changed)
        self.assertNotIn("one", changed)
        self.assertEqual(self.show("one", "too"), "")

    def test_given_back(self) -> None:
        """
        After the game the terminal shows its cursor and what it showed before.
        """
        reactor = MemoryReactorClock()
        self.screen.enter()
        self.screen.read_keys(reactor, lambda key: None)
        self.assertEqual(self.written(self.screen.leave), "\x1b[0m\x1b[?25h\x1b[?1049l")
        self.assertEqual(self.written(self.screen.leave), "")
        self.assertEqual(reactor.getReaders(), [])

    def test_pipes_and_dumb_terminals(self) -> None:
        """
        Output that isn't a terminal gets lines, and a user can switch colours off.
        """
        self.assertFalse(can_draw(StringIO(), {"TERM": "xterm"}))
        self.assertIn("\x1b[0;31mone", self.show("one"))
        self.screen = Screen(self.out, {"NO_COLOR": "1"})
        self.assertIn("Hone\x1b[0m", self.show("one"))

    def test_without_unicode(self) -> None:
        """
        What the terminal's encoding cannot show is replaced.
        """
        self.out = TextIOWrapper(BytesIO(), "latin-1", write_through=True)
        self.screen = Screen(self.out, {})
        self.assertIn("<->", self.show("←─→"))
