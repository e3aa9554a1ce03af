"""
One request and its answer, each read and written again for the other side.

Pure. The framing of either side is never passed on: bodies are framed again, so that no
two programs can disagree about where a message ends. Source: RFC 9112, 6 and 7.
"""

from __future__ import annotations

import re

import attrs

from vinom.net.http.head import (
    FIELD,
    LENGTH,
    AnswerHead,
    BadMessage,
    Target,
    check_answer,
    find_head,
)
from vinom.net.http.headers import Fields, answer_fields, tokens

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*|;[\t -~\x80-\xff]*)\r\n")
#: Longest line between two chunks, and most trailers.
_LONGEST_LINE = 4096
_MOST_TRAILERS = 100
#: Chunks that may be tiny, and what they must have on average after that, bytes: each
#: costs as much as many bytes do.
_MOST_TINY = 2048
_TINY = 16
#: How long a body may pause, and take however slow it is, seconds; and how fast it must
#: come on average after that, bytes per second.
BODY_SECONDS, _BODY_RATE = 30.0, 500.0


@attrs.define
class Body:
    """
    Read one body.

    :ivar limit: longest body, bytes; ``None`` for no limit, also of its chunks.
    :ivar is_whole: has all of it come?
    """

    limit: int | None
    #: Bytes of the content, or of the chunk, that are still to come.
    _left: int = 0
    _is_chunked: bool = False
    #: Does the body end with its connection?
    _is_endless: bool = False
    is_whole: bool = attrs.field(default=False, init=False)
    #: A line that is not whole yet.
    _line: bytes = attrs.field(default=b"", init=False)
    #: Is the line end behind a chunk due, or are trailers?
    _is_behind_chunk: bool = attrs.field(default=False, init=False)
    _is_last: bool = attrs.field(default=False, init=False)
    _chunks: int = attrs.field(default=0, init=False)
    _size: int = attrs.field(default=0, init=False)
    _trailers: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._check_size(self._left)
        self.is_whole = not (self._left or self._is_chunked or self._is_endless)

    def take(self, data: bytes, at: int) -> tuple[bytes, int]:
        """
        Read bytes.

        :param at: where the body goes on in *data*.
        :returns: the content, and where what is behind the body begins.
        :raises BadMessage: it is malformed or too long.
        """
        if self._is_endless:
            return data[at:], len(data)
        pieces, end = [], len(data)
        while at < end and not self.is_whole:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._is_behind_chunk = self._is_chunked and not self._left
                self.is_whole = not self._left and not self._is_chunked
                continue
            stop = data.find(b"\n", at, at + _LONGEST_LINE) + 1 or end
            line = self._line + data[at:stop] if self._line else data[at:stop]
            at = stop
            if len(line) > _LONGEST_LINE:
                raise BadMessage(400, f"a chunk's line is longer than {_LONGEST_LINE}")
            if line.endswith(b"\n"):
                self._line = b""
                self._read_line(line)
            else:
                self._line = line
        return b"".join(pieces), at

    def end(self) -> bool:
        """The connection has ended: is that the end of the body?"""
        self.is_whole = self.is_whole or self._is_endless
        return self.is_whole

    def _read_line(self, line: bytes) -> None:
        if self._is_behind_chunk:
            if line != b"\r\n":
                raise BadMessage(400, "a chunk must end with CR and LF")
            self._is_behind_chunk = False
        elif self._is_last:
            self._read_trailer(line)
        else:
            found = _SIZE.fullmatch(line)
            if found is None:
                raise BadMessage(400, "a chunk must begin with its size and CR LF")
            self._left = int(found[1], 16)
            self._is_last = not self._left
            self._chunks += not self._is_last
            self._check_size(self._left)
            is_tiny = self._chunks > _MOST_TINY and self._size < self._chunks * _TINY
            if is_tiny and self.limit is not None:
                raise BadMessage(
                    400,
                    f"the first {self._chunks} chunks of this body have {self._size} "
                    f"bytes: send chunks of at least {_TINY} bytes",
                )

    def _read_trailer(self, line: bytes) -> None:
        """Check a header behind the body, which no back end gets, or find the end."""
        if line == b"\r\n":
            self.is_whole = True
            return
        self._trailers += 1
        if not line.endswith(b"\r\n") or FIELD.fullmatch(line[:-2]) is None:
            raise BadMessage(400, "a header behind a body must be NAME: VALUE")
        if self._trailers > _MOST_TRAILERS:
            raise BadMessage(431, f"more than {_MOST_TRAILERS} headers behind a body")

    def _check_size(self, more: int) -> None:
        self._size += more
        if self.limit is not None and self._size > self.limit:
            raise BadMessage(
                413, f"the body of this request is longer than {self.limit} bytes"
            )


