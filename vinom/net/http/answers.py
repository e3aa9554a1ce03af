"""Answers that the gateway makes itself, in the form of nodes' errors."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from msgspec import json

from vinom.errors import Code
from vinom.net.http.exchange import write_head
from vinom.net.streams.ends import Reason

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


def own_answer(status: int, words: str, keeps: bool, is_head: bool = False) -> bytes:
    """
    Write an answer of the gateway.

    :param status: HTTP status.
    :param words: an explanation.
    :param keeps: does the connection stay open?
    :param is_head: does it answer HEAD, so that no body follows?
    """
    code = _CODES.get(status, Code.BAD_MESSAGE)
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
