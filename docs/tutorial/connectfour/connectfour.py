"""Drop discs into seven columns, and get four in a row."""

from typing import Annotated

import attrs
from msgspec import Meta, Struct

from vinom.game import Event, Game, Outcome, Rejected, Step

ROWS, COLUMNS = 6, 7
#: One row; None is a free cell.
Row = tuple[int | None, ...]
Cell = tuple[int, int]


class Drop(Struct, frozen=True, tag="drop"):
    """Drop a disc into a column."""

    column: Annotated[int, Meta(ge=0, lt=COLUMNS)]


@attrs.frozen
class Board:
    rows: tuple[Row, ...] = ((None,) * COLUMNS,) * ROWS
    turn: int | None = 0
    due: float = 30.0
    last: Cell | None = None
    line: tuple[Cell, ...] = ()
    winner: int | None = None


class BoardView(Struct, frozen=True):
    """The top row comes first."""

    rows: tuple[Row, ...]
    turn: int | None
    due: float | None
    last: Cell | None
    line: tuple[Cell, ...]
    winner: int | None


class ConnectFour(Game[Board, Drop]):
    title = "Connect Four"
    rules = """
    Take turns to drop a disc into one of the seven columns; it falls to the lowest
    free cell.

    Four of your discs in a row win: across, down or diagonally. You have 30 seconds
    for each move, or you lose.
    """
    icon = "icon.svg"
    colours = ("#d1495b", "#c98a00")
    board = "board.js"
    board_files = ("board.css",)
    bot_names = ("Disco",)
    actions = Drop
    seats = (2, 2)
    linger = 60.0

    def start(self, table):
        return Board()

    def act(self, s, seat, action, now):
        if seat != s.turn:
            raise Rejected("not_your_turn", "wait for your turn")
        free = [at for at in range(ROWS) if s.rows[at][action.column] is None]
        if not free:
            raise Rejected("full", "this column is full")
        cell = (free[-1], action.column)
        s = attrs.evolve(s, rows=fill(s.rows, cell, seat), last=cell)
        dropped = Event("dropped", {"seat": seat, "column": action.column})
        line = line_through(s.rows, cell)
        if line:
            return end(attrs.evolve(s, line=line), seat, dropped)
        if all(None not in row for row in s.rows):
            return end(s, None, dropped)
        return Step(attrs.evolve(s, turn=1 - seat, due=now + 30), (dropped,))

    def left(self, s, seat, now):
        return s if s.turn is None else end(s, 1 - seat)

    def deadline(self, s):
        return None if s.turn is None else s.due

    def advance(self, s, now):
        return end(s, 1 - s.turn)

    def view(self, s, audience):
        due = None if s.turn is None else s.due
        return BoardView(s.rows, s.turn, due, s.last, s.line, s.winner)

    def outcome(self, s):
        if s.turn is not None:
            return None
        if s.winner is None:
            return Outcome(1, ((0, 1),))
        return Outcome(1, ((s.winner,), (1 - s.winner,)))

    def bot(self, view, seat, chance, setup):
        if view["turn"] != seat:
            return None
        free = [at for at in range(COLUMNS) if view["rows"][0][at] is None]
        for who in (seat, 1 - seat):
            for column in free:
                cell = (sum(row[column] is None for row in view["rows"]) - 1, column)
                if line_through(fill(view["rows"], cell, who), cell):
                    return Drop(column)
        pick, _ = chance.below(len(free))
        return Drop(free[pick])


def end(s, winner, *events):
    ended = Event("ended", {"winner": winner})
    return Step(attrs.evolve(s, turn=None, winner=winner), (*events, ended))


def fill(rows, cell, seat):
    """Put a disc into a cell."""
    row, column = cell
    filled = (*rows[row][:column], seat, *rows[row][column + 1 :])
    return (*rows[:row], filled, *rows[row + 1 :])


def line_through(rows, cell):
    """Find four or more in a row through a cell; empty without them."""
    row, column = cell
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        line = [cell]
        for way in (1, -1):
            y, x = row + way * down, column + way * right
            while 0 <= y < ROWS and 0 <= x < COLUMNS:
                if rows[y][x] != rows[row][column]:
                    break
                line.append((y, x))
                y, x = y + way * down, x + way * right
        if len(line) >= 4:
            return tuple(sorted(line))
    return ()
