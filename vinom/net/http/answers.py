"""
What a gateway itself sends to clients: answers, in the form of nodes' errors, and the
close frame of a WebSocket, between two of the frames that it passes on.

Pure. Frames are not decoded: back ends and clients check theirs themselves. Source: RFC
6455, 5.2 and 7.4.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import attrs
from msgspec import json

from vinom.errors import Code
from vinom.net.http.exchange import write_head
from vinom.net.streams.channels import Reason

#: After how long a client should try again, seconds.
RETRY_AFTER = 1

_STATUSES = {
    Reason.BACKEND_LOST: 502,
    Reason.ABORTED: 502,
    Reason.DONE: 502,
    Reason.UNKNOWN_SERVICE: 404,
    Reason.NO_BACKEND: 503,
    Reason.TOO_MANY: 503,
    Reason.DRAINING: 503,
    Reason.TOO_SLOW: 504,
    Reason.TIMEOUT: 504,
}
_CODES = {
    404: Code.UNKNOWN_TYPE,
    413: Code.TOO_LONG,
    431: Code.TOO_LONG,
    408: Code.TIMEOUT,
    500: Code.INTERNAL,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.TIMEOUT,
}
#: Of the close frame by which a WebSocket ends (RFC 6455, 7.4.1; 1012 and 1013: IANA).
_CLOSE_CODES = {
    Reason.BACKEND_LOST: 1013,
    Reason.ABORTED: 1013,
    Reason.NO_BACKEND: 1013,
    Reason.TOO_MANY: 1013,
    Reason.DRAINING: 1012,
    Reason.TIMEOUT: 1013,
    Reason.INTERNAL: 1011,
}


def status_of(reason: Reason) -> int:
    """Find the status of a request whose session ended before its answer began."""
    return _STATUSES.get(reason, 500)


def close_code_of(reason: Reason) -> int | None:
    """Find the close code of a WebSocket; ``None`` if it ends without a close frame."""
    return _CLOSE_CODES.get(reason)


def own_answer(
    status: int,
    words: str,
    keeps: bool,
    is_head: bool = False,
    code: Code | None = None,
) -> bytes:
    """
    Write an answer without a request's help, as the gateway and full ports do.

    :param status: HTTP status.
    :param words: an explanation.
    :param keeps: does the connection stay open?
    :param is_head: does it answer HEAD, so that no body follows?
    :param code: the refusal's; without one, what the status means.
    """
    code = code or _CODES.get(status, Code.BAD_MESSAGE)
    error: dict[str, Any] = {"code": code.value, "message": words, "details": {}}
    body = json.encode({"error": error}) + b"\n"
    fields = [
        (b"Content-Type", b"application/json"),
        (b"Cache-Control", b"no-store"),
        (b"Content-Length", b"%d" % len(body)),
    ]
    if status == 503:
        fields.append((b"Retry-After", b"%d" % RETRY_AFTER))
    if not keeps:
        fields.append((b"Connection", b"close"))
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
    return write_head(first.encode(), fields) + (b"" if is_head else body)


#: Length of a frame's head beyond two bytes, by the short form of its length.
_LONGER = {126: 2, 127: 8}
_MASKED = 0x80


@attrs.define
class FrameRelay:
    """
    Passes on the frames of one direction.

    :ivar is_closing: was the last frame a close frame, so that no other may follow?
    :ivar is_ending: is nothing passed on after the frame that has begun?
    """

    is_closing: bool = False
    is_ending: bool = False
    #: The close frame that follows the frame that has begun.
    _due: bytes = b""
    #: Bytes of the frame's content that are still to come, and what came of its head.
    _left: int = 0
    _head: bytes = b""

    @property
    def is_between(self) -> bool:
        """Has the last frame ended?"""
        return not self._left and not self._head

    def pass_on(self, data: bytes) -> bytes:
        """Follow received bytes; returns those to send."""
        if not self.is_ending:
            self._follow(data)
            return data
        if not self._due:
            return b""
        data = data[: self._follow(data)]
        return data + self._take_due() if self.is_between else data

    def close(self, frame: bytes) -> bytes:
        """
        End with a close frame, now or behind the frame that has begun.

        :param frame: is sent unless the back end sends its own.
        :returns: the bytes to send now.
        """
        if self.is_ending:
            return b""
        self.is_ending, self._due = True, frame
        return self._take_due() if self.is_between else b""

    def _take_due(self) -> bytes:
        due, self._due = self._due, b""
        if self.is_closing:
            return b""
        self.is_closing = True
        return due

    def _follow(self, data: bytes) -> int:
        """Follow frames; returns where the one ends behind which nothing is sent."""
        at, size = 0, len(data)
        while at < size:
            if not self._left:
                before, head = len(self._head), self._head + data[at : at + 14]
                begins = _content(head)
                if not begins:
                    self._head = head
                    return size
                at += begins - before
                self._head, self._left = b"", _length(head)
                self.is_closing = self.is_closing or head[0] & 0x0F == 0x8
            taken = min(self._left, size - at)
            self._left -= taken
            at += taken
            if self.is_ending and not self._left:
                break
        return at


def _content(head: bytes) -> int:
    """Find where the content behind a head begins; 0 if more bytes are needed."""
    if len(head) < 2:
        return 0
    second = head[1]
    size = 2 + _LONGER.get(second & 0x7F, 0) + (4 if second & _MASKED else 0)
    return size if len(head) >= size else 0


def _length(head: bytes) -> int:
    """Read the length of a frame's content."""
    length = head[1] & 0x7F
    longer = _LONGER.get(length)
    return int.from_bytes(head[2 : 2 + longer]) if longer else length


def close_frame(code: int, words: str = "") -> bytes:
    """
    Write a close frame of a server.

    :param code: why (RFC 6455, 7.4.1, and IANA's list).
    :param words: an explanation, cut to the longest possible.
    """
    text = words.encode()[:123].decode(errors="ignore").encode()
    return bytes((0x88, 2 + len(text))) + code.to_bytes(2) + text
