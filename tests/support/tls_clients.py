"""A TLS client in memory, which can do what OpenSSL's Python API does not offer."""

from __future__ import annotations

import contextlib

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL

#: Kinds of content, RFC 8446, 5.1; and messages, 4 and 4.6.3.
ALERT, HANDSHAKE, DATA = 21, 22, 23
_KEY_UPDATE = 24
_CIPHERS = b"TLS_AES_256_GCM_SHA384"


class Sealer:
    """
    Seal a TLS 1.3 client's records by hand, with key updates at any time.

    :param secret: ``CLIENT_TRAFFIC_SECRET_0``.
    """

    def __init__(self, secret: bytes) -> None:
        self._use(secret)

    def seal(self, kind: int, data: bytes, is_broken: bool = False) -> bytes:
        """Make one record."""
        inner = data + bytes([kind])
        head = bytes([DATA, 3, 3]) + (len(inner) + 16).to_bytes(2, "big")
        nonce = int.from_bytes(self._iv, "big") ^ self._number
        self._number += 1
        body = self._key.encrypt(nonce.to_bytes(12, "big"), inner, head)
        if is_broken:
            body = bytes([body[0] ^ 1]) + body[1:]
        return head + body

    def update(self, is_requested: bool) -> bytes:
        """Announce new keys, and use them from now on."""
        body = bytes([_KEY_UPDATE, 0, 0, 1, is_requested])
        record = self.seal(HANDSHAKE, body)
        self._use(_expand(self._secret, b"traffic upd", 48))
        return record

    def _use(self, secret: bytes) -> None:
        self._secret, self._number = secret, 0
        self._key = AESGCM(_expand(secret, b"key", 32))
        self._iv = _expand(secret, b"iv", 12)


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446, 7.1) without a context."""
    label = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
    return HKDFExpand(SHA384(), size, info).derive(secret)


class MemoryClient:
    """
    One client.

    :param version: of TLS, the only one that it speaks.
    :ivar connection: OpenSSL's end, which reads; over TLS 1.3 it does not write after
        the handshake.
    :ivar received: data so far.
    :ivar is_closed: the server's closing message came.
    :ivar error: why it gave up; ``None`` if it did not.
    """

    def __init__(self, version: int = SSL.TLS1_3_VERSION) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        context.set_tls13_ciphersuites(_CIPHERS)
        context.set_keylog_callback(self._note_key)
        self._secret = b""
        self._sealer: Sealer | None = None
        self._is_old = version != SSL.TLS1_3_VERSION
        self.connection = SSL.Connection(context, None)
        self.connection.set_connect_state()
        self.received, self.is_closed = b"", False
        self.error: SSL.Error | None = None

    def _note_key(self, _: SSL.Connection, line: bytes) -> None:
        name, _random, secret = line.split()
        if name == b"CLIENT_TRAFFIC_SECRET_0":
            self._secret = bytes.fromhex(secret.decode())

    def shake(self) -> bytes:
        """Go on with the handshake; gives what is to be sent."""
        with contextlib.suppress(SSL.WantReadError):
            self.connection.do_handshake()
        return self._take()

    def hear(self, data: bytes) -> bytes:
        """Take what the server sent; gives what is to be sent."""
        if data:
            self.connection.bio_write(data)
        while self.error is None and not self.is_closed:
            try:
                self.received += self.connection.recv(65536)
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                self.is_closed = True
            except SSL.Error as error:
                self.error = error
        return self._take()

    def data(self, data: bytes, is_broken: bool = False) -> bytes:
        """Make a record of *data*; a broken one fails its check."""
        if self._is_old:
            with contextlib.suppress(SSL.Error):
                # Unless it is closed already.
                self.connection.send(data)
            record = self._take()
            return record[:-1] + bytes(last ^ is_broken for last in record[-1:])
        return self._seal(DATA, data, is_broken)

    def update(self, is_requested: bool) -> bytes:
        """Update the keys, as only TLS 1.3 can; gives what is to be sent."""
        if self._is_old:
            return b""
        return self._sealing().update(is_requested)

    def close(self) -> bytes:
        """Make the closing message."""
        if self._is_old:
            with contextlib.suppress(SSL.Error):
                self.connection.shutdown()
            return self._take()
        return self._seal(ALERT, b"\1\0")

    def _seal(self, kind: int, data: bytes, is_broken: bool = False) -> bytes:
        return self._sealing().seal(kind, data, is_broken)

    def _sealing(self) -> Sealer:
        if self._sealer is None:
            self._sealer = Sealer(self._secret)
        return self._sealer

    def _take(self) -> bytes:
        try:
            return self.connection.bio_read(1 << 20)
        except SSL.WantReadError:
            return b""
