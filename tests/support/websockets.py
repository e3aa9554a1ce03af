"""Frames as clients write and read them."""

from __future__ import annotations

from websockets.frames import Frame
from websockets.streams import StreamReader

KEY = b"\x5a\x01\xc3\x7f"


def frame(
    opcode: int,
    payload: bytes,
    *,
    is_final: bool = True,
    reserved: int = 0,
    is_masked: bool = True,
    width: int | None = None,
) -> bytes:
    """
    Write a client's frame, right or wrong.

    :param reserved: bits 1 to 3 as a number.
    :param width: bytes of the long length, 2 or 8, also where it could be short.
    """
    size = len(payload)
    if width is None:
        width = 0 if size < 126 else 2 if size < 65536 else 8
    mark = {0: size & 0x7F, 2: 126, 8: 127}[width]
    head = bytes([is_final << 7 | reserved << 4 | opcode, is_masked << 7 | mark])
    if width:
        head += (size % 256**width).to_bytes(width, "big")
    if not is_masked:
        return head + payload
    masked = bytes(byte ^ KEY[at % 4] for at, byte in enumerate(payload))
    return head + KEY + masked


def read_frames(data: bytes) -> list[Frame]:
    """Read a server's frames, which must be whole."""
    stream, frames = StreamReader(), []
    stream.feed_data(data)
    stream.feed_eof()
    while stream.buffer:
        reading = Frame.parse(stream.read_exact, mask=False)
        try:
            next(reading)
        except StopIteration as done:
            frames.append(done.value)
        else:
            raise AssertionError("part of a frame")
    return frames
