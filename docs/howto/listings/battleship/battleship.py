"""
Battleship: find the other player's ships before yours are found.

Place your five ships, of 5, 4, 3, 3 and 2 cells. They may touch, but not overlap. The
other player sees none of them.

Then fire at one cell in turn. You learn whether you hit a ship, and when all cells of a
ship are hit. If you sink the whole fleet, you win.

For a player who does nothing in time, the computer places the ships, or fires.
"""

from typing import Annotated

from msgspec import Meta, Struct

from vinom.game import Event, Rejected, Step, put
from vinom.turns import TurnGame, TurnState

SIZE = 10
FLEET = (5, 4, 3, 3, 2)
Coordinate = Annotated[int, Meta(ge=0, le=SIZE - 1)]
Cells = tuple[tuple[int, int], ...]
EMPTY = ((None,) * SIZE,) * SIZE


class Ship(Struct, frozen=True, forbid_unknown_fields=True):
    row: Coordinate
    col: Coordinate
    down: bool = False


class Place(Struct, frozen=True, tag="place", forbid_unknown_fields=True):
    """Place your ships, of 5, 4, 3, 3 and 2 cells, each to the right or down."""

    ships: Annotated[tuple[Ship, ...], Meta(min_length=5, max_length=5)]


class Fire(Struct, frozen=True, tag="fire", forbid_unknown_fields=True):
    """Fire at a cell of the other player's sea."""

    row: Coordinate
    col: Coordinate


class Battle(TurnState, frozen=True):
    # By seat: the cells of each ship; for each cell of its sea whether a shot hit, None
    # without a shot; and the ships that were sunk.
    ships: tuple[tuple[Cells, ...], ...] = ((), ())
    seas: tuple[tuple[tuple[bool | None, ...], ...], ...] = (EMPTY, EMPTY)
    sunk: tuple[tuple[Cells, ...], ...] = ((), ())


class Battleship(TurnGame[Battle, Place | Fire]):
    phases = {"placing": Place, "firing": Fire}
    together = ("placing",)
    secret = ("ships",)
    reveals = ("seas", "sunk")
    on_timeout = "bot"
    board = "board.js"
    board_files = ("board.css",)

    def time_for(self, s, seat):
        return 90.0 if s.phase == "placing" else 20.0

    def play(self, s, seat, action, now):
        if isinstance(action, Fire):
            return self.fire(s, seat, 1 - seat, (action.row, action.col), now)
        ships = tuple(map(cells_of, action.ships, FLEET))
        taken = {cell for ship in ships for cell in ship}
        if max(max(cell) for cell in taken) >= SIZE or len(taken) < sum(FLEET):
            raise Rejected("no_room", "ships must lie in the sea, and not overlap")
        return self.done(s.with_(ships=put(s.ships, seat, ships)), seat, now)

    def fire(self, s, seat, other, cell, now):
        row, col = cell
        if s.seas[other][row][col] is not None:
            raise Rejected("known", "you have fired at this cell before")
        ship = next((ship for ship in s.ships[other] if cell in ship), None)
        s = s.with_(seas=put(s.seas, (other, row, col), ship is not None))
        sunk = ship is not None and all(s.seas[other][r][c] for r, c in ship)
        if sunk:
            s = s.with_(sunk=put(s.sunk, other, (*s.sunk[other], ship)))
        what = "sunk" if sunk else "hit" if ship else "miss"
        step = Step(s).also(Event("fired", {"seat": seat, "at": cell, "what": what}))
        if len(s.sunk[other]) == len(FLEET):
            return step.then(self.win, seat, "fleet")
        return step.then(self.next_turn, now)

    def choose(self, view, seat, chance, setup):
        if view["phase"] == "placing":
            return Place(random_ships(chance))
        sea = view["seas"][1 - seat]
        sunk = {tuple(cell) for ship in view["sunk"][1 - seat] for cell in ship}
        cells = [(row, col) for row in range(SIZE) for col in range(SIZE)]
        hits = {cell for cell in cells if sea[cell[0]][cell[1]]} - sunk
        free = [cell for cell in cells if sea[cell[0]][cell[1]] is None]
        near = [cell for cell in free if hits.intersection(beside(*cell))]
        # Of a ship that is not hit yet, one cell is where row + col is even.
        choice = near or [cell for cell in free if sum(cell) % 2 == 0] or free
        return Fire(*choice[chance.below(len(choice))[0]])


def cells_of(ship, length):
    """The cells of a ship of this length."""
    steps = range(length)
    return tuple(
        (ship.row + i * ship.down, ship.col + i * (not ship.down)) for i in steps
    )


def beside(row, col):
    """The four cells next to a cell, also outside of the sea."""
    return (row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)


def random_ships(chance):
    """Ships that do not overlap."""
    ships, taken = [], set()
    while len(ships) < len(FLEET):
        length = FLEET[len(ships)]
        down, chance = chance.below(2)
        along, chance = chance.below(SIZE - length + 1)
        across, chance = chance.below(SIZE)
        ship = Ship(along, across, True) if down else Ship(across, along)
        cells = cells_of(ship, length)
        if taken.isdisjoint(cells):
            ships.append(ship)
            taken.update(cells)
    return tuple(ships)
