"""
Lobby lines over TCP: plain or TLS on one port, distinguished by the first byte.

Protocols here only cut, pass on and clean up; callers decide what is sent.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast
from typing import Protocol as Shape

import attrs
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IOpenSSLServerConnectionCreator,
    IPushProducer,
    IReactorTime,
    ISystemHandle,
    ITCPTransport,
    ITransport,
    IUNIXTransport,
)
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.limits.buckets import NetworkCounts, is_loopback
from vinom.base.limits.logged import BoundedLog
from vinom.base.messages.envelope import encode_failure
from vinom.base.messages.lobby import carries_token
from vinom.base.reactor.alarm import Timer
from vinom.base.reactor.connections import QuickConnection, bound_silence, watch
from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.turns import TurnEnd
from vinom.errors import Code
from vinom.net.frames import (
    HELLO_LIMIT,
    LineReader,
    LineTooLong,
)
from vinom.net.lines.limits import LineBounds, Reserve, TlsHellos
from vinom.net.lines.proxied import ProxiedProtocol, when_peer_known
from vinom.net.lines.secure import SecureTransport, over_tls
from vinom.net.lines.sniff import Spoken, begins_proxy_header, sniff
from vinom.net.lines.tls import why_tls_failed

_log = Logger()

#: Time to begin a line; the hello's time runs already, seconds.
_FIRST_BYTE_SECONDS = 10.0


class Listener(Shape):
    """Who receives what comes over a line."""

    def received(self, message: bytes) -> None:
        """One whole message came."""

    def caught_up(self) -> None:
        """The peer has taken everything that was sent."""

    def heard_out(self) -> None:
        """The peer sends no more: `LineProtocol.close` when it is answered."""

    def lost(self) -> None:
        """The line is closed."""

    @property
    def is_in_play(self) -> bool:
        """Is a match of its player being prepared, or is it in a room?"""

    @property
    def is_queued(self) -> bool:
        """Does its player wait in a queue?"""


@attrs.frozen
class Lines:
    """
    What all lines of one port share.

    :ivar open: starts a conversation on a line.
    :ivar clock: for times.
    :ivar tls: how to speak TLS; ``None`` is plain only.
    :ivar allow_plaintext: also from other machines.
    :ivar is_tls_direct: ``False`` uses Twisted's own TLS.
    :ivar bounds: what each may cost.
    :ivar errors: counts refusals by code.
    :ivar reserve: knows which connections are open.
    :ivar tls_hellos: limits handshakes; ``None`` is no limit.
    :ivar turn_end: when lines without TLS send; ``None``: at once, by the reactor.
    :ivar direct: those that are read without the reactor, then.
    :ivar connections: how many each network has.
    """

    open: Callable[[LineProtocol], Listener]
    clock: IReactorTime
    tls: IOpenSSLServerConnectionCreator | None = None
    allow_plaintext: bool = False
    bounds: LineBounds = attrs.field(factory=LineBounds)
    errors: Counter[str] = attrs.field(factory=Counter)
    reserve: Reserve = attrs.field(factory=Reserve)
    tls_hellos: TlsHellos | None = None
    is_tls_direct: bool = True
    turn_end: TurnEnd | None = None
    direct: DirectReads = attrs.field(factory=DirectReads)
    connections: NetworkCounts = attrs.field(init=False)
    #: Logs refusals and failures.
    log: BoundedLog = attrs.field(init=False)

    @connections.default
    def _none_yet(self) -> NetworkCounts:
        return self.bounds.counts()

    @log.default
    def _nothing_yet(self) -> BoundedLog:
        return BoundedLog(_log, self.clock)


@implementer(IPushProducer)
class LineProtocol(Protocol):
    """
    Carry one conversation: messages are lines.

    :param lines: what all lines of the port share.
    :param is_tls: TLS is between us and the socket.
    :ivar host: the peer's address.
    :ivar ends_at_match: a lone player's line is closed when a match is found.
    :ivar opened_at: when the connection came, seconds since the Unix epoch.
    :ivar is_behind: does what was sent wait for the peer to take it?
    """

    ends_at_match = True

    def __init__(self, lines: Lines, host: str, is_tls: bool, opened_at: float) -> None:
        self.host, self.opened_at = host, opened_at
        self._lines, self._is_tls = lines, is_tls
        self._reader = LineReader(max(lines.bounds.limit, HELLO_LIMIT))
        self._listener: Listener | None = None
        self._is_closing = self._is_cut = False
        # Messages of this turn; and what takes bytes, if no TLS does.
        self._queue: list[bytes] = []
        self._socket: socket.socket | None = None
        self._descriptor = -1
        #: What waits for a peer who is behind: messages, and their bytes.
        self._unsent = self._unsent_bytes = 0
        self.is_behind = False
        self._alarm = Timer(lines.clock)

    def connectionMade(self) -> None:
        # To be paused when the peer does not read: it must not fill our memory.
        cast(IConsumer, self.transport).registerProducer(self, True)
        transport: Any = self.transport
        shared = self._lines
        # Nothing but this reads the bytes of such a connection, and writes some.
        if shared.turn_end is not None and isinstance(transport, Connection):
            self._socket = found = transport.getHandle()
            self._descriptor = found.fileno()
            shared.direct.add(self._descriptor, found.recv, self)
        self._listener = self._lines.open(self)

    def dataReceived(self, data: bytes) -> None:
        if self._is_closing:
            return
        self._reader.receive(data)
        limit = self._lines.bounds.limit
        try:
            while not self._is_closing:
                line = self._reader.next_line()
                if line is None or self._listener is None:
                    return
                if len(line) > limit and not carries_token(line):
                    raise LineTooLong(f"a line above {limit} bytes")
                self._listener.received(line)
        except LineTooLong as error:
            self._lines.errors[Code.TOO_LONG] += 1
            self.send(encode_failure(Code.TOO_LONG, str(error), {"limit": limit}))
            self.close()

    def readConnectionLost(self) -> None:
        """The peer sends no more; Twisted calls this again if we want to read again."""
        if self._is_closing or self._listener is None:
            cast(ITransport, self.transport).loseConnection()
        else:
            self._arm(self._lines.bounds.answer_seconds)
            self._listener.heard_out()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_closing = True
        self._is_cut = self._is_cut or bool(self._queue)
        self._queue.clear()
        self._lines.direct.remove(self._descriptor)
        self._alarm.cancel()
        why = why_tls_failed(reason)
        if why is not None:
            self._lines.log.info(
                "TLS with {host} failed: {why}", host=self.host, why=why
            )
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.lost()

    @property
    def is_in_play(self) -> bool:
        """Is a match of its player being prepared, or is it in a room?"""
        return self._listener is not None and self._listener.is_in_play

    @property
    def is_queued(self) -> bool:
        """Does its player wait in a queue?"""
        return self._listener is not None and self._listener.is_queued

    # What the conversation asks.

    @property
    def has_unsent(self) -> bool:
        """Does a message wait to be sent, or was one thrown away?"""
        is_held = bool(self._queue) or _is_held(self.transport)
        return self.is_behind or self._is_cut or is_held

    def cut(self) -> None:
        """Count what was sent last as lost: nobody knows whether it has arrived."""
        self._is_cut = True

    def admitted(self) -> None:
        """The hello was accepted: no longer message follows."""
        self._reader.limit = self._lines.bounds.limit

    def send(self, message: bytes) -> None:
        """
        Send one message when the turn ends; beyond the bounds of a peer who is behind,
        close.
        """
        if self.transport is None or self._is_closing:
            self._is_cut = True
            return
        if self.is_behind:
            bounds = self._lines.bounds
            self._unsent += 1
            self._unsent_bytes += len(message)
            if (
                self._unsent > bounds.most_unsent
                or self._unsent_bytes > bounds.most_unsent_bytes
            ):
                why = "you do not read what you are sent"
                self._lines.errors[Code.TOO_SLOW] += 1
                self._queue.append(encode_failure(Code.TOO_SLOW, why))
                self.close(Code.TOO_SLOW, why)
                return
        self._queue.append(message)
        if self._socket is None or self._lines.turn_end is None:
            self.flush()
        elif len(self._queue) == 1:
            self._lines.turn_end.flush(self)

    def flush(self) -> None:
        """The turn is over: send what was queued in it."""
        if not self._queue:
            return
        data = b"".join([message + b"\n" for message in self._queue])
        self._queue.clear()
        sent = 0
        if self._socket is not None and not _is_held(self.transport):
            # No room, or the end: the reactor finds that in its own way.
            with suppress(OSError):
                sent = self._socket.send(data)
        if sent < len(data):
            cast(ITransport, self.transport).write(data[sent:])

    def close(self, code: Code | None = None, reason: str = "") -> None:
        """
        Close when everything is sent; a peer that does not read gets 2 s.

        A line has no words for why: whoever has a *code* has sent it already.
        """
        if self._is_closing:
            return
        self.flush()
        self._is_closing = True
        # Twisted keeps a connection open as long as it has a producer.
        cast(IConsumer, self.transport).unregisterProducer()
        cast(IPushProducer, self.transport).resumeProducing()
        why = "" if code is None else f"{code.value}: {reason}"
        close_gently(self.transport, self._is_tls, why)
        self._arm(self._lines.bounds.close_seconds)

    # What the transport asks (IPushProducer).

    def pauseProducing(self) -> None:
        """The peer does not read what it asked for: read nothing more for a while."""
        if not self._is_closing:
            self.is_behind = True
            cast(IPushProducer, self.transport).pauseProducing()
            self._arm(self._lines.bounds.stuck_seconds)

    def resumeProducing(self) -> None:
        """The peer reads again."""
        if not self._is_closing:
            self._alarm.cancel()
            cast(IPushProducer, self.transport).resumeProducing()
            self.is_behind, self._unsent, self._unsent_bytes = False, 0, 0
            if self._listener is not None:
                self._listener.caught_up()

    def stopProducing(self) -> None:
        """The connection is over; `connectionLost` is called too."""

    def _arm(self, delay: float) -> None:
        self._alarm.start(delay, self.abort)

    def abort(self) -> None:
        """End the connection at once."""
        cast(ITCPTransport, self.transport).abortConnection()


@implementer(IHalfCloseableProtocol)
class FirstByteProtocol(Protocol):
    """
    Find out by a connection's first bytes whether it speaks TLS, and stand aside.

    :param lines: what all lines of the port share.
    :param address: the peer's.
    :param is_private: TLS ended before us, at a gateway; as with all that come from
        proxies of the settings.
    """

    def __init__(
        self, lines: Lines, address: IAddress | None, is_private: bool = False
    ) -> None:
        self._lines, self._address, self._is_private = lines, address, is_private
        self._host: str = getattr(address, "host", "")
        self._inner: Protocol | None = None
        self._line: LineProtocol | None = None
        self._alarm = Timer(lines.clock)
        self._is_counted = self._is_refused = False

    def connectionMade(self) -> None:
        watch_for_death(self.transport)
        self._opened_at = self._lines.clock.seconds()
        self._lines.reserve.join(self, self.transport)
        late = Code.TIMEOUT, "no hello came in time"
        self._alarm.start(_FIRST_BYTE_SECONDS, self._refuse, *late)
        when_peer_known(self.transport, self._admit)

    def _admit(self) -> None:
        """Whose connection it is is known, before anything that it sent is read."""
        transport: Any = self.transport
        if isinstance(transport, ProxiedProtocol):
            self._host = getattr(transport.getPeer(), "host", "")
            self._is_private = True
        if self._lines.connections.enter(self._host):
            self._is_counted = True
        elif not self._is_refused:
            self._alarm.cancel()
            # In the clear, whatever it speaks: TLS would cost us a handshake.
            self._refuse(Code.TOO_MANY_CONNECTIONS, "too many from your address")

    def dataReceived(self, data: bytes) -> None:
        if self._inner is None and not self._is_refused:
            self._choose(data)
        if self._inner is not None:
            self._inner.dataReceived(data)

    def readConnectionLost(self) -> None:
        if isinstance(self._inner, LineProtocol):
            self._inner.readConnectionLost()
            return
        # Refused, or cut off in TLS: what is on its way is all that it still gets.
        cast(ITransport, self.transport).loseConnection()
        self._alarm.start(self._lines.bounds.close_seconds, self.abort)

    def writeConnectionLost(self) -> None:
        """Our half is closed, as `close_gently` asked."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._alarm.cancel()
        self._lines.reserve.leave(self)
        if self._is_counted:
            self._is_counted = False
            self._lines.connections.leave(self._host)
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.connectionLost(reason)

    def _choose(self, data: bytes) -> None:
        self._alarm.cancel()
        lines = self._lines
        if sniff(data) is Spoken.TLS and lines.tls is not None:
            if lines.tls_hellos is not None and not lines.tls_hellos.take(self._host):
                self._refuse(Code.RATE_LIMITED, "too many TLS handshakes from you")
                return
            self._line = line = LineProtocol(lines, self._host, True, self._opened_at)
            factory = ServerFactory.forProtocol(lambda: line)
            tls = over_tls(lines.tls, factory, lines.clock, lines.is_tls_direct)
            self._become(tls.buildProtocol(self._address))
        elif not (lines.allow_plaintext or self._is_private or is_loopback(self._host)):
            self._refuse(Code.PLAINTEXT_REFUSED, "use TLS on this address")
        elif begins_proxy_header(data):
            # Only the operator can do something about it.
            why = f"a PROXY header came: set proxy to its sender, {self._host}"
            self._lines.log.warn("{why}", why=why)
            self._refuse(Code.BAD_MESSAGE, why)
        else:
            self._line = LineProtocol(lines, self._host, False, self._opened_at)
            self._become(self._line)

    def _become(self, inner: Protocol) -> None:
        assert self.transport is not None
        self._inner = inner
        inner.makeConnection(self.transport)

    def _refuse(self, code: Code, why: str) -> None:
        self._lines.log.info("refused {host}: {code}", host=self._host, code=code.value)
        self._is_refused = True
        self._lines.errors[code] += 1
        cast(ITransport, self.transport).write(encode_failure(code, why) + b"\n")
        close_gently(self.transport, is_tls=False, why=f"{code.value}: {why}")
        self._alarm.start(self._lines.bounds.close_seconds, self.abort)

    @property
    def is_in_play(self) -> bool:
        """Must this connection stay when descriptors run out?"""
        return self._line is not None and self._line.is_in_play

    @property
    def is_queued(self) -> bool:
        """Does its player wait in a queue?"""
        return self._line is not None and self._line.is_queued

    def abort(self) -> None:
        """End the connection at once."""
        cast(ITCPTransport, self.transport).abortConnection()


