"""
Read connections without the reactor's steps in between.

For each event Twisted looks up a prefix for its log, opens a context, and only then
reads: that takes as long as many messages do themselves. Whoever hands out events
(`vinom.reactor.turns`) asks here first; what is not plain bytes is the reactor's.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any
from typing import Protocol as Shape

from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol

#: Bytes of one read, as many as Twisted's.
_MOST = 65536


class Directly(Shape):
    """Who takes the bytes of a connection."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""

    def abort(self) -> None:
        """End the connection at once."""


class DirectReads:
    """The connections that are read so, by descriptor."""

    _log = Logger()

    def __init__(self) -> None:
        self._readers: dict[int, tuple[Callable[[int], bytes], Directly]] = {}

    def __len__(self) -> int:
        return len(self._readers)

    def add(
        self, descriptor: int, receive: Callable[[int], bytes], reader: Directly
    ) -> None:
        """
        Read this one directly, while the reactor reads it as well.

        :param receive: of its socket, which does not block.
        """
        self._readers[descriptor] = receive, reader

    def remove(self, descriptor: int) -> None:
        """Leave this one to the reactor; its number may soon be another's."""
        self._readers.pop(descriptor, None)

    def read(self, descriptor: int) -> bool:
        """Read what came; ``False`` leaves the event to the reactor."""
        found = self._readers.get(descriptor)
        if found is None:
            return False
        receive, reader = found
        try:
            data = receive(_MOST)
        except OSError:
            return False
        if not data:
            # The end: the reactor finds it again.
            return False
        try:
            reader.dataReceived(data)
        except Exception:
            # As the reactor would: it costs nobody else anything.
            self._log.failure("a connection failed")
            reader.abort()
        return True


def socket_under(transport: Any) -> socket.socket | None:
    """Find the socket that bytes go to as they are; ``None`` under TLS."""
    while isinstance(transport, ProtocolWrapper):
        if isinstance(transport, TLSMemoryBIOProtocol):
            return None
        transport = transport.transport
    if isinstance(transport, Connection) and not transport.TLS:
        return transport.getHandle()
    return None
