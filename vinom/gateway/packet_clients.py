"""
Clients that speak packets: one connection each, with many sessions; those of browsers
have their bytes in binary messages of a WebSocket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import attrs
import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.turns import TurnEnd
from vinom.base.reactor.waits import Rounds, Waits
from vinom.gateway.arrivals import Arrival
from vinom.gateway.backends import Backends
from vinom.gateway.sessions import SessionRequest
from vinom.gateway.settings import GatewaySettings
from vinom.net.lines.proxied import put_protocol
from vinom.net.lines.ws_stream import BinaryStream, accept_handshake
from vinom.net.streams.channels import Channel, Reason, checked_traceparent
from vinom.net.streams.multiplex import VISIT_SECONDS, PacketConnection, PeerTerms
from vinom.net.streams.packets import OWN_SESSION, Kind, Packet
from vinom.net.streams.sockets import pace_of

#: Reasons with which clients may close sessions. They may not send those that only back
#: ends and gateways can know: with ``backend_lost`` they could take a back end out.
_REASONS = frozenset((Reason.DONE, Reason.CLIENT_LOST, Reason.TOO_SLOW, Reason.TIMEOUT))
_DRAINING = "this gateway stops: connect again"
#: Answers to *open* and *ping* that a client may not read, bytes.
MOST_OWED = 64 * 1024
#: Makes what serves a client.
PacketAcceptor = Callable[[Arrival], PacketConnection]


class _Opening(msgspec.Struct):
    """The body of a client's *open*; it may be empty."""

    traceparent: str = ""


_bodies = msgspec.json.Decoder(_Opening)


@attrs.frozen(eq=False)
class _Unused:
    """A connection without a session (`vinom.base.reactor.waits.Waiting`)."""

    line: PacketConnection
    seconds: float

    def overdue(self) -> None:
        """It had none for too long."""
        self.line.end(Reason.TIMEOUT, f"no session for {self.seconds:g} s")


class PacketClients:
    """
    Serves such clients (`vinom.net.streams.multiplex.Taker`); `acceptor` makes their
    connections.
    """

    def __init__(
        self,
        backends: Backends,
        clock: IReactorTime,
        settings: GatewaySettings,
        direct: DirectReads | None = None,
        turns: TurnEnd | None = None,
        idle_seconds: float = 300.0,
    ) -> None:
        """
        :param backends: begins sessions.
        :param clock: for deadlines.
        :param settings: limits of each connection.
        :param direct: as for `PacketConnection`.
        :param turns: as for `PacketConnection`.
        :param idle_seconds: how long a connection may be without a session.
        """
        self._backends, self._clock, self._settings = backends, clock, settings
        self._is_draining = False
        self._arrivals: dict[PacketConnection, Arrival] = {}
        self._idle_seconds, self._waits = idle_seconds, Waits(clock)
        self._unused: dict[PacketConnection, _Unused] = {}
        self._make = partial(
            PacketConnection,
            self,
            clock,
            Rounds(clock, VISIT_SECONDS),
            PeerTerms(
                lost=Reason.CLIENT_LOST,
                reasons=_REASONS,
                most_owed=MOST_OWED,
            ),
            direct=direct,
            turns=turns,
        )

    @property
    def acceptor(self) -> PacketAcceptor:
        """Makes the line of a connection."""
        return self._line

    @property
    def lines(self) -> list[PacketConnection]:
        """The lines that are open."""
        return list(self._arrivals)

    def _line(self, arrival: Arrival) -> PacketConnection:
        line = self._make(
            pace=pace_of(self._settings.bytes_per_second), pay=arrival.pay
        )
        self._arrivals[line] = arrival
        self._wait_for_session(line)
        return line

    def _wait_for_session(self, line: PacketConnection) -> None:
        seconds = self._idle_seconds
        self._unused[line] = unused = _Unused(line, seconds)
        self._waits.add(unused, self._clock.seconds() + seconds)

    def _is_used(self, line: PacketConnection) -> None:
        unused = self._unused.pop(line, None)
        if unused is not None:
            self._waits.remove(unused)

    def opened(self, line: PacketConnection, packet: Packet) -> None:
        """A client asks for a session."""
        wanted = packet.session_id
        if self._is_draining:
            line.refuse(wanted, Reason.DRAINING, _DRAINING)
            return
        if wanted in line.channels or wanted >= OWN_SESSION:
            line.refuse(wanted, Reason.SESSION_IN_USE, "open another id")
            return
        most = self._settings.max_connections_per_address
        if len(line.channels) >= most:
            why = f"a connection may have at most {most} sessions"
            line.refuse(wanted, Reason.TOO_MANY, why)
            return
        arrival = self._arrivals[line]
        if not arrival.open_session(self._clock.seconds()):
            why = "your address has too many sessions, or opens them too fast"
            line.refuse(wanted, Reason.TOO_MANY, why)
            return
        request = SessionRequest(
            "packets",
            arrival.host,
            arrival.port,
            arrival.is_tls,
            code=packet.service_type,
            realm_id=packet.realm_id,
            user=packet.user_id or None,
            session_id=wanted,
            traceparent=_traceparent(packet.body),
        )
        channel = Channel(line, wanted)
        session = self._backends.begin(request, channel)
        if session is None:
            arrival.close_session()
            line.refuse(wanted, Reason.SESSION_IN_USE, "open another id")
            return
        channel.session_id, channel.leg = session.session_id, session.client
        self._is_used(line)
        line.add(channel)
        line.open(Packet(Kind.OPEN, session_id=session.session_id))

    def drain(self) -> None:
        """
        Accept no new sessions, and ask clients to open them elsewhere.

        Open sessions go on; a connection without any is closed.
        """
        self._is_draining = True
        for line in self.lines:
            if line.channels:
                line.refuse(0, Reason.DRAINING, _DRAINING)
            else:
                line.end(Reason.DRAINING, _DRAINING)

    def close(self) -> None:
        """Close all connections."""
        for line in self.lines:
            line.end(Reason.DRAINING, _DRAINING)

    def ended(self, line: PacketConnection) -> None:
        """A session is over; the client may open others."""
        self._arrivals[line].close_session()
        if line.channels:
            return
        if self._is_draining:
            line.end(Reason.DRAINING, _DRAINING)
        else:
            self._wait_for_session(line)

    def closing(self, line: PacketConnection, why: str) -> None:
        """Ignore that a client accepts no more sessions: only clients open them."""

    def lost(self, line: PacketConnection, why: str) -> None:
        """A connection is over."""
        self._is_used(line)
        self._arrivals.pop(line).end()


