"""One message for many players: written once, framed once."""

from __future__ import annotations

from collections.abc import Sequence

from vinom.lines.ws.frames import array_of, text_frame


class Shared:
    """
    One message that goes to many lines.

    Pass the same object to each: lines that are told the same in one turn send the
    very same frame.

    :ivar message: JSON, without a line end.
    """

    __slots__ = ("message",)

    def __init__(self, message: bytes) -> None:
        self.message = message


class Framer:
    """
    Make one WebSocket frame of what a turn said to a line, once for all alike.

    Lines of one room come one after the other, and most of them are told the same;
    so it is enough to remember the last.
    """

    __slots__ = ("_frame", "_said")

    def __init__(self) -> None:
        self._said: Sequence[bytes | Shared] = ()
        self._frame = b""

    def frame(self, said: list[bytes | Shared]) -> bytes:
        """Frame messages as an array; *said* must not change any more."""
        # Lists are compared by what they hold, and that is mostly the same objects.
        if said != self._said:
            self._frame = text_frame(array_of(texts(said)))
            self._said = said
        return self._frame


def texts(said: Sequence[bytes | Shared]) -> list[bytes]:
    """Take messages out of what they are shared in."""
    return [one.message if isinstance(one, Shared) else one for one in said]
