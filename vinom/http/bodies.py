"""
Bodies of requests: their content, whatever frames it.

Pure. What could be read in two ways is refused. Sources: RFC 9112, 6 and 7.1.
"""

from __future__ import annotations

import re

import attrs

from vinom.http.head import FIELD, BadHead

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

    :ivar limit: longest body, bytes.
    :ivar is_whole: has all of it come?
    """

    limit: int
    #: Bytes of the content, or of the chunk, that are still to come.
    _left: int = 0
    _is_chunked: bool = False
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
        self.is_whole = not self._left and not self._is_chunked

    def take(self, data: bytes, at: int) -> tuple[bytes, int]:
        """
        Read bytes.

        :param at: where the body goes on in *data*.
        :returns: the content, and where what is behind the body begins.
        :raises BadHead: it is malformed or too long.
        """
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
                raise BadHead(400, f"a chunk's line is longer than {_LONGEST_LINE}")
            if line.endswith(b"\n"):
                self._line = b""
                self._read_line(line)
            else:
                self._line = line
        return b"".join(pieces), at

    def _read_line(self, line: bytes) -> None:
        if self._is_behind_chunk:
            if line != b"\r\n":
                raise BadHead(400, "a chunk must end with CR and LF")
            self._is_behind_chunk = False
        elif self._is_last:
            self._read_trailer(line)
        else:
            found = _SIZE.fullmatch(line)
            if found is None:
                raise BadHead(400, "a chunk must begin with its size and CR LF")
            self._left = int(found[1], 16)
            self._is_last = not self._left
            self._chunks += not self._is_last
            self._check_size(self._left)
            if self._chunks > _MOST_TINY and self._size < self._chunks * _TINY:
                raise BadHead(
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
            raise BadHead(400, "a header behind a body must be NAME: VALUE")
        if self._trailers > _MOST_TRAILERS:
            raise BadHead(431, f"more than {_MOST_TRAILERS} headers behind a body")

    def _check_size(self, more: int) -> None:
        self._size += more
        if self._size > self.limit:
            raise BadHead(
                413, f"the body of this request is longer than {self.limit} bytes"
            )
