"""
Find the ends of a WebSocket's messages, so that the gateway can close it between two.

Pure. Nothing is decoded: back ends and clients check their frames themselves. Source:
RFC 6455, 5.2 and 7.4.
"""

from __future__ import annotations

import attrs

#: Length of a frame's head beyond two bytes, by the short form of its length.
_LONGER = {126: 2, 127: 8}
_MASKED = 0x80


@attrs.define
class FrameEnds:
    """
    Follow the frames of one direction.

    :ivar is_closing: was the last frame a close frame, or invalid, so that no other may
        follow?
    """

    is_closing: bool = False
    #: Bytes of the frame's content that are still to come.
    _rest: int = 0
    _head: bytes = b""

    @property
    def is_between(self) -> bool:
        """Has the last frame ended?"""
        return not self._rest and not self._head

    def pass_on(self, data: bytes) -> None:
        """Follow sent bytes."""
        self._follow(data, False)

    def up_to_end(self, data: bytes) -> int:
        """
        Follow bytes up to the end of the frame that has begun.

        :returns: how many of them to send; the rest is not followed.
        """
        return self._follow(data, True)

    def _follow(self, data: bytes, is_last: bool) -> int:
        at, size = 0, len(data)
        if self._head:
            # The head came in pieces: put it together.
            before = len(self._head)
            data, self._head = self._head + data, b""
            size += before
        else:
            before = 0
        is_in_head = bool(before)
        while True:
            skipped = min(self._rest, size - at)
            self._rest -= skipped
            at += skipped
            if at == size or (is_last and not self._rest and not is_in_head):
                return at - before
            if size - at < 2:
                break
            second = data[at + 1]
            length = second & 0x7F
            longer = _LONGER.get(length, 0)
            masked = 4 if second & _MASKED else 0
            if size - at < 2 + longer + masked:
                break
            if longer:
                length = int.from_bytes(data[at + 2 : at + 2 + longer])
            self.is_closing = self.is_closing or data[at] & 0x0F == 0x8
            at += 2 + longer + masked
            self._rest, is_in_head = length, False
        self._head = data[at:]
        return size - before


def close_frame(code: int, words: str = "") -> bytes:
    """
    Write a close frame of a server.

    :param code: why (RFC 6455, 7.4.1, and IANA's list).
    :param words: an explanation, cut to the longest possible.
    """
    text = words.encode()[:123].decode(errors="ignore").encode()
    return bytes((0x88, 2 + len(text))) + code.to_bytes(2) + text
