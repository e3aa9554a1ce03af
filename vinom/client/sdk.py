"""
Play from Python: say hello, queue, and play matches.

::

    client = await connect(reactor, "127.0.0.1", 4600, name="ann")
    match = await client.queue("maze")
    match.on_state(lambda match: match.act(choose(match.view)))
    result = await match.ended
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)

from vinom.client.game_line import IPlayReactor
from vinom.client.line import LineLost, LobbyRefusal
from vinom.client.lobby import Identity, LobbyClient
from vinom.client.match import Match, MatchLost, MatchResult, Refusal
from vinom.client.seat import Way
from vinom.net.datagrams import IDatagramFilter
from vinom.wire.messages import PROTOCOL, Hello, MatchFound, QueueStatus

__all__ = [
    "Client",
    "Identity",
    "LineLost",
    "LobbyRefusal",
    "Match",
    "MatchLost",
    "MatchResult",
    "Refusal",
    "connect",
]


def connect(
    reactor: IPlayReactor,
    host: str,
    port: int,
    *,
    name: str | None = None,
    credentials: dict[str, str] | None = None,
    player_key: str | None = None,
    tls: bytes | Literal[True] | None = None,
    tls_name: str | None = None,
    worn: IDatagramFilter | None = None,
    way: Way = "auto",
) -> Deferred[Client]:
    """
    Say hello to the lobby at *host* and *port*.

    Fails with `LobbyRefusal`, or `LineLost` if nobody answers.

    :param name: to play under; enough where guests are welcome.
    :param credentials: what the node asks for instead.
    :param player_key: `Identity.key` of an earlier hello, alone.
    :param tls: authority to verify the lobby with, PEM; ``True`` trusts what
        this machine trusts; ``None`` speaks plain text.
    :param tls_name: what its certificate must be for; *host* if unset.
    :param worn: a filter between matches and the network, to try a bad one: a
        `vinom.net.conditioner.Conditioner`.
    :param way: how matches are played. ``"udp"`` is fastest; ``"lobby"`` has the node
        pass everything on over its lobby line, as for browsers; ``"auto"`` goes over to
        that by itself when the game server does not answer over UDP for 3 s while the
        lobby does.
    """
    endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, host, port)
    if tls is not None:
        roots = None
        if tls is not True:
            roots = trustRootFromCertificates([Certificate.loadPEM(tls)])
        endpoint = wrapClientTLS(
            optionsForClientTLS(tls_name or host, trustRoot=roots), endpoint
        )
    hello = Hello(PROTOCOL, name, credentials, player_key)
    client = Client(reactor, LobbyClient(reactor, endpoint, hello), worn, way)
    return client.hello().addCallback(lambda _: client)


class Client:
    """
    One player: in the lobby, and in one match after another.

    :param worn: a filter between matches and the network.
    :param way: how matches are played: see `connect`.
    :ivar match: the one being played, or the last.
    """

    def __init__(
        self,
        reactor: IPlayReactor,
        lobby: LobbyClient,
        worn: IDatagramFilter | None = None,
        way: Way = "auto",
    ) -> None:
        self._reactor, self._lobby, self._worn = reactor, lobby, worn
        self._way = way
        self.match: Match | None = None

    @property
    def identity(self) -> Identity:
        """Who the lobby says we are."""
        return self._lobby.identity

    def hello(self) -> Deferred[Identity]:
        """Say hello now, and not only when something is to be asked."""
        return self._lobby.hello()

    def queue(
        self,
        game: str,
        options: Any = None,
        loadout: Any = None,
        *,
        on_status: Callable[[QueueStatus], None] | None = None,
        on_found: Callable[[Match], None] | None = None,
    ) -> Deferred[Match]:
        """
        Queue for a match and take the seat in it.

        After a match that was void this gives back the old place in the queue.

        :param options: of the game; only players with equal ones meet.
        :param loadout: what to bring.
        :param on_status: hears of our place in the queue.
        :param on_found: gets the match before its seat is taken.

        Fires when the seat is taken. Fails with `LobbyRefusal`, `LineLost` or
        `MatchLost`; cancelling leaves the queue.
        """
        last = self.match.match_id if self.match is not None else ""

        def begin(found: MatchFound) -> Deferred[Match]:
            match = self.match = Match(
                self._reactor, self._lobby, found, worn=self._worn, way=self._way
            )
            if on_found is not None:
                on_found(match)
            match.start()
            return match.joined

        return self._lobby.find_match(
            game, options, loadout, last_match=last, on_status=on_status
        ).addCallback(begin)

    def close(self) -> None:
        """Leave the match, if one is played, and hang up."""
        if self.match is not None:
            self.match.leave()
        self._lobby.close()
