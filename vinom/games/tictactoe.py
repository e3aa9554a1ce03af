"""
Tic-tac-toe: two players, nine cells, three in a row.

A player who does not move within half a minute loses the round, and so does a player
who leaves. After a round either player may ask for another, which begins when both have
asked; the player who starts is drawn for each round.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Annotated, Any

from msgspec import Meta, Struct
from msgspec.structs import replace

from vinom.errors import Rejected
from vinom.game import Chance, Event, Game, Outcome, Step, Table
from vinom.games.rounds import (
    BOT_NAMES,
    Rematch,
    agree,
    ask_again,
    ensure_turn,
    is_agreed,
)

#: Time for one move, seconds.
TURN_SECONDS = 30.0
#: Time to ask for another round, seconds.
LINGER_SECONDS = 120.0

_Cell = Annotated[int, Meta(ge=0, le=2)]

#: The eight lines of three cells; a cell is ``3 * row + column``.
LINES = (
    *((0, 1, 2), (3, 4, 5), (6, 7, 8)),
    *((0, 3, 6), (1, 4, 7), (2, 5, 8)),
    *((0, 4, 8), (2, 4, 6)),
)
_EMPTY: tuple[int | None, ...] = (None,) * 9


class Place(Struct, frozen=True, forbid_unknown_fields=True, tag="place"):
    """Put your mark in a free cell."""

    row: _Cell
    col: _Cell


class TicTacToeOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """
    The time for each move.

    :ivar turn_seconds: time for one move.
    """

    turn_seconds: Annotated[float, Meta(ge=1.0, le=3600.0)] = TURN_SECONDS


class Board(Struct, frozen=True):
    """
    One round, and the score of the rounds before.

    :ivar cells: the seat that has each cell.
    :ivar turn: the seat whose turn it is; ``None`` when the round is over.
    :ivar due: match time at which the turn is lost; ``None`` without a turn.
    :ivar winner: of this round; ``None`` until it ends, and for a draw.
    :ivar line: the three cells that won it.
    :ivar wins: rounds won, by seat.
    :ivar gone: seats whose player has left for good.
    :ivar asked: seats that ask for another round.
    """

    cells: tuple[int | None, ...]
    turn: int | None
    due: float | None
    turn_seconds: float
    chance: Chance
    round: int = 1
    winner: int | None = None
    line: tuple[int, ...] = ()
    wins: tuple[int, int] = (0, 0)
    gone: tuple[int, ...] = ()
    asked: tuple[int, ...] = ()


class TicTacToeView(Struct, frozen=True):
    """
    What players and spectators see.

    :ivar board: for each cell, row by row, the seat that has it.
    :ivar turn: the seat whose turn it is; null when the round is over.
    :ivar due: match time at which the turn is lost.
    :ivar winner: seat; null until the round ends, and for a draw.
    :ivar line: the cells that won, as ``[row, col]``.
    :ivar wins: rounds won, by seat.
    :ivar rematch: seats that ask for another round.
    """

    board: tuple[tuple[int | None, ...], ...]
    turn: int | None
    due: float | None
    round: int
    winner: int | None
    line: tuple[tuple[int, int], ...]
    wins: tuple[int, int]
    rematch: tuple[int, ...]


class TicTacToe(Game[Board, Place | Rematch]):
    """The rules."""

    name = "tictactoe"
    title = "Tic-tac-toe"
    about = "Get three in a row before the other player does."
    rules = """
    Take turns to put your mark in a free cell. Three of your marks in a row, in a
    column or on a diagonal win.

    A player who does not move in time loses the round.
    """
    icon = "/boards/tictactoe.svg"
    board = "/boards/tictactoe.js"
    bot_names = BOT_NAMES
    actions = Place | Rematch
    options = TicTacToeOptions
    seats = (2, 2)
    linger = LINGER_SECONDS

    def start(self, table: Table) -> Step[Board]:
        """Draw who begins."""
        seconds = table.options.turn_seconds
        return _begin(Board(_EMPTY, None, None, seconds, table.chance), 0.0)

    def act(
        self, s: Board, seat: int, action: Place | Rematch, now: float
    ) -> Board | Step[Board]:
        """Place a mark, or ask for another round."""
        if isinstance(action, Rematch):
            return _ask_again(s, seat, now)
        ensure_turn(seat, s.turn)
        cell = 3 * action.row + action.col
        if s.cells[cell] is not None:
            raise Rejected("taken", "this cell is already taken")
        cells = (*s.cells[:cell], seat, *s.cells[cell + 1 :])
        placed = Event("placed", {"seat": seat, "row": action.row, "col": action.col})
        marked = replace(s, cells=cells)
        line = winning_line(cells)
        if line:
            return _end(replace(marked, line=line), seat, "line", placed)
        if None not in cells:
            return _end(marked, None, "draw", placed)
        return Step(replace(marked, turn=1 - seat, due=now + s.turn_seconds), (placed,))

    def deadline(self, s: Board) -> float | None:
        """End a turn when its time is up."""
        return s.due

    def advance(self, s: Board, now: float) -> Board | Step[Board]:
        """A player who did not move in time loses the round."""
        if s.turn is None:
            return s
        return _end(s, 1 - s.turn, "timeout")

    def left(self, s: Board, seat: int, now: float) -> Board | Step[Board]:
        """A player who leaves loses the round."""
        gone = replace(s, gone=(*s.gone, seat))
        if s.turn is None:
            return gone
        return _end(gone, 1 - seat, "left")

    def view(self, s: Board, audience: Hashable) -> TicTacToeView:
        """Show everything except the chance."""
        return TicTacToeView(
            (s.cells[0:3], s.cells[3:6], s.cells[6:9]),
            s.turn,
            s.due,
            s.round,
            s.winner,
            tuple(divmod(cell, 3) for cell in s.line),
            s.wins,
            s.asked,
        )

    def outcome(self, s: Board) -> Outcome | None:
        """The winner is first; a draw is shared."""
        if s.turn is not None:
            return None
        if s.winner is None:
            return Outcome(s.round, ((0, 1),), (0, 0))
        scores = (1, 0) if s.winner == 0 else (0, 1)
        return Outcome(s.round, ((s.winner,), (1 - s.winner,)), scores)

    def bot(
        self, view: Any, seat: int, chance: Chance, setup: Any
    ) -> Place | Rematch | None:
        """Choose a random best move; agree to every rematch."""
        if view["turn"] is None:
            return agree(view["rematch"], seat)
        if view["turn"] != seat:
            return None
        cells = tuple(cell for row in view["board"] for cell in row)
        moves = best_moves(cells, seat)
        pick, _ = chance.below(len(moves))
        return Place(*divmod(moves[pick], 3))


def winning_line(cells: tuple[int | None, ...]) -> tuple[int, ...]:
    """Find three equal marks in a row; empty if there are none."""
    for line in LINES:
        a, b, c = line
        if cells[a] is not None and cells[a] == cells[b] == cells[c]:
            return line
    return ()


def best_moves(cells: tuple[int | None, ...], seat: int) -> tuple[int, ...]:
    """Find the free cells that lead to the best result against perfect play."""
    if cells == _EMPTY:
        # Every first move leads to a draw.
        return tuple(range(9))
    if cells.count(None) == 8:
        # These answers do too, and searching for them would take long.
        return (4,) if cells[4] is None else (0, 2, 6, 8)
    values = {
        cell: -_value((*cells[:cell], seat, *cells[cell + 1 :]), 1 - seat)
        for cell, whose in enumerate(cells)
        if whose is None
    }
    best = max(values.values())
    return tuple(cell for cell, value in values.items() if value == best)


@cache
def _value(cells: tuple[int | None, ...], seat: int) -> int:
    """Value a position for *seat*, whose turn it is; a quicker win is worth more."""
    free = [cell for cell, whose in enumerate(cells) if whose is None]
    if winning_line(cells):
        return -1 - len(free)
    if not free:
        return 0
    return max(
        -_value((*cells[:cell], seat, *cells[cell + 1 :]), 1 - seat) for cell in free
    )


def _begin(s: Board, now: float) -> Step[Board]:
    starter, chance = s.chance.below(2)
    board = replace(
        s,
        cells=_EMPTY,
        turn=starter,
        due=now + s.turn_seconds,
        chance=chance,
        winner=None,
        line=(),
        asked=(),
    )
    return Step(board, (Event("began", {"round": s.round, "starter": starter}),))


def _end(s: Board, winner: int | None, how: str, *before: Event) -> Step[Board]:
    wins = s.wins
    if winner is not None:
        wins = (wins[0] + (winner == 0), wins[1] + (winner == 1))
    ended = replace(s, turn=None, due=None, winner=winner, wins=wins)
    return Step(ended, (*before, Event("ended", {"winner": winner, "how": how})))


def _ask_again(s: Board, seat: int, now: float) -> Board | Step[Board]:
    here = {0, 1} - set(s.gone)
    asked = ask_again(seat, s.asked, here, s.turn is None)
    if asked == s.asked:
        return s
    if not is_agreed(asked, here):
        return Step(replace(s, asked=asked), (Event("asked", {"seat": seat}),))
    return _begin(replace(s, round=s.round + 1), now)