@attrs.define
class Upload:
    """
    Decide when a body has come too slowly: single bytes give it no more time.

    Times: seconds on the caller's clock. What it was not read for does not count.
    """

    _began: float
    _paused_at: float | None = attrs.field(default=None, init=False)
    _received: int = attrs.field(default=0, init=False)

    def received(self, size: int) -> None:
        """More bytes came."""
        self._received += size

    def pause(self, now: float) -> None:
        """The client is not read from now on."""
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        """It is read again."""
        if self._paused_at is not None:
            self._began += now - self._paused_at
            self._paused_at = None

    def deadline(self) -> float:
        """When it is too slow, unless more bytes come before."""
        return self._began + BODY_SECONDS + self._received / _BODY_RATE


#: Longest head of an answer, bytes.
ANSWER_LIMIT = 64 * 1024
UPGRADE = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]

#: Methods that can be sent again if a kept connection broke, because repeating them is
#: safe (RFC 9110, 9.2.2).
_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
_LAST = b"0\r\n\r\n"


def write_head(first: bytes, fields: Fields) -> bytes:
    """Write a head, with its empty line."""
    lines = [b"%b: %b\r\n" % field for field in fields]
    return b"%b\r\n%b\r\n" % (first, b"".join(lines))


@attrs.define(eq=False)
class Exchange:
    """
    A request, and the answer to it.

    :ivar target: its head.
    :ivar is_upgrade: does it ask for a WebSocket?
    :ivar keeps: may the client's connection serve another request?
    :ivar status: status of the answer; 0 before it begins.
    :ivar is_answered: has all of the answer come?
    :ivar is_upgraded: are bytes passed on unchanged from now on?
    :ivar behind: the bytes that came behind the head of an upgrade.
    :ivar is_reusable: may the back end's connection serve another request?
    """

    target: Target
    #: Longest body, bytes.
    _body_limit: int
    is_upgrade: bool = attrs.field(default=False, init=False)
    keeps: bool = attrs.field(default=True, init=False)
    status: int = attrs.field(default=0, init=False)
    is_answered: bool = attrs.field(default=False, init=False)
    is_upgraded: bool = attrs.field(default=False, init=False)
    behind: bytes = attrs.field(default=b"", init=False)
    is_reusable: bool = attrs.field(default=False, init=False)
    _body: Body = attrs.field(init=False)
    _length: bytes | None = attrs.field(default=None, init=False)
    _is_chunked: bool = attrs.field(default=False, init=False)
    _is_answer_chunked: bool = attrs.field(default=False, init=False)
    _answer: AnswerHead | None = attrs.field(default=None, init=False)
    #: The content of the answer, after its head.
    _content: Body = attrs.field(init=False)
    #: The beginning of a head that is not whole.
    _part: bytes = attrs.field(default=b"", init=False)

    def __attrs_post_init__(self) -> None:
        by_name = self.target.by_name
        self._length = by_name.get(b"content-length", [None])[0]
        self._is_chunked = b"transfer-encoding" in by_name
        self._body = Body(self._body_limit, int(self._length or 0), self._is_chunked)
        connection = tokens(by_name.get(b"connection", ()))
        is_modern = self.target.version == b"1.1"
        self.keeps = is_modern and b"close" not in connection
        self.is_upgrade = (
            self.target.method == b"GET"
            and is_modern
            and b"upgrade" in connection
            and tokens(by_name.get(b"upgrade", ())) == {b"websocket"}
            and self._length is None
            and not self._is_chunked
        )

    @property
    def is_whole(self) -> bool:
        """Has all of the request come?"""
        return self._body.is_whole

    @property
    def is_safe(self) -> bool:
        """Can it be sent again, as a safe request without a body?"""
        return (
            self.target.method in _SAFE
            and self._length in (None, b"0")
            and not self._is_chunked
        )

    @property
    def is_event_stream(self) -> bool:
        """Is the answer one of server-sent events, which may be silent for long?"""
        types = self._answer.by_name.get(b"content-type", ()) if self._answer else ()
        return any(one.lower().startswith(b"text/event-stream") for one in types)

    def values(self, name: bytes) -> list[bytes]:
        """List the values of a header, by its name in lower case."""
        return self.target.by_name.get(name, [])

    def write_request(self, fields: list[tuple[bytes, bytes]]) -> bytes:
        """
        Write the head for a back end.

        :param fields: headers except those that frame the body.
        """
        method = self.target.method
        extra = []
        if self.is_upgrade:
            extra = UPGRADE
        elif self._is_chunked:
            extra = [(b"Transfer-Encoding", b"chunked")]
        elif self._length is not None:
            extra = [(b"Content-Length", self._length)]
        first = b"%b %b HTTP/1.1" % (method, self.target.target)
        return write_head(first, [*fields, *extra])

    def take_request(self, data: bytes, at: int = 0) -> tuple[bytes, int]:
        """
        Read bytes of the body.

        :param at: where it goes on in *data*.
        :returns: the bytes to send to the back end, and where what is behind the
            request begins.
        :raises BadMessage: the body is malformed or too long.
        """
        if self.is_whole:
            return b"", at
        content, at = self._body.take(data, at)
        if not self._is_chunked:
            return content, at
        # One chunk for all that came, in however many.
        return _chunk(content) + (_LAST if self.is_whole else b""), at

    def take_answer(self, data: bytes, is_closing: bool = False) -> bytes:
        """
        Read bytes from the back end; empty if it sends no more.

        :param is_closing: should the client close its connection after this answer?
        :returns: the bytes to send to the client.
        :raises BadMessage: it is not HTTP, or ended too early.
        """
        if not data:
            if self._answer is None or not self._content.end():
                raise BadMessage(502, "it ended before it was complete")
            self.is_answered = True
            return _LAST if self._is_answer_chunked else b""
        data, self._part, at = self._part + data, b"", 0
        out: list[bytes] = []
        while self._answer is None:
            end = find_head(data, at, ANSWER_LIMIT)
            if not end:
                self._part = data[at:]
                return b"".join(out)
            out.append(self._take_head(check_answer(data[at:end]), is_closing))
            at = end
            if self.is_upgraded:
                self.behind = data[at:]
                return b"".join((*out, self.behind))
        content, at = self._content.take(data, at)
        self.is_answered = is_last = self._content.is_whole
        if is_last:
            is_alone = at == len(data) and self.is_whole
            connection = tokens(self._answer.by_name.get(b"connection", ()))
            is_kept = self._answer.version == b"1.1" and b"close" not in connection
            self.is_reusable = is_alone and is_kept
        if self._is_answer_chunked:
            content = _chunk(content) + (_LAST if is_last else b"")
        out.append(content)
        return b"".join(out)

    def _take_head(self, head: AnswerHead, is_closing: bool) -> bytes:
        """Read a head, and write it for the client."""
        status, by_name = head.status, head.by_name
        fields = answer_fields(head.fields, head.version, by_name)
        first = b"HTTP/1.1 %d %b" % (status, head.reason)
        if status == 101:
            if not self.is_upgrade:
                raise BadMessage(502, "it switches protocols, which nobody asked for")
            self.status, self.is_upgraded = status, True
            return write_head(first, fields + UPGRADE)
        if status < 200:
            # HTTP/1.0 has none of these.
            return write_head(first, fields) if self.target.version == b"1.1" else b""
        self.status, self._answer = status, head
        codings = [one.lower() for one in by_name.get(b"transfer-encoding", ())]
        if codings not in ([], [b"chunked"]):
            raise BadMessage(502, "its only Transfer-Encoding may be chunked")
        lengths = tokens(by_name.get(b"content-length", ()))
        length = next(iter(lengths), None)
        if length is not None and (len(lengths) > 1 or not LENGTH.fullmatch(length)):
            raise BadMessage(502, "its Content-Length must be one number")
        has_body = self.target.method != b"HEAD" and status not in (204, 304)
        if length is not None and not codings:
            if status != 204:
                fields.append((b"Content-Length", length))
        elif has_body and self.target.version == b"1.1":
            self._is_answer_chunked = True
            fields.append((b"Transfer-Encoding", b"chunked"))
        if has_body:
            is_endless = length is None and not codings
            size = 0 if codings else int(length or 0)
            self._content = Body(None, size, bool(codings), is_endless)
        else:
            self._content = Body(None)
        # Before the end of the request, whose rest would be read as another one.
        self.keeps = self.keeps and not is_closing and self.is_whole
        if not self.keeps:
            fields.append((b"Connection", b"close"))
        return write_head(first, fields)


def _chunk(data: bytes) -> bytes:
    # An empty one would be the last.
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
