"""ClientHellos as strangers send them, well made and otherwise."""

from __future__ import annotations

from OpenSSL import SSL

from tests.support.certificates import authority
from vinom.net.dtls.channel import DtlsChannel
from vinom.net.dtls.context import client_context
from vinom.net.dtls.records import HANDSHAKE_HEADER, RECORD_HEADER

SUITES = b"\xc0\x2b\xc0\x2f"


def extension(kind: int, body: bytes) -> bytes:
    """One extension of a hello."""
    return kind.to_bytes(2) + len(body).to_bytes(2) + body


def server_name(name: bytes) -> bytes:
    """The extension that carries a host name."""
    entry = b"\0" + len(name).to_bytes(2) + name
    return extension(0, len(entry).to_bytes(2) + entry)


def client_hello(
    name: bytes | None = None,
    cookie: bytes = b"",
    random: bytes = b"r" * 32,
    session: bytes = b"",
    suites: bytes = SUITES,
    extensions: bytes | None = None,
    record_number: int = 0,
    message_number: int = 0,
) -> bytes:
    """
    One datagram with one hello.

    :param extensions: instead of the one for *name*; ``b""``: an empty list.
    """
    body = b"\xfe\xfd" + random
    body += bytes((len(session),)) + session
    body += bytes((len(cookie),)) + cookie
    body += len(suites).to_bytes(2) + suites
    body += b"\x01\x00"
    if extensions is None and name is not None:
        extensions = server_name(name)
    if extensions is not None:
        body += len(extensions).to_bytes(2) + extensions
    return in_record(body, record_number, message_number)


def in_record(body: bytes, record_number: int = 0, message_number: int = 0) -> bytes:
    """Dress a ClientHello's body in a handshake message and a record."""
    size = len(body).to_bytes(3)
    message = b"\x01" + size + message_number.to_bytes(2) + b"\0\0\0" + size + body
    return (
        b"\x16\xfe\xff\0\0"
        + record_number.to_bytes(6)
        + len(message).to_bytes(2)
        + message
    )


def cookie_in(answer: bytes) -> bytes:
    """Take the cookie out of a HelloVerifyRequest."""
    place = RECORD_HEADER + HANDSHAKE_HEADER + 2
    return answer[place + 1 : place + 1 + answer[place]]


def openssl_hello(name: str) -> tuple[SSL.Connection, bytes]:
    """The first hello of OpenSSL's client, and the client."""
    channel = DtlsChannel(client_context(authority().anchor), 1200)
    (hello,) = channel.open_as_client(name, 0.0)
    return channel.connection, hello


def long_hello(size: int) -> bytes:
    """Make a hello with a token, *size* bytes long."""
    head, tail = (
        b'{"type":"hello","data":{"protocol":1,"credentials":{"token":"',
        b'"}}}',
    )
    return head + b"x" * (size - len(head) - len(tail)) + tail