class LineFactory(ServerFactory):
    """
    Give every connection of a port its line.

    :param lines: what they share.
    :param is_private: TLS ended before us, at a gateway.
    """

    noisy = False

    def __init__(self, lines: Lines, is_private: bool = False) -> None:
        self._lines, self._is_private = lines, is_private

    def buildProtocol(self, addr: IAddress | None) -> FirstByteProtocol:
        return FirstByteProtocol(self._lines, addr, self._is_private)


def close_gently(transport: ITransport | None, is_tls: bool, why: str = "") -> None:
    """
    Close our half first; what still comes is read, and ignored by the caller.

    Closing over unread bytes resets the connection, and that can take the last
    message away from the peer. TLS has a closing message of its own for this.

    :param why: the reason, for a gateway that carries the connection.
    """
    carried: Any = transport
    if hasattr(carried, "why"):
        carried.why = why
    if not is_tls and ITCPTransport.providedBy(transport):
        transport.loseWriteConnection()
    elif transport is not None:
        transport.loseConnection()


def _is_held(transport: Any) -> bool:
    """Does a transport hold bytes that its socket did not take yet?"""
    while isinstance(transport, ProtocolWrapper | SecureTransport):
        transport = transport.transport
    # A producer is paused only beyond 64 KiB (source: Twisted's FileDescriptor).
    if isinstance(transport, FileDescriptor):
        return bool(
            transport._tempDataBuffer or len(transport.dataBuffer) > transport.offset
        )
    return bool(getattr(transport, "has_unsent", False))


def watch_for_death(transport: ITransport | None) -> None:
    """Have the kernel find out within half a minute that a quiet peer is gone."""
    below: Any = transport
    while isinstance(below, ProtocolWrapper | SecureTransport):
        below = below.transport
    if isinstance(below, QuickConnection):
        if not below.is_watched:
            watch(below.getHandle())
    # A UNIX socket of Twisted claims to be one of TCP, too.
    elif ITCPTransport.providedBy(below) and not IUNIXTransport.providedBy(below):
        below.setTcpNoDelay(True)
        below.setTcpKeepAlive(True)
        bound_silence(cast(socket.socket, cast(ISystemHandle, below).getHandle()))
