"""A connection before its first bytes, which select the protocol that takes over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from vinom.base.reactor.waits import Waits
from vinom.net.lines.sniff import Spoken, sniff

#: How long a connection may take to show its protocol, seconds.
SNIFF_SECONDS = 5.0


class Sniffing(Protocol):
    """
    Wait for the first bytes of a connection, then hand it to the protocol for them.

    It holds at most 20 bytes, by default for at most `SNIFF_SECONDS`.
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
        :param choose: makes the protocol that takes over the connection, with all bytes
            received; ``None`` ends the connection.
        :param lost: called at the end of a connection that no protocol took over;
            ``True`` if it was silent for too long.
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
        """Give up, because nothing came in time."""
        self._is_over = self._is_overdue = True
        self.transport.abortConnection()


def put_protocol(transport: Any, protocol: Any) -> Any:
    """
    Let a transport, or its wrapper, pass received bytes to another protocol.

    :returns: the previous protocol.
    """
    name = "wrappedProtocol" if hasattr(transport, "wrappedProtocol") else "protocol"
    former = getattr(transport, name, None)
    setattr(transport, name, protocol)
    return former
