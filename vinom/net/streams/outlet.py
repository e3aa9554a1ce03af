"""
Send to a connection: directly to its socket, and only the rest through the reactor.

Twisted always waits for the socket to be writable, which takes longer than sending most
messages. Over TLS, and in tests, everything goes to the transport.

A peer that reads nothing for too long is cut off, before and after our side has closed.
"""

from __future__ import annotations

import sys
import termios
from collections.abc import Callable
from fcntl import ioctl
from typing import Any
from typing import Protocol as Shape

from twisted.internet.interfaces import (
    IDelayedCall,
    IPullProducer,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

from vinom.base.reactor.connections import QuickConnection
from vinom.base.reactor.direct import (
    MOST,
    Directly,
    DirectReads,
    bound_reads,
    socket_under,
)
from vinom.net.lines.secure import SecureTransport
from vinom.net.lines.tcp import close_gently

#: How long a peer may read nothing of what it is sent, seconds.
STUCK_SECONDS = 30.0
#: How long a closed connection waits for the peer to read some of the rest, and, when
#: it has read everything, to close too, seconds.
_CLOSE_SECONDS = 10.0


class Owner(Directly, Shape):
    """The protocol of a connection, as far as its outlet calls it."""

    def filled(self) -> None:
        """The peer does not read what it is sent."""

    def drained(self) -> None:
        """The peer has read everything."""

    def stuck(self) -> None:
        """The peer has read nothing for too long."""


@implementer(IPushProducer, IPullProducer)
class Outlet:
    """
    The sending side of one connection.

    :ivar is_full: does the peer not read what it is sent?
    """

    __slots__ = (
        "_alarm",
        "_clock",
        "_descriptor",
        "_direct",
        "_is_over",
        "_is_tls",
        "_left",
        "_owner",
        "_send",
        "_stuck_seconds",
        "_transport",
        "is_full",
    )

    def __init__(
        self,
        transport: Any,
        owner: Owner,
        clock: IReactorTime,
        *,
        stuck_seconds: float = STUCK_SECONDS,
        is_tls: bool = False,
        direct: DirectReads | None = None,
        most: int = MOST,
    ) -> None:
        """
        :param transport: nothing was written to it before.
        :param owner: gets the received bytes.
        :param clock: for peers that do not read.
        :param stuck_seconds: how long the peer may read nothing.
        :param is_tls: is there TLS between us and the socket?
        :param direct: reads connections without the reactor.
        :param most: bytes of one read.
        """
        bound_reads(transport, most)
        self._transport, self._owner, self._clock = transport, owner, clock
        self._stuck_seconds, self._is_tls = stuck_seconds, is_tls
        self._alarm: IDelayedCall | None = None
        self._is_over = False
        self._direct, self._descriptor = direct, -1
        self._send: Callable[[bytes], int] | None = None
        self._left, self.is_full = 0, False
        below = socket_under(transport)
        if below is None:
            transport.registerProducer(self, True)
            return
        self._send = below.send
        if direct is not None and isinstance(transport, Connection):
            # No wrapper needs to see the bytes before the reader.
            self._descriptor = below.fileno()
            ended = transport.ended if isinstance(transport, QuickConnection) else None
            direct.add(self._descriptor, below.recv, owner, ended, most)

    def write(self, data: bytes) -> None:
        """Send *data*, or hold it until the peer reads."""
        send = self._send
        if send is None or self.is_full:
            self._transport.write(data)
            return
        try:
            sent = send(data)
        except OSError:
            # The buffer is full, or the connection is lost; the reactor will notice.
            sent = 0
        if sent < len(data):
            self._transport.write(data[sent:])
            # A pull producer is asked for more when all is sent, and once now.
            self._transport.registerProducer(self, False)
            self.pauseProducing()

    def release(self) -> None:
        """Write no more: let the transport close when everything is sent."""
        # Twisted keeps a connection open as long as it has a producer.
        self._transport.unregisterProducer()
        self._send = None

    def close(self, is_half: bool = False) -> None:
        """
        Send what is held, then close.

        :param is_half: has the peer closed its half?
        """
        transport = self._transport
        self._disarm()
        self.release()
        if is_half:
            # Nothing comes that is not read: that would take the last bytes away.
            transport.loseConnection()
        else:
            transport.resumeProducing()
            close_gently(transport, self._is_tls)
        # In closing, the connection may be lost.
        if not self._is_over:
            self._left = _unsent(transport)
            self._arm(_CLOSE_SECONDS, self._give_up)

    def forget(self) -> None:
        """The connection is over, or belongs to another protocol now."""
        self._is_over, self._send = True, None
        self._disarm()
        if self._direct is not None:
            self._direct.remove(self._descriptor)
            self._direct = None

    # What the transport calls.

    def pauseProducing(self) -> None:
        """The peer does not read."""
        self.is_full = True
        self._arm(self._stuck_seconds, self._owner.stuck)
        self._owner.filled()

    def resumeProducing(self) -> None:
        """The peer has taken everything."""
        if self.is_full:
            self.is_full = False
            self._disarm()
            if self._send is not None:
                self._transport.unregisterProducer()
            self._owner.drained()

    def stopProducing(self) -> None:
        """The connection is over; ``connectionLost`` follows."""

    def _give_up(self) -> None:
        """Abort, unless the peer still reads: that would drop what it has not taken."""
        before, self._left = self._left, _unsent(self._transport)
        if 0 < self._left < before:
            self._arm(_CLOSE_SECONDS, self._give_up)
        else:
            self._transport.abortConnection()

    def _arm(self, seconds: float, call: Callable[[], None]) -> None:
        self._disarm()
        self._alarm = self._clock.callLater(seconds, self._ring, call)

    def _ring(self, call: Callable[[], None]) -> None:
        self._alarm = None
        call()

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


def _unsent(transport: Any) -> int:
    """Count sent bytes that the peer's kernel does not have yet; 0 if unknown."""
    while isinstance(transport, ProtocolWrapper | SecureTransport):
        transport = transport.transport
    if not isinstance(transport, Connection):
        return 0
    held = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    try:
        queued = ioctl(transport.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return held + int.from_bytes(queued, sys.byteorder)
