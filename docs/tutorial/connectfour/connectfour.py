"""
Connect Four: drop discs; four of yours in a row win.

The board has seven columns of six places. In turn, each player drops a disc into a
column; it falls to the lowest free place.

Four of your discs in a row win: across, down or diagonally. If the board is full
before, it is a draw.

A player who does not move in time loses the round, and so does one who leaves.
"""

from typing import Annotated

from msgspec import Meta, Struct

from vinom.game import Event, Rejected, Step, put
from vinom.turns import TurnGame, TurnState

ROWS, COLS = 6, 7


class Drop(Struct, frozen=True, tag="drop", forbid_unknown_fields=True):
    """Drop a disc into a column, from 0 at the left."""

    column: Annotated[int, Meta(ge=0, le=COLS - 1)]


class Board(TurnState, frozen=True):
    # Of each place, row by row from the top: the seat whose disc it has.
    board: tuple[tuple[int | None, ...], ...] = ((None,) * COLS,) * ROWS
    last: tuple[int, int] | None = None
    line: tuple[tuple[int, int], ...] = ()


class ConnectFour(TurnGame[Board, Drop]):
    icon = "icon.svg"
    colours = ("#d8343c", "#f2b705")
    board = "board.js"
    board_files = ("board.css",)

    def play(self, s, seat, action, now):
        if s.board[0][action.column] is not None:
            raise Rejected("column_full", f"column {action.column + 1} is full")
        cell = landing(s.board, action.column)
        board = put(s.board, cell, seat)
        s = s.with_(board=board, last=cell, line=line_of(board, seat))
        step = Step(s).also(Event("dropped", {"seat": seat, "column": action.column}))
        if s.line:
            return step.then(self.win, seat, "line")
        full = None not in board[0]
        return step.then(self.draw) if full else step.then(self.next_turn, now)

    def choose(self, view, seat, chance, setup):
        board = view["board"]
        columns = [c for c in (3, 2, 4, 1, 5, 0, 6) if board[0][c] is None]
        for player in (seat, 1 - seat):  # win, or else hinder
            for column in columns:
                if line_of(put(board, landing(board, column), player), player):
                    return Drop(column)
        return Drop(columns[chance.below(min(3, len(columns)))[0]])


def landing(board, column):
    """The place where a disc comes to rest, in a column that is not full."""
    return max((row, column) for row in range(ROWS) if board[row][column] is None)


def line_of(board, seat):
    """Four discs of this seat in a row; empty if there are none."""
    own = {(r, c) for r in range(ROWS) for c in range(COLS) if board[r][c] == seat}
    for row, col in sorted(own):
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            line = tuple((row + i * down, col + i * right) for i in range(4))
            if own.issuperset(line):
                return line
    return ()
