"""
How well players play, learnt from the places of a round.

The model is Plackett and Luce's in the form of Weng and Lin (``openskill``): an
estimate with its uncertainty, for any number of players and teams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from openskill.models import PlackettLuce

from vinom.base.model import Rating, SeatPlan

_MODEL = PlackettLuce()


def rate_round(
    seats: Sequence[SeatPlan],
    places: Sequence[Sequence[int]],
    before: Mapping[str, Rating],
) -> dict[str, Rating]:
    """
    Work out the ratings after a round; bots have none.

    :param seats: of the match. Players of one team are rated together.
    :param places: the numbers of the seats that share first place, then second, and so
        on; a seat that has none is behind all others.
    :param before: the ratings of all players, by id.
    :returns: by id; empty if nobody played against anybody.
    """
    place_of = {seat: place for place, group in enumerate(places) for seat in group}
    sides: dict[tuple[str, int], list[int]] = {}
    for number, seat in enumerate(seats):
        if seat.player_id:
            side = ("seat", number) if seat.team is None else ("team", seat.team)
            sides.setdefault(side, []).append(number)
    if len(sides) < 2 or not place_of:
        return {}
    groups = list(sides.values())
    ranks = [min(place_of.get(seat, len(places)) for seat in group) for group in groups]
    teams = [
        [
            _MODEL.create_rating([rating.mu, rating.sigma])
            for rating in (before[seats[number].player_id] for number in group)
        ]
        for group in groups
    ]
    rated = _MODEL.rate(teams, ranks=[float(rank) for rank in ranks])
    return {
        seats[number].player_id: Rating(
            found.mu, found.sigma, before[seats[number].player_id].rounds + 1
        )
        for group, team in zip(groups, rated, strict=True)
        for number, found in zip(group, team, strict=True)
    }
