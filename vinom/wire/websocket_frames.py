"""
WebSocket frames as a server sends them: whole, unmasked, uncompressed.

Source: RFC 6455, section 5.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

#: How whole text frames of short payloads begin, by their size.
_SHORT = tuple(bytes((0x81, size)) for size in range(126))
_middle = Struct("!BBH").pack
#: Asks for a sign of life.
PING = b"\x89\x00"


def text_frame(payload: bytes) -> bytes:
    """Write one text message as one frame; *payload* is UTF-8 already."""
    size = len(payload)
    if size < 126:
        return _SHORT[size] + payload
    if size < 65536:
        return _middle(0x81, 126, size) + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def array_of(messages: Sequence[bytes]) -> bytes:
    """Put messages, each of them JSON, into one JSON array."""
    return b"[%b]" % b",".join(messages)
