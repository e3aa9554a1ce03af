"""Who sits where."""

from __future__ import annotations

from collections.abc import Sequence

from vinom.errors import Code, Refused
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


def teams_of(seats: Sequence[SeatPlan], teams: int | None) -> tuple[int | None, ...]:
    """
    Tell the team of each seat: the planned one, else the smallest, in seat order.

    Where no seat has a planned one, seats are so dealt to the teams in turn.

    :param teams: how many the game has; ``None`` is none.
    :raises Refused: `Code.BAD_OPTIONS`: the game has no such team.
    """
    for number, seat in enumerate(seats):
        if seat.team is not None and not 0 <= seat.team < (teams or 0):
            raise Refused(
                Code.BAD_OPTIONS,
                f"seat {number} is planned for team {seat.team}; "
                f"the game has {teams or 'no'} teams",
                {"field": "team"},
            )
    if not teams:
        return (None,) * len(seats)
    sizes = [0] * teams
    for seat in seats:
        if seat.team is not None:
            sizes[seat.team] += 1
    dealt: list[int | None] = []
    for seat in seats:
        team = seat.team
        if team is None:
            team = sizes.index(min(sizes))
            sizes[team] += 1
        dealt.append(team)
    return tuple(dealt)


def seat_of(seats: Sequence[SeatPlan], player_id: str) -> int | None:
    """Find a player's seat; ``None`` for a stranger."""
    for number, seat in enumerate(seats):
        if seat.player_id == player_id:
            return number
    return None
