"""Who sits where."""

from __future__ import annotations

from collections.abc import Sequence

from vinom.model import QueueEntry, SeatPlan


def seat_plans(
    entries: Sequence[QueueEntry], teams: int | None = None
) -> tuple[SeatPlan, ...]:
    """
    Seat the players of *entries*, the longest wait first.

    :param teams: how many teams; seats are dealt to them in turn.
    """
    plans: list[SeatPlan] = []
    for entry in entries:
        for index, player in enumerate(entry.players):
            loadout = entry.loadouts[index] if index < len(entry.loadouts) else b"{}"
            team = len(plans) % teams if teams else None
            plans.append(SeatPlan(player.player_id, player.name, loadout, team))
    return tuple(plans)


def seat_of(seats: Sequence[SeatPlan], player_id: str) -> int | None:
    """Find a player's seat; ``None`` for a stranger."""
    for number, seat in enumerate(seats):
        if seat.player_id == player_id:
            return number
    return None
