"""
The public port: admit connections, recognize their protocol, choose the acceptor; and
clients with one session per connection: lobby lines, and unknown protocols.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.limits.logged import BoundedLog
from vinom.base.messages.envelope import encode_failure
from vinom.base.reactor.connections import QuickConnection
from vinom.base.reactor.direct import FEW, DirectReads, bound_reads
from vinom.base.reactor.turns import TurnEnd
from vinom.base.reactor.waits import Waits
from vinom.errors import Code
from vinom.gateway.arrivals import Arrival, Limits
from vinom.gateway.backends import Backends
from vinom.gateway.sessions import SessionRequest
from vinom.gateway.settings import GatewaySettings
from vinom.net.lines.proxied import (
    SNIFF_SECONDS,
    ProxiedFactory,
    Sniffing,
    put_protocol,
    when_peer_known,
)
from vinom.net.lines.secure import over_tls
from vinom.net.lines.sniff import Spoken, sniff
from vinom.net.lines.tcp import watch_for_death
from vinom.net.lines.tls import why_tls_failed
from vinom.net.streams.channels import Reason
from vinom.net.streams.sockets import ByteStream, pace_of

_log = Logger()

#: Most new connections of each turn that are read at once: others must not wait.
_MOST_READ = 16

#: Makes the protocol that serves a connection and gets all its bytes, from the first.
#: It must call the arrival's ``end`` when the connection is lost.
Acceptor = Callable[[Arrival], IProtocol]


class Acceptors(Factory):
    """
    Give each connection to the acceptor for its protocol.

    :ivar arrived: connections by protocol; "silent" for those that sent nothing in
        time, "lost" for those that ended before.
    """

    noisy = False

    def __init__(
        self,
        acceptors: Mapping[Spoken, Acceptor],
        limits: Limits,
        clock: IReactorTime,
        tls: IOpenSSLServerConnectionCreator | None = None,
        turns: TurnEnd | None = None,
    ) -> None:
        """
        :param acceptors: the acceptor for each protocol; other connections are closed.
        :param limits: limits of connections.
        :param clock: for deadlines.
        :param tls: handles TLS; ``None`` closes connections that speak it.
        :param turns: turns of the reactor; with them connections are read at once.
        """
        self._acceptors, self._limits, self._clock = acceptors, limits, clock
        self._tls, self._turns, self._read = tls, turns, 0
        self.waits = Waits(clock)
        self._bounded_log = BoundedLog(_log, clock)
        self.arrived: Counter[str] = Counter()

    def buildProtocol(self, addr: Any) -> Protocol:
        return _Newcomer(self)

    def begin(self, transport: Any) -> None:
        """Admit a connection, whose client is known, and serve it."""
        is_quick = isinstance(transport, QuickConnection)
        if is_quick:
            host, port = transport.peer[:2]
        else:
            peer = transport.getPeer()
            host, port = getattr(peer, "host", ""), getattr(peer, "port", 0)
        if not self._limits.admit(host, self._clock.seconds()):
            self._bounded_log.info("refused {host}: too many connections", host=host)
            transport.abortConnection()
            return
        arrival = Arrival(host, port, self._limits, transport=transport)
        try:
            watch_for_death(transport)
            bound_reads(transport, FEW)
            data = b""
            if is_quick and self._reads_at_once():
                data = transport.take_at_once()
            if data:
                self._serve_at_once(transport, arrival, data)
            else:
                self._sniff_at(transport, arrival)
        except Exception:
            # As the reactor would: no other connection is harmed.
            _log.failure("a connection failed")
            arrival.end()
            transport.abortConnection()

    def _sniff_at(self, transport: Any, arrival: Arrival) -> Sniffing:
        sniffing = self.sniffing(arrival)
        put_protocol(transport, sniffing)
        sniffing.makeConnection(transport)
        return sniffing

    def _serve_at_once(
        self, transport: QuickConnection, arrival: Arrival, data: bytes
    ) -> None:
        """Serve a connection by what it sent before it was accepted."""
        spoken = sniff(data)
        acceptor = None if spoken is None else self._acceptors.get(spoken)
        if spoken is None or acceptor is None:
            self._sniff_at(transport, arrival).dataReceived(data)
            return
        self.arrived[spoken.value] += 1
        transport.protocol = inner = acceptor(arrival)
        inner.makeConnection(transport)
        inner.dataReceived(data)

    def _reads_at_once(self) -> bool:
        """May one more connection be read before the reactor says so?"""
        if self._turns is None or self._read >= _MOST_READ:
            return False
        if not self._read:
            self._turns.call(self._turn_ended)
        self._read += 1
        return True

    def _turn_ended(self) -> None:
        self._read = 0

    def sniffing(self, arrival: Arrival) -> Sniffing:
        """Make the protocol that waits for the first bytes of a connection."""
        return Sniffing(
            partial(self._choose, arrival),
            partial(self._lost, arrival),
            self.waits,
            self.deadline(),
        )

    def deadline(self) -> float:
        """The deadline by which a new connection must have shown its protocol."""
        return self._clock.seconds() + SNIFF_SECONDS

    def _choose(self, arrival: Arrival, spoken: Spoken) -> IProtocol | None:
        self.arrived[spoken.value] += 1
        if spoken is Spoken.TLS and self._tls is not None and not arrival.is_tls:
            arrival.is_tls = True
            inside = ServerFactory.forProtocol(lambda: self.sniffing(arrival))
            made: IProtocol = over_tls(self._tls, inside, self._clock).buildProtocol(
                None
            )
            return made
        acceptor = self._acceptors.get(spoken)
        if acceptor is None:
            self._bounded_log.info(
                "closed a connection from {host}: no service for {spoken}",
                host=arrival.host,
                spoken=spoken.value,
            )
            return None
        return acceptor(arrival)

    def _lost(self, arrival: Arrival, reason: Failure, is_overdue: bool) -> None:
        arrival.end()
        self.arrived["silent" if is_overdue else "lost"] += 1
        why = why_tls_failed(reason)
        if why is not None:
            self._bounded_log.info(
                "TLS with {host} failed: {why}", host=arrival.host, why=why
            )


class _Newcomer(Protocol):
    """A connection until its client's address is known; then it is sniffed."""

    transport: Any

    def __init__(self, acceptors: Acceptors) -> None:
        self._acceptors = acceptors

    def connectionMade(self) -> None:
        transport = self.transport
        if isinstance(transport, QuickConnection):
            # Without a proxy before it.
            self._acceptors.begin(transport)
            return
        self._acceptors.waits.add(self, self._acceptors.deadline())
        when_peer_known(transport, self._begin)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._acceptors.waits.remove(self)

    def overdue(self) -> None:
        """Close a connection whose proxy sent no header in time."""
        self.transport.abortConnection()

    def _begin(self) -> None:
        self._acceptors.waits.remove(self)
        self._acceptors.begin(self.transport)


