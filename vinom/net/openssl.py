"""
OpenSSL in memory: bytes of the network in, data out, and back; for TLS and DTLS.

pyOpenSSL's methods allocate a buffer and look for callbacks on each call, which costs
as much as sealing a small record. `DirectMemory` calls the same functions of the same
library with plain bytes and one shared buffer. It uses pyOpenSSL's private names; if
they do not exist, `Memory` uses the public methods. Nothing else in the program uses
these names. Decisions 0018 and 0036.
"""

from __future__ import annotations

from typing import Any, NoReturn

from OpenSSL import SSL

#: Bytes that are taken at once.
_MOST = 64 * 1024


class Memory:
    """
    One connection between two memory BIOs, by pyOpenSSL's public methods.

    Failures are pyOpenSSL's: `OpenSSL.SSL.WantReadError` asks for more bytes,
    `OpenSSL.SSL.ZeroReturnError` is the peer's close.

    :ivar connection: pyOpenSSL's, which has no socket.
    """

    __slots__ = ("connection",)

    def __init__(self, connection: SSL.Connection) -> None:
        self.connection = connection

    def put(self, data: bytes) -> None:
        """Bytes came from the peer."""
        self.connection.bio_write(data)

    def open(self) -> bytes:
        """
        Take the data of the next record.

        :raises OpenSSL.SSL.Error: there is none now, or the connection is over.
        """
        return self.connection.recv(_MOST)

    def open_one(self, record: bytes) -> bytes:
        """
        Put one whole record, with nothing unread before it, and take its data.

        :raises OpenSSL.SSL.Error: as `open`.
        """
        self.put(record)
        return self.open()

    def seal(self, data: bytes) -> None:
        """
        Make a record.

        :raises OpenSSL.SSL.Error: the connection is over.
        """
        self.connection.send(data)

    def seal_one(self, data: bytes) -> bytes:
        """
        Make a record, and take all bytes for the peer.

        :raises OpenSSL.SSL.Error: as `seal`.
        """
        self.seal(data)
        return self.take()

    def take(self) -> bytes:
        """Take all bytes for the peer; often none."""
        taken = b""
        try:
            # In general one call takes all.
            while True:
                taken += self.connection.bio_read(_MOST)
        except SSL.WantReadError:
            return taken


class DirectMemory(Memory):
    """
    The same by OpenSSL's functions.

    :raises AttributeError: this pyOpenSSL has other private names.
    """

    __slots__ = ("_in", "_out", "_raise", "_ssl")

    def __init__(self, connection: SSL.Connection) -> None:
        super().__init__(connection)
        inside: Any = connection
        self._ssl, self._in, self._out = inside._ssl, inside._into_ssl, inside._from_ssl
        self._raise = inside._raise_ssl_error

    def put(self, data: bytes) -> None:
        size = len(data)
        if _BIO_write(self._in, data, size) != size:
            raise SSL.Error("a memory BIO is full")

    def open(self) -> bytes:
        size = _SSL_read(self._ssl, _buffer, _MOST)
        if size <= 0:
            self._fail(size)
        opened: bytes = _inside[:size]
        return opened

    def open_one(self, record: bytes) -> bytes:
        # `put` and `open` written out: this runs for each input.
        size = len(record)
        if _BIO_write(self._in, record, size) != size:
            raise SSL.Error("a memory BIO is full")
        size = _SSL_read(self._ssl, _buffer, _MOST)
        if size <= 0:
            self._fail(size)
        opened: bytes = _inside[:size]
        return opened

    def seal(self, data: bytes) -> None:
        size = _SSL_write(self._ssl, data, len(data))
        if size <= 0:
            self._fail(size)

    def seal_one(self, data: bytes) -> bytes:
        # `seal` and `take` written out: this runs for each state.
        size = _SSL_write(self._ssl, data, len(data))
        if size <= 0:
            self._fail(size)
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

    def _fail(self, size: int) -> NoReturn:
        """Raise why OpenSSL gave *size* for an answer."""
        self._raise(self._ssl, size)
        raise SSL.Error([])


def memory_of(connection: SSL.Connection) -> Memory:
    """Return the fastest `Memory` that this pyOpenSSL supports."""
    if _has_names:
        try:
            return DirectMemory(connection)
        except AttributeError:
            pass
    return Memory(connection)


try:
    from OpenSSL._util import ffi as _ffi
    from OpenSSL._util import lib as _lib

    _BIO_read, _BIO_write = _lib.BIO_read, _lib.BIO_write
    _SSL_read, _SSL_write = _lib.SSL_read, _lib.SSL_write
    # One for all connections, which the reactor's thread alone uses: each read is
    # copied out before the next one.
    _buffer = _ffi.new("char[]", _MOST)
    # Slices of it are bytes, and cost half as much as `unpack`.
    _inside = _ffi.buffer(_buffer)
    _has_names = True
except (ImportError, AttributeError):
    _has_names = False
