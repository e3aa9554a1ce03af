"""Players, which node has whose line, and ratings, in Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any

import attrs
from msgspec import json
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.model import LineEnd, Player, Rating, Standing
from vinom.errors import StoreUnavailable
from vinom.store.interfaces import (
    IOnlineStore,
    IOnlineWatch,
    IPlayerStore,
    IRatingStore,
    Origin,
    RatingAnswer,
)
from vinom.store.redis.client import RedisClient, load

_STEPS = load("players", "put", "find", "settle", "keys_of")
_ONLINE = load("online", "enter", "leave", "keep", "absence", "send")
_RATINGS = load("ratings", "standings")


@implementer(IPlayerStore)
@attrs.frozen
class RedisPlayerStore:
    """
    Players by the hash of the secret key, for all nodes.

    If the store is full, one who neither waits nor plays is forgotten for a new one:
    the oldest guest who has only said hello, or else one whose key was used longest
    ago.

    :ivar client: runs the steps.
    :ivar now: the time, seconds since the Unix epoch.
    :ivar most: players stored.
    """

    client: RedisClient
    now: Callable[[], float]
    most: int = 1_000_000
    _log = Logger()

    def put(
        self,
        key_hash: str,
        player: Player,
        expires_at: float,
        host: str = "",
        origin: Origin = "login",
    ) -> Deferred[bool]:
        """Store a player, if one who is stored can be forgotten for a guest."""
        return self.client.run(
            _STEPS["put"],
            key_hash,
            player.player_id,
            *self._until(expires_at),
            json.encode(player),
            str(self.most),
            origin,
        ).addCallback(bool)

    def find(
        self, key_hash: str, expires_at: float = 0.0, host: str = ""
    ) -> Deferred[Player | None]:
        """Find a player; ``None`` when expired."""

        def read(data: bytes) -> Player | None:
            return json.decode(data, type=Player) if data else None

        until = self._until(expires_at) if expires_at else ()
        asked = self.client.run(_STEPS["find"], key_hash, repr(self.now()), *until)
        return asked.addCallback(read)

    def settle(self, player_id: str) -> None:
        # It is forgotten sooner if this is lost.
        settled = self.client.run(_STEPS["settle"], player_id)
        settled.addErrback(lambda failure: failure.trap(StoreUnavailable))
        settled.addErrback(lambda failure: self._log.failure("not settled", failure))

    def keys_of(
        self, player_ids: Sequence[str]
    ) -> Deferred[Sequence[tuple[str, Player]]]:
        def read(found: list[bytes]) -> list[tuple[str, Player]]:
            return [
                (key_hash.decode(), json.decode(data, type=Player))
                for key_hash, data in zip(found[::2], found[1::2], strict=True)
            ]

        asked = self.client.run(_STEPS["keys_of"], repr(self.now()), *player_ids)
        return asked.addCallback(read)

    def _until(self, expires_at: float) -> tuple[str, str]:
        """Write when a key expires, in the nodes' clocks, and in how many ms."""
        return repr(expires_at), _left(expires_at, self.now())


def _end(found: bytes) -> LineEnd:
    ends: dict[bytes, LineEnd] = {b"replaced": "replaced", b"free": "free"}
    return ends.get(found, "held")


def _texts(found: Iterable[bytes]) -> list[str]:
    return [one.decode() for one in found]


@implementer(IOnlineStore)
@attrs.define(eq=False)
class RedisOnlineStore:
    """
    A hash for each player's line; messages by publish and subscribe.

    :ivar client: runs the steps.
    """

    client: RedisClient
    _watch: IOnlineWatch | None = attrs.field(default=None, init=False)
    # What was sent in this turn: its answer, the message, and to whom.
    _unsent: list[tuple[Deferred[int], bytes, str]] = attrs.field(
        factory=list, init=False
    )
    _log = Logger()

    @property
    def channel(self) -> str:
        """Where other nodes publish messages to this one."""
        return f"{self.client.prefix}to:{self.client.owner.node_id}"

    def enter(self, player_id: str) -> Deferred[int]:
        return self.client.run(_ONLINE["enter"], player_id)

    def leave(self, player_id: str) -> Deferred[LineEnd]:
        return self.client.run(_ONLINE["leave"], player_id).addCallback(_end)

    def keep(self, lines: Sequence[tuple[str, int]]) -> Deferred[Sequence[str]]:
        args = [text for player_id, epoch in lines for text in (player_id, str(epoch))]
        return self.client.run(_ONLINE["keep"], *args).addCallback(_texts)

    def elsewhere(self, player_ids: Sequence[str]) -> Deferred[Sequence[str]]:
        def read(found: list[int]) -> list[str]:
            absences = zip(player_ids, found, strict=True)
            return [player_id for player_id, absence in absences if absence == 0]

        return self.client.run(_ONLINE["absence"], *player_ids).addCallback(read)

    def absence(self, player_id: str) -> Deferred[float]:
        return self.client.run(_ONLINE["absence"], player_id).addCallback(
            lambda found: inf if found[0] < 0 else found[0] / 1e6
        )

    def send(self, player_ids: Sequence[str], message: bytes) -> Deferred[int]:
        """Send a message when this turn ends, in one step with all others of it."""
        sent: Deferred[int] = Deferred()
        self._unsent.append((sent, message, "\n".join(player_ids)))
        if len(self._unsent) == 1:
            self.client.turns.call(self._send)
        return sent

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []

        def answer(found: Any) -> None:
            for number, (sent, _, _) in enumerate(unsent):
                sent.callback(found if isinstance(found, Failure) else found[number])

        args = [text for _, message, players in unsent for text in (message, players)]
        self.client.run(_ONLINE["send"], *args).addBoth(answer)

    def watch(self, watch: IOnlineWatch) -> None:
        self._watch = watch

    def heard(self, message: bytes) -> None:
        """Handle what was published to this node."""
        if self._watch is None:
            return
        kind, _, rest = message.partition(b"\n")
        try:
            if kind == b"send":
                players, _, body = rest.partition(b"\n\n")
                self._watch.passed(players.decode().split("\n"), body)
            elif kind == b"replaced":
                player, _, epoch = rest.partition(b"\n")
                self._watch.replaced(player.decode(), int(epoch))
            else:
                raise ValueError(f"kind {kind[:20]!r}")
        except ValueError as error:
            # Of a node with another version, or of somebody who may write to the Redis.
            self._log.warn("skipped a message of another node: {why}", why=error)

    def listens(self) -> None:
        """Other nodes' messages come from now on; earlier ones may have been missed."""
        if self._watch is not None:
            self._watch.listens()


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
            _RATINGS["standings"], ratings, repr(self.now()), *player_ids
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
            args += (player_id, _encode(rating), repr(until), _left(until, self.now()))
        rated = self.client.run(
            _RATINGS["rate"],
            ratings,
            match_id,
            str(round),
            repr(self.now()),
            _NEWCOMER,
            _left(_ROUND_SECONDS, 0.0),
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
            _RATINGS["met"],
            repr(expires_at),
            _left(expires_at, self.now()),
            str(_MOST_RECENT),
            *args,
        )
        return noted.addCallback(lambda _: None)


def _left(until: float, now: float) -> str:
    """Write for how many milliseconds something lasts, at least one."""
    return str(max(1, round(1000 * (until - now))))
