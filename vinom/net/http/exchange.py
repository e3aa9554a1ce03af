"""
One request and its answer, each read and written again for the other side.

Pure. The framing of either side is never passed on: bodies are framed again, so that no
two programs can disagree about where a message ends.
"""

from __future__ import annotations

import attrs

from vinom.net.http.bodies import Body
from vinom.net.http.head import (
    LENGTH,
    AnswerHead,
    BadMessage,
    Target,
    check_answer,
    find_head,
)
from vinom.net.http.headers import Fields, answer_fields, tokens

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
