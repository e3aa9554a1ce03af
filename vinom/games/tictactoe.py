"""
Tic-tac-toe: get three in a row before the other player does.

Take turns to put your mark in a free cell. Three of your marks in a row, in a column or
on a diagonal win.

A player who does not move in time loses the round, and so does a player who leaves.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import Annotated, Any

from msgspec import Meta, Struct

from vinom.game import Chance, Event, Rejected, Step, put
from vinom.turns import TurnGame, TurnState

_Cell = Annotated[int, Meta(ge=0, le=2)]
#: Of each cell, ``3 * row + column``: the seat that has it.
Cells = tuple[int | None, ...]

#: The eight lines of three cells.
LINES = (
    *((0, 1, 2), (3, 4, 5), (6, 7, 8)),
    *((0, 3, 6), (1, 4, 7), (2, 5, 8)),
    *((0, 4, 8), (2, 4, 6)),
)
_EMPTY: Cells = (None,) * 9


class Place(Struct, frozen=True, forbid_unknown_fields=True, tag="place"):
    """Put your mark in a free cell."""

    row: _Cell
    col: _Cell


class TicTacToeOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """
    The time for each move.

    :ivar turn_seconds: time for one move.
    """

    turn_seconds: Annotated[float, Meta(ge=1, le=3600)] = 30.0


class Board(TurnState, frozen=True):
    """
    One round, and the score of the rounds before.

    :ivar board: for each cell, row by row, the seat that has it.
    :ivar line: the three cells that won, as ``(row, col)``.
    """

    options: TicTacToeOptions = TicTacToeOptions()
    board: tuple[Cells, ...] = ((None,) * 3,) * 3
    line: tuple[tuple[int, int], ...] = ()


class TicTacToe(TurnGame[Board, Place]):
    """The rules."""

    name = "tictactoe"
    title = "Tic-tac-toe"
    icon = "/boards/tictactoe.svg"
    board = "/boards/tictactoe.js"
    options = TicTacToeOptions
    levels = ("easy", "perfect")

    def play(self, s: Board, seat: int, action: Place, now: float) -> Step[Board]:
        """Place a mark."""
        row, col = action.row, action.col
        if s.board[row][col] is not None:
            raise Rejected("taken", "this cell is already taken")
        s = s.with_(board=put(s.board, (row, col), seat))
        placed = Event("placed", {"seat": seat, "row": row, "col": col})
        cells = sum(s.board, ())
        line = winning_line(cells)
        if line:
            s = s.with_(line=tuple(divmod(cell, 3) for cell in line))
            return Step(s, (placed,)).then(self.win, seat, "line")
        if None not in cells:
            return Step(s, (placed,)).then(self.draw)
        return Step(self.next_turn(s, now), (placed,))

    def choose(
        self, view: Any, seat: int, chance: Chance, setup: Any, level: str = "perfect"
    ) -> Place:
        """Choose a random best move, or at the level "easy" any."""
        cells = tuple(chain(*view["board"]))
        moves = best_moves(cells, seat)
        if level == "easy":
            moves = tuple(cell for cell in range(9) if cells[cell] is None)
        return Place(*divmod(moves[chance.below(len(moves))[0]], 3))


def winning_line(cells: Cells) -> tuple[int, ...]:
    """Find three equal marks in a row; empty if there are none."""
    for line in LINES:
        a, b, c = line
        if cells[a] is not None and cells[a] == cells[b] == cells[c]:
            return line
    return ()


def best_moves(cells: Cells, seat: int) -> tuple[int, ...]:
    """Find the free cells that lead to the best result against perfect play."""
    if cells == _EMPTY:
        # Every first move leads to a draw.
        return tuple(range(9))
    if cells.count(None) == 8:
        # These answers do too, and searching for them would take long.
        return (4,) if cells[4] is None else (0, 2, 6, 8)
    values = {
        cell: -_value(put(cells, cell, seat), 1 - seat)
        for cell in range(9)
        if cells[cell] is None
    }
    best = max(values.values())
    return tuple(cell for cell, value in values.items() if value == best)


@cache
def _value(cells: Cells, seat: int) -> int:
    """Value a position for *seat*, whose turn it is; a quicker win is worth more."""
    free = [cell for cell, whose in enumerate(cells) if whose is None]
    if winning_line(cells):
        return -1 - len(free)
    if not free:
        return 0
    return max(-_value(put(cells, cell, seat), 1 - seat) for cell in free)
