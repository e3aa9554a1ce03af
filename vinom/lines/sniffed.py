"""A connection before its first bytes: it makes way for what these bytes ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from vinom.lines.sniff import Spoken, sniff
from vinom.reactor.waits import Waits

#: How long a connection may send nothing by which it is known, seconds.
SNIFF_SECONDS = 5.0


class Sniffing(Protocol):
    """
    Wait for the first bytes of a connection, and put a protocol in its own place.

    It holds 20 bytes at most, for `SNIFF_SECONDS` at most unless told otherwise.
    """

    transport: Any

    def __init__(
        self,
        choose: Callable[[Spoken], IProtocol | None],
        lost: Callable[[Failure, bool], None],
        waits: Waits,
        deadline: float,
    ) -> None:
        """
        :param choose: makes the protocol of what is spoken, which takes the connection
            over, with all that came; ``None`` ends the connection.
        :param lost: called at the end of a connection that nobody took over; ``True``
            if it was silent for too long.
        :param waits: rings at the deadline.
        :param deadline: when to give up, on the clock of *waits*.
        """
        self._choose, self._lost = choose, lost
        self._waits, self._deadline = waits, deadline
        self._held = b""
        self._is_over = self._is_overdue = False

    def connectionMade(self) -> None:
        self._waits.add(self, self._deadline)

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            return
        if self._held:
            data = self._held + data
        spoken = sniff(data)
        if spoken is None:
            self._held = data
            return
        self._is_over = True
        self._waits.remove(self)
        inner = self._choose(spoken)
        if inner is None:
            self.transport.abortConnection()
            return
        transport = self.transport
        put_protocol(transport, inner)
        inner.makeConnection(transport)
        inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._waits.remove(self)
        self._is_over = True
        self._lost(reason, self._is_overdue)

    def overdue(self) -> None:
        """Nothing came in time."""
        self._is_over = self._is_overdue = True
        self.transport.abortConnection()


def put_protocol(transport: Any, protocol: Any) -> Any:
    """
    Let a transport, or its wrapper, pass what it receives to another protocol.

    :returns: the one before it.
    """
    name = "wrappedProtocol" if hasattr(transport, "wrappedProtocol") else "protocol"
    former = getattr(transport, name, None)
    setattr(transport, name, protocol)
    return former
