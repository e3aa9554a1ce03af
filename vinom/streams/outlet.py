"""
Send to a connection: directly to its socket, and only the rest through the reactor.

Twisted always waits for the socket to be writable, which takes longer than sending most
messages. Over TLS, and in tests, everything goes to the transport.
"""

from __future__ import annotations

import sys
import termios
from collections.abc import Callable
from fcntl import ioctl
from typing import Any

from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

from vinom.lines.secure import SecureTransport
from vinom.reactor.connections import QuickConnection
from vinom.reactor.direct import (
    MOST,
    Directly,
    DirectReads,
    bound_reads,
    socket_under,
)


@implementer(IPushProducer, IPullProducer)
class Outlet:
    """
    The sending side of one connection.

    :ivar is_full: does the peer not read what it is sent?
    """

    __slots__ = (
        "_descriptor",
        "_direct",
        "_drained",
        "_filled",
        "_left",
        "_send",
        "_transport",
        "is_full",
    )

    def __init__(
        self,
        transport: Any,
        filled: Callable[[], None],
        drained: Callable[[], None],
        reader: Directly,
        direct: DirectReads | None = None,
        most: int = MOST,
    ) -> None:
        """
        :param transport: nothing was written to it before.
        :param filled: called when the peer reads no more.
        :param drained: called when it has read everything.
        :param reader: gets the received bytes.
        :param direct: reads connections without the reactor.
        :param most: bytes of one read.
        """
        bound_reads(transport, most)
        self._transport, self._filled, self._drained = transport, filled, drained
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
            direct.add(self._descriptor, below.recv, reader, ended, most)

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
            self.is_full = True
            self._filled()

    def release(self) -> None:
        """Write no more: let the transport close when everything is sent."""
        # Twisted keeps a connection open as long as it has a producer.
        self._transport.unregisterProducer()
        self._send = None

    def weigh(self) -> None:
        """Note for `is_taken` what the peer has not taken."""
        self._left = _unsent(self._transport)

    def is_taken(self) -> bool:
        """
        Has the peer read some of the bytes left at `weigh`, or at the last call?

        ``False`` also if nothing is left. Until then, aborting the connection would
        drop bytes that the kernel still has to send.
        """
        before, self._left = self._left, _unsent(self._transport)
        return 0 < self._left < before

    def forget(self) -> None:
        """The connection is over, or belongs to another protocol now."""
        self._send = None
        if self._direct is not None:
            self._direct.remove(self._descriptor)
            self._direct = None

    # What the transport calls.

    def pauseProducing(self) -> None:
        """The peer does not read."""
        self.is_full = True
        self._filled()

    def resumeProducing(self) -> None:
        """The peer has taken everything."""
        if self.is_full:
            self.is_full = False
            if self._send is not None:
                self._transport.unregisterProducer()
            self._drained()

    def stopProducing(self) -> None:
        """The connection is over; ``connectionLost`` follows."""


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
