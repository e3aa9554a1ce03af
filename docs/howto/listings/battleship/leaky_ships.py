"""Battleship, with a view that shows too much."""

from battleship import Battleship
from msgspec.structs import replace


class LeakyShips(Battleship):
    def view(self, s, audience):
        shown = super().view(s, audience)
        # "Only spectators see that": but a player can watch, too.
        return replace(shown, ships=s.ships) if audience is None else shown
