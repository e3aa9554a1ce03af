"""Share token keys with game servers, and wait until they have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.fleet.control.messages import TokenKeys


@attrs.define
class _Sharing:
    waited_for: set[str]
    shared: Deferred[None]


class KeySharing:
    """Send keys to game servers, and report when all of them have them."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, timeout: float = 5.0) -> None:
        """
        :param clock: for the timeout.
        :param timeout: how long to wait for a game server, seconds. One that is silent
            for longer hangs, and the fleet kills it.
        """
        self._clock, self._timeout = clock, timeout
        self._number = 0
        self._sharings: dict[int, _Sharing] = {}

    def share(
        self,
        keys: Mapping[str, bytes],
        takers: Mapping[str, Callable[[TokenKeys], None]],
    ) -> Deferred[None]:
        """
        Send the keys; the result comes when every game server has them or is given up.

        :param keys: key id to public key, PEM.
        :param takers: by the game server's id: what sends it a message.
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
        """A game server has the keys of this message and of earlier ones."""
        for earlier, sharing in self._sharings.items():
            if earlier <= number:
                sharing.waited_for.discard(server_id)
        self._finish()

    def gone(self, server_id: str) -> None:
        """A game server is gone: stop waiting for it."""
        self.taken(server_id, self._number)

    def _finish(self) -> None:
        for number, sharing in tuple(self._sharings.items()):
            # A callback may begin another sharing, which finishes the rest first.
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
