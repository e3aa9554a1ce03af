"""One message for many players: written once, framed once."""

from __future__ import annotations

from vinom.wire.websocket_frames import array_of, text_frame


class Shared:
    """
    One message that goes to many lines.

    Pass the same object to each: a WebSocket to which nothing else is to be said
    in this turn sends the very same frame as all others.

    :ivar message: JSON, without a line end.
    """

    __slots__ = ("_frame", "message")

    def __init__(self, message: bytes) -> None:
        self.message = message
        self._frame: bytes | None = None

    @property
    def frame(self) -> bytes:
        """The message alone in a JSON array, as one WebSocket text frame."""
        frame = self._frame
        if frame is None:
            frame = self._frame = text_frame(array_of((self.message,)))
        return frame
