"""
Turns and rounds: what games ask alike in which one plays after the other.

A round ends, whoever is still here may ask for another, and it begins when all of
them have. See the manual's page about writing a game.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct

from vinom.errors import Rejected


class Rematch(Struct, frozen=True, forbid_unknown_fields=True, tag="rematch"):
    """Ask for another round."""


def ensure_turn(seat: int, turn: int | None) -> None:
    """
    Let only the one act whose turn it is.

    :param turn: whose; ``None`` when the round is over.
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

    :param asked: who did before.
    :param here: the seats whose players have not left for good.
    :returns: who has asked by now, in order; *asked* itself if nothing is new.
    :raises Rejected: "round_runs", or "alone" when nobody else is here.
    """
    if not is_over:
        raise Rejected("round_runs", "this round is not over")
    if len(here) < 2:
        raise Rejected("alone", "the others have left")
    return asked if seat in asked else tuple(sorted((*asked, seat)))


def is_agreed(asked: Collection[int], here: Collection[int]) -> bool:
    """
    Tell whether another round begins: all who are here want it, and are enough.

    Ask this when somebody has asked, and when somebody has left.
    """
    return len(here) > 1 and set(here) <= set(asked)


def agree(asked: Sequence[int], seat: int) -> Rematch | None:
    """Have a bot take every rematch, and ask for none."""
    return Rematch() if asked and seat not in asked else None
