"""
TLS of one connection in memory: bytes of the network in, data out, and back.

pyOpenSSL's public calls allocate and look for callbacks each time, which costs more
than OpenSSL itself. `QuickRecords` makes the same calls of OpenSSL by the names that
pyOpenSSL uses inside; where one of them is missing, `Records` does everything by
public calls. Nothing else in the program uses these names. Source: decision 0036.
"""

from __future__ import annotations

import importlib
from typing import Any

from OpenSSL import SSL

#: Most data of one record, bytes. Source: RFC 8446, 5.1.
RECORD_LIMIT = 16 * 1024
#: Bytes that are taken at once.
_MOST = 64 * 1024
#: What is used of `OpenSSL._util`, and of a connection.
LIBRARY_NAMES = ("BIO_read", "BIO_write", "SSL_read", "SSL_write")
CONNECTION_NAMES = ("_ssl", "_into_ssl", "_from_ssl", "_raise_ssl_error")


class Records:
    """
    One connection, by pyOpenSSL's public calls.

    Failures are pyOpenSSL's: `OpenSSL.SSL.WantReadError` asks for more bytes,
    `OpenSSL.SSL.ZeroReturnError` is the peer's close.

    :ivar connection: OpenSSL's, which has no socket.
    """

    __slots__ = ("connection",)

    def __init__(self, connection: SSL.Connection) -> None:
        self.connection = connection

    def put(self, data: bytes) -> None:
        """Bytes came from the network."""
        self.connection.bio_write(data)

    def read(self) -> bytes:
        """Read data of what was put; raises as `OpenSSL.SSL.Connection.recv`."""
        return self.connection.recv(_MOST)

    def open(self, record: bytes) -> bytes:
        """Put one whole record, with nothing before it that is not read, and read."""
        self.connection.bio_write(record)
        return self.connection.recv(RECORD_LIMIT)

    def seal(self, data: bytes) -> bytes:
        """
        Make records of *data*, once the handshake is done.

        :returns: them, and whatever else waited to be sent, in order.
        """
        send = self.connection.send
        if len(data) <= RECORD_LIMIT:
            send(data)
            return self.take()
        return b"".join(
            self.seal(data[at : at + RECORD_LIMIT])
            for at in range(0, len(data), RECORD_LIMIT)
        )

    def take(self) -> bytes:
        """Take what OpenSSL wants sent; often nothing."""
        taken = b""
        try:
            # In general one call takes all.
            while True:
                taken += self.connection.bio_read(_MOST)
        except SSL.WantReadError:
            return taken


class QuickRecords(Records):
    """The same by the names that pyOpenSSL uses inside; see `quick_records`."""

    __slots__ = ("_into", "_out", "_ssl")

    def __init__(self, connection: SSL.Connection) -> None:
        super().__init__(connection)
        inside: Any = connection
        self._ssl, self._into = inside._ssl, inside._into_ssl
        self._out = inside._from_ssl

    def read(self) -> bytes:
        size: int = _ssl_read(self._ssl, _buffer, _MOST)
        if size > 0:
            return _taken[:size]
        raise self._failure(size)

    def open(self, record: bytes) -> bytes:
        _bio_write(self._into, record, len(record))
        size: int = _ssl_read(self._ssl, _buffer, _MOST)
        if size > 0:
            return _taken[:size]
        raise self._failure(size)

    def seal(self, data: bytes) -> bytes:
        if len(data) > RECORD_LIMIT:
            return super().seal(data)
        size: int = _ssl_write(self._ssl, data, len(data))
        if size <= 0:
            raise self._failure(size)
        size = _bio_read(self._out, _buffer, _MOST)
        if 0 < size < _MOST:
            return _taken[:size]
        return _taken[: max(size, 0)] + self.take()

    def _failure(self, size: int) -> Exception:
        """Find out why OpenSSL gave *size* for an answer."""
        inside: Any = self.connection
        try:
            inside._raise_ssl_error(self._ssl, size)
        except SSL.Error as error:
            return error
        return SSL.Error([])


def records_of(connection: SSL.Connection) -> Records:
    """Read and write *connection* in the quickest way that this pyOpenSSL allows."""
    if _is_quick and all(hasattr(connection, name) for name in CONNECTION_NAMES):
        return QuickRecords(connection)
    return Records(connection)


def has_quick_names(util: Any) -> bool:
    """Does pyOpenSSL's inside have the names that `QuickRecords` needs?"""
    library = getattr(util, "lib", None)
    return hasattr(util, "ffi") and all(hasattr(library, n) for n in LIBRARY_NAMES)


try:
    _util: Any = importlib.import_module("OpenSSL._util")
except ImportError:
    _util = None
_is_quick = has_quick_names(_util)
if _is_quick:
    _bio_read, _bio_write = _util.lib.BIO_read, _util.lib.BIO_write
    _ssl_read, _ssl_write = _util.lib.SSL_read, _util.lib.SSL_write
    # One for all connections, which the reactor's thread alone uses: what is read
    # there is copied at once.
    _buffer = _util.ffi.new("char[]", _MOST)
    # Slices of it are bytes.
    _taken: bytes = _util.ffi.buffer(_buffer)
