"""The maze, as its players know it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Rejected
from vinom.game import Chance, Seat, Step, Table
from vinom.games.maze import (
    Dance,
    Maze,
    MazeOptions,
    MazeState,
    Move,
    carve,
    deal_corners,
    passages,
    strew,
)

#: How each direction changes ``(row, col)``.
STEPS = {"up": (-1, 0), "right": (0, 1), "down": (1, 0), "left": (0, -1)}
SIZES = st.tuples(st.integers(2, 16), st.integers(2, 16))
SEEDS = st.integers(0, (1 << 64) - 1)


def lay(
    players: int = 2, rows: int = 10, cols: int = 20, seed: int = 1, minutes: float = 5
) -> MazeState:
    """Start a maze."""
    seats = tuple(Seat(f"p{seat}") for seat in range(players))
    return Maze().start(Table(seats, MazeOptions(rows, cols, minutes), Chance(seed)))


def state_of(result: MazeState | Step[MazeState]) -> MazeState:
    return result.state if isinstance(result, Step) else result


def play_out(s: MazeState, seed: int = 5) -> tuple[MazeState, int]:
    """Let bots play in turn until it is over; count their moves."""
    maze, chance, moves = Maze(), Chance(seed), 0
    setup = msgspec.to_builtins(maze.setup(s))
    while not s.over:
        for seat in range(len(s.at)):
            _, chance = chance.draw()
            view = msgspec.to_builtins(maze.view(s, "all"))
            action = maze.bot(view, seat, chance, setup)
            if isinstance(action, Move):
                s, moves = state_of(maze.act(s, seat, action, 1.0)), moves + 1
    return s, moves


class MapTests(SynchronousTestCase):
    @given(SIZES, SEEDS)
    @settings(max_examples=80, deadline=None)
    def test_perfect(self, size: tuple[int, int], seed: int) -> None:
        """
        There is one way, and only one, between any two cells, and every
        passage is open from both sides.
        """
        rows, cols = size
        walls, _ = carve(rows, cols, Chance(seed))
        ways = passages(walls)
        self.assertEqual(len(ways), rows * cols)
        links = {(cell, beside) for cell, out in enumerate(ways) for _, beside in out}
        self.assertEqual(len(links), 2 * (rows * cols - 1))
        self.assertEqual(links, {(beside, cell) for cell, beside in links})
        reached, open_cells = {0}, [0]
        while open_cells:
            for _, beside in ways[open_cells.pop()]:
                if beside not in reached:
                    reached.add(beside)
                    open_cells.append(beside)
        self.assertEqual(len(reached), rows * cols)

    @given(SIZES, SEEDS)
    @settings(max_examples=40, deadline=None)
    def test_no_way_out(self, size: tuple[int, int], seed: int) -> None:
        """
        No passage leads out of the maze.
        """
        rows, cols = size
        walls, _ = carve(rows, cols, Chance(seed))
        for cell, ways in enumerate(passages(walls)):
            row, col = divmod(cell, cols)
            for direction, beside in ways:
                down, right = STEPS[direction]
                self.assertEqual(divmod(beside, cols), (row + down, col + right))
                self.assertTrue(0 <= row + down < rows and 0 <= col + right < cols)

    def test_every_maze_equally_often(self) -> None:
        """
        Of the 15 perfect mazes of 2 by 3 cells none is preferred.
        """
        chance, seen = Chance(2026), Counter[tuple[str, ...]]()
        for _ in range(6000):
            walls, chance = carve(2, 3, chance)
            seen[walls] += 1
        self.assertEqual(len(seen), 15)
        # Chi-square with 14 degrees of freedom: above 36 once in a thousand.
        self.assertLess(sum((n - 400) ** 2 / 400 for n in seen.values()), 36)

    def test_corners_are_dealt_fairly(self) -> None:
        """
        Everybody starts in a corner of its own, two players in opposite ones,
        and no seat is preferred.
        """
        chance, first, second = Chance(7), Counter[object](), Counter[object]()
        corners = {(0, 0), (0, 6), (4, 0), (4, 6)}
        for _ in range(4000):
            dealt, chance = deal_corners(5, 7, 4, chance)
            self.assertEqual(set(dealt), corners)
            self.assertEqual(dealt[0][0] + dealt[1][0], 4)
            self.assertEqual(dealt[0][1] + dealt[1][1], 6)
            first[dealt[0]] += 1
            second[dealt[2]] += 1
        for seen in (first, second):
            self.assertEqual(set(seen), corners)
            # Three degrees of freedom: above 16.3 once in a thousand.
            self.assertLess(sum((n - 1000) ** 2 / 1000 for n in seen.values()), 16.3)

    @given(SIZES, SEEDS, st.integers(2, 4))
    @settings(max_examples=60, deadline=None)
    def test_points(self, size: tuple[int, int], seed: int, players: int) -> None:
        """
        Start cells are empty, one cell in ten holds 5, every other 1.
        """
        rows, cols = size
        starts, chance = deal_corners(rows, cols, players, Chance(seed))
        points, _ = strew(rows, cols, starts, chance)
        fives = min(round(rows * cols / 10), rows * cols - players)
        expected = {"0": players, "5": fives, "1": rows * cols - players - fives}
        self.assertEqual(Counter(points), Counter(expected))
        self.assertTrue(all(points[r * cols + c] == "0" for r, c in starts))

    def test_rich_cells_sit_nearer_the_centre(self) -> None:
        """
        Going for the middle pays.
        """
        chance, inner = Chance(3), 0
        for _ in range(100):
            points, chance = strew(10, 20, ((0, 0), (9, 19)), chance)
            for cell, digit in enumerate(points):
                row, col = divmod(cell, 20)
                if digit == "5" and 2 <= row < 8 and 4 <= col < 16:
                    inner += 1
        # The inner part has 36 % of the cells, and of 2000 fives far more.
        self.assertGreater(inner, 2000 * 0.5)


class RulesTests(SynchronousTestCase):
    def one_step(self, s: MazeState, seat: int = 0) -> Move:
        """Some move that the walls allow."""
        row, col = s.at[seat]
        direction, _ = passages(s.walls)[row * s.cols + col][0]
        return Move(direction, s.at[seat])

    def refusal(self, s: MazeState, action: Move | Dance, seat: int = 0) -> str:
        with self.assertRaises(Rejected) as caught:
            Maze().act(s, seat, action, 1.0)
        return caught.exception.code

    def test_a_move_takes_the_points(self) -> None:
        """
        A player who enters a cell gets its points, and they are gone.
        """
        s = lay()
        moved = state_of(Maze().act(s, 0, self.one_step(s), 1.0))
        row, col = moved.at[0]
        taken = int(s.points[row * 20 + col])
        self.assertEqual(moved.scores, (taken, 0))
        self.assertEqual(moved.left, s.left - taken)
        self.assertEqual(moved.points[row * 20 + col], "0")
        self.assertEqual(moved.at[1], s.at[1])

    def test_from_must_be_where_you_are(self) -> None:
        """
        A move that comes twice is applied once, even back and forth.
        """
        s = lay()
        move = self.one_step(s)
        moved = state_of(Maze().act(s, 0, move, 1.0))
        self.assertEqual(self.refusal(moved, move), "not_there")

    def test_two_who_move_at_once(self) -> None:
        """
        Moves of different players never refuse each other, in either order.
        """
        s, maze = lay(), Maze()
        ours, theirs = self.one_step(s, 0), self.one_step(s, 1)
        one = state_of(maze.act(state_of(maze.act(s, 0, ours, 1)), 1, theirs, 1))
        other = state_of(maze.act(state_of(maze.act(s, 1, theirs, 1)), 0, ours, 1))
        self.assertEqual(one, other)

    def test_players_do_not_block(self) -> None:
        """
        Two players may stand in one cell; only the first takes its points.
        """
        s = lay()
        move = self.one_step(s)
        s = s.with_(at=(s.at[0], s.at[0]))
        s = state_of(Maze().act(s, 0, move, 1.0))
        s = state_of(Maze().act(s, 1, move, 1.0))
        self.assertEqual(s.at[0], s.at[1])
        self.assertEqual(s.scores[1], 0)

    @given(SEEDS, st.integers(2, 5), st.integers(2, 5))
    @settings(max_examples=40, deadline=None)
    def test_walls_hold(self, seed: int, rows: int, cols: int) -> None:
        """
        From each cell exactly the open sides can be left by; others are walls,
        those at the rim too.
        """
        s = lay(rows=rows, cols=cols, seed=seed)
        for cell, ways in enumerate(passages(s.walls)):
            at = divmod(cell, cols)
            here = s.with_(at=(at, s.at[1]))
            for direction in STEPS:
                move = Move(direction, at)
                if direction in dict(ways):
                    moved = state_of(Maze().act(here, 0, move, 1.0))
                    self.assertEqual(moved.at[0], divmod(dict(ways)[direction], cols))
                else:
                    self.assertEqual(self.refusal(here, move), "wall")

    @given(SEEDS, st.integers(2, 4), st.integers(2, 9), st.integers(2, 9))
    @settings(max_examples=30, deadline=None)
    def test_a_whole_game(self, seed: int, players: int, rows: int, cols: int) -> None:
        """
        Bots take every point; the scores add up to all there was, and the
        highest wins.
        """
        s = lay(players, rows, cols, seed)
        total = s.left
        self.assertEqual(total, sum(map(int, s.points)))
        s, moves = play_out(s, seed)
        self.assertEqual((sum(s.scores), s.left, set(s.points)), (total, 0, {"0"}))
        self.assertLess(moves, 4 * rows * cols * (rows + cols))
        best = max(s.scores)
        winners = tuple(i for i, score in enumerate(s.scores) if score == best)
        outcome = Maze().outcome(s)
        self.assertEqual((s.winners, outcome.places[0]), (winners, winners))
        self.assertEqual(outcome.scores, s.scores)
        ranks = [{s.scores[seat] for seat in place} for place in outcome.places]
        self.assertTrue(all(min(high) > max(low) for high, low in pairwise(ranks)))
        self.assertEqual(sorted(sum(outcome.places, ())), list(range(players)))

    def test_time_is_up(self) -> None:
        """
        After five minutes it is over, even if points are left.
        """
        s, maze = lay(), Maze()
        self.assertEqual(maze.deadline(s), 300.0)
        s = state_of(maze.act(s, 1, self.one_step(s, 1), 1.0))
        s = maze.advance(s, 300.0)
        self.assertEqual((s.over, s.winners, maze.deadline(s)), (True, (1,), None))

    def test_after_the_end(self) -> None:
        """
        Nobody moves after the end, and only winners dance, once each.
        """
        s, maze = lay(), Maze()
        self.assertEqual(self.refusal(s, Dance()), "not_over")
        moved = state_of(maze.act(s, 1, self.one_step(s, 1), 1.0))
        s = maze.advance(moved, 300.0)
        self.assertEqual(self.refusal(s, self.one_step(s)), "over")
        self.assertEqual(self.refusal(s, Dance(), seat=0), "not_a_winner")
        step = maze.act(s, 1, Dance(), 301.0)
        assert isinstance(step, Step)
        self.assertEqual(step.state.dancing, (1,))
        self.assertEqual([event.kind for event in step.events], ["danced"])
        self.assertEqual(maze.view(step.state, "all").dancing, (1,))
        self.assertIs(maze.act(step.state, 1, Dance(), 302.0), step.state)

    def test_equal_scores_share(self) -> None:
        """
        Equal scores share the first place, and all of them may dance.
        """
        s = Maze().advance(lay(3), 300.0)
        self.assertEqual(s.winners, (0, 1, 2))
        outcome = Maze().outcome(s)
        self.assertEqual(outcome.places, ((0, 1, 2),))

    def test_nothing_to_collect(self) -> None:
        """
        Four players in four cells are done at once.
        """
        self.assertTrue(lay(4, 2, 2).over)

    def test_the_bot_dances_when_it_won(self) -> None:
        """
        A winning bot dances once; a losing one is still.
        """
        s, _ = play_out(lay(seed=4))
        maze = Maze()
        setup = msgspec.to_builtins(maze.setup(s))
        for seat in range(2):
            view = msgspec.to_builtins(maze.view(s, "all"))
            action = maze.bot(view, seat, Chance(1), setup)
            self.assertEqual(action, Dance() if seat in s.winners else None)
        s = s.with_(dancing=s.winners)
        view = msgspec.to_builtins(maze.view(s, "all"))
        self.assertIsNone(maze.bot(view, s.winners[0], Chance(1), setup))

    def test_a_state_fits_a_datagram(self) -> None:
        """
        What is sent on every move is small: no walls, no names.
        """
        view = msgspec.msgpack.encode(Maze().view(lay(4), "all"))
        self.assertLess(len(view), 400)

    def test_options_are_bounded(self) -> None:
        """
        Mazes that are too small, too large or too long are refused.
        """
        for text in (
            b'{"rows": 1}',
            b'{"cols": 65}',
            b'{"minutes": 0}',
            b'{"minutes": 31}',
            b'{"height": 3}',
        ):
            with self.assertRaises(msgspec.ValidationError):
                msgspec.json.decode(text, type=MazeOptions)
