"""
The four calls of OpenSSL that every record needs, without what surrounds them.

pyOpenSSL's methods allocate a buffer and wrap their argument on each call, which
costs as much as sealing a small record does. These call the same functions of the
same library with bytes as they are and one buffer for all. They touch what
pyOpenSSL keeps to itself: if that is not there, its own methods are used. Decision
0018.
"""

from __future__ import annotations

from typing import Any, Protocol

from OpenSSL import SSL

#: Longest plaintext taken out of a record at once, bytes.
LONGEST_PLAINTEXT = 2048
_MOST = 16 * 1024

try:
    from OpenSSL._util import ffi as _ffi
    from OpenSSL._util import lib as _lib
except ImportError:
    _ffi = _lib = None


class Memory(Protocol):
    """One connection between two memory BIOs."""

    def put(self, datagram: bytes) -> None:
        """Give it what came from the peer."""

    def open(self) -> bytes:
        """
        Take the payload of the next record.

        :raises OpenSSL.SSL.Error: there is none, or never will be again.
        """

    def open_one(self, datagram: bytes) -> bytes:
        """
        Give it a datagram of one record, and take that one's payload.

        :raises OpenSSL.SSL.Error: as `open`.
        """

    def seal(self, payload: bytes) -> None:
        """
        Make a record.

        :raises OpenSSL.SSL.Error: that is over.
        """

    def seal_one(self, payload: bytes) -> bytes:
        """
        Make a record, and take all that is for the peer.

        :raises OpenSSL.SSL.Error: as `seal`.
        """

    def take(self) -> bytes:
        """Take all that is for the peer; empty if there is nothing."""


class PublicMemory:
    """By pyOpenSSL's own methods."""

    __slots__ = ("_connection",)

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection

    def put(self, datagram: bytes) -> None:
        self._connection.bio_write(datagram)

    def open(self) -> bytes:
        return self._connection.recv(LONGEST_PLAINTEXT)

    def open_one(self, datagram: bytes) -> bytes:
        self.put(datagram)
        return self.open()

    def seal(self, payload: bytes) -> None:
        self._connection.send(payload)

    def seal_one(self, payload: bytes) -> bytes:
        self.seal(payload)
        return self.take()

    def take(self) -> bytes:
        taken = b""
        try:
            while True:
                taken += self._connection.bio_read(_MOST)
        except SSL.WantReadError:
            return taken


class DirectMemory:
    """
    By OpenSSL's functions.

    :raises AttributeError: this pyOpenSSL keeps its things elsewhere.
    """

    __slots__ = ("_fail", "_in", "_keep", "_out", "_ssl")

    def __init__(self, connection: SSL.Connection) -> None:
        inside: Any = connection
        self._keep = connection
        self._ssl, self._in, self._out = inside._ssl, inside._into_ssl, inside._from_ssl
        self._fail = inside._raise_ssl_error

    def put(self, datagram: bytes) -> None:
        size = len(datagram)
        if _BIO_write(self._in, datagram, size) != size:
            raise SSL.Error("a memory BIO is full")

    def open(self) -> bytes:
        size = _SSL_read(self._ssl, _buffer, LONGEST_PLAINTEXT)
        if size <= 0:
            self._fail(self._ssl, size)
        opened: bytes = _inside[:size]
        return opened

    def open_one(self, datagram: bytes) -> bytes:
        # `put` and `open`, without two calls: this is done for each input.
        size = len(datagram)
        if _BIO_write(self._in, datagram, size) != size:
            raise SSL.Error("a memory BIO is full")
        size = _SSL_read(self._ssl, _buffer, LONGEST_PLAINTEXT)
        if size <= 0:
            self._fail(self._ssl, size)
        opened: bytes = _inside[:size]
        return opened

    def seal(self, payload: bytes) -> None:
        result = _SSL_write(self._ssl, payload, len(payload))
        if result <= 0:
            self._fail(self._ssl, result)

    def seal_one(self, payload: bytes) -> bytes:
        # `seal` and `take`, likewise: for each state.
        result = _SSL_write(self._ssl, payload, len(payload))
        if result <= 0:
            self._fail(self._ssl, result)
        size = _BIO_read(self._out, _buffer, _MOST)
        if 0 < size < _MOST:
            taken: bytes = _inside[:size]
            return taken
        return b"" if size <= 0 else _inside[:size] + self.take()

    def take(self) -> bytes:
        size = _BIO_read(self._out, _buffer, _MOST)
        if size <= 0:
            return b""
        taken: bytes = _inside[:size]
        return taken if size < _MOST else taken + self.take()


if _lib is not None:
    _BIO_read, _BIO_write = _lib.BIO_read, _lib.BIO_write
    _SSL_read, _SSL_write = _lib.SSL_read, _lib.SSL_write
    # One for all: what is read into it is copied out before anything else happens.
    _buffer = _ffi.new("char[]", _MOST)
    # Slices of it are bytes, and cost half of what `unpack` does.
    _inside = _ffi.buffer(_buffer)


def memory_of(connection: SSL.Connection) -> Memory:
    """Find the fastest way that there is."""
    try:
        return DirectMemory(connection)
    except (AttributeError, NameError):
        return PublicMemory(connection)
