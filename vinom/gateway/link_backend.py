"""Back ends over links that many sessions share: nodes, and others with packets."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, cast

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.turns import TurnEnd
from vinom.base.reactor.waits import Once, Rounds
from vinom.errors import NoCapacity, PeerError
from vinom.gateway.dialing import DIAL_SECONDS, Dialer
from vinom.gateway.routing.rules import Endpoint, ServiceRule
from vinom.gateway.sessions import Session
from vinom.net.http.headers import UNCLEAR
from vinom.net.lines.tcp import watch_for_death
from vinom.net.streams.channels import Channel, Reason, Stream
from vinom.net.streams.multiplex import VISIT_SECONDS, PacketConnection, PeerTerms
from vinom.net.streams.packets import Kind, Packet

_log = Logger()
_encode = msgspec.json.Encoder().encode

#: Links to one back end, and the sessions of each above which another one is dialed.
MOST_LINKS = 2
SESSIONS_PER_LINK = 2000
#: How long a link without sessions stays, seconds.
IDLE_SECONDS = 60.0
_TERMS = PeerTerms(
    lost=Reason.BACKEND_LOST,
    # Its client is not the one who does not read. The node need not be broken: it may
    # read slowly what comes too fast.
    starved=Reason.ABORTED,
    pings=True,
)


class LinkBackend:
    """
    Opens sessions on links (`vinom.gateway.backends.Way`), which it dials if needed.

    It is the `vinom.net.streams.multiplex.Taker` of these links.

    :ivar dialed: how many links were made.
    :ivar lost_links: how many were lost, by reason.
    """

    def __init__(
        self,
        dialer: Dialer,
        clock: IReactorTime,
        gateway_id: str,
        *,
        most_links: int = MOST_LINKS,
        sessions_per_link: int = SESSIONS_PER_LINK,
        idle_seconds: float = IDLE_SECONDS,
        direct: DirectReads | None = None,
        turns: TurnEnd | None = None,
    ) -> None:
        """
        :param dialer: connects.
        :param clock: for deadlines.
        :param gateway_id: is sent first on each link.
        :param most_links: most links to one back end.
        :param sessions_per_link: number of sessions above which another link is dialed.
        :param idle_seconds: how long a link without sessions stays.
        :param direct: as for `PacketConnection`.
        :param turns: as for `PacketConnection`.
        """
        self._direct, self._turns = direct, turns
        self._dialer, self._clock, self._gateway_id = dialer, clock, gateway_id
        self._most_links, self._per_link = most_links, sessions_per_link
        self._idle_seconds = idle_seconds
        self._rounds = Rounds(clock, VISIT_SECONDS)
        self._links: dict[_Where, list[PacketConnection]] = {}
        self._once = Once(self._dial)
        self._idle: dict[PacketConnection, IDelayedCall] = {}
        self._where: dict[PacketConnection, _Where] = {}
        # Links on which back ends accept no more sessions.
        self._closing: set[PacketConnection] = set()
        self.dialed = self.lost_links = 0

    @property
    def links(self) -> dict[str, int]:
        """Count the links of each back end."""
        found: dict[str, int] = defaultdict(int)
        for (endpoint, _), links in self._links.items():
            found[str(endpoint)] += len(links)
        return dict(found)

    async def open(
        self, rule: ServiceRule, endpoint: Endpoint, session: Session
    ) -> Stream:
        """
        Open a session on a link.

        :raises Exception: the back end cannot be reached.
        """
        where = endpoint, rule.transport == "packets+tls"
        link = self._ready(where)
        if link is None:
            try:
                link = await self._once(where)
            except Exception:
                # Another one would be better, and the one that there is serves too.
                link = self._least(where)
                if link is None:
                    raise
        request = session.request
        channel = Channel(link, session.session_id)
        channel.leg = session.backend
        self._busy(link)
        link.add(channel)
        body: dict[str, Any] = {
            # Back ends get an address, without our note about a proxy's headers.
            "client": request.host.removesuffix(UNCLEAR),
            "port": request.port,
            "kind": request.kind,
            "tls": request.is_tls,
            "service": rule.service,
        }
        if request.traceparent:
            body["traceparent"] = request.traceparent
        user = request.user
        is_id = isinstance(user, int) and 0 <= user < 1 << 64
        if user is not None and not is_id:
            body["user"] = str(user)
        link.open(
            Packet(
                Kind.OPEN,
                _encode(body),
                rule.codes[0] if rule.codes else 0,
                session.realm_id,
                cast(int, user) if is_id else 0,
                session.session_id,
            )
        )
        return channel

    async def check(self, rule: ServiceRule, endpoint: Endpoint) -> None:
        """
        Have a link (`vinom.gateway.backends.Way`), which detects silence by itself.

        :raises Exception: the back end cannot be reached.
        """
        where = endpoint, rule.transport == "packets+tls"
        links = self._links.get(where, ())
        if all(one.is_over or one in self._closing for one in links):
            self.ended(await self._once(where))

    def close(self) -> None:
        for link in tuple(self._where):
            link.end(Reason.DRAINING, "the gateway stops")

    # What links report.

    def opened(self, line: PacketConnection, packet: Packet) -> None:
        """A back end may not open sessions; it may greet again."""
        if packet.session_id:
            line.refuse(
                packet.session_id, Reason.BAD_PACKET, "only a gateway may open sessions"
            )

    def ended(self, line: PacketConnection) -> None:
        """A session of a link is over, perhaps the last one."""
        if line.channels:
            return
        if line in self._closing:
            line.end(Reason.DONE, "drained")
        elif line in self._where and line not in self._idle:
            self._idle[line] = self._clock.callLater(
                self._idle_seconds, self._is_idle, line
            )

    def closing(self, line: PacketConnection, why: str) -> None:
        """A back end, such as a draining node, accepts no more sessions on a link."""
        where = self._where.get(line)
        if where is not None and line not in self._closing:
            _log.info(
                "{where} accepts no more sessions: {why}", where=str(where[0]), why=why
            )
            self._closing.add(line)
            if not line.channels:
                line.end(Reason.DONE, "drained")

    def lost(self, line: PacketConnection, why: str) -> None:
        """A link is over."""
        self._busy(line)
        self._closing.discard(line)
        where = self._where.pop(line, None)
        if where is None:
            return
        links = self._links[where]
        links.remove(line)
        if not links:
            del self._links[where]
        self.lost_links += 1
        _log.info("the link to {where} is lost: {why}", where=str(where[0]), why=why)

    def _is_idle(self, line: PacketConnection) -> None:
        del self._idle[line]
        if not line.channels:
            line.end(Reason.DONE, "idle")

    def _busy(self, line: PacketConnection) -> None:
        idle = self._idle.pop(line, None)
        if idle is not None:
            idle.cancel()

    def _ready(self, where: _Where) -> PacketConnection | None:
        """Find a link that can take one more session; ``None`` to dial one."""
        least = self._least(where)
        if least is None or len(least.channels) < self._per_link:
            return least
        return None if len(self._usable(where)) < self._most_links else least

    def _least(self, where: _Where) -> PacketConnection | None:
        """Find the link with the fewest sessions; ``None`` if there is none."""
        links = self._usable(where)
        return min(links, key=lambda one: len(one.channels)) if links else None

    def _usable(self, where: _Where) -> list[PacketConnection]:
        return [
            one
            for one in self._links.get(where, ())
            if not one.is_over and one not in self._closing
        ]

    async def _dial(self, where: _Where) -> PacketConnection:
        try:
            link = await self._connect(where)
        except Exception as error:
            raise NoCapacity(str(error) or type(error).__name__) from error
        self.dialed += 1
        self._where[link] = where
        self._links.setdefault(where, []).append(link)
        return link

    async def _connect(self, where: _Where) -> PacketConnection:
        endpoint, is_tls = where
        link = PacketConnection(
            self,
            self._clock,
            self._rounds,
            _TERMS,
            direct=self._direct,
            turns=self._turns,
        )
        await self._dialer.dial(endpoint, link, is_tls)
        watch_for_death(link.transport)
        # Before anything else, because back ends map sessions to gateways by it.
        await link.greet(_encode({"gateway_id": self._gateway_id}), DIAL_SECONDS)
        if is_tls:
            try:
                self._dialer.check(link.transport)
            except PeerError as error:
                link.abort(str(error))
                raise
        return link


#: An endpoint, and whether it is reached over TLS.
_Where = tuple[Endpoint, bool]
