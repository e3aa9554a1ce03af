"""
One session of a gateway's link, used like a direct connection.

The protocols for players who connect directly serve it unchanged: `SessionTransport`
is their transport.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
    ITransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.net.streams.channels import Channel
from vinom.net.streams.ends import Reason

_log = Logger()


@implementer(ITransport, IConsumer, IPushProducer)
class SessionTransport:
    """
    A transport, and the `vinom.net.streams.ends.Leg` of its session.

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
