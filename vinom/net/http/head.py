"""
The raw head of a request or answer: cut from the stream, refused if it is ambiguous.

Pure. Programs read some heads differently, with which requests are smuggled past
proxies: a bare LF, folded lines, several lengths. All of these are refused. Sources:
RFC 9112, 2.2, 3, 5 and 6.3; RFC 3986, 3.3.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_to_bytes

import attrs

from vinom.net.http.headers import named

#: Longest head, bytes, and most lines in it.
HEAD_LIMIT = 16 * 1024
_MOST_LINES = 100

_END = b"\r\n\r\n"
_REQUEST_LINE = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~]{1,8192}) HTTP/1\.([01])"
)
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
#: Anything but printing characters, tabs, and bytes above ASCII.
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
LENGTH = re.compile(rb"[0-9]{1,18}")
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~-]{1,255})(:[0-9]{1,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(/[^#]*|\?[^#]*)?", re.IGNORECASE)
#: Characters of a target that need not be encoded (RFC 3986, 3.3 and 3.4), and some
#: more that browsers do not encode.
_TARGET = re.compile(rb"/[!$-;=?-Z_a-z~@:\[\]|^`{}\"\\]*")
#: Splits a path like any known server; some treat a backslash as a slash.
_SLASH = re.compile(rb"[/\\]")


class BadMessage(Exception):
    """
    A request or answer that is refused; no other can be read from its connection.

    :ivar status: status of the answer.
    """

    def __init__(self, status: int, words: str) -> None:
        """
        :param status: status of the answer.
        :param words: an explanation.
        """
        super().__init__(words)
        self.status = status


@attrs.frozen
class Target:
    """
    A request's head.

    :ivar method: the method, unchanged.
    :ivar target: path and query, unchanged; ``*`` for OPTIONS of the server.
    :ivar path: the path without the query, unchanged.
    :ivar authority: the value of ``Host``; empty for HTTP/1.0 without one.
    :ivar host: the host in *authority*, in lower case, without a port.
    :ivar version: of HTTP: ``1.0`` or ``1.1``.
    :ivar fields: its headers.
    :ivar by_name: their values, by their names in lower case.
    """

    method: bytes
    target: bytes
    path: str
    authority: bytes
    host: str
    version: bytes
    fields: list[tuple[bytes, bytes]]
    by_name: dict[bytes, list[bytes]]


@attrs.frozen
class AnswerHead:
    """
    The head of an answer.

    :ivar version: of HTTP: ``1.0`` or ``1.1``.
    :ivar fields: its headers.
    :ivar by_name: their values, by their names in lower case.
    """

    version: bytes
    status: int
    reason: bytes
    fields: list[tuple[bytes, bytes]]
    by_name: dict[bytes, list[bytes]]


def find_head(
    data: bytes, at: int = 0, limit: int = HEAD_LIMIT, searched: int = 0
) -> int:
    """
    Find the end of a head.

    :param at: where it begins in *data*.
    :param limit: longest head, bytes.
    :param searched: bytes of it in which an earlier call has found no end, so that a
        head that comes byte by byte costs no more than its bytes do.
    :returns: where what is behind its empty line begins; 0 if more bytes are needed.
    :raises BadMessage: it is already too long, or can never end correctly.
    """
    new = at + searched
    end = data.find(_END, max(at, new - len(_END) + 1), at + limit)
    if end >= 0:
        return end + len(_END)
    if len(data) - at >= limit:
        raise BadMessage(431, f"the head of this message is longer than {limit} bytes")
    if data.count(b"\n", new) > data.count(b"\r\n", max(at, new - 1)):
        # After a lone LF the end that we wait for might never come.
        raise BadMessage(400, "a line must end with CR and LF")
    return 0


def check_head(head: bytes) -> Target:
    """
    Check a head, so that no program can read a different request in it.

    :param head: the head, with its empty line.
    :raises BadMessage: it is malformed or ambiguous.
    """
    (method, target, minor), fields, values = _cut(
        head, _REQUEST_LINE, "METHOD, target and HTTP/1.1"
    )
    if method == b"CONNECT":
        raise BadMessage(405, "CONNECT is not served here")
    _check_length(values, minor == b"1")
    authority = _authority(values, minor == b"1")
    if not target.startswith(b"/"):
        target, authority = _origin_form(method, target, authority)
    return Target(
        method,
        target,
        _checked_path(target),
        authority,
        _HOST.match(authority)[1].decode().lower() if authority else "",  # type: ignore[index]
        b"1." + minor,
        fields,
        values,
    )


def check_answer(head: bytes) -> AnswerHead:
    """
    Check the head of a back end's answer.

    :param head: the head, with its empty line.
    :raises BadMessage: it is malformed.
    """
    (minor, status, reason), fields, by_name = _cut(
        head, _STATUS_LINE, "HTTP/1.1 and a status"
    )
    return AnswerHead(b"1." + minor, int(status), reason or b"", fields, by_name)


def _cut(
    head: bytes, pattern: re.Pattern[bytes], words: str
) -> tuple[tuple[Any, ...], list[tuple[bytes, bytes]], dict[bytes, list[bytes]]]:
    """
    Cut a head into the parts of its first line and its headers, in order and by name.

    :param pattern: of the first line.
    :param words: what that consists of.
    """
    ends = head.count(b"\r\n")
    if head.count(b"\n") > ends or head.count(b"\r") > ends or b"\0" in head:
        raise BadMessage(400, "a line must end with CR and LF, and have no NUL")
    first, *lines = head[: -len(_END)].split(b"\r\n")
    if len(lines) > _MOST_LINES:
        raise BadMessage(431, f"this message has more than {_MOST_LINES} header lines")
    found = pattern.fullmatch(first)
    if found is None:
        raise BadMessage(400, f"the first line must be {words}")
    fields = list(map(_field, lines))
    return found.groups(), fields, named(fields)


def _field(line: bytes) -> tuple[bytes, bytes]:
    found = FIELD.fullmatch(line)
    if found is None:
        if line[:1] in (b" ", b"\t"):
            raise BadMessage(400, "a header must not continue on the next line")
        raise BadMessage(
            400,
            "a header line must be NAME: VALUE, without a space before the colon",
        )
    return found[1], found[2].strip(b" \t")


def _check_length(values: dict[bytes, list[bytes]], is_modern: bool) -> None:
    lengths = values.get(b"content-length", [])
    codings = values.get(b"transfer-encoding", [])
    if lengths and codings:
        raise BadMessage(400, "use Content-Length or Transfer-Encoding, not both")
    if len(lengths) > 1 or len(codings) > 1:
        raise BadMessage(
            400, "Content-Length and Transfer-Encoding must appear only once"
        )
    if lengths and LENGTH.fullmatch(lengths[0]) is None:
        raise BadMessage(400, "Content-Length must be one number")
    if codings and codings[0].lower() != b"chunked":
        raise BadMessage(501, "the only supported Transfer-Encoding is chunked")
    if codings and not is_modern:
        raise BadMessage(400, "HTTP/1.0 has no Transfer-Encoding")


def _authority(values: dict[bytes, list[bytes]], is_modern: bool) -> bytes:
    hosts = values.get(b"host", [])
    if len(hosts) > 1 or (is_modern and not hosts):
        raise BadMessage(400, "a request must have one Host header")
    if not hosts:
        return b""
    if _HOST.fullmatch(hosts[0]) is None:
        raise BadMessage(
            400, "Host must be a name or an address, with or without a port"
        )
    return hosts[0]


def _origin_form(method: bytes, target: bytes, authority: bytes) -> tuple[bytes, bytes]:
    """Read a target that is not a path: ``*`` of OPTIONS, or a whole URL."""
    if target == b"*" and method == b"OPTIONS":
        return target, authority
    found = _ABSOLUTE.fullmatch(target)
    if found is None or _HOST.fullmatch(found[1]) is None:
        raise BadMessage(400, "the target must be a path")
    if authority and found[1].lower() != authority.lower():
        # It is unknown which of the two a back end would use.
        raise BadMessage(400, "the target and Host must name the same host")
    rest = found[2] or b"/"
    return (rest if rest.startswith(b"/") else b"/" + rest), found[1]


def _checked_path(target: bytes) -> str:
    """
    Read the path of a target.

    Rules choose by its first segments, and a back end that resolves ``..`` would serve
    a path of another rule, or of none. Clients resolve such segments before they send.
    """
    if target == b"*":
        return "/"
    if _TARGET.fullmatch(target) is None:
        raise BadMessage(400, "the target has a character that must be encoded")
    path = target.partition(b"?")[0]
    if b"." in path or b"%" in path:
        decoded = path
        # Twice, because some servers decode twice.
        for _ in range(3):
            for segment in _SLASH.split(decoded):
                if segment.partition(b";")[0] in (b".", b".."):
                    raise BadMessage(400, "the path must not have a segment . or ..")
            decoded = unquote_to_bytes(decoded)
    return path.decode()
