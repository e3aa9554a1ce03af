"""Ratings of players: read when they queue, and changed by each round's result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from openskill.models import PlackettLuce
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from vinom.base.limits.logged import in_background
from vinom.base.model import MatchEnd, Placement, QueueEntry, Rating, SeatPlan
from vinom.fleet.interfaces import IMatchWatch
from vinom.lobby.matches.service import seat_plans
from vinom.lobby.matchmaking.queues import Queue
from vinom.lobby.matchmaking.rules.rule import Proposal
from vinom.store.interfaces import IRatingStore
from vinom.store.patience import patiently

#: Tries of a round while ratings of its players change in other matches.
_MOST_TRIES = 8
#: How long it is remembered whom a player met, seconds.
_MET_SECONDS = 86400.0

#: Plackett and Luce's in the form of Weng and Lin: an estimate with its uncertainty,
#: for any number of players and teams.
_MODEL = PlackettLuce()

_log = Logger()


@attrs.frozen
class Lifetimes:
    """
    How long ratings are kept after the last round, seconds.

    :ivar account: of a player who logs in.
    :ivar guest: of a guest, who is somebody else once its key has expired.
    """

    account: float = 400 * 86400.0
    guest: float = 6 * 3600.0


class Ratings:
    """Read and change ratings."""

    def __init__(
        self,
        store: IRatingStore,
        clock: IReactorTime,
        lifetimes: Lifetimes | None = None,
    ) -> None:
        """
        :param store: keeps them.
        :param clock: its seconds are those of the Unix epoch.
        :param lifetimes: how long they are kept.
        """
        self._store, self._clock = store, clock
        self._lifetimes = lifetimes or Lifetimes()

    async def filled_in(self, entry: QueueEntry, queue: Queue) -> QueueEntry:
        """Give an entry the ratings of its players, and whom they met lately."""
        player_ids = entry.player_ids
        standings = await self._store.standings(queue.ratings, player_ids)
        met = [one for each in standings for one in each.recent[: queue.avoid_recent]]
        return attrs.evolve(
            entry,
            ratings=tuple(each.rating.mu for each in standings)
            if queue.ratings
            else (),
            recent=tuple(dict.fromkeys(one for one in met if one not in player_ids)),
        )

    async def met(self, proposal: Proposal) -> None:
        """Remember who plays against whom in a match that starts."""
        sides: dict[int, list[str]] = {}
        for number, entry in enumerate(proposal.entries):
            team = proposal.teams[number] if proposal.teams else number
            sides.setdefault(team, []).extend(one.player_id for one in entry.players)
        expires_at = self._clock.seconds() + _MET_SECONDS
        await self._store.met(list(sides.values()), expires_at)

    def watch(self, ratings: str, proposal: Proposal) -> IMatchWatch:
        """
        Make what changes ratings by the results of a match.

        :param ratings: name of the list.
        :param proposal: as the match is made of.
        """
        seats = seat_plans(proposal.entries, None, proposal.teams)
        guests = frozenset(
            player.player_id
            for entry in proposal.entries
            for player in entry.players
            if player.is_guest
        )

        def rate(match_id: str, outcome: dict[str, Any]) -> None:
            work = self._rate(ratings, match_id, outcome, seats, guests)
            in_background(
                _log,
                work,
                "a round of match {match_id} was not rated",
                match_id=match_id,
            )

        watch: IMatchWatch = _Rounds(rate)
        return watch

    async def _rate(
        self,
        ratings: str,
        match_id: str,
        outcome: dict[str, Any],
        seats: tuple[SeatPlan, ...],
        guests: frozenset[str],
    ) -> None:
        """Change the ratings of a round's players, once."""
        player_ids = [seat.player_id for seat in seats if seat.player_id]

        async def rate() -> bool:
            standings = await self._store.standings(ratings, player_ids)
            before = {
                player_id: each.rating
                for player_id, each in zip(player_ids, standings, strict=True)
            }
            after = rate_round(seats, outcome["places"], before)
            if not after:
                return True
            now = self._clock.seconds()
            lifetimes = self._lifetimes
            expires_at = {
                one: now + (lifetimes.guest if one in guests else lifetimes.account)
                for one in after
            }
            # One without an answer may have taken effect: then the next is "known".
            answer = await self._store.rate(
                ratings,
                match_id,
                int(outcome["round"]),
                {player_id: before[player_id] for player_id in after},
                after,
                expires_at,
            )
            return answer != "changed"

        for _ in range(_MOST_TRIES):
            if await patiently(self._clock, rate):
                return
        _log.error("match {match_id}: a round was not rated", match_id=match_id)


@implementer(IMatchWatch)
@attrs.frozen(eq=False)
class _Rounds:
    """Passes on the rounds of a match, as its game server reports them."""

    _rate: Callable[[str, dict[str, Any]], None]

    def delayed(self, match_id: str, why: str) -> None:
        """No game server can be had for it now."""

    def started(self, match_id: str) -> None:
        """Match time has started."""

    def resumed(self, match_id: str, placement: Placement) -> None:
        """Another game server goes on with it."""

    def seat_changed(self, match_id: str, seat: int, state: str) -> None:
        """A seat's state changed."""

    def round_ended(self, match_id: str, outcome: dict[str, Any]) -> None:
        self._rate(match_id, outcome)

    def ended(self, end: MatchEnd) -> None:
        """The match is over; its rounds were reported before."""


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
