"""
Links of gateways: each session on them is a player's connection.

The protocols for players who connect directly serve it unchanged: `SessionTransport`
is their transport. Links of other nodes are the same, with their channels as sessions.
Sources: docs/protocol/gateway.rst, section "Links"; docs/protocol/nodes.rst.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import msgspec
from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.limits.buckets import NetworkCounts
from vinom.base.limits.logged import BoundedLog
from vinom.base.reactor.alarm import Timer
from vinom.base.reactor.connections import Made
from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.turns import TurnEnd
from vinom.base.reactor.waits import Rounds, Waits
from vinom.base.wall.kernel import Peer
from vinom.errors import PeerError
from vinom.net.keys.authority import GATEWAY_PURPOSE
from vinom.net.lines.forwarded import behind_proxy
from vinom.net.lines.limits import CountedFactory
from vinom.net.lines.proxied import SNIFF_SECONDS, Sniffing
from vinom.net.lines.secure import over_tls
from vinom.net.lines.sniff import Spoken
from vinom.net.lines.tcp import watch_for_death
from vinom.net.lines.tls import OfContexts
from vinom.net.nodes import NODE_PROTOCOL
from vinom.net.streams.channels import Channel, Reason
from vinom.net.streams.multiplex import VISIT_SECONDS, PacketConnection, PeerTerms
from vinom.net.streams.packets import Kind, Packet
from vinom.node.links import NodeTls, listen_at, proves
from vinom.node.listening import NoChildren, listen_privately

_log = Logger()


@implementer(ITransport, IConsumer, IPushProducer)
class SessionTransport:
    """
    A transport, and the `vinom.net.streams.channels.Leg` of its session.

    :ivar protocol: gets the bytes; set by the code that takes over the connection.
    :ivar has_descriptor: false: closing it frees no descriptor
        (`vinom.net.lines.limits`).
    :ivar why: why it is closed, for the gateway.
    :ivar has_unsent: does the peer not read what it was sent?
    """

    __slots__ = (
        "_channel",
        "_clock",
        "_held",
        "_is_finished",
        "_is_over",
        "_is_paused",
        "_is_ringing",
        "_peer",
        "_producer",
        "connected",
        "disconnecting",
        "has_unsent",
        "protocol",
        "why",
    )
    has_descriptor = False

    def __init__(
        self, channel: Channel, host: str, port: int, clock: IReactorTime
    ) -> None:
        """
        :param channel: carries the bytes.
        :param host: the client's address.
        :param port: its port.
        :param clock: calls later.
        """
        self._channel, self._clock = channel, clock
        kind: Any = IPv6Address if ":" in host else IPv4Address
        self._peer = kind("TCP", host, port)
        self.protocol: Any = None
        self.why = ""
        self._producer: Any = None
        self._held: list[bytes] = []
        self._is_over = self._is_paused = self._is_finished = self._is_ringing = False
        self.connected, self.disconnecting, self.has_unsent = 1, False, False

    def begin(self, protocol: Any) -> None:
        """Serve the session with a protocol."""
        self.protocol = protocol
        protocol.makeConnection(self)

    # Reports of the session's channel (Leg).

    def received(self, data: bytes) -> None:
        """The client sent bytes."""
        if self._is_over or self.disconnecting:
            return
        if self._is_paused or self._held:
            # At most the bytes that it already has credit for.
            self._held.append(data)
            return
        self._pass_on(data)

    def finished(self) -> None:
        """The client sends no more."""
        if self._is_over or self.disconnecting:
            return
        if self._is_paused or self._held:
            self._is_finished = True
            return
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self._guard(self.protocol.readConnectionLost)
        else:
            # Like a socket with a protocol that has no half-closed connections.
            self._close()

    def lost(self, reason: Reason, words: str = "") -> None:
        """The session is over, or the link is gone."""
        if not self._is_over:
            self._is_over = True
            error = ConnectionDone() if reason is Reason.DONE else ConnectionLost(words)
            self._report(Failure(error))

    def filled(self) -> None:
        """The client does not read what it is sent."""
        self.has_unsent = True
        if self._producer is not None and not self._is_over:
            self._producer.pauseProducing()

    def drained(self) -> None:
        """The client reads again."""
        self.has_unsent = False
        if self._is_over:
            return
        if self._producer is not None:
            self._guard(self._producer.resumeProducing)
        self._close_if_done()

    # Calls of the protocol (ITransport and related interfaces).

    def write(self, data: bytes) -> None:
        """Send *data*; after `loseConnection` only a producer may."""
        is_last = self.disconnecting and self._producer is None
        if data and not self._is_over and not is_last:
            self._channel.send(data)

    def writeSequence(self, iovec: Any) -> None:
        """Send many at once."""
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """Close when everything is sent."""
        if not self._is_over and not self.disconnecting:
            self.disconnecting = True
            self._held.clear()
            self._close_if_done()

    def abortConnection(self) -> None:
        """Close at once."""
        if not self._is_over:
            self._is_over = self.disconnecting = True
            self._held.clear()
            self._channel.abort(Reason.ABORTED, "the node closed it")
            self._report_later(ConnectionLost())

    #: Used for readers by `vinom.base.reactor.turns`.
    abort = abortConnection

    def getPeer(self) -> Any:
        return self._peer

    def getHost(self) -> Any:
        return type(self._peer)("TCP", "", 0)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause *producer*, which must be a streaming one, while the client is slow."""
        if self._is_over:
            producer.stopProducing()
            return
        if not streaming:
            raise ValueError("a session of a gateway does not support pull producers")
        self._producer = producer
        if self.has_unsent:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """The producer has no more data."""
        self._producer = None
        self._close_if_done()

    def pauseProducing(self) -> None:
        """Pass on nothing for a while, and give the client no more credit."""
        if not self._is_over:
            self._is_paused = True
            self._channel.pause()

    def resumeProducing(self) -> None:
        """Pass on bytes again, beginning in the next turn with those that are held."""
        if self._is_over or not self._is_paused:
            return
        self._is_paused = False
        if not self._held:
            self._channel.resume()
        if (self._held or self._is_finished) and not self._is_ringing:
            self._is_ringing = True
            self._clock.callLater(0, self._pass_on_held)

    def stopProducing(self) -> None:
        """Read nothing more (`IPushProducer`)."""
        self.loseConnection()

    def _pass_on_held(self) -> None:
        self._is_ringing = False
        while self._held and not self._is_paused:
            self._pass_on(self._held.pop(0))
        if not (self._held or self._is_paused or self._is_over):
            # Only now: whoever pauses after each piece would hold more and more.
            self._channel.resume()
        if self._is_finished and not self._is_paused:
            self._is_finished = False
            self.finished()

    def _pass_on(self, data: bytes) -> None:
        self._guard(self.protocol.dataReceived, data)

    def _guard(self, call: Any, *arguments: Any) -> None:
        """Call a protocol; an exception in it ends only this session of the link."""
        try:
            call(*arguments)
        except Exception:
            _log.failure("a session of a gateway failed")
            self.abortConnection()

    def _close_if_done(self) -> None:
        is_done = self._producer is None and not self.has_unsent
        if self.disconnecting and is_done and not self._is_over:
            self._close()

    def _close(self) -> None:
        self._is_over = self.disconnecting = True
        self._channel.close(Reason.DONE, self.why)
        self._report_later(ConnectionDone())

    def _report_later(self, error: Exception) -> None:
        # Like sockets: never from inside a call of the protocol.
        self._clock.callLater(0, self._report, Failure(error))

    def _report(self, reason: Failure) -> None:
        self._producer = None
        self._held.clear()
        self.connected = 0
        try:
            self.protocol.connectionLost(reason)
        except Exception:
            _log.failure("a session of a gateway failed at its end")


