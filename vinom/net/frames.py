"""
Messages on a byte stream: frames, each behind its length, and lines of text.

A line ends with LF or CR LF, is at most a limit long without its end, and
a few empty ones mean nothing. Source: docs/protocol/lobby.rst, section "Lines".
"""

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


#: Longest message a player may send by default, bytes.
LINE_LIMIT = 2048
#: Longest hello that carries an identity provider's token, bytes: those of some
#: providers list groups and roles.
HELLO_LIMIT = 8192
#: Empty lines in a row that mean nothing; more are messages, which a rate bounds.
_MOST_EMPTY = 16


class LineTooLong(PeerError):
    """The peer sent more than the limit without a line end."""


@attrs.define
class LineReader:
    """
    Cut a byte stream into lines.

    :ivar limit: longest line accepted, bytes without its end.
    """

    limit: int = LINE_LIMIT
    _held: bytearray = attrs.field(factory=bytearray, init=False)
    _searched: int = attrs.field(default=0, init=False)
    _empty: int = attrs.field(default=0, init=False)

    def receive(self, data: bytes) -> None:
        """Keep bytes until `next_line` can use them."""
        self._held += data

    def next_line(self) -> bytes | None:
        """
        Take the oldest whole line that is not empty, or one of too many empty ones.

        :returns: ``None`` for "more bytes, please".
        :raises LineTooLong: no line end within the limit; the stream is spoilt.
        """
        while True:
            end = self._held.find(b"\n", self._searched)
            if end < 0:
                # One byte more may be the CR of an end that is cut in two.
                if len(self._held) > self.limit + 1:
                    raise LineTooLong(f"a line above {self.limit} bytes")
                self._searched = len(self._held)
                return None
            line = bytes(self._held[:end]).removesuffix(b"\r")
            if len(line) > self.limit:
                raise LineTooLong(f"a line above {self.limit} bytes")
            del self._held[: end + 1]
            self._searched = 0
            self._empty = 0 if line.strip() else self._empty + 1
            if not 0 < self._empty <= _MOST_EMPTY:
                return line
