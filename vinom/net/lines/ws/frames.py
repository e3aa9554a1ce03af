"""
WebSocket frames as a server sends them: whole, unmasked, uncompressed.

Sources: RFC 6455, 5.2 and 7.4; docs/protocol/websocket.rst, section "Close codes".
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from vinom.errors import Code

#: Nothing is left to send.
NORMAL = 1000
#: A message is too long (RFC 6455, 7.4.1).
TOO_LONG = 1009
#: Any code that has no number of its own: the reason begins with it.
OTHER = 4000

#: Numbers from 4000 on are ours (RFC 6455, 7.4.2).
NUMBERS = {
    Code.SHUTDOWN: 1001,
    Code.INTERNAL: 1011,
    Code.REPLACED: 4001,
    Code.TIMEOUT: 4002,
    Code.KICKED: 4003,
    Code.TOO_SLOW: 4008,
    Code.RATE_LIMITED: 4029,
}


def farewell(code: Code | None, reason: str) -> tuple[int, str]:
    """
    Find what a close frame carries.

    :returns: its number, and its reason: the code, and the same in words.
    """
    if code is None:
        return NORMAL, reason
    return NUMBERS.get(code, OTHER), f"{code.value}: {reason}" if reason else code.value


#: How whole text frames of short payloads begin, by their size.
_SHORT = tuple(bytes((0x81, size)) for size in range(126))
_middle = Struct("!BBH").pack
#: Asks whether the peer still answers.
PING = b"\x89\x00"


def text_frame(payload: bytes) -> bytes:
    """Write one text message as one frame; *payload* is UTF-8 already."""
    size = len(payload)
    if size < 126:
        return _SHORT[size] + payload
    if size < 65536:
        return _middle(0x81, 126, size) + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


class Framer:
    """
    Make one frame of what a turn sends to a connection, once for all alike.

    Connections of one room come one after the other, and most of them are sent the
    same; so it is enough to remember the last.
    """

    __slots__ = ("_frame", "_messages")

    def __init__(self) -> None:
        self._messages: Sequence[bytes] = ()
        self._frame = b""

    def frame(self, messages: list[bytes]) -> bytes:
        """Frame messages as an array; *messages* must not change any more."""
        # Lists are compared by what they hold, and that is mostly the same objects.
        if messages != self._messages:
            self._frame = text_frame(b"[%b]" % b",".join(messages))
            self._messages = messages
        return self._frame
