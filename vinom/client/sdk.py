"""
Play from Python: log in, queue, and play matches.

::

    client = await connect(reactor, "127.0.0.1", 4600, name="ann")
    match = await client.queue("maze")
    match.on_state(lambda match: match.act(choose(match.view)))
    result = await match.ended
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import random
from statistics import median
from typing import Any, Literal

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure

from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.envelope import Failed, Push
from vinom.base.messages.lobby import Hello, MatchFound, QueueStatus, RegionOffer
from vinom.base.messages.rooms import JoinRoom
from vinom.client.game_line import IPlayReactor
from vinom.client.line import LineLost, LobbyRefusal
from vinom.client.lobby import (
    Identity,
    LineUser,
    LobbyClient,
    Offer,
    RoomOffered,
    SharedLine,
    accept,
    raw,
)
from vinom.client.match import Match, MatchLost, MatchResult, Refusal
from vinom.client.parties import LiveParty, PlayerParties
from vinom.client.rooms import LiveRoom, PlayerRooms, RoomResult
from vinom.client.seat import Way
from vinom.net.dtls.port import IDatagramFilter

#: Echoes whose median counts; the one before them opens the connection.
ECHOES = 5
#: A region that does not answer in this time is left out, seconds.
PATIENCE = 3.0


def measure_echoes(
    reactor: Any, regions: Sequence[RegionOffer]
) -> Deferred[dict[str, float]]:
    """
    Measure the medians of five echoes, milliseconds by region.

    A region that does not answer is left out; it never fails.

    :param reactor: connects, and measures time.
    :param regions: as the lobby offered them.
    """
    # It takes long to import, and few players need it.
    from twisted.web.client import Agent, HTTPConnectionPool, readBody

    pool = HTTPConnectionPool(reactor)
    agent = Agent(reactor, connectTimeout=PATIENCE, pool=pool)

    async def of(region: RegionOffer) -> float:
        times = []
        for number in range(1 + ECHOES):
            began = reactor.seconds()
            answer = await agent.request(b"GET", region.url.encode("ascii"))
            if number:
                times.append(1000 * (reactor.seconds() - began))
            await readBody(answer)
        return float(median(times))

    def asked(region: RegionOffer) -> Deferred[tuple[str, float] | None]:
        work = Deferred.fromCoroutine(of(region)).addTimeout(PATIENCE, reactor)
        return work.addCallbacks(lambda ms: (region.region, ms), _none)

    def close(found: list[tuple[str, float] | None]) -> dict[str, float]:
        pool.closeCachedConnections().addErrback(_none)
        return {one[0]: round(one[1], 1) for one in found if one is not None}

    if not regions:
        return succeed({})
    return gatherResults([asked(region) for region in regions]).addCallback(close)


def _none(failure: Failure) -> None:
    """A region that cannot be reached is no place to play."""


class _MatchUpdates(LineUser):
    """
    Pass on the addresses of the match that the lobby sends on the player's line.

    :param shared: the player's line.
    :ivar match: ...that is played.
    :ivar is_wanted: keep the line open? Another line of this player closes it; it is
        opened again after a pause.
    """

    #: Our own match may have replaced the line, to look for itself.
    first_pause = 1.0

    def __init__(self, shared: SharedLine) -> None:
        self._shared = shared
        self.match: Match | None = None
        self.is_wanted = False
        shared.users.append(self)

    def start(self) -> None:
        """Keep a line open from now on."""
        self.is_wanted = True
        self._shared.open().addErrback(lambda _: self._shared.look_again())

    def over(self, match: Match) -> None:
        """Hang up, unless somebody else, or another match, needs the line."""
        if match is self.match:
            self.is_wanted = False
            self._shared.release()

    def is_needed(self) -> bool:
        return self.is_wanted

    def receive(self, push: Push | Failed) -> None:
        if isinstance(push, MatchFound) and self.match is not None:
            self.match.moved(push)


__all__ = [
    "Client",
    "Identity",
    "LineLost",
    "LiveParty",
    "LiveRoom",
    "LobbyRefusal",
    "Match",
    "MatchLost",
    "MatchResult",
    "Offer",
    "Refusal",
    "RoomOffered",
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
    datagram_filter: IDatagramFilter | None = None,
    way: Way = "auto",
    stay: bool = False,
) -> Deferred[Client]:
    """
    Log in to the lobby at *host* and *port*.

    Fails with `LobbyRefusal`, or `LineLost` if nobody answers.

    :param host: the server's name or IP address.
    :param port: its lobby's TCP port.
    :param name: to play under; enough where the server accepts guests.
    :param credentials: what the server's login requires instead.
    :param player_key: `Identity.key` of an earlier login, instead of both.
    :param tls: authority to verify the lobby with, PEM; ``True`` trusts what
        this machine trusts; ``None`` speaks plain text.
    :param tls_name: name that the lobby's certificate must be for; *host* if unset.
    :param datagram_filter: between matches and the network, to simulate a bad one: a
        `vinom.net.dtls.bad_network.Conditioner`.
    :param way: how matches are played. ``"udp"`` is fastest; ``"lobby"`` plays through
        the lobby over TCP, as browsers do; ``"auto"`` switches to that when the game
        server does not answer over UDP for 3 s but the lobby does.
    :param stay: keep a line to the lobby open during matches. If a game server dies,
        the lobby says on it where the match goes on; otherwise that is found out.
    """

    def reach(host: str, port: int, timeout: float = 30.0) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, host, port, timeout)
        if tls is None:
            return endpoint
        roots = None
        if tls is not True:
            roots = trustRootFromCertificates([Certificate.loadPEM(tls)])
        options = optionsForClientTLS(tls_name or host, trustRoot=roots)
        return wrapClientTLS(options, endpoint)

    hello = Hello(PROTOCOL, name, credentials, player_key)
    lobby = LobbyClient(
        reactor,
        reach(host, port),
        hello,
        measure=partial(measure_echoes, reactor),
        # It may be unreachable from here; then the first one serves us.
        elsewhere=partial(reach, timeout=5.0),
    )
    client = Client(reactor, lobby, datagram_filter, way, stay=stay)
    return client.hello().addCallback(lambda _: client)


class Client:
    """
    One player: in the lobby, and in one match after another.

    :param reactor: for time and UDP.
    :param lobby: logs in, queues, and opens lines.
    :param datagram_filter: between matches and the network.
    :param way: how matches are played: see `connect`.
    :param chance: gives numbers from 0 to 1, which lengthen the pauses between attempts
        to connect.
    :param stay: see `connect`.
    :ivar match: the one being played, or the last.
    :ivar rooms: the rooms that we are in.
    :ivar parties: creates and joins parties, and has the one that we are in.
    """

    def __init__(
        self,
        reactor: IPlayReactor,
        lobby: LobbyClient,
        datagram_filter: IDatagramFilter | None = None,
        way: Way = "auto",
        chance: Callable[[], float] = random,
        *,
        stay: bool = False,
    ) -> None:
        self._reactor, self._lobby, self._datagram_filter = (
            reactor,
            lobby,
            datagram_filter,
        )
        self._way, self._chance, self._stay = way, chance, stay
        self.match: Match | None = None
        self._line = SharedLine(reactor, lobby, chance)
        self.rooms = PlayerRooms(self._line)
        self._updates = _MatchUpdates(self._line)
        self.parties = PlayerParties(self._line, self._begin)

    def join_room(
        self,
        game: str,
        room_id: str | None = None,
        options: Any = None,
        loadout: Any = None,
        *,
        spectate: bool = False,
        patches: bool = False,
        public: bool = False,
        create: bool | None = None,
    ) -> Deferred[LiveRoom]:
        """
        Take a seat in a room on the server; the room is created if it does not exist.

        :param game: its name.
        :param room_id: which room; without it any with a free seat, or a new one.
        :param options: of the game, JSON-like; they count if the room is created.
        :param loadout: what the player brings, JSON-like.
        :param spectate: watch only.
        :param patches: ask for differences where they are shorter than views.
        :param public: list a new room that has a *room_id*, as those without are;
            otherwise only who knows its id finds it.
        :param create: false never creates one; true creates one even where a game has
            ended in the last 24 hours.

        Fails with `LobbyRefusal` or `LineLost`. If the connection breaks, the client
        makes another and takes the place back.
        """
        request = JoinRoom(
            game, room_id, raw(options), raw(loadout), spectate, public, create
        )
        return self.rooms.join(request, patches=patches)

    @property
    def identity(self) -> Identity:
        """Who the lobby says we are."""
        return self._lobby.identity

    def hello(self) -> Deferred[Identity]:
        """Log in now, rather than with the first request."""
        return self._lobby.hello()

    def queue(
        self,
        game: str,
        options: Any = None,
        loadout: Any = None,
        *,
        queue: str | None = None,
        on_status: Callable[[QueueStatus], None] | None = None,
        on_found: Callable[[Match], None] | None = None,
        on_offer: Callable[[Offer], None] = accept,
    ) -> Deferred[Match]:
        """
        Queue for a match and take the seat in it.

        After a void match this gives back the old place in the queue.

        :param game: its name.
        :param options: of the game, JSON-like; only players with equal options meet.
        :param loadout: what the player brings, JSON-like.
        :param queue: name of a queue of the game; its default one unless given.
        :param on_status: called with our position in the queue.
        :param on_found: called with the match before its seat is taken.
        :param on_offer: called with each match that waits for our yes, where the server
            asks; unless set, all are accepted.

        Fires when the seat is taken. Fails with `LobbyRefusal`, `LineLost` or
        `MatchLost`; cancelling leaves the queue.
        """
        last = self.match.match_id if self.match is not None else ""

        return self._lobby.find_match(
            game,
            options,
            loadout,
            queue=queue,
            last_match=last,
            on_status=on_status,
            on_offer=on_offer,
        ).addCallback(self._begin, on_found)

    def _begin(
        self,
        found: MatchFound,
        on_found: Callable[[Match], None] | None = None,
    ) -> Deferred[Match]:
        """Take our seat in a match."""
        match = self.match = Match(
            self._reactor,
            self._lobby,
            found,
            datagram_filter=self._datagram_filter,
            way=self._way,
            chance=self._chance,
        )
        self._updates.match = match
        if on_found is not None:
            on_found(match)
        match.start()
        if self._stay:
            # Before it, the seat itself may have to ask the lobby.
            match.joined.addCallbacks(lambda _: self._updates.start(), lambda _: None)
            match.ended.addCallback(lambda _: self._updates.over(match))
        return match.joined

    def close(self) -> None:
        """Leave the match, if there is one, and hang up; our places in rooms remain."""
        if self.match is not None:
            self.match.leave()
        self._line.close()
        self._lobby.close()
