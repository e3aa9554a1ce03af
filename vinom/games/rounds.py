"""
Turns and rounds: what turn-based games have in common.

After a round each player who is still here may ask for another; it begins once all of
them have. See the manual's page about writing a game.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from vinom.errors import Rejected
from vinom.turns import Rematch as Rematch


def ensure_turn(seat: int, turn: int | None) -> None:
    """
    Check that it is this seat's turn.

    :param seat: that wants to act.
    :param turn: the seat whose turn it is; ``None`` when the round is over.
    :raises Rejected: "round_over" or "not_your_turn".
    """
    if turn is None:
        raise Rejected("round_over", "this round is over; ask for a rematch")
    if seat != turn:
        raise Rejected("not_your_turn", "wait for your turn")


def ask_again(
    seat: int, asked: tuple[int, ...], here: Collection[int], is_over: bool
) -> tuple[int, ...]:
    """
    Note that a seat wants another round.

    :param seat: that asks.
    :param asked: seats that have asked before.
    :param here: the seats whose players have not left for good.
    :param is_over: is the round over?
    :returns: the seats that have asked, in order; *asked* itself if *seat* is in it.
    :raises Rejected: "round_runs", or "alone" if all other players have left.
    """
    if not is_over:
        raise Rejected("round_runs", "this round is not over yet")
    if len(here) < 2:
        raise Rejected("alone", "all other players have left")
    return asked if seat in asked else tuple(sorted((*asked, seat)))


def is_agreed(asked: Collection[int], here: Collection[int]) -> bool:
    """
    Does another round begin? It does once all players who are here, at least two, ask.

    Check this whenever a player has asked, and whenever one has left.
    """
    return len(here) > 1 and set(here) <= set(asked)


def agree(asked: Sequence[int], seat: int) -> Rematch | None:
    """Have a bot agree to every rematch, and never ask first."""
    return Rematch() if asked and seat not in asked else None
