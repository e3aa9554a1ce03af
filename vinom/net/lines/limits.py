"""
Limits of ports: how many connections and hellos of TLS an address may have, and
descriptors that strangers cannot take.

A node that has no descriptor left is deaf: to players who come back, to game servers,
and to its operator. So newcomers may not have the last ones. The kernel gives each new
descriptor the lowest free number: one number says that all below it are taken.
"""

from __future__ import annotations

import os
import resource
from collections import OrderedDict
from collections.abc import Callable
from errno import EBADF
from math import inf
from typing import Any, cast
from typing import Protocol as Shape

import attrs
from twisted.internet.interfaces import (
    IAddress,
    IProtocolFactory,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from vinom.base.limits.buckets import NetworkBuckets, NetworkCounts
from vinom.base.limits.logged import BoundedLog
from vinom.net.frames import LINE_LIMIT
from vinom.net.lines.proxied import put_protocol
from vinom.net.lines.sniff import Spoken, sniff

#: How many connections are looked at, to find one that can be closed.
_LOOKS = 64
#: How many descriptors a node keeps free.
DESCRIPTOR_RESERVE = 128


@attrs.frozen
class LineBounds:
    """
    What a line, which is a TCP connection or a WebSocket, and a network may cost.

    :ivar limit: longest message in, bytes; `HELLO_LIMIT` for a hello with a token.
    :ivar per_network: connections of one address, or of one IPv6 /64.
    :ivar per_wide_network: connections of one /24, or of one IPv6 /48.
    :ivar most_connections: of all networks.
    :ivar most_unsent: messages that may wait for a peer who does not read.
    :ivar most_unsent_bytes: the same in bytes.
    :ivar close_seconds: how long a closed line waits for the peer to close too.
    :ivar stuck_seconds: how long a peer over TCP may not read what is sent to it.
    :ivar answer_seconds: how long a peer over TCP that sends no more may wait for
        answers.
    :ivar ping_seconds: between pings of a WebSocket; a peer that has sent nothing by
        the next is lost.
    """

    limit: int = LINE_LIMIT
    per_network: int = 256
    per_wide_network: float = inf
    most_connections: float = inf
    most_unsent: int = 256
    most_unsent_bytes: int = 256 * 1024
    close_seconds: float = 2.0
    stuck_seconds: float = 20.0
    answer_seconds: float = 5.0
    ping_seconds: float = 20.0

    def counts(self) -> NetworkCounts:
        """Make what counts the connections of one port."""
        return NetworkCounts(
            self.per_network, self.per_wide_network, self.most_connections
        )


class Closable(Shape):
    """A connection that may have to make room."""

    @property
    def is_in_play(self) -> bool:
        """Does it belong to a player who gets a match now, or is in a room?"""

    @property
    def is_queued(self) -> bool:
        """Does it belong to a player who waits in a queue?"""

    def abort(self) -> None:
        """End the connection at once."""


def descriptors_left() -> int:
    """Find how far the next descriptor's number is from the limit of open files."""
    try:
        lowest = _taken()
    except OSError:
        return 0
    os.close(lowest)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (1 << 30 if limit == resource.RLIM_INFINITY else limit) - lowest


def _taken() -> int:
    """Take the lowest free descriptor."""
    try:
        # Of standard error: a sixth of what it costs to open something.
        return os.dup(2)
    except OSError as error:
        if error.errno != EBADF:
            raise
        return os.open(os.devnull, os.O_RDONLY)


@attrs.define(eq=False)
class Reserve:
    """
    Keep descriptors free.

    When only *size* are left, each newcomer replaces the oldest connection that is not
    in play; so players who come back get in. Those who wait in a queue go last: anybody
    can queue, and who comes back soon has its place again. When half of them are left,
    newcomers are turned away as well. Game servers and the operator's connections may
    use all.

    :ivar size: how many to keep free; 0 keeps none.
    :ivar left: counts those that are left.
    :ivar make_room: closes a connection, if one should go, of those that did not
        `join`.
    :ivar closed: how many connections made room.
    :ivar refused: how many newcomers were turned away.
    """

    size: int = 0
    left: Callable[[], int] = descriptors_left
    make_room: Callable[[], bool] = lambda: False
    closed: int = attrs.field(default=0, init=False)
    refused: int = attrs.field(default=0, init=False)
    _open: OrderedDict[Closable, None] = attrs.field(factory=OrderedDict, init=False)

    def join(self, connection: Closable, transport: Any = None) -> None:
        """
        A connection is open.

        :param transport: its transport. A session of a gateway's link has no
            descriptor to give: that is not closed for newcomers.
        """
        if getattr(transport, "has_descriptor", True):
            self._open[connection] = None

    def leave(self, connection: Closable) -> None:
        """It is closed, or somebody else's."""
        self._open.pop(connection, None)

    def admits(self) -> bool:
        """May a newcomer come in? Then an older connection may have to go."""
        if not self.size:
            return True
        left = self.left()
        if left > self.size:
            return True
        if self._close_one() and left > self.size // 2:
            return True
        self.refused += 1
        return False

    def _close_one(self) -> bool:
        queued: Closable | None = None
        for _ in range(min(_LOOKS, len(self._open))):
            connection, _nothing = self._open.popitem(last=False)
            if not (connection.is_in_play or connection.is_queued):
                self._close(connection)
                return True
            if queued is None and not connection.is_in_play:
                queued = connection
            # Looked at again after all others.
            self._open[connection] = None
        if queued is None:
            is_closed = self.make_room()
            self.closed += is_closed
            return is_closed
        del self._open[queued]
        self._close(queued)
        return True

    def _close(self, connection: Closable) -> None:
        self.closed += 1
        connection.abort()


class ReservingFactory(WrappingFactory):
    """
    Serve newcomers while there are descriptors.

    :param factory: serves them.
    :param reserve: shared by all ports of players.
    """

    noisy = False

    def __init__(self, factory: IProtocolFactory, reserve: Reserve) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]  # Twisted's
        self._reserve = reserve

    def buildProtocol(self, addr: Any) -> Any:
        # Without a protocol, the socket is closed before the next one is accepted.
        if not self._reserve.admits():
            return None
        return self.wrappedFactory.buildProtocol(addr)


