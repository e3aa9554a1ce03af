"""The bytes to and from Redis, without the reactor's steps in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

from vinom.base.reactor.direct import DirectReads, socket_under
from vinom.base.reactor.turns import TurnEnd


@implementer(IPullProducer)
@attrs.define(eq=False)
class Wire:
    """
    Send the commands of a turn together when it ends, and read answers directly.

    The reactor would first wait for the socket to be writable, which takes a turn of
    its own; see `vinom.base.reactor.direct` for reading. Under TLS it does both.
    """

    _protocol: Any
    _turns: TurnEnd
    _direct: DirectReads
    _parts: list[bytes] = attrs.field(factory=list, init=False)
    _send: Callable[[bytes], int] | None = attrs.field(default=None, init=False)
    _descriptor: int = attrs.field(default=-1, init=False)
    # Does the transport hold something that must go first?
    _is_behind: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        socket = socket_under(self._protocol.transport)
        if socket is not None:
            self._send = socket.send
            self._descriptor = socket.fileno()
            self._direct.add(self._descriptor, socket.recv, self)
            self._protocol.whenDisconnected().addCallback(lambda _: self.leave())

    def leave(self) -> None:
        """Leave the rest to the reactor: the connection ends."""
        self._direct.remove(self._descriptor)
        self._descriptor = -1

    def dataReceived(self, data: bytes) -> None:
        """Answers came."""
        self._protocol.dataReceived(data)

    def abort(self) -> None:
        """End the connection at once."""
        self._protocol.transport.abortConnection()

    def write(self, data: bytes) -> None:
        """Send when the turn ends."""
        if not self._parts:
            self._turns.flush(self)
        self._parts.append(data)

    def flush(self) -> None:
        """The turn is over: send what was written in it."""
        if not self._parts:
            return
        data, self._parts = b"".join(self._parts), []
        if self._send is None or self._is_behind:
            self._protocol.transport.write(data)
            return
        try:
            sent = self._send(data)
        except OSError:
            # No room; or the end, which the reactor will find in its own way.
            sent = 0
        if sent < len(data):
            self._protocol.transport.write(data[sent:])
            # It is asked for more when the transport has sent that; and once at first.
            self._protocol.transport.registerProducer(self, False)
            self._is_behind = True

    def resumeProducing(self) -> None:
        """The transport holds nothing any more."""
        if self._is_behind:
            self._is_behind = False
            self._protocol.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """The connection is over."""
