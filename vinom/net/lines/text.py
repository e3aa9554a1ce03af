"""
Lines of text out of a byte stream.

A line ends with LF or CR LF, is at most a limit long without its end, and
a few empty ones mean nothing. Source: docs/protocol/lobby.rst, section "Lines".
"""

from __future__ import annotations

import attrs

from vinom.errors import PeerError

#: Longest message a player may send by default, bytes.
LINE_LIMIT = 2048
#: Longest hello that carries an identity provider's token, bytes: those of some
#: providers list groups and roles.
HELLO_LIMIT = 8192
#: Empty lines in a row that mean nothing; more are messages, which a rate bounds.
_MOST_EMPTY = 16

#: The first byte of a TLS connection: a handshake record. Source: RFC 8446, 5.1.
TLS_HANDSHAKE = 0x16


class LineTooLong(PeerError):
    """The peer sent more than the limit without a line end."""


@attrs.define
class LineReader:
    """
    Cut a byte stream into lines.

    :ivar limit: longest line accepted, bytes without its end.
    """

    limit: int = LINE_LIMIT
    _held: bytearray = attrs.field(factory=bytearray, init=False)
    _searched: int = attrs.field(default=0, init=False)
    _empty: int = attrs.field(default=0, init=False)

    def receive(self, data: bytes) -> None:
        """Keep bytes until `next_line` can use them."""
        self._held += data

    def next_line(self) -> bytes | None:
        """
        Take the oldest whole line that is not empty, or one of too many empty ones.

        :returns: ``None`` for "more bytes, please".
        :raises LineTooLong: no line end within the limit; the stream is spoilt.
        """
        while True:
            end = self._held.find(b"\n", self._searched)
            if end < 0:
                # One byte more may be the CR of an end that is cut in two.
                if len(self._held) > self.limit + 1:
                    raise LineTooLong(f"a line above {self.limit} bytes")
                self._searched = len(self._held)
                return None
            line = bytes(self._held[:end]).removesuffix(b"\r")
            if len(line) > self.limit:
                raise LineTooLong(f"a line above {self.limit} bytes")
            del self._held[: end + 1]
            self._searched = 0
            self._empty = 0 if line.strip() else self._empty + 1
            if not 0 < self._empty <= _MOST_EMPTY:
                return line
