"""
Maze: collect more points than the others, then dance.

Two to four players start in the corners of a perfect maze. Every cell holds 1 point;
about one in ten holds 5, and those are nearer the centre. A player who enters a cell
takes its points. The game is over when all points are taken or time is up. The highest
score wins, equal scores share the win, and the winners may dance.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated, Any

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from vinom.game import Chance, Event, Game, Outcome, Rejected, Step, Table
from vinom.games.maze_map import (
    BITS,
    STEPS,
    Direction,
    carve,
    deal_corners,
    strew,
    way_to_points,
)
from vinom.games.names import BOT_NAMES

Cell = tuple[int, int]


class MazeOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """
    The size of the maze, and the time limit.

    :ivar rows: 2 to 64.
    :ivar cols: 2 to 64.
    :ivar minutes: match time, at most 30.
    """

    rows: Annotated[int, Meta(ge=2, le=64)] = 10
    cols: Annotated[int, Meta(ge=2, le=64)] = 20
    minutes: Annotated[float, Meta(gt=0, le=30)] = 5.0


class Move(Struct, frozen=True, forbid_unknown_fields=True, tag="move"):
    """
    Go to the next cell.

    :ivar direction: up, right, down or left.
    :ivar from_: ``[row, col]`` where the player expects to be, called ``from`` on the
        wire. A player who is elsewhere is refused, so a delayed move is never applied
        twice.
    """

    direction: Direction
    from_: Cell = field(name="from")


class Dance(Struct, frozen=True, forbid_unknown_fields=True, tag="dance"):
    """Dance; only winners may."""


class MazeSetup(Struct, frozen=True):
    """
    What never changes.

    :ivar walls: one text per row, one hexadecimal digit per cell: the sum of
        its *open* sides, up 1, right 2, down 4, left 8.
    :ivar starts: ``[row, col]`` of each seat.
    :ivar ends_at: match time at which the game is over, seconds.
    """

    rows: int
    cols: int
    walls: tuple[str, ...]
    starts: tuple[Cell, ...]
    ends_at: float


class MazeView(Struct, frozen=True):
    """
    What players and spectators see.

    :ivar at: ``[row, col]`` of each seat.
    :ivar points: one digit per cell, row by row: the points it still holds.
    :ivar left: the sum of these.
    :ivar winners: seats with the highest score, once the game is over.
    :ivar dancing: the winners who dance.
    """

    at: tuple[Cell, ...]
    scores: tuple[int, ...]
    points: str
    left: int
    over: bool
    winners: tuple[int, ...]
    dancing: tuple[int, ...]


class MazeState(Struct, frozen=True):
    """A moment in a maze; the setup and the view describe the fields."""

    setup: MazeSetup
    at: tuple[Cell, ...]
    scores: tuple[int, ...]
    points: str
    left: int
    over: bool = False
    winners: tuple[int, ...] = ()
    dancing: tuple[int, ...] = ()


class Maze(Game[MazeState, Move | Dance]):
    """The rules."""

    name = "maze"
    title = "Maze"
    about = "Collect the most points before the maze is empty. Then dance."
    rules = """
    Walk through the maze and take the points in its cells. Most cells hold 1 point,
    some hold 5. The game ends when all points are taken or time is up; the highest
    score wins, and the winner may dance.
    """
    icon = "/boards/maze.svg"
    board = "/boards/maze.js"
    bot_names = BOT_NAMES
    actions = Move | Dance
    options = MazeOptions
    seats = (2, 4)
    linger = 10.0
    time_limit = 31 * 60.0

    def start(self, table: Table) -> MazeState:
        """Draw the maze, the corners and the points."""
        rows, cols = table.options.rows, table.options.cols
        walls, chance = carve(rows, cols, table.chance)
        starts, chance = deal_corners(rows, cols, len(table.seats), chance)
        points, _ = strew(rows, cols, starts, chance)
        left = sum(map(int, points))
        ends_at = table.options.minutes * 60.0
        state = MazeState(
            setup=MazeSetup(rows, cols, walls, starts, ends_at),
            at=starts,
            scores=(0,) * len(starts),
            points=points,
            left=left,
        )
        # With four players in four cells there is nothing to collect.
        return state if left else _finish(state)

    def act(
        self, s: MazeState, seat: int, action: Move | Dance, now: float
    ) -> MazeState | Step[MazeState]:
        """Move, or dance."""
        if isinstance(action, Move):
            return self._move(s, seat, action)
        return self._dance(s, seat)

    def deadline(self, s: MazeState) -> float | None:
        """End the game at its time."""
        return None if s.over else s.setup.ends_at

    def advance(self, s: MazeState, now: float) -> MazeState:
        """Time is up."""
        return _finish(s)

    def setup(self, s: MazeState) -> MazeSetup:
        """Show the walls and the time."""
        return s.setup

    def view(self, s: MazeState, audience: Hashable) -> MazeView:
        """Show everything that changes; nothing in a maze is hidden."""
        return MazeView(s.at, s.scores, s.points, s.left, s.over, s.winners, s.dancing)

    def outcome(self, s: MazeState) -> Outcome | None:
        """Rank by score; equal scores share a rank."""
        if not s.over:
            return None
        ranks = sorted(set(s.scores), reverse=True)
        places = tuple(
            tuple(seat for seat, score in enumerate(s.scores) if score == rank)
            for rank in ranks
        )
        return Outcome(round=1, places=places, scores=s.scores)

    def bot(
        self, view: Any, seat: int, chance: Chance, setup: Any
    ) -> Move | Dance | None:
        """Walk to the nearest points; dance after a win."""
        if view["over"]:
            wins = seat in view["winners"] and seat not in view["dancing"]
            return Dance() if wins else None
        row, col = view["at"][seat]
        direction = way_to_points(
            tuple(setup["walls"]), view["points"], row * setup["cols"] + col, chance
        )
        if direction is None:
            return None
        return Move(direction, (row, col))

    def _move(self, s: MazeState, seat: int, move: Move) -> MazeState:
        if s.over:
            raise Rejected("over", "the game is over")
        if s.at[seat] != move.from_:
            raise Rejected("not_there", f"you are at {list(s.at[seat])}")
        row, col = move.from_
        if not int(s.setup.walls[row][col], 16) & BITS[move.direction]:
            raise Rejected("wall", "there is a wall")
        down, right = STEPS[move.direction]
        row, col = row + down, col + right
        at = (*s.at[:seat], (row, col), *s.at[seat + 1 :])
        cell = row * s.setup.cols + col
        taken = int(s.points[cell])
        if not taken:
            return replace(s, at=at)
        score = s.scores[seat] + taken
        moved = replace(
            s,
            at=at,
            scores=(*s.scores[:seat], score, *s.scores[seat + 1 :]),
            points=f"{s.points[:cell]}0{s.points[cell + 1 :]}",
            left=s.left - taken,
        )
        return moved if moved.left else _finish(moved)

    def _dance(self, s: MazeState, seat: int) -> MazeState | Step[MazeState]:
        if not s.over:
            raise Rejected("not_over", "you can dance when the game is over")
        if seat not in s.winners:
            raise Rejected("not_a_winner", "only winners may dance")
        if seat in s.dancing:
            return s
        dancing = tuple(sorted((*s.dancing, seat)))
        return Step(replace(s, dancing=dancing), (Event("danced", {"seat": seat}),))


def _finish(s: MazeState) -> MazeState:
    best = max(s.scores)
    winners = tuple(seat for seat, score in enumerate(s.scores) if score == best)
    return replace(s, over=True, winners=winners)
