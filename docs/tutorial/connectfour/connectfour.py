"""Connect Four: drop discs; four of yours in a row win."""

from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from vinom.game import Chance, Event, Game, Outcome, Rejected, Step
from vinom.games.rounds import agree, ask_again, ensure_turn, is_agreed
from vinom.turns import Rematch

ROWS, COLS = 6, 7
Board = tuple[tuple[int | None, ...], ...]
Cell = tuple[int, int]
EMPTY: Board = ((None,) * COLS,) * ROWS


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    turn_seconds: Annotated[
        int, Meta(ge=3, le=600, description="time for one move, seconds")
    ] = 30


class Drop(Struct, frozen=True, tag="drop", forbid_unknown_fields=True):
    """Drop a disc into a column, from 0 at the left."""

    column: Annotated[int, Meta(ge=0, le=COLS - 1)]


class ConnectFourView(Struct, frozen=True, kw_only=True):
    board: Board = EMPTY  # row 0 is at the top
    turn: int | None = None
    due: float | None = None
    round: int = 0
    winner: int | None = None
    how: Literal["line", "draw", "timeout", "left"] | None = None
    line: tuple[Cell, ...] = ()
    last: Cell | None = None
    wins: tuple[int, ...] = (0, 0)
    rematch: tuple[int, ...] = ()
    gone: tuple[int, ...] = ()


class ConnectFourState(ConnectFourView, frozen=True, kw_only=True):
    chance: Chance
    seconds: int


class ConnectFour(Game[ConnectFourState, Drop | Rematch]):
    actions = Drop | Rematch
    options = Options
    seats = (2, 2)
    linger = 120.0

    rules = """
    The board has seven columns of six places. In turn, each player drops a disc into a
    column; it falls to the lowest free place.

    Four of your discs in a row win: across, down or diagonally. If the board is full
    before, it is a draw.

    A player who does not move in time loses the round, and so does one who leaves.
    """
    icon = "icon.svg"
    colours = ("#d8343c", "#f2b705")
    bot_names = ("Botho", "Botilda")
    board = "board.js"
    board_files = ("board.css",)

    def start(self, table):
        seconds = table.options.turn_seconds
        return self._begin(ConnectFourState(chance=table.chance, seconds=seconds), 0.0)

    def act(self, s, seat, action, now):
        if isinstance(action, Rematch):
            return self._rematch(s, seat, now)
        ensure_turn(seat, s.turn)
        row = landing(s.board, action.column)
        if row is None:
            raise Rejected("column_full", f"column {action.column + 1} is full")
        cell = (row, action.column)
        s = replace(s, board=put(s.board, cell, seat), last=cell)
        dropped = Event("dropped", {"seat": seat, "row": row, "column": action.column})
        line = line_through(s.board, cell)
        if line:
            return self._end(replace(s, line=line), seat, "line", dropped)
        if None not in s.board[0]:
            return self._end(s, None, "draw", dropped)
        return Step(replace(s, turn=1 - seat, due=now + s.seconds), (dropped,))

    def deadline(self, s):
        return s.due

    def advance(self, s, now):
        return self._end(s, 1 - s.turn, "timeout")

    def left(self, s, seat, now):
        s = replace(s, gone=(*s.gone, seat), rematch=())
        return s if s.turn is None else self._end(s, 1 - seat, "left")

    def outcome(self, s):
        if s.turn is not None:
            return None
        places = ((0, 1),) if s.winner is None else ((s.winner,), (1 - s.winner,))
        return Outcome(s.round, places, s.wins)

    def view(self, s, audience):
        shown = ConnectFourView.__struct_fields__
        return ConnectFourView(**{name: getattr(s, name) for name in shown})

    def bot(self, view, seat, chance, setup):
        if view["turn"] is None:
            return agree(view["rematch"], seat)
        if view["turn"] != seat:
            return None
        board = tuple(tuple(row) for row in view["board"])
        free = [c for c in range(COLS) if board[0][c] is None]
        for player in (seat, 1 - seat):  # win, or else hinder
            for c in free:
                cell = (landing(board, c), c)
                if line_through(put(board, cell, player), cell):
                    return Drop(c)
        safe = [c for c in free if not self._gives(board, c, seat)] or free
        near = sorted(safe, key=lambda c: abs(c - COLS // 2))
        pick, _ = chance.below(min(3, len(near)))
        return Drop(near[pick])

    def _gives(self, board, column, seat):
        """Would the other win on top of a disc in this column?"""
        row = landing(board, column)
        if row == 0:
            return False
        after, above = put(board, (row, column), seat), (row - 1, column)
        return bool(line_through(put(after, above, 1 - seat), above))

    def _begin(self, s, now):
        starter, chance = s.chance.below(2)
        s = replace(
            s,
            board=EMPTY,
            turn=starter,
            due=now + s.seconds,
            round=s.round + 1,
            winner=None,
            how=None,
            line=(),
            last=None,
            rematch=(),
            chance=chance,
        )
        return Step(s, (Event("began", {"round": s.round, "starter": starter}),))

    def _end(self, s, winner, how, *before):
        wins = tuple(n + (i == winner) for i, n in enumerate(s.wins))
        s = replace(s, turn=None, due=None, winner=winner, how=how, wins=wins)
        return Step(s, (*before, Event("ended", {"winner": winner, "how": how})))

    def _rematch(self, s, seat, now):
        here = tuple(i for i in (0, 1) if i not in s.gone)
        asked = ask_again(seat, s.rematch, here, s.turn is None)
        if asked == s.rematch:
            return s
        if is_agreed(asked, here):
            return self._begin(s, now)
        return Step(replace(s, rematch=asked), (Event("asked", {"seat": seat}),))


def landing(board, column):
    """The row where a disc would come to rest; None if the column is full."""
    return next((r for r in reversed(range(ROWS)) if board[r][column] is None), None)


def put(board, cell, seat):
    r, c = cell
    return (*board[:r], (*board[r][:c], seat, *board[r][c + 1 :]), *board[r + 1 :])


def line_through(board, cell):
    """All cells of the rows of four or more through this disc."""
    seat, found = board[cell[0]][cell[1]], set()
    for dr, dc in ((0, 1), (1, 0), (1, 1), (1, -1)):
        run = [cell]
        for sign in (1, -1):
            r, c = cell[0] + sign * dr, cell[1] + sign * dc
            while 0 <= r < ROWS and 0 <= c < COLS and board[r][c] == seat:
                run.append((r, c))
                r, c = r + sign * dr, c + sign * dc
        if len(run) >= 4:
            found.update(run)
    return tuple(sorted(found))
