"""A match of Tic-tac-toe that tests play mark by mark, across whatever they kill."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tests.support.redis_servers import until
from vinom.client.match import Match

#: The cells that are taken in this order: the player who begins wins with the third.
_CELLS = ((0, 1, 2), (3, 4, 5))


def cells_of(match: Match) -> list[int | None]:
    """List the seats that have the nine cells."""
    return [cell for row in match.view["board"] for cell in row]


async def place_marks(matches: Sequence[Match], count: int) -> None:
    """
    Let the players whose turn it is place marks, and wait until all see each.

    :param matches: both players', by seat.
    """
    for _ in range(count):
        turn, cells = matches[0].view["turn"], cells_of(matches[0])
        # The first mark of all goes to the first cell.
        is_first = cells[0] in (None, turn)
        cell = next(one for one in _CELLS[0 if is_first else 1] if cells[one] is None)
        matches[turn].act({"type": "place", "row": cell // 3, "col": cell % 3})
        await until(partial(_is_marked, matches, cell))


def _is_marked(matches: Sequence[Match], cell: int) -> bool:
    """Do all see a mark there?"""
    return all(cells_of(match)[cell] is not None for match in matches)
