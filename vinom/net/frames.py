"""Frames: messages on a byte stream, each behind its length."""

from __future__ import annotations

from struct import Struct as Layout

import attrs

from vinom.errors import PeerError

#: Longest message, bytes: enough for a match with many loadouts, and little memory.
FRAME_LIMIT = 1024 * 1024
#: Length of what stands before each message, bytes.
HEADER = 4

_size_of = Layout("!I").unpack_from


def framed(payload: bytes) -> bytes:
    """
    Make the frame of one message.

    :raises ValueError: it is longer than `FRAME_LIMIT`.
    """
    if len(payload) > FRAME_LIMIT:
        raise ValueError(f"message of {len(payload)} bytes, limit {FRAME_LIMIT}")
    return len(payload).to_bytes(HEADER) + payload


@attrs.define
class FrameReader:
    """
    Cut a byte stream into frames.

    Layout: a 4-byte big-endian length, then as many payload bytes.
    Source: docs/protocol/control.rst, section "Frames".

    :ivar limit: longest payload accepted, bytes.
    """

    limit: int = FRAME_LIMIT
    # Bytes that came in one piece, as most do, are cut without being copied first.
    _held: bytes | bytearray = attrs.field(default=b"", init=False)
    # Offset of the oldest frame: the bytes before it have been read.
    _at: int = attrs.field(default=0, init=False)

    def receive(self, data: bytes) -> None:
        """Keep bytes until `next_frame` can use them."""
        held = self._held
        if not held:
            self._held = data
            return
        if not isinstance(held, bytearray):
            held = self._held = bytearray(held[self._at :])
            self._at = 0
        held += data

    def next_frame(self) -> bytes | None:
        """
        Take the oldest whole frame; ``None`` if there is none yet.

        :raises PeerError: the peer announced more than ``limit`` bytes.
        """
        held, start = self._held, self._at + HEADER
        if len(held) >= start:
            (size,) = _size_of(held, self._at)
            if size > self.limit:
                raise PeerError(f"frame of {size} bytes, limit {self.limit}")
            end = start + size
            if len(held) >= end:
                self._at = end
                return bytes(held[start:end])
        # Once per read, not per frame: this moves the remaining bytes.
        if self._at:
            self._held = held[self._at :]
            self._at = 0
        return None