_encode = msgspec.json.Encoder().encode

#: How long a gateway may take for the handshake and the greeting, seconds.
GREETING_SECONDS = 5.0
#: How long the end of a link may take when the node stops, seconds.
_CLOSE_SECONDS = 2.0
#: Default of the most sessions of all links together.
MOST_SESSIONS = 60_000
_UNIX = "unix:"


class _Greeting(msgspec.Struct):
    """The body of the first *open* of a link: of a gateway, or of a node."""

    gateway_id: str = ""
    node_id: str = ""
    protocol: int = NODE_PROTOCOL


class _Opening(msgspec.Struct):
    """The body of *open* for a session."""

    client: str
    port: int = 0
    kind: str = ""
    tls: bool = False


_greetings = msgspec.json.Decoder(_Greeting)
_openings = msgspec.json.Decoder(_Opening)


class GatewayLinks(Service):
    """
    Serve the sessions of gateways, or of nodes (`vinom.net.streams.multiplex.Taker`).

    :ivar gateways: the linked gateways, with their links.
    :ivar served: number of sessions so far.
    """

    def __init__(
        self,
        node_id: str,
        serve: Mapping[tuple[Spoken, bool], IProtocolFactory],
        clock: IReactorTime,
        turn_end: TurnEnd,
        direct: DirectReads,
        *,
        most_sessions: int = MOST_SESSIONS,
        peer: Literal["gateway", "node"] = "gateway",
        first: Callable[[Any], IProtocol] | None = None,
    ) -> None:
        """
        :param node_id: id of this node.
        :param serve: makes the protocol for a session, by the client's protocol and by
            whether the gateway terminated TLS.
        :param clock: for deadlines.
        :param turn_end: links send at the ends of turns.
        :param direct: reads connections without the reactor.
        :param most_sessions: most sessions of all links.
        :param peer: who may dial links.
        :param first: makes the protocol for a session, by the client's address, before
            anything has come; ``None`` waits for the first bytes.
        """
        self.name, self._peer = f"{peer}s", peer
        self._node_id, self._serve, self.clock = node_id, serve, clock
        self._most_sessions, self._first = most_sessions, first
        self._ends: dict[PacketConnection, _LinkEnd] = {}
        # Links are few: they are visited all at once.
        self.rounds, self.waits = Rounds(clock, VISIT_SECONDS, 1), Waits(clock)
        self.turn_end, self.direct = turn_end, direct
        self.log = BoundedLog(_log, clock)
        self._stopped: Deferred[None] | None = None
        self._is_draining = False
        self.served = 0

    @property
    def gateways(self) -> dict[str, int]:
        """Count the links of each gateway."""
        found: dict[str, int] = {}
        for end in self._ends.values():
            if end.peer_id is not None:
                found[end.peer_id] = found.get(end.peer_id, 0) + 1
        return found

    def status(self) -> dict[str, Any]:
        """The linked gateways, for operators."""
        return {
            "links": self.gateways,
            "sessions": self.sessions,
            "served": self.served,
        }

    @property
    def sessions(self) -> int:
        """Count the open sessions."""
        return sum(len(line.channels) for line in self._ends)

    def factory(self, check: Callable[[Any], None] = lambda _: None) -> ServerFactory:
        """
        Make the factory that accepts links.

        :param check: raises `PeerError` if a connection's peer is not a gateway.
        """
        return Made(partial(_LinkEnd, self, check))

    def drain(self) -> None:
        """Ask gateways to send new players elsewhere; open sessions go on."""
        self._is_draining = True
        for line in tuple(self._ends):
            line.drain(Reason.DRAINING, "the node stops")

    def stopService(self) -> Deferred[None]:
        """End all links, after everything that their sessions still send."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        if not self._ends:
            return succeed(None)
        self._stopped = stopped = Deferred[None]()
        # After the messages of the other services, which stop in this turn.
        self.clock.callLater(0, self._end)
        give_up = self.clock.callLater(_CLOSE_SECONDS, self._give_up)

        def done(found: None) -> None:
            if give_up.active():
                give_up.cancel()

        return stopped.addCallback(done)

    def _end(self) -> None:
        for line in tuple(self._ends):
            line.end(Reason.DRAINING, "the node stopped")

    def _give_up(self) -> None:
        for line in tuple(self._ends):
            line.abort("the node stopped")

    # Called by ends of links.

    def began(self, end: _LinkEnd) -> None:
        """A connection is made; its peer must greet."""
        self._ends[end] = end

    # Reports of lines (Taker).

    def opened(self, line: PacketConnection, packet: Packet) -> None:
        """A gateway greets, or begins a session."""
        end = self._ends[line]
        if packet.session_id == 0:
            self._greeted(end, packet)
        elif end.peer_id is None:
            line.end(Reason.BAD_PACKET, "a link begins with open of session 0")
        else:
            self._open(line, packet)

    def ended(self, line: PacketConnection) -> None:
        """A session of a link is over; it may carry others."""

    def closing(self, line: PacketConnection, why: str) -> None:
        """A gateway is about to close a link: its sessions end with it."""

    def lost(self, line: PacketConnection, why: str) -> None:
        """A link is over; its sessions have been ended."""
        end = self._ends.pop(line)
        if end.peer_id is not None:
            _log.info(
                "the link of {peer} {peer_id} is over: {why}",
                peer=self._peer,
                peer_id=end.peer_id,
                why=why,
            )
        if not self._ends and self._stopped is not None:
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)

    def _greeted(self, line: _LinkEnd, packet: Packet) -> None:
        try:
            line.check()
            greeting = _greetings.decode(packet.body)
            is_gateway = self._peer == "gateway"
            peer_id = greeting.gateway_id if is_gateway else greeting.node_id
            if not peer_id:
                raise msgspec.ValidationError(f"no {self._peer}_id")
            if greeting.protocol != NODE_PROTOCOL:
                raise PeerError(f"protocol {greeting.protocol}, not {NODE_PROTOCOL}")
        except PeerError as error:
            self.log.warn(
                "refused a link from {peer}: {why}", peer=line.peer, why=str(error)
            )
            line.abort(str(error))
            return
        except msgspec.MsgspecError as error:
            line.end(Reason.BAD_PACKET, f"the body of open of session 0: {error}")
            return
        if line.peer_id is not None:
            line.end(Reason.BAD_PACKET, "a link can be greeted only once")
            return
        if self._is_draining:
            line.end(Reason.DRAINING, "the node stops")
            return
        line.greeted(peer_id[:64])
        _log.info(
            "{peer} {peer_id} is linked from {host}",
            peer=self._peer,
            peer_id=line.peer_id,
            host=line.peer,
        )
        line.open(Packet(Kind.OPEN, _encode({"node_id": self._node_id})))

    def _open(self, line: PacketConnection, packet: Packet) -> None:
        session_id = packet.session_id
        if session_id in line.channels:
            line.refuse(session_id, Reason.SESSION_IN_USE, "it is open on this link")
            return
        if self.sessions >= self._most_sessions:
            why = f"this node has {self._most_sessions} of {self._peer}s already"
            line.refuse(session_id, Reason.TOO_MANY, why)
            return
        try:
            found = _openings.decode(packet.body)
            host = _client(found.client)
            if not 0 <= found.port < 1 << 16:
                raise ValueError(f"port {found.port}")
        except (msgspec.MsgspecError, ValueError) as error:
            line.refuse(session_id, Reason.BAD_PACKET, f"the body of open: {error}")
            return
        self.served += 1
        channel = Channel(line, session_id)
        transport = SessionTransport(channel, host, found.port, self.clock)
        channel.leg = transport
        line.add(channel)
        if self._first is not None:
            transport.begin(self._first(transport.getPeer()))
            return
        transport.begin(
            Sniffing(
                partial(self._chosen, transport, found.tls),
                _forget,
                self.waits,
                self.clock.seconds() + SNIFF_SECONDS,
            )
        )

    def _chosen(
        self, transport: SessionTransport, is_private: bool, spoken: Spoken
    ) -> IProtocol | None:
        factory = self._serve.get((spoken, is_private))
        if factory is None:
            self.log.info(
                "refused a session of {host}: no service for {spoken}",
                host=transport.getPeer().host,
                spoken=spoken.value,
            )
            return None
        made: IProtocol | None = factory.buildProtocol(transport.getPeer())
        return made


def _client(text: str) -> str:
    """
    Read the address of a client; empty if the gateway does not know it.

    It never counts as this machine's own, so it gives no privileges.

    :raises ValueError: it is not an address.
    """
    if not text:
        return text
    # Without the zone of IPv6, which is valid only on the gateway's machine.
    return behind_proxy(str(ip_address(text.partition("%")[0])))


def _forget(reason: Failure, is_overdue: bool) -> None:
    """A session ended before a protocol served it: do nothing."""


class _LinkEnd(PacketConnection):
    """
    The connection of one link.

    :ivar peer_id: id of the gateway, or node; ``None`` before the greeting.
    :ivar peer: its address, for the log.
    """

    def __init__(self, links: GatewayLinks, check: Callable[[Any], None]) -> None:
        super().__init__(
            links,
            links.clock,
            links.rounds,
            PeerTerms(lost=Reason.CLIENT_LOST, pings=True),
            direct=links.direct,
            turns=links.turn_end,
        )
        self._links, self._check = links, check
        self.peer_id: str | None = None
        self.peer = ""
        self._alarm = Timer(links.clock)

    def connectionMade(self) -> None:
        transport = self.transport
        watch_for_death(transport)
        self.peer = getattr(transport.getPeer(), "host", "") or "a UNIX socket"
        super().connectionMade()
        self._links.began(self)
        self._alarm.start(GREETING_SECONDS, self._overdue)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._alarm.cancel()
        super().connectionLost(reason)

    def check(self) -> None:
        """
        Check that the peer is a gateway, or a node.

        :raises PeerError: it is not.
        """
        self._check(self.transport)

    def greeted(self, peer_id: str) -> None:
        """The peer greeted."""
        self.peer_id = peer_id
        self._alarm.cancel()

    def _overdue(self) -> None:
        self._links.log.info("a link from {peer} was not greeted", peer=self.peer)
        self.abort("it did not greet in time")


def listen_for_gateways(
    reactor: Any,
    links: GatewayLinks,
    where: str,
    interface: str,
    tls: NodeTls,
    is_refused: Callable[[Peer], bool],
) -> IListeningPort:
    """
    Listen at the setting ``gateway_link``.

    :param where: as `vinom.base.settings.values.LinkEndpoint` reads it.
    :param interface: the interface, if the setting names none.
    :param tls: TLS of this node.
    :param is_refused: processes that may not use a UNIX socket: game servers.
    :raises CannotListenError: another program has the port.
    :raises Misconfigured: the same, of a socket; or its path is too long.
    """
    if where.startswith(_UNIX):
        path = Path(where.removeprefix(_UNIX))
        return listen_privately(reactor, path, NoChildren(links.factory(), is_refused))
    site = over_links(links, tls, GATEWAY_PURPOSE, reactor)
    return listen_at(reactor, where, interface, site)


def over_links(
    links: GatewayLinks, tls: NodeTls, purpose: str, clock: IReactorTime
) -> IProtocolFactory:
    """
    Make the factory that accepts links over TLS.

    :param tls: TLS of this node.
    :param purpose: what the certificates of peers must be for.
    """
    return CountedFactory(
        over_tls(
            OfContexts(tls.context), links.factory(partial(proves, purpose)), clock
        ),
        # Each peer needs only a few; many, from strangers, cost little.
        NetworkCounts(64, 128, 512),
        links.log,
        is_proven=True,
    )
