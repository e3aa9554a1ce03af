"""Ratings in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from vinom.base.model import (
    Rating,
    Standing,
)
from vinom.store.interfaces import (
    IRatingStore,
    RatingAnswer,
)

#: How many opponents of a player are remembered, the latest.
_MOST_RECENT = 16
#: How long it is remembered that a round was rated, seconds.
_ROUND_SECONDS = 86400.0


@implementer(IRatingStore)
@attrs.define
class MemoryRatingStore:
    """
    Ratings, and who met whom lately.

    Above the limit the ratings that were not used for longest are forgotten.

    :ivar now: the time, seconds since the Unix epoch.
    :ivar most: ratings kept, and players of whom it is known whom they met.
    """

    _now: Callable[[], float]
    _most: int = 500_000
    # By list and player id, the one that was used last at the end.
    _ratings: dict[tuple[str, str], tuple[Rating, float]] = attrs.field(
        factory=dict, init=False
    )
    _recent: dict[str, tuple[tuple[str, ...], float]] = attrs.field(
        factory=dict, init=False
    )
    _rounds: dict[tuple[str, int], float] = attrs.field(factory=dict, init=False)

    def standings(
        self, ratings: str, player_ids: Sequence[str]
    ) -> Deferred[Sequence[Standing]]:
        """Find ratings, and whom these players met."""
        now = self._now()
        return succeed([self._standing(ratings, one, now) for one in player_ids])

    def rate(
        self,
        ratings: str,
        match_id: str,
        round: int,
        before: Mapping[str, Rating],
        after: Mapping[str, Rating],
        expires_at: Mapping[str, float],
    ) -> Deferred[RatingAnswer]:
        """Replace ratings, if they are still those of *before*."""
        now = self._now()
        if self._rounds.get((match_id, round), 0.0) > now:
            return succeed("known")
        for player_id, rating in before.items():
            if self._standing(ratings, player_id, now).rating != rating:
                return succeed("changed")
        _renew(self._rounds, (match_id, round), now + _ROUND_SECONDS, self._most)
        for player_id, rating in after.items():
            kept = rating, expires_at[player_id]
            _renew(self._ratings, (ratings, player_id), kept, self._most)
        return succeed("done")

    def met(self, sides: Sequence[Sequence[str]], expires_at: float) -> Deferred[None]:
        for side in sides:
            others = [one for other in sides if other is not side for one in other]
            for player_id in side:
                recent, _ = self._recent.get(player_id, ((), 0.0))
                latest = tuple(dict.fromkeys((*others, *recent)))[:_MOST_RECENT]
                _renew(self._recent, player_id, (latest, expires_at), self._most)
        return succeed(None)

    def _standing(self, ratings: str, player_id: str, now: float) -> Standing:
        rating, expires_at = self._ratings.get((ratings, player_id), (None, 0.0))
        recent, met_until = self._recent.get(player_id, ((), 0.0))
        return Standing(
            Rating() if rating is None or expires_at <= now else rating,
            recent if met_until > now else (),
        )


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _renew(kept: dict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    """Put a value at the end of a dict; above the limit the first one goes."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]