def _traceparent(body: bytes) -> str:
    """Read the trace in the body of a client's *open*."""
    if not body:
        return ""
    try:
        found = _bodies.decode(body)
    except msgspec.MsgspecError:
        return ""
    return checked_traceparent(found.traceparent)


#: The path at which packets are served, unless a rule matches it exactly.
PACKETS_PATH = "/packets"
#: Longest message of a client, bytes: more than one packet with all its credit.
_MOST_MESSAGE = 128 * 1024


class PacketSocket(Protocol):
    """
    A WebSocket as the connection of a client of packets, whose bytes its messages have.

    It is the protocol of the transport, and the transport of the client's protocol.
    """

    transport: Any

    def __init__(
        self, transport: Any, client: PacketConnection, pay: Callable[[int], object]
    ) -> None:
        """
        :param transport: its earlier owner left it, and is not its producer.
        :param client: serves the client; its bytes follow with `dataReceived`.
        :param pay: counts frames, for which *client* reads no more for a while.
        """
        self.transport, self._client, self._pay = transport, client, pay
        self._is_over, self._owed = False, 0
        self._stream = BinaryStream(_MOST_MESSAGE)

    def begin(self, answer: bytes) -> None:
        """
        Take the transport over.

        :param answer: to the handshake.
        """
        self.transport.write(answer)
        put_protocol(self.transport, self)
        self._client.makeConnection(self)  # type: ignore[no-untyped-call]  # Twisted's

    # What the transport calls.

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            return
        before = self._stream.frames
        found = self._stream.receive(data)
        self._pay(self._stream.frames - before)
        pongs = self._stream.written()
        self._owed = self._owed + len(pongs) if self._client.is_full else 0
        if self._owed > MOST_OWED:
            self.abortConnection()
            return
        if pongs:
            self.transport.write(pongs)
        # Without bytes, too: it waits if there were too many frames.
        self._client.dataReceived(found)
        if self._stream.is_over:
            self._is_over = True
            # Twisted keeps a connection open as long as it has a producer.
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._client.connectionLost(reason)

    # What the client's protocol calls (ITransport, IConsumer, IPushProducer).

    def write(self, data: bytes) -> None:
        """Send bytes in a message."""
        self._stream.send(data)
        self._send()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send bytes in a message."""
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """Close when everything is sent."""
        self._is_over = True
        self._stream.close()
        self._send()
        self.transport.loseConnection()

    def abortConnection(self) -> None:
        """Close at once."""
        self._is_over = True
        self.transport.abortConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause a producer while the client does not read."""
        self.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """The producer has no more data."""
        self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """Read nothing for a while."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again."""
        self.transport.resumeProducing()

    def _send(self) -> None:
        data = self._stream.written()
        if data:
            self.transport.write(data)


def handshake_answer(path: str, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """
    Answer a WebSocket's handshake.

    :param fields: the headers.
    :raises HandshakeRefused: it is not a valid one.
    """
    headers = [(name.decode("ascii"), text.decode("latin-1")) for name, text in fields]
    return accept_handshake(path, headers).answer
