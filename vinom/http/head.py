"""
The raw head of a request: cut from the stream, and refused if it could be read twice.

Pure. h11 parses it afterwards. It accepts what others read otherwise, which is how
requests are smuggled past proxies: a bare LF, folded lines, several lengths. Here all
of these are refused. Sources: RFC 9112, 2.2, 3, 5 and 6.3; RFC 3986, 3.3.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import attrs

#: Longest head, bytes, and most lines in it.
HEAD_LIMIT = 16 * 1024
_MOST_LINES = 100

_END = b"\r\n\r\n"
_REQUEST_LINE = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~]{1,8192}) HTTP/1\.([01])"
)
#: Anything but printing characters, tabs, and bytes above ASCII.
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
#: What a line of a head may never have. CR and LF are only found in pairs here.
_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\x00")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~-]{1,255})(:[0-9]{1,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(/[^#]*|\?[^#]*)?", re.IGNORECASE)
#: A target may have these, and what is encoded (RFC 3986, 3.3 and 3.4). Browsers leave
#: some more as they are.
_TARGET = re.compile(rb"/[!$-;=?-Z_a-z~@:\[\]|^`{}\"\\]*")
#: Splits a path where any server that we know would; some read a backslash as a slash.
_SLASH = re.compile(rb"[/\\]")


class BadHead(Exception):
    """
    A request that is refused; its connection cannot be read on.

    :ivar status: of the answer.
    """

    def __init__(self, status: int, words: str) -> None:
        """
        :param status: of the answer.
        :param words: for people.
        """
        super().__init__(words)
        self.status = status


@attrs.frozen
class Target:
    """
    What a request is for.

    :ivar method: as it came.
    :ivar target: path and query, as it came; ``*`` for OPTIONS as a whole.
    :ivar path: without the query, as it came.
    :ivar authority: the value of ``Host``; empty if HTTP/1.0 has none.
    :ivar host: of *authority*, lower case, without a port.
    :ivar has_body: whether it says how long its body is; else there is none.
    """

    method: bytes
    target: bytes
    path: str
    authority: bytes
    host: str
    has_body: bool = False


@attrs.define
class HeadReader:
    """
    Cut the head of a request off a stream.

    :ivar limit: longest head, bytes.
    """

    limit: int = HEAD_LIMIT
    _held: bytearray = attrs.field(factory=bytearray, init=False)

    def __bool__(self) -> bool:
        """Has a head begun?"""
        return bool(self._held)

    def receive(self, data: bytes) -> tuple[bytes, bytes] | None:
        """
        Take bytes.

        :returns: the head with its empty line, and what followed it; ``None`` if it
            takes more bytes.
        :raises BadHead: it is too long already, or no head ever ends so.
        """
        held = self._held
        start = max(0, len(held) - 3)
        held += data
        end = held.find(_END, start)
        if end >= 0:
            end += len(_END)
        if (len(held) if end < 0 else end) > self.limit:
            raise BadHead(
                431, f"the head of this request is longer than {self.limit} bytes"
            )
        if end < 0:
            # A lone LF may never be followed by the end that we wait for.
            lone = _LONE.search(held, start)
            if lone is not None and (lone[0] != b"\r" or lone.end() < len(held)):
                raise BadHead(400, "a line must end with CR and LF")
            return None
        head, rest = bytes(held[:end]), bytes(held[end:])
        held.clear()
        return head, rest


def check_head(head: bytes) -> Target:
    """
    Check a head, so that nobody can read another request in it than we do.

    :param head: with its empty line.
    :raises BadHead: it is malformed, or ambiguous.
    """
    ends = head.count(b"\r\n")
    if head.count(b"\n") > ends or head.count(b"\r") > ends or b"\0" in head:
        raise BadHead(400, "a line must end with CR and LF, and have no NUL")
    first, *lines = head[: -len(_END)].split(b"\r\n")
    if len(lines) > _MOST_LINES:
        raise BadHead(431, f"this request has more than {_MOST_LINES} header lines")
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        raise BadHead(400, "the first line must be METHOD, target and HTTP/1.1")
    method, target, minor = found.groups()
    if method == b"CONNECT":
        raise BadHead(405, "CONNECT is not served here")
    values = _fields(lines)
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
        b"content-length" in values or b"transfer-encoding" in values,
    )


def _fields(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    """Read the fields that decide how a request is read: their values, by name."""
    values: dict[bytes, list[bytes]] = {}
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found is None:
            if line[:1] in (b" ", b"\t"):
                raise BadHead(400, "a header must not go on in the next line")
            raise BadHead(400, "a header line must be NAME: VALUE, without a blank")
        values.setdefault(found[1].lower(), []).append(found[2].strip(b" \t"))
    return values


def _check_length(values: dict[bytes, list[bytes]], is_modern: bool) -> None:
    lengths = values.get(b"content-length", [])
    codings = values.get(b"transfer-encoding", [])
    if lengths and codings:
        raise BadHead(400, "Content-Length and Transfer-Encoding exclude each other")
    if len(lengths) > 1 or len(codings) > 1:
        raise BadHead(400, "Content-Length and Transfer-Encoding must come once")
    if lengths and _LENGTH.fullmatch(lengths[0]) is None:
        raise BadHead(400, "Content-Length must be one number")
    if codings and codings[0].lower() != b"chunked":
        raise BadHead(501, "the only Transfer-Encoding that is served is chunked")
    if codings and not is_modern:
        raise BadHead(400, "HTTP/1.0 has no Transfer-Encoding")


def _authority(values: dict[bytes, list[bytes]], is_modern: bool) -> bytes:
    hosts = values.get(b"host", [])
    if len(hosts) > 1 or (is_modern and not hosts):
        raise BadHead(400, "a request must have one Host header")
    if not hosts:
        return b""
    if _HOST.fullmatch(hosts[0]) is None:
        raise BadHead(400, "Host must be a name or an address, with a port or without")
    return hosts[0]


def _origin_form(method: bytes, target: bytes, authority: bytes) -> tuple[bytes, bytes]:
    """Read a target that is no path: ``*`` of OPTIONS, or a whole URL."""
    if target == b"*" and method == b"OPTIONS":
        return target, authority
    found = _ABSOLUTE.fullmatch(target)
    if found is None or _HOST.fullmatch(found[1]) is None:
        raise BadHead(400, "the target must be a path")
    if authority and found[1].lower() != authority.lower():
        # One of the two decides where it goes: nobody knows which at a back end.
        raise BadHead(400, "the target and Host must name one host")
    rest = found[2] or b"/"
    return (rest if rest.startswith(b"/") else b"/" + rest), found[1]


def _checked_path(target: bytes) -> str:
    """
    Take the path of a target.

    Rules choose by its first segments; a back end that resolves ``..`` would serve what
    another rule, or none, is for. Clients resolve them before they send.
    """
    if target == b"*":
        return "/"
    if _TARGET.fullmatch(target) is None:
        raise BadHead(400, "the target has a character that must be encoded")
    path = target.partition(b"?")[0]
    if b"." in path or b"%" in path:
        decoded = path
        # Twice: some servers decode what they have decoded.
        for _ in range(3):
            for segment in _SLASH.split(decoded):
                if segment.partition(b";")[0] in (b".", b".."):
                    raise BadHead(400, "the path must not have the segments . and ..")
            decoded = unquote_to_bytes(decoded)
    return path.decode()
