"""Ratings, and who met whom lately, in Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs
from msgspec import json
from twisted.internet.defer import Deferred
from zope.interface import implementer

from vinom.base.model import Rating, Standing
from vinom.store.interfaces import IRatingStore, RatingAnswer
from vinom.store.redis.client import RedisClient
from vinom.store.redis.scripts import load

_STEPS = {step: load("ratings", step) for step in ("standings", "rate", "met")}
#: How many opponents of a player are remembered, the latest.
_MOST_RECENT = 16
#: How long it is remembered that a round was rated, seconds.
_ROUND_SECONDS = 86400.0
_ANSWERS: dict[bytes, RatingAnswer] = {
    b"done": "done",
    b"known": "known",
    b"changed": "changed",
}
_encode = json.Encoder().encode
_NEWCOMER = _encode(Rating())


@implementer(IRatingStore)
@attrs.frozen
class RedisRatingStore:
    """
    A hash for each rating; the same for all nodes.

    :ivar client: runs the steps.
    :ivar now: the time, seconds since the Unix epoch.
    """

    client: RedisClient
    now: Callable[[], float]

    def standings(
        self, ratings: str, player_ids: Sequence[str]
    ) -> Deferred[Sequence[Standing]]:
        """Find ratings, and whom these players met."""

        def read(found: list[bytes]) -> list[Standing]:
            return [
                Standing(
                    json.decode(rating, type=Rating) if rating else Rating(),
                    tuple(recent.decode().split("\n")) if recent else (),
                )
                for rating, recent in zip(found[::2], found[1::2], strict=True)
            ]

        asked = self.client.run(
            _STEPS["standings"], ratings, repr(self.now()), *player_ids
        )
        return asked.addCallback(read)

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
        args: list[str | bytes] = []
        for player_id, rating in before.items():
            args += (player_id, _encode(rating))
        for player_id, rating in after.items():
            until = expires_at[player_id]
            args += (player_id, _encode(rating), repr(until), self._left(until))
        rated = self.client.run(
            _STEPS["rate"],
            ratings,
            match_id,
            str(round),
            repr(self.now()),
            _NEWCOMER,
            str(_milliseconds(_ROUND_SECONDS)),
            str(len(before)),
            *args,
        )
        return rated.addCallback(_ANSWERS.__getitem__)

    def met(self, sides: Sequence[Sequence[str]], expires_at: float) -> Deferred[None]:
        args = [
            text
            for side in sides
            for player_id in side
            for text in (
                player_id,
                "\n".join(one for other in sides if other is not side for one in other),
            )
        ]
        noted = self.client.run(
            _STEPS["met"],
            repr(expires_at),
            self._left(expires_at),
            str(_MOST_RECENT),
            *args,
        )
        return noted.addCallback(lambda _: None)

    def _left(self, until: float) -> str:
        """Write for how many milliseconds something lasts, at least one."""
        return str(max(1, _milliseconds(until - self.now())))


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
