"""
Maze: collect the most points before the maze is empty. Then dance.

Walk through the maze and take the points in its cells. Most cells hold 1 point,
some hold 5. The game ends when all points are taken or time is up; the highest
score wins, and the winner may dance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from vinom.game import (
    Chance,
    Event,
    Game,
    Outcome,
    Rejected,
    State,
    Step,
    Table,
    put,
    ranked,
)

Direction = Literal["up", "right", "down", "left"]

#: Directions in the order of their bits in a cell's passages.
DIRECTIONS: tuple[Direction, ...] = ("up", "right", "down", "left")


def carve(rows: int, cols: int, chance: Chance) -> tuple[tuple[str, ...], Chance]:
    """
    Draw a perfect maze, with exactly one way between any two cells.

    :returns: one text per row, one hexadecimal digit per cell: the sum of the
        open sides, up 1, right 2, down 4, left 8; and the chance for the next draw.
    """
    size = rows * cols
    open_sides = [0] * size
    in_maze = bytearray(size)
    first, chance = chance.below(size)
    in_maze[first] = 1
    exit_of = [0] * size
    bits, left = 0, 0
    for start in range(size):
        # Walk at random until a cell of the maze, keeping only the last exit of each
        # cell: this removes the loops of the walk.
        cell = start
        while not in_maze[cell]:
            if not left:
                # One draw gives 32 directions; one draw for each would be slow.
                bits, chance = chance.draw()
                left = 32
            side = bits & 3
            bits >>= 2
            left -= 1
            beside = _beside(cell, side, rows, cols)
            if beside is not None:
                exit_of[cell] = side
                cell = beside
        cell = start
        while not in_maze[cell]:
            in_maze[cell] = 1
            side = exit_of[cell]
            beside = _beside(cell, side, rows, cols)
            assert beside is not None  # only exits that lead to a cell are kept
            open_sides[cell] |= 1 << side
            open_sides[beside] |= 1 << (side + 2) % 4
            cell = beside
    digits = "".join("0123456789abcdef"[sides] for sides in open_sides)
    return tuple(digits[row * cols : (row + 1) * cols] for row in range(rows)), chance


def _beside(cell: int, side: int, rows: int, cols: int) -> int | None:
    """Find the cell on one side; ``None`` if there is none."""
    if side == 0:
        return cell - cols if cell >= cols else None
    if side == 1:
        return cell + 1 if (cell + 1) % cols else None
    if side == 2:
        return cell + cols if cell < (rows - 1) * cols else None
    return cell - 1 if cell % cols else None


def deal_corners(
    rows: int, cols: int, players: int, chance: Chance
) -> tuple[tuple[tuple[int, int], ...], Chance]:
    """Draw a corner for each of 2 to 4 players; the first two are opposite."""
    corners = ((0, 0), (0, cols - 1), (rows - 1, cols - 1), (rows - 1, 0))
    first, chance = chance.below(4)
    turn, chance = chance.below(2)
    third = first + 1 + 2 * turn
    order = (first, first + 2, third, third + 2)
    return tuple(corners[index % 4] for index in order[:players]), chance


def strew(
    rows: int, cols: int, starts: Sequence[tuple[int, int]], chance: Chance
) -> tuple[str, Chance]:
    """
    Draw the points: every cell 1, one in ten 5, start cells 0.

    For each 5 two cells are drawn, and the one nearer to the centre holds it.

    :returns: one digit per cell, row by row; and the chance for the next draw.
    """
    digits = ["1"] * (rows * cols)
    for row, col in starts:
        digits[row * cols + col] = "0"
    free = [cell for cell, digit in enumerate(digits) if digit == "1"]
    for _ in range(min(round(rows * cols / 10), len(free))):
        one, chance = chance.below(len(free))
        other, chance = chance.below(len(free))
        nearest = min(one, other, key=lambda at: _off_centre(free[at], rows, cols))
        digits[free.pop(nearest)] = "5"
    return "".join(digits), chance


def _off_centre(cell: int, rows: int, cols: int) -> int:
    """Measure the distance from the centre, with both axes scaled to equal length."""
    row, col = divmod(cell, cols)
    down, right = abs(2 * row - rows + 1) * cols, abs(2 * col - cols + 1) * rows
    return down * down + right * right


@lru_cache(maxsize=256)
def passages(walls: tuple[str, ...]) -> tuple[tuple[tuple[Direction, int], ...], ...]:
    """List for each cell, row by row, its open directions and where they lead."""
    cols = len(walls[0])
    move: dict[Direction, int] = {"up": -cols, "right": 1, "down": cols, "left": -1}
    return tuple(
        tuple(
            (direction, row * cols + col + move[direction])
            for direction in DIRECTIONS
            if int(digit, 16) >> DIRECTIONS.index(direction) & 1
        )
        for row, digits in enumerate(walls)
        for col, digit in enumerate(digits)
    )


def way_to_points(
    walls: tuple[str, ...], points: str, start: int, chance: Chance
) -> Direction | None:
    """
    Choose the first step towards the nearest cell with points; at equal distance, the
    one with the most.

    :param points: one digit per cell, row by row.
    :param start: a cell's number, row by row.
    :returns: a direction; ``None`` if no points are left.
    """
    ways = passages(walls)
    seen = bytearray(len(ways))
    seen[start] = 1
    near: deque[tuple[int, Direction]] = deque()
    for direction, cell in ways[start]:
        seen[cell] = 1
        near.append((cell, direction))
    while near:
        found = [(points[cell], direction) for cell, direction in near]
        richest = max(digit for digit, _ in found)
        if richest != "0":
            best = [direction for digit, direction in found if digit == richest]
            return best[chance.below(len(best))[0]]
        for _ in range(len(near)):
            cell, direction = near.popleft()
            for _, beside in ways[cell]:
                if not seen[beside]:
                    seen[beside] = 1
                    near.append((beside, direction))
    return None


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


class MazeState(State, frozen=True):
    """
    A moment in a maze.

    :ivar walls: one text per row, one hexadecimal digit per cell: the sum of
        its *open* sides, up 1, right 2, down 4, left 8.
    :ivar starts: ``[row, col]`` of each seat.
    :ivar ends_at: match time at which the game is over, seconds.
    :ivar at: ``[row, col]`` of each seat.
    :ivar points: one digit per cell, row by row: the points it still holds.
    :ivar left: the sum of these.
    :ivar winners: seats with the highest score, once the game is over.
    :ivar dancing: the winners who dance.
    """

    rows: int
    cols: int
    walls: tuple[str, ...]
    starts: tuple[Cell, ...]
    ends_at: float
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
    icon = "/boards/maze.svg"
    board = "/boards/maze.js"
    actions = Move | Dance
    options = MazeOptions
    seats = (2, 4)
    schema = 2
    fixed = ("rows", "cols", "walls", "starts", "ends_at")
    time_limit = 31 * 60.0

    def start(self, table: Table) -> MazeState:
        """Draw the maze, the corners and the points."""
        rows, cols = table.options.rows, table.options.cols
        walls, chance = carve(rows, cols, table.chance)
        starts, chance = deal_corners(rows, cols, len(table.seats), chance)
        points, _ = strew(rows, cols, starts, chance)
        s = MazeState(
            rows,
            cols,
            walls,
            starts,
            ends_at=table.options.minutes * 60.0,
            at=starts,
            scores=(0,) * len(starts),
            points=points,
            left=sum(map(int, points)),
        )
        # With four players in four cells there is nothing to collect.
        return s if s.left else _finish(s)

    def act(
        self, s: MazeState, seat: int, action: Move | Dance, now: float
    ) -> MazeState | Step[MazeState]:
        """Move, or dance."""
        if isinstance(action, Move):
            return self._move(s, seat, action)
        return self._dance(s, seat)

    def deadline(self, s: MazeState) -> float | None:
        """End the game at its time."""
        return None if s.over else s.ends_at

    def advance(self, s: MazeState, now: float) -> MazeState:
        """Time is up."""
        return _finish(s)

    def outcome(self, s: MazeState) -> Outcome | None:
        """Rank by score; equal scores share a rank."""
        return Outcome(1, ranked(s.scores), s.scores) if s.over else None

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
        ways = dict(passages(s.walls)[row * s.cols + col])
        if move.direction not in ways:
            raise Rejected("wall", "there is a wall")
        cell = ways[move.direction]
        taken = int(s.points[cell])
        s = s.with_(
            at=put(s.at, seat, divmod(cell, s.cols)),
            scores=put(s.scores, seat, s.scores[seat] + taken),
            points=f"{s.points[:cell]}0{s.points[cell + 1 :]}",
            left=s.left - taken,
        )
        return s if s.left else _finish(s)

    def _dance(self, s: MazeState, seat: int) -> MazeState | Step[MazeState]:
        if not s.over:
            raise Rejected("not_over", "you can dance when the game is over")
        if seat not in s.winners:
            raise Rejected("not_a_winner", "only winners may dance")
        if seat in s.dancing:
            return s
        dancing = tuple(sorted((*s.dancing, seat)))
        return Step(s.with_(dancing=dancing), (Event("danced", {"seat": seat}),))


def _finish(s: MazeState) -> MazeState:
    return s.with_(over=True, winners=ranked(s.scores)[0])
