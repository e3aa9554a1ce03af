"""
The public HTTP port: it answers most WebSocket handshakes by a short way.

A handshake that arrives whole, without options, gets its answer without Twisted's
channel and request, which would take longer than the hello and the room that follow.
Everything else goes to the site unchanged.

Each connection counts against the limit of its address from its first moment to its
last, even if it never sends a byte, because each takes a descriptor of the node's.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import (
    IHandshakeListener,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.limits.logged import BoundedLog
from vinom.base.reactor.direct import FEW, bound_reads, socket_under
from vinom.base.reactor.waits import Rounds
from vinom.net.http.answers import own_answer
from vinom.net.lines.proxied import when_peer_known
from vinom.net.lines.secure import SecureTransport
from vinom.net.lines.tls import why_tls_failed
from vinom.net.lines.ws_stream import read_plain_handshake
from vinom.net.web.websocket import WebSocketPage

_log = Logger()

#: A connection that sends nothing for this long is closed, seconds.
SILENCE_TIMEOUT = 60.0
#: How long a handshake of TLS may take, seconds.
_HANDSHAKE_SECONDS = 10.0


class FrontDoor(WrappingFactory):
    """Serve *site*, and the WebSockets of *page*."""

    noisy = False

    def __init__(
        self,
        site: IProtocolFactory,
        page: WebSocketPage,
        clock: IReactorTime,
        path: bytes = b"/ws",
    ) -> None:
        """
        :param site: serves HTTP.
        :param page: takes WebSockets over.
        :param clock: for the timeout of silent connections.
        :param path: of *page*.
        """
        super().__init__(site)
        self.page, self.path = page, path
        self.rounds = Rounds(clock, SILENCE_TIMEOUT)
        self.handshakes = Rounds(clock, _HANDSHAKE_SECONDS)
        self._log = BoundedLog(_log, clock)

    def buildProtocol(self, addr: Any) -> Any:
        return _Visitor(self, addr)

    def note_failure(self, host: str, why: str) -> None:
        """Log that TLS ended a connection."""
        self._log.info("TLS with {host} failed: {why}", host=host, why=why)


@implementer(IHandshakeListener)
class _Visitor(Protocol):
    """A connection before its first bytes, and after them if it is not a WebSocket."""

    transport: Any

    def __init__(self, door: FrontDoor, address: Any) -> None:
        self._door, self._address = door, address
        self._descriptor = -1
        self._host = ""
        self._is_known = self._is_counted = self._is_refused = False
        self._channel: Any = None

    def connectionMade(self) -> None:
        transport = self.transport
        # Bytes of a handshake, however slowly they come, give no more time.
        (self._door.handshakes if self._is_tls else self._door.rounds).join(self)
        self._door.page.reserve.join(self, transport)
        bound_reads(transport, FEW)
        when_peer_known(transport, self._count)
        is_served = self._is_known and not self._is_refused
        if is_served and isinstance(transport, Connection):
            # No wrapper needs the bytes before us, and the first of them are few.
            found = socket_under(transport)
            if found is not None:
                self._descriptor = found.fileno()
                self._door.page.direct.add(self._descriptor, found.recv, self, most=FEW)

    def handshakeCompleted(self) -> None:
        """TLS is ready; now it may be silent as long as without TLS."""
        self._door.handshakes.leave(self)
        if not self._is_refused:
            self._door.rounds.join(self)

    def dataReceived(self, data: bytes) -> None:
        if self._channel is not None:
            self._channel.dataReceived(data)
            return
        if self._is_refused:
            return
        door, transport = self._door, self.transport
        self._leave()
        handshake = read_plain_handshake(door.path, data)
        if handshake is not None and door.page.let_in(transport, self._host, handshake):
            return
        # Stay between the transport and the site, to notice the end.
        self._channel = door.wrappedFactory.buildProtocol(self._address)
        self._channel.makeConnection(transport)
        self._channel.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._leave()
        self._door.page.reserve.leave(self)
        why = why_tls_failed(reason)
        if why is not None:
            self._door.note_failure(self._host, why)
        if self._is_counted:
            self._is_counted = False
            self._door.page.leave(self._host)
        if self._channel is not None:
            self._channel.connectionLost(reason)

    def visit(self) -> None:
        """Close a connection that was silent, or shook hands, for too long."""
        self.abort()

    @property
    def is_in_play(self) -> bool:
        """A connection that fetches pages may make room for others."""
        return False

    @property
    def is_queued(self) -> bool:
        """Nobody waits in a queue here."""
        return False

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abortConnection()

    def _count(self) -> None:
        """Count the connection for its peer's address, or refuse it."""
        self._is_known = True
        self._host = getattr(self.transport.getPeer(), "host", "")
        if self._door.page.trusts(self._host):
            # It may speak for many; each WebSocket counts for whom it is.
            return
        refusal = self._door.page.enter(self._host)
        if refusal is None:
            self._is_counted = True
            return
        self._is_refused = True
        self._leave()
        if self._is_tls:
            # An answer would need a finished TLS handshake.
            self.abort()
        else:
            answer = own_answer(429, refusal.message, keeps=False, code=refusal.code)
            self.transport.write(answer)
            self.transport.loseConnection()

    @property
    def _is_tls(self) -> bool:
        return isinstance(self.transport, TLSMemoryBIOProtocol | SecureTransport)

    def _leave(self) -> None:
        self._door.page.direct.remove(self._descriptor)
        self._door.handshakes.leave(self)
        self._door.rounds.leave(self)
