"""One WebSocket line without a socket: bytes in, messages and bytes out."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from websockets.extensions import Extension

from tests.support.ears import Ear
from vinom.base.reactor.turns import TurnEnd
from vinom.net.frames import HELLO_LIMIT
from vinom.net.lines.limits import LineBounds
from vinom.net.lines.websocket import WebSocketLine, WebSockets


def hear_by_line(
    parts: Sequence[bytes],
    limit: int,
    is_short_cut: bool = True,
    extensions: Sequence[Extension] = (),
    is_admitted: bool = True,
) -> tuple[list[bytes], bytes, bool]:
    """
    Feed a line in parts.

    :param is_admitted: the hello was accepted before them.
    :returns: the messages that it heard, the bytes that it sent, and whether it
        ended the connection.
    """
    clock, transport = Clock(), StringTransport()
    sockets = WebSockets(
        Ear,
        clock,
        TurnEnd(clock),
        LineBounds(limit=limit),
        is_short_cut=is_short_cut,
    )
    line = WebSocketLine(sockets, "192.0.2.1", sockets.new_stream(extensions))
    line.begin(transport, b"")
    listener = line._listener
    assert isinstance(listener, Ear)
    if is_admitted:
        line.admitted()
    for part in parts:
        line.dataReceived(part)
        held = len(line._stream._held)
        most = (limit if is_admitted else HELLO_LIMIT) + 14
        assert held < most, f"it keeps {held} bytes, more than a frame"
    return listener.heard, transport.value(), transport.disconnecting
