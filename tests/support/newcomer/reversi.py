"""Reversi by letter: three days for each move. Most discs win.

Place a disc so that it encloses discs of the other colour in a line; they become
yours. Who has no such move passes.
"""

from typing import Annotated

from msgspec import Meta, Struct

from vinom.game import Event, Rejected, Step, put
from vinom.turns import TurnGame, TurnState

DAY = 86400
WAYS = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if r or c]


class Place(Struct, frozen=True, tag="place", forbid_unknown_fields=True):
    row: Annotated[int, Meta(ge=0, le=7)]
    col: Annotated[int, Meta(ge=0, le=7)]


class ReversiState(TurnState, frozen=True):
    board: tuple[tuple[int | None, ...], ...] = ()


def flips(board, seat, row, col):
    """All discs that a disc of *seat* on this cell would turn."""
    if board[row][col] is not None:
        return []
    turned = []
    for down, right in WAYS:
        line, r, c = [], row + down, col + right
        while 0 <= r < 8 and 0 <= c < 8 and board[r][c] == 1 - seat:
            line.append((r, c))
            r, c = r + down, c + right
        if 0 <= r < 8 and 0 <= c < 8 and board[r][c] == seat:
            turned += line
    return turned


def moves(board, seat):
    return [(r, c) for r in range(8) for c in range(8) if flips(board, seat, r, c)]


class Reversi(TurnGame[ReversiState, Place]):
    seats = (2, 2)
    clock = "wall"
    turn_seconds = 3 * DAY
    time_limit = 60 * 3 * DAY
    linger = 7 * DAY

    def begin(self, s, now):
        board = ((None,) * 8,) * 8
        for row, col, seat in ((3, 3, 1), (3, 4, 0), (4, 3, 0), (4, 4, 1)):
            board = put(board, (row, col), seat)
        return s.with_(board=board)

    def play(self, s, seat, action, now):
        turned = flips(s.board, seat, action.row, action.col)
        if not turned:
            raise Rejected(
                "turns_nothing", "a disc here encloses no disc of the other colour"
            )
        board = s.board
        for cell in [(action.row, action.col), *turned]:
            board = put(board, cell, seat)
        s = s.with_(board=board)
        if moves(board, 1 - seat):
            return self.next_turn(s, now)
        if moves(board, seat):
            return Step(self.again(s, now)).also(Event("passed", 1 - seat))
        mine, theirs = (
            sum(row.count(one) for row in board) for one in (seat, 1 - seat)
        )
        if mine == theirs:
            return self.draw(s)
        return self.win(s, seat if mine > theirs else 1 - seat)

    def choose(self, view, seat, chance, setup):
        board = view["board"]
        free = moves(board, seat)
        return Place(*max(free, key=lambda cell: len(flips(board, seat, *cell))))
