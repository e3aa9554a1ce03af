"""
Bodies: their content, whatever frames it, and how fast it must come.

Pure. What could be read in two ways is refused. Sources: RFC 9112, 6 and 7.1.
"""

from __future__ import annotations

import re

import attrs

from vinom.net.http.head import FIELD, BadMessage

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*|;[\t -~\x80-\xff]*)\r\n")
#: Longest line between two chunks, and most trailers.
_LONGEST_LINE = 4096
_MOST_TRAILERS = 100
#: Chunks that may be tiny, and what they must have on average after that, bytes: each
#: costs as much as many bytes do.
_MOST_TINY = 2048
_TINY = 16


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

    :ivar rate: least bytes per second on average, after *grace*; 0 for no limit.
    :ivar grace: how long the body may take however slow it is.
    """

    rate: float
    grace: float
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
        if not self.rate:
            return float("inf")
        return self._began + self.grace + self._received / self.rate
