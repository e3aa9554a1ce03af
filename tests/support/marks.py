"""Tic-tac-toe that tests play mark by mark, while they kill processes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tests.support.redis_servers import until
from vinom.client.match import Match
from vinom.client.rooms import LiveRoom

#: The cells that are taken in this order: the player who begins wins with the third.
_CELLS = ((0, 1, 2), (3, 4, 5))


def cells_of(played: Match | LiveRoom) -> list[int | None]:
    """List the seats that have the nine cells."""
    return [cell for row in played.view["board"] for cell in row]


async def place_marks(
    players: Sequence[Match] | Sequence[LiveRoom], count: int
) -> None:
    """
    Let the players whose turn it is place marks, and wait until all see each.

    :param players: what both have of the match or the room, by seat.
    """
    for _ in range(count):
        turn, cells = players[0].view["turn"], cells_of(players[0])
        # The first mark of all goes to the first cell.
        is_first = cells[0] in (None, turn)
        cell = next(one for one in _CELLS[0 if is_first else 1] if cells[one] is None)
        players[turn].act({"type": "place", "row": cell // 3, "col": cell % 3})
        await until(partial(_is_marked, players, cell))


def _is_marked(players: Sequence[Match] | Sequence[LiveRoom], cell: int) -> bool:
    """Do all see a mark there?"""
    return all(cells_of(one)[cell] is not None for one in players)
