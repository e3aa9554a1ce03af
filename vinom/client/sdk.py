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
from random import random
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
from vinom.client.room import LiveRoom, RoomResult
from vinom.client.rooms import PlayerRooms
from vinom.client.seat import Way
from vinom.dtls.port import IDatagramFilter
from vinom.messages.catalogue import PROTOCOL
from vinom.messages.lobby import Hello, MatchFound, QueueStatus

__all__ = [
    "Client",
    "Identity",
    "LineLost",
    "LiveRoom",
    "LobbyRefusal",
    "Match",
    "MatchLost",
    "MatchResult",
    "Refusal",
    "RoomResult",
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
        `vinom.dtls.bad_network.Conditioner`.
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
    :param chance: from 0 to 1: how much longer than need be it waits before it tries
        again.
    :ivar match: the one being played, or the last.
    :ivar rooms: those of the node that we are in.
    """

    def __init__(
        self,
        reactor: IPlayReactor,
        lobby: LobbyClient,
        worn: IDatagramFilter | None = None,
        way: Way = "auto",
        chance: Callable[[], float] = random,
    ) -> None:
        self._reactor, self._lobby, self._worn = reactor, lobby, worn
        self._way, self._chance = way, chance
        self.match: Match | None = None
        self.rooms = PlayerRooms(reactor, lobby, chance)

    def join_room(
        self,
        game: str,
        room_id: str | None = None,
        options: Any = None,
        loadout: Any = None,
        *,
        spectate: bool = False,
        patches: bool = False,
    ) -> Deferred[LiveRoom]:
        """
        Take a seat in a room of the node, and make the room if need be.

        :param room_id: which one; without it any that is open, or a new one.
        :param options: the game's, of whoever makes the room.
        :param loadout: what to bring.
        :param spectate: watch only.
        :param patches: be sent differences where they are shorter than views.

        Fails with `LobbyRefusal` or `LineLost`. The room gets its place back by
        itself when its line breaks.
        """
        return self.rooms.join(
            game, room_id, options, loadout, spectate=spectate, patches=patches
        )

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
                self._reactor,
                self._lobby,
                found,
                worn=self._worn,
                way=self._way,
                chance=self._chance,
            )
            if on_found is not None:
                on_found(match)
            match.start()
            return match.joined

        return self._lobby.find_match(
            game, options, loadout, last_match=last, on_status=on_status
        ).addCallback(begin)

    def close(self) -> None:
        """Leave the match, if one is played, and hang up; places in rooms wait."""
        if self.match is not None:
            self.match.leave()
        self.rooms.close()
        self._lobby.close()
