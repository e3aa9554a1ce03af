"""One message for many players: written once, framed once."""

from __future__ import annotations

from vinom.wire.websocket_frames import array_of, text_frame


class Shared:
    """
    One message that goes to many lines.

    Pass the same object to each: a WebSocket to which nothing else is to be said
    in this turn sends the very same frame as all others.

    :ivar message: JSON, without a line end.
    :ivar frame: the message alone in an array, as one WebSocket text frame.
    """

    __slots__ = ("frame", "message")

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.frame = text_frame(array_of((message,)))
