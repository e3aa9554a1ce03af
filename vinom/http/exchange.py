"""
One request and its answer, as h11 reads them, written again for the other side.

Pure. What either side framed is never passed on: bodies get new frames, so that no two
programs can disagree about where a message ends.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import attrs
import h11

from vinom.http.head import HEAD_LIMIT, BadHead, Target
from vinom.http.headers import Fields, answer_fields, tokens

#: Longest head of an answer, bytes.
_ANSWER_LIMIT = 64 * 1024
#: These may be sent again if a kept connection broke: the same again does no harm
#: (RFC 9110, 9.2.2).
_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
_UPGRADE = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
#: Of the request that h11 is shown.
_END = h11.EndOfMessage()


class BadAnswer(Exception):
    """A back end's answer is none, or is not whole."""


def write_head(first: bytes, fields: Fields) -> bytes:
    """Write a head, with its empty line."""
    lines = [b"%b: %b\r\n" % field for field in fields]
    return b"%b\r\n%b\r\n" % (first, b"".join(lines))


@attrs.define(eq=False)
class Exchange:
    """
    A request that came, and the answer to it.

    :ivar target: what it is for.
    :ivar fields: its headers.
    :ivar is_upgrade: whether it asks for a WebSocket.
    :ivar keeps: whether the client's connection may serve another request.
    :ivar is_whole: all of the request came.
    :ivar rest: what came behind it.
    :ivar status: of the answer; 0 before it began.
    :ivar is_answered: all of the answer came.
    :ivar is_upgraded: bytes pass as they are from now on.
    :ivar behind: those that came with the answer that says so.
    :ivar is_reusable: whether the back end's connection may serve another request.
    """

    target: Target
    _head: bytes
    #: Longest body, bytes.
    _body_limit: int
    fields: list[tuple[bytes, bytes]] = attrs.field(init=False)
    version: bytes = attrs.field(init=False)
    is_upgrade: bool = attrs.field(default=False, init=False)
    keeps: bool = attrs.field(default=True, init=False)
    is_whole: bool = attrs.field(default=False, init=False)
    rest: bytes = attrs.field(default=b"", init=False)
    status: int = attrs.field(default=0, init=False)
    is_answered: bool = attrs.field(default=False, init=False)
    is_upgraded: bool = attrs.field(default=False, init=False)
    behind: bytes = attrs.field(default=b"", init=False)
    is_reusable: bool = attrs.field(default=False, init=False)
    _client: h11.Connection = attrs.field(init=False)
    _backend: h11.Connection = attrs.field(init=False)
    _length: bytes | None = attrs.field(default=None, init=False)
    _is_chunked: bool = attrs.field(default=False, init=False)
    _is_answer_chunked: bool = attrs.field(default=False, init=False)
    _has_body: bool = attrs.field(default=False, init=False)
    _taken: int = attrs.field(default=0, init=False)
    _answer: h11.Response | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._client = client = h11.Connection(
            h11.SERVER, max_incomplete_event_size=2 * HEAD_LIMIT
        )
        client.receive_data(self._head)
        try:
            request = cast(h11.Request, client.next_event())
        except h11.RemoteProtocolError as error:
            raise BadHead(error.error_status_hint, str(error)) from None
        self.fields = request.headers.raw_items()
        self.version = request.http_version
        by_name: dict[bytes, list[bytes]] = {}
        for name, value in request.headers:
            by_name.setdefault(name, []).append(value)
        self._length = by_name.get(b"content-length", [None])[0]
        self._is_chunked = b"transfer-encoding" in by_name
        if self._length is not None and int(self._length) > self._body_limit:
            raise self._too_long()
        connection = tokens(by_name.get(b"connection", ()))
        self.keeps = self.version == b"1.1" and b"close" not in connection
        self.is_upgrade = (
            self.target.method == b"GET"
            and self.version == b"1.1"
            and b"upgrade" in connection
            and tokens(by_name.get(b"upgrade", ())) == {b"websocket"}
            and self._length is None
            and not self._is_chunked
        )

    @property
    def is_safe(self) -> bool:
        """May it be sent twice? Its head is all of it then."""
        return (
            self.target.method in _SAFE
            and not self.is_upgrade
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
        return [value for one, value in self.fields if one.lower() == name]

    def write_request(self, fields: list[tuple[bytes, bytes]]) -> bytes:
        """
        Write the head for a back end; its answer is read from now on.

        :param fields: headers, but those that frame the body.
        """
        self._backend = h11.Connection(
            h11.CLIENT, max_incomplete_event_size=_ANSWER_LIMIT
        )
        extra = []
        if self.is_upgrade:
            extra = _UPGRADE
        elif self._is_chunked:
            extra = [(b"Transfer-Encoding", b"chunked")]
        elif self._length is not None:
            extra = [(b"Content-Length", self._length)]
        method = self.target.method
        self._backend.send(_shown(method, self.is_upgrade))
        self._backend.send(_END)
        first = b"%b %b HTTP/1.1" % (method, self.target.target)
        return write_head(first, [*fields, *extra])

    def take_request(self, data: bytes) -> bytes:
        """
        Take what came of the body, or behind its end.

        :returns: what to send to the back end.
        :raises BadHead: the body is malformed, or too long.
        """
        client, out = self._client, []
        if data:
            client.receive_data(data)
        while True:
            try:
                event: Any = client.next_event()
            except h11.RemoteProtocolError as error:
                raise BadHead(error.error_status_hint, str(error)) from None
            kind = type(event)
            if kind is h11.Data:
                self._taken += len(event.data)
                if self._taken > self._body_limit:
                    raise self._too_long()
                out.append(_chunk(event.data) if self._is_chunked else event.data)
            elif kind is h11.EndOfMessage:
                if self._is_chunked:
                    out.append(b"0\r\n\r\n")
                self.is_whole = True
                self.rest = client.trailing_data[0]
                break
            else:
                break
        return b"".join(out)

    def take_answer(self, data: bytes, is_closing: bool = False) -> bytes:
        """
        Take what a back end sent; empty if it sends no more.

        :param is_closing: have the client close its connection after this answer.
        :returns: what to send to the client.
        :raises BadAnswer: it is no HTTP, or it ended too early.
        """
        backend, out = self._backend, []
        backend.receive_data(data)
        while True:
            try:
                event: Any = backend.next_event()
            except h11.RemoteProtocolError as error:
                raise BadAnswer(str(error)) from None
            kind = type(event)
            if kind is h11.Data:
                if not self._has_body:
                    raise BadAnswer("it has a body where none may be")
                is_chunked = self._is_answer_chunked
                out.append(_chunk(event.data) if is_chunked else event.data)
            elif kind is h11.Response:
                out.append(self._write_answer(event, is_closing))
            elif kind is h11.InformationalResponse:
                if event.status_code == 101:
                    out.append(self._write_upgrade(event))
                    self.behind = backend.trailing_data[0]
                    out.append(self.behind)
                    break
                if self.version == b"1.1":
                    # Without these two, which nothing is known of yet.
                    fields = answer_fields(event.headers.raw_items(), b"1.1")
                    out.append(write_head(_first(event), fields))
            elif kind is h11.EndOfMessage:
                if self._is_answer_chunked:
                    out.append(b"0\r\n\r\n")
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
            raise BadAnswer("it ended before it was whole")
        return b"".join(out)

    def _write_answer(self, answer: h11.Response, is_closing: bool) -> bytes:
        self.status = answer.status_code
        fields = answer_fields(answer.headers.raw_items(), answer.http_version)
        lengths = [value for name, value in answer.headers if name == b"content-length"]
        is_chunked = any(name == b"transfer-encoding" for name, _ in answer.headers)
        self._has_body = self.target.method != b"HEAD" and self.status not in (204, 304)
        if lengths and not is_chunked:
            if self.status != 204:
                fields.append((b"Content-Length", lengths[0]))
        elif self._has_body and self.version == b"1.1":
            self._is_answer_chunked = True
            fields.append((b"Transfer-Encoding", b"chunked"))
        # Before the end of its request: the rest would be read as another one.
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

    def _too_long(self) -> BadHead:
        return BadHead(
            413, f"the body of this request is longer than {self._body_limit} bytes"
        )


@lru_cache(64)
def _shown(method: bytes, is_upgrade: bool) -> h11.Request:
    """Write what h11 has to know of a request to read its answer: no body, no path."""
    fields = [(b"Host", b"h")]
    if is_upgrade:
        fields += _UPGRADE
    return h11.Request(method=method, target=b"/", headers=fields)


def _first(answer: h11.Response | h11.InformationalResponse) -> bytes:
    return b"HTTP/1.1 %d %b" % (answer.status_code, answer.reason)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