class _Counted(ProtocolWrapper):
    """A connection that is counted until its end, or until others need its place."""

    host = ""
    is_counted = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.leave()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def leave(self) -> None:
        factory = cast(CountedFactory, self.factory)
        factory.unproven.pop(self, None)
        if self.is_counted:
            self.is_counted = False
            factory.counts.leave(self.host)


def has_proven(transport: Any) -> None:
    """Its peer has proven who it is: this connection makes no room for others."""
    while transport is not None:
        if isinstance(transport, _Counted):
            cast(CountedFactory, transport.factory).unproven.pop(transport, None)
        transport = getattr(transport, "transport", None)


class CountedFactory(WrappingFactory):
    """
    Serve at most so many connections; others are closed at once.

    Where peers prove who they are (`has_proven`), one that did not makes room when all
    places are taken, the oldest first: strangers in silence, from however many
    networks, keep nobody out who needs a moment to prove it.

    :param factory: serves them.
    :param counts: of each address, and of all.
    :param log: logs refusals.
    :param is_proven: do peers prove who they are?
    :ivar unproven: connections whose peers did not yet, the oldest first.
    """

    noisy = False
    protocol = _Counted

    def __init__(
        self,
        factory: IProtocolFactory,
        counts: NetworkCounts,
        log: BoundedLog,
        is_proven: bool = False,
    ) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]  # Twisted's
        self.counts, self._log, self._is_proven = counts, log, is_proven
        self.unproven: dict[_Counted, None] = {}

    def buildProtocol(self, addr: IAddress | None) -> Any:
        host = getattr(addr, "host", "")
        counts = self.counts
        is_full = counts.total >= counts.total_limit
        if is_full and self.unproven and counts.count(host) < counts.limit:
            oldest = next(iter(self.unproven))
            oldest.leave()
            cast(Any, oldest.transport).abortConnection()
        if not counts.enter(host):
            self._log.info("refused a connection from {host}: too many", host=host)
            return None
        counted: Any = super().buildProtocol(addr)
        counted.host = host
        if self._is_proven:
            self.unproven[counted] = None
        return counted


_WORDS = b"This port speaks HTTPS: write https:// in the address.\n"
_PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(_WORDS), _WORDS)
)


class TlsHellos:
    """
    Limit how many handshakes of TLS an address may begin: each takes a signature.

    :param buckets: of each address.
    :param clock: for times.
    """

    def __init__(self, buckets: NetworkBuckets, clock: IReactorTime) -> None:
        self._buckets, self._clock = buckets, clock

    def take(self, host: str) -> bool:
        """May this address begin one more?"""
        return self._buckets.take(host, self._clock.seconds())


class _FirstFlight(Protocol):
    """
    A connection before its first bytes, with what speaks TLS in its place afterwards.

    The address is known then, also behind a proxy of the PROXY protocol.
    """

    def __init__(self, inner: Any, hellos: TlsHellos, log: BoundedLog) -> None:
        self._inner, self._hellos, self._log = inner, hellos, log
        self._is_plain, self._held = False, b""

    def connectionMade(self) -> None:
        self._inner.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        transport = cast(ITCPTransport, self.transport)
        host = getattr(transport.getPeer(), "host", "")
        if self._is_plain:
            return
        data, self._held = self._held + data, b""
        spoken = sniff(data)
        if spoken is None:
            self._held = data
            return
        if spoken is Spoken.HTTP:
            # Somebody wrote http:// for https://, and should read so.
            self._is_plain = True
            self._log.info("refused {host}: HTTP without TLS", host=host)
            transport.write(_PLAIN)
            transport.loseConnection()
            return
        if not self._hellos.take(host):
            self._log.info("refused {host}: too many TLS handshakes", host=host)
            transport.abortConnection()
            return
        put_protocol(transport, self._inner)
        self._inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._inner.connectionLost(reason)


class TlsHelloFactory(WrappingFactory):
    """
    Serve connections of which each begins with a hello of TLS.

    :param factory: speaks TLS.
    :param hellos: how many each address may send.
    :param log: logs refusals.
    """

    noisy = False

    def __init__(
        self, factory: IProtocolFactory, hellos: TlsHellos, log: BoundedLog
    ) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]  # Twisted's
        self._hellos, self._log = hellos, log

    def buildProtocol(self, addr: Any) -> Any:
        inner = self.wrappedFactory.buildProtocol(addr)
        return _FirstFlight(inner, self._hellos, self._log)
