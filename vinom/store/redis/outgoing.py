"""What goes to Redis: all commands of a turn in one write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

from vinom.reactor.direct import socket_under
from vinom.reactor.turns import TurnEnd


@implementer(IPullProducer)
@attrs.define(eq=False)
class Outgoing:
    """
    Send the commands of a turn together when it ends.

    They go to the socket directly: the reactor would first wait for it to be writable,
    which takes a turn of its own.
    """

    _transport: Any
    _turns: TurnEnd
    _parts: list[bytes] = attrs.field(factory=list, init=False)
    # ``None`` under TLS.
    _send: Callable[[bytes], int] | None = attrs.field(default=None, init=False)
    # Does the transport hold something that must go first?
    _is_behind: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        direct = socket_under(self._transport)
        self._send = None if direct is None else direct.send

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
            self._transport.write(data)
            return
        try:
            sent = self._send(data)
        except OSError:
            # No room; or the end, which the reactor will find in its own way.
            sent = 0
        if sent < len(data):
            self._transport.write(data[sent:])
            # It is asked for more when the transport has sent that; and once at first.
            self._transport.registerProducer(self, False)
            self._is_behind = True

    def resumeProducing(self) -> None:
        """The transport holds nothing any more."""
        if self._is_behind:
            self._is_behind = False
            self._transport.unregisterProducer()

    def stopProducing(self) -> None:
        """The connection is over."""