def public_factory(
    acceptors: Acceptors, proxies: Sequence[IPv4Network | IPv6Network]
) -> IProtocolFactory:
    """
    Make the factory of the public port.

    :param proxies: addresses whose connections begin with a PROXY header.
    """
    return ProxiedFactory(acceptors, proxies) if proxies else acceptors


#: Reasons after which a client of lobby lines connects again.
_CODES = {
    Reason.BACKEND_LOST: Code.UNAVAILABLE,
    Reason.ABORTED: Code.UNAVAILABLE,
    Reason.NO_BACKEND: Code.UNAVAILABLE,
    Reason.UNKNOWN_SERVICE: Code.UNAVAILABLE,
    Reason.TOO_MANY: Code.BUSY,
    Reason.DRAINING: Code.DRAINING,
    Reason.INTERNAL: Code.INTERNAL,
}


class BytesClient(ByteStream):
    """A client; its session begins with the connection."""

    def __init__(
        self,
        kind: str,
        arrival: Arrival,
        backends: Backends,
        clock: IReactorTime,
        settings: GatewaySettings,
        direct: DirectReads | None,
        finished: Waits,
    ) -> None:
        """
        :param kind: "lines" or "tcp".
        :param arrival: of the connection.
        :param backends: begins the session.
        :param clock: for the deadline of clients that do not read.
        :param settings: limits of each connection.
        :param direct: reads connections without the reactor.
        :param finished: rings for clients that have nothing more to send.
        """
        super().__init__(
            clock,
            Reason.CLIENT_LOST,
            arrival.is_tls,
            pace_of(settings.bytes_per_second),
            direct,
            finished,
        )
        self._kind, self._arrival, self._backends = kind, arrival, backends
        # Has the last line that was sent ended?
        self._is_between = True

    def connectionMade(self) -> None:
        super().connectionMade()
        arrival = self._arrival
        request = SessionRequest(self._kind, arrival.host, arrival.port, arrival.is_tls)
        session = self._backends.begin(request, self)
        assert session is not None, "it brought no id"
        self.leg = session.client

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._arrival.end()

    def send(self, data: bytes) -> None:
        """Pass bytes on to the client."""
        self._is_between = data[-1:] == b"\n"
        super().send(data)

    def close(self, reason: Reason, words: str = "") -> None:
        """End the connection; a client of lobby lines is sent the reason."""
        code = _CODES.get(reason)
        if code is not None and self._kind == "lines" and self._is_between:
            self.send(encode_failure(code, words or reason.value) + b"\n")
        super().close(reason, words)


def bytes_acceptor(
    kind: str,
    backends: Backends,
    clock: IReactorTime,
    settings: GatewaySettings,
    direct: DirectReads | None = None,
) -> Acceptor:
    """Make the acceptor for such clients; its parameters are those of `BytesClient`."""
    finished = Waits(clock)

    def client(arrival: Arrival) -> BytesClient:
        return BytesClient(kind, arrival, backends, clock, settings, direct, finished)

    return client
