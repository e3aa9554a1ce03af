"""
One request and its answer, each read and written again for the other side.

Pure. The framing of either side is never passed on: bodies are framed again, so that no
two programs can disagree about where a message ends.
"""

from __future__ import annotations

from typing import Any

import attrs
import h11

from vinom.http.bodies import Body
from vinom.http.head import Target
from vinom.http.headers import Fields, answer_fields, named, tokens
from vinom.http.parsers import (
    UPGRADE,
    answer_reader,
    read_upgrade,
)

#: Methods that can be sent again if a kept connection broke, because repeating them is
#: safe (RFC 9110, 9.2.2).
_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
_LAST = b"0\r\n\r\n"


class BadAnswer(Exception):
    """A back end's answer is invalid or incomplete."""


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
    #: Reads the answer, from its first byte on.
    _backend: h11.Connection | None = attrs.field(init=False)
    _length: bytes | None = attrs.field(default=None, init=False)
    _is_chunked: bool = attrs.field(default=False, init=False)
    _is_answer_chunked: bool = attrs.field(default=False, init=False)
    _has_body: bool = attrs.field(default=False, init=False)
    _answer: h11.Response | None = attrs.field(default=None, init=False)

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
        fields = () if self._answer is None else self._answer.headers
        return any(
            name == b"content-type" and value.lower().startswith(b"text/event-stream")
            for name, value in fields
        )

    def values(self, name: bytes) -> list[bytes]:
        """List the values of a header, by its name in lower case."""
        return self.target.by_name.get(name, [])

    def write_request(self, fields: list[tuple[bytes, bytes]]) -> bytes:
        """
        Write the head for a back end, and read its answer from now on.

        :param fields: headers except those that frame the body.
        """
        method = self.target.method
        self._backend = None
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
        :raises BadHead: the body is malformed or too long.
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
        :raises BadAnswer: it is not HTTP, or ended too early.
        """
        backend, out, content = self._backend, [], []
        if backend is None:
            if self.is_upgrade and (read := read_upgrade(data)) is not None:
                answer, self.behind = read
                return self._write_upgrade(answer) + self.behind
            method = self.target.method
            self._backend = backend = answer_reader(method, self.is_upgrade)
        backend.receive_data(data)
        while True:
            try:
                event: Any = backend.next_event()
            except h11.RemoteProtocolError as error:
                raise BadAnswer(str(error)) from None
            kind = type(event)
            if kind is h11.Data:
                if not self._has_body:
                    raise BadAnswer("it has a body where none is allowed")
                content.append(event.data)
            elif kind is h11.Response:
                out.append(self._write_answer(event, is_closing))
            elif kind is h11.InformationalResponse:
                if event.status_code == 101:
                    out.append(self._write_upgrade(event))
                    self.behind = backend.trailing_data[0]
                    out.append(self.behind)
                    break
                if self.target.version == b"1.1":
                    # Without these two headers, of which no answer is known yet.
                    fields = answer_fields(event.headers.raw_items(), b"1.1")
                    out.append(write_head(_first(event), fields))
            elif kind is h11.EndOfMessage:
                self.is_answered = True
                self.is_reusable = (
                    backend.their_state is h11.DONE
                    and not backend.trailing_data[0]
                    and not backend.trailing_data[1]
                    and self.is_whole
                )
                break
            else:
                break
        if not data and not self.is_answered:
            raise BadAnswer("it ended before it was complete")
        if self._is_answer_chunked:
            out.append(_chunk(b"".join(content)))
            if self.is_answered:
                out.append(_LAST)
        else:
            out += content
        return b"".join(out)

    def _write_answer(self, answer: h11.Response, is_closing: bool) -> bytes:
        self.status = answer.status_code
        came = answer.headers.raw_items()
        by_name = named(came)
        fields = answer_fields(came, answer.http_version, by_name)
        lengths = by_name.get(b"content-length", [])
        is_chunked = b"transfer-encoding" in by_name
        self._has_body = self.target.method != b"HEAD" and self.status not in (204, 304)
        if lengths and not is_chunked:
            if self.status != 204:
                fields.append((b"Content-Length", lengths[0]))
        elif self._has_body and self.target.version == b"1.1":
            self._is_answer_chunked = True
            fields.append((b"Transfer-Encoding", b"chunked"))
        # Before the end of the request, whose rest would be read as another one.
        self.keeps = self.keeps and not is_closing and self.is_whole
        if not self.keeps:
            fields.append((b"Connection", b"close"))
        self._answer = answer
        return write_head(_first(answer), fields)

    def _write_upgrade(self, answer: h11.InformationalResponse) -> bytes:
        self.status, self.is_upgraded = 101, True
        fields = answer_fields(answer.headers.raw_items(), answer.http_version)
        fields += [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
        return write_head(_first(answer), fields)


def _first(answer: h11.Response | h11.InformationalResponse) -> bytes:
    return b"HTTP/1.1 %d %b" % (answer.status_code, answer.reason)


def _chunk(data: bytes) -> bytes:
    # An empty one would be the last.
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
