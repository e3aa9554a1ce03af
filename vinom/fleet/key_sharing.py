"""Token keys on their way to game servers: which ones have them already."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.control.messages import TokenKeys


@attrs.define
class _Sharing:
    waited_for: set[str]
    shared: Deferred[None]


class KeySharing:
    """
    Give keys to game servers, and find out when all of them have them.

    :param clock: for the timeout.
    :param timeout: how long a game server may take, seconds. One that is silent
        for this long hangs, and is killed for that: nobody waits for it.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, timeout: float = 5.0) -> None:
        self._clock, self._timeout = clock, timeout
        self._number = 0
        self._sharings: dict[int, _Sharing] = {}

    def share(
        self,
        keys: Mapping[str, bytes],
        takers: Mapping[str, Callable[[TokenKeys], None]],
    ) -> Deferred[None]:
        """
        Send the keys; fires when every game server has them, or is past helping.

        :param keys: key id to public key, PEM.
        :param takers: by the game server's id: sends it a message.
        """
        self._number += 1
        number, message = self._number, TokenKeys(self._number, dict(keys))
        shared: Deferred[None] = Deferred()
        sharing = _Sharing(set(takers), shared)
        self._sharings[number] = sharing
        late = self._clock.callLater(self._timeout, self._give_up, number)

        def settled(_: None) -> None:
            if late.active():
                late.cancel()

        shared.addCallback(settled)
        for send in tuple(takers.values()):
            send(message)
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
            # A caller that waited for one may begin another, which ends the rest first.
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
