"""Token keys on their way to game servers: who has them, and who is waited for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.control.messages import TokenKeys


class KeyTaker(Protocol):
    """A game server with a link: `fleet_server.GameServer`."""

    @property
    def server_id(self) -> str:
        """Which it is."""

    def tell_keys(self, message: TokenKeys) -> None:
        """Hand the keys over."""


@attrs.define
class _Sharing:
    waited_for: set[str]
    shared: Deferred[None]


class KeySharing:
    """
    Give keys to game servers, and find out when all of them have them.

    :param patience: how long a game server may take, seconds. One that is silent
        for so long hangs, and is ended for that: nobody waits for it.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, patience: float = 5.0) -> None:
        self._clock, self._patience = clock, patience
        self._number = 0
        self._sharings: dict[int, _Sharing] = {}

    def share(
        self, keys: Mapping[str, bytes], takers: Iterable[KeyTaker]
    ) -> Deferred[None]:
        """Fires when every one of *takers* has the keys, or is past helping."""
        self._number += 1
        number, message = self._number, TokenKeys(self._number, dict(keys))
        told = list(takers)
        shared: Deferred[None] = Deferred()
        sharing = _Sharing({taker.server_id for taker in told}, shared)
        self._sharings[number] = sharing
        late = self._clock.callLater(self._patience, self._give_up, number)

        def settled(_: None) -> None:
            if late.active():
                late.cancel()

        shared.addCallback(settled)
        for taker in told:
            taker.tell_keys(message)
        self._finish()
        return shared

    def taken(self, server_id: str, number: int) -> None:
        """A game server has the keys of this message, and of those before it."""
        self._strike(server_id, number)

    def gone(self, server_id: str) -> None:
        """A game server needs no keys any more."""
        self._strike(server_id, self._number)

    def _strike(self, server_id: str, through: int) -> None:
        for number, sharing in self._sharings.items():
            if number <= through:
                sharing.waited_for.discard(server_id)
        self._finish()

    def _finish(self) -> None:
        for number, sharing in tuple(self._sharings.items()):
            # Whoever waited for one may begin another, which ends the rest first.
            if not sharing.waited_for and number in self._sharings:
                del self._sharings[number]
                sharing.shared.callback(None)

    def _give_up(self, number: int) -> None:
        sharing = self._sharings.pop(number)
        self._log.warn(
            "game servers {servers} did not take the token keys in time",
            servers=", ".join(sorted(sharing.waited_for)),
        )
        sharing.shared.callback(None)
