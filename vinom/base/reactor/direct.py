"""
Connections whose bytes are read without the reactor's steps in between.

For each event Twisted looks up a prefix for its log, opens a context, and only then
reads: that takes as long as many messages do themselves. `vinom.base.reactor.turns`
hands out events, and reads these connections itself; what is not plain bytes is the
reactor's.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any
from typing import Protocol as Shape

from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol

#: Most bytes of one read: where they are passed on at once, and where they may have to
#: wait, as requests do for the answer to the one before.
MOST, FEW = 64 * 1024, 16 * 1024


class Directly(Shape):
    """Who takes the bytes of a connection."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""

    def abort(self) -> None:
        """End the connection at once."""


class DirectReads:
    """
    The connections that are read directly.

    :ivar readers: by descriptor: receives at most as many bytes as it is asked for; who
        takes them; and how many to ask for.
    :ivar ends: by descriptor: what to call at the end of what comes, if the reactor is
        not to find it.
    """

    def __init__(self) -> None:
        self.readers: dict[int, tuple[Callable[[int], bytes], Directly, int]] = {}
        self.ends: dict[int, Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self.readers)

    def add(
        self,
        descriptor: int,
        receive: Callable[[int], bytes],
        reader: Directly,
        ended: Callable[[], None] | None = None,
        most: int = MOST,
    ) -> None:
        """
        Read this one directly, while the reactor reads it as well.

        :param receive: of its socket, which does not block.
        :param ended: called at the end of what comes; it must have the reactor read
            this one no more. ``None`` leaves the end to the reactor.
        :param most: bytes of one read.
        """
        self.readers[descriptor] = receive, reader, most
        if ended is not None:
            self.ends[descriptor] = ended

    def remove(self, descriptor: int) -> None:
        """Leave this one to the reactor; its number may soon be another's."""
        self.readers.pop(descriptor, None)
        self.ends.pop(descriptor, None)


def socket_under(transport: Any) -> socket.socket | None:
    """Find the socket that bytes go to as they are; ``None`` under TLS."""
    # First what it nearly always is.
    while not isinstance(transport, Connection) and isinstance(
        transport, ProtocolWrapper
    ):
        if isinstance(transport, TLSMemoryBIOProtocol):
            return None
        transport = transport.transport
    if isinstance(transport, Connection) and not transport.TLS:
        return transport.getHandle()
    return None


def bound_reads(transport: Any, most: int) -> None:
    """
    Have the reactor read at most so many bytes of a connection at once.

    :param transport: of a socket, in whatever it is wrapped.
    """
    while not isinstance(transport, Connection):
        transport = getattr(transport, "transport", None)
        if transport is None:
            return
    transport.bufferSize = most
