"""Tic-tac-toe: its rules, its clock and its bot."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from msgspec import msgpack
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Rejected
from vinom.game import Chance, Seat, Step, Table
from vinom.games.tictactoe import (
    LINES,
    Board,
    Place,
    TicTacToe,
    TicTacToeOptions,
    winning_line,
)
from vinom.turns import Rematch

GAME = TicTacToe()


def begun(seed: int = 1) -> Board:
    table = Table((Seat("a"), Seat("b")), TicTacToeOptions(), Chance(seed))
    return GAME.start(table).state


def state_of(result: Board | Step[Board]) -> Board:
    return result.state if isinstance(result, Step) else result


def cells_of(board: Board) -> tuple[int | None, ...]:
    return tuple(cell for row in board.board for cell in row)


def play(board: Board, *cells: int, now: float = 1.0) -> Board:
    """Mark cells in turn."""
    for cell in cells:
        board = state_of(GAME.act(board, board.turn, Place(*divmod(cell, 3)), now))
    return board


class RulesTests(SynchronousTestCase):
    """What may be done, and what comes of it."""

    def test_random_starter(self) -> None:
        """
        The first player is drawn: each of the two about equally often.
        """
        starters = [begun(seed).turn for seed in range(200)]
        self.assertTrue(70 < starters.count(0) < 130, starters.count(0))

    def test_three_in_a_row(self) -> None:
        """
        Each of the eight lines wins, and nothing else does.
        """
        for line in LINES:
            cells = tuple(0 if cell in line else None for cell in range(9))
            self.assertEqual(winning_line(cells), line)
        board = begun()
        first = board.turn
        board = play(board, 0, 3, 1, 4, 2)
        self.assertEqual((board.winner, board.line), (first, ((0, 0), (0, 1), (0, 2))))
        self.assertIsNone(board.turn)
        outcome = GAME.outcome(board)
        self.assertEqual(outcome.places[0], (first,))

    def test_draw(self) -> None:
        """
        A full board without a line is shared.
        """
        board = play(begun(), 0, 1, 2, 4, 3, 5, 7, 6, 8)
        outcome = GAME.outcome(board)
        self.assertEqual((board.winner, outcome.places), (None, ((0, 1),)))

    def test_refusals(self) -> None:
        """
        What is against the rules says why, and changes nothing.
        """
        board = begun()
        turn = board.turn

        def reason(board: Board, seat: int, action: Any) -> str:
            with self.assertRaises(Rejected) as caught:
                GAME.act(board, seat, action, 1.0)
            return caught.exception.code

        self.assertEqual(reason(board, 1 - turn, Place(0, 0)), "not_your_turn")
        self.assertEqual(reason(board, turn, Rematch()), "round_runs")
        marked = play(board, 4)
        self.assertEqual(reason(marked, 1 - turn, Place(1, 1)), "taken")
        over = play(board, 0, 3, 1, 4, 2)
        self.assertEqual(reason(over, turn, Place(2, 2)), "round_over")
        left = state_of(GAME.left(over, turn, 2.0))
        self.assertEqual(reason(left, 1 - turn, Rematch()), "alone")

    def test_silence_loses(self) -> None:
        """
        Half a minute without a move gives the round to the other; each move is a
        new half minute.
        """
        board = begun()
        self.assertEqual(GAME.deadline(board), 30.0)
        moved = play(board, 4, now=20.0)
        self.assertEqual(GAME.deadline(moved), 50.0)
        step = GAME.advance(moved, 50.0)
        assert isinstance(step, Step)
        self.assertEqual(step.state.winner, board.turn)
        self.assertEqual(step.events[-1].data["how"], "timeout")
        self.assertIsNone(GAME.deadline(step.state))

    def test_leaver_loses(self) -> None:
        """
        A player who leaves loses the round in progress.
        """
        board = begun()
        self.assertEqual(state_of(GAME.left(board, 1, 3.0)).winner, 0)

    def test_rematch(self) -> None:
        """
        Another round begins when both have asked; scores stay, the board is empty.
        """
        over = play(begun(), 0, 3, 1, 4, 2)
        one = state_of(GAME.act(over, 0, Rematch(), 5.0))
        self.assertEqual((one.rematch, one.round), ((0,), 1))
        self.assertIs(GAME.act(one, 0, Rematch(), 6.0), one)
        again = state_of(GAME.act(one, 1, Rematch(), 7.0))
        self.assertEqual((again.round, cells_of(again)), (2, (None,) * 9))
        self.assertEqual(sum(again.wins), 1)
        self.assertIsNone(GAME.outcome(again))

    @settings(max_examples=60, deadline=None)
    @given(
        some.integers(0, 1000),
        some.lists(some.tuples(some.integers(0, 1), some.integers(0, 8)), max_size=60),
    )
    def test_any_game(self, seed: int, moves: list[tuple[int, int]]) -> None:
        """
        With any attempts of the players, marks only appear, turns alternate, and a
        round that is over has a winner with a line or a full board.
        """
        board = begun(seed)
        for seat, cell in moves:
            before = board
            try:
                board = state_of(GAME.act(board, seat, Place(*divmod(cell, 3)), 1.0))
            except Rejected:
                continue
            changed = [i for i in range(9) if cells_of(board)[i] != cells_of(before)[i]]
            self.assertEqual(changed, [cell])
            self.assertEqual(before.turn, seat)
            if board.turn is None:
                if board.winner is None:
                    self.assertNotIn(None, cells_of(board))
                else:
                    self.assertTrue(winning_line(cells_of(board)))
            else:
                self.assertEqual(board.turn, 1 - seat)


class BotTests(SynchronousTestCase):
    """A bot that plays for an absent player."""

    def choose(self, board: Board, seat: int, word: int) -> Any:
        view = msgpack.decode(msgpack.encode(GAME.view(board, "all")))
        return GAME.bot(view, seat, Chance(word), None)

    def test_waits_its_turn(self) -> None:
        """
        It does nothing out of turn, and takes every rematch.
        """
        board = begun()
        turn = board.turn
        self.assertIsNone(self.choose(board, 1 - turn, 1))
        over = play(board, 0, 3, 1, 4, 2)
        self.assertIsNone(self.choose(over, 0, 1))
        asked = replace(over, rematch=(1,))
        self.assertEqual(self.choose(asked, 0, 1), Rematch())

    def test_never_loses(self) -> None:
        """
        Against any play it wins or draws.
        """
        for seed in range(40):
            board, chance = begun(seed), Chance(seed)
            bot = seed % 2
            while board.turn is not None:
                if board.turn == bot:
                    board = state_of(
                        GAME.act(board, bot, self.choose(board, bot, seed), 1.0)
                    )
                    continue
                free = [cell for cell in range(9) if cells_of(board)[cell] is None]
                pick, chance = chance.below(len(free))
                board = play(board, free[pick])
            self.assertIn(board.winner, (bot, None))

    def test_wins_when_it_can(self) -> None:
        """
        It takes a line that is there for the taking.
        """
        board = begun()
        board = play(board, 0, 3, 1, 5)
        turn = board.turn
        self.assertEqual(self.choose(board, turn, 1), Place(0, 2))
