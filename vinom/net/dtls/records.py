"""
DTLS records, and the one handshake message that we read ourselves.

Everything here reads plaintext that anybody may have sent, and nothing keeps state.
Layouts: RFC 6347, sections 4.1 to 4.3; docs/protocol/udp-handshake.rst.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from vinom.errors import PeerError

#: Type, version, epoch, sequence number, length.
RECORD_HEADER = 13
#: The shortest body of a sealed record, bytes: AES-GCM has a nonce of 8 and a tag of
#: 16, ChaCha20-Poly1305 the tag alone (RFC 5288, RFC 7905). What a handshake seals is
#: longer with both.
SHORTEST_SEALED, SHORTEST_WITHOUT_NONCE = 24, 16
#: Type, length, message number, fragment offset, fragment length.
HANDSHAKE_HEADER = 12

CHANGE_CIPHER_SPEC = 20
ALERT = 21
HANDSHAKE = 22
APPLICATION_DATA = 23

#: Messages that clients send: ClientHello, Certificate, CertificateVerify,
#: ClientKeyExchange, Finished.
_OF_CLIENTS = frozenset((1, 11, 15, 16, 20))
#: Longest handshake message that is read from a client, bytes. OpenSSL reserves what
#: a fragment announces, up to 98 kB; a client's longest is its key exchange.
LONGEST_MESSAGE = 4096
#: Number of the last message of a client's handshake: hello, hello with cookie,
#: certificate, key exchange, its proof, Finished.
LAST_MESSAGE = 5

_CLIENT_HELLO = 1
_HELLO_VERIFY_REQUEST = 3
_SERVER_NAME = 0
_HOST_NAME = 0
_DTLS_1_0 = b"\xfe\xff"
_DTLS_1_2 = b"\xfe\xfd"
_NO_EPOCH = b"\0\0"
_FIRST_EPOCH = b"\0\1"

#: Where a ClientHello's random is, when the hello starts the datagram.
_RANDOM = slice(RECORD_HEADER + HANDSHAKE_HEADER + 2, RECORD_HEADER + 46)

#: Where a hello has the length of its session: after version and random.
_SESSION = RECORD_HEADER + HANDSHAKE_HEADER + 34


@attrs.frozen
class ClientHello:
    """
    The parts of a client's first message that admission needs.

    :ivar sequence: the record's number, 6 bytes as on the wire.
    :ivar message: the message's number; 0 in the first hello, 1 in the second.
    :ivar random: the client's random, 32 bytes.
    :ivar cookie: the one we sent before; empty in the first hello.
    :ivar parameters: all of the hello but the cookie: the first and the second
        hello must be equal in it (RFC 6347, 4.2.1).
    :ivar extensions: all of them in one piece, not parsed yet: a stranger can send
        hundreds, and must prove its address first.
    """

    sequence: bytes
    message: int
    random: bytes
    cookie: bytes
    parameters: bytes
    extensions: bytes

    def read_server_name(self) -> bytes | None:
        """
        Find the host name among the extensions, as sent; ``None`` if there is none.

        :raises PeerError: an extension is cut, or there is more than one name.
        """
        return _read_server_name(self.extensions)


class _Cursor:
    """Read length-prefixed fields of one message; never past its end."""

    __slots__ = ("_data", "_end", "_place")

    def __init__(self, data: bytes, place: int, end: int) -> None:
        self._data, self._place, self._end = data, place, end

    @property
    def place(self) -> int:
        return self._place

    @property
    def is_at_end(self) -> bool:
        return self._place == self._end

    def take(self, size: int) -> bytes:
        start = self._place
        if start + size > self._end:
            raise PeerError("a field runs past the end of its message")
        self._place = start + size
        return self._data[start : start + size]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, width: int, least: int = 0, most: int = 0xFFFF) -> bytes:
        """Take a field whose length stands before it in *width* bytes."""
        size = self.number(width)
        if not least <= size <= most:
            raise PeerError(f"a field must have {least} to {most} bytes, not {size}")
        return self.take(size)


def is_client_hello(datagram: bytes) -> bool:
    """Does it look like the start of a handshake? Reads only three fields."""
    return (
        len(datagram) > RECORD_HEADER
        and datagram[0] == HANDSHAKE
        and datagram[3:5] == _NO_EPOCH
        and datagram[RECORD_HEADER] == _CLIENT_HELLO
    )


#: Answers a sealed payload from an address without an association: a plain alert,
#: fatal, unexpected_message. Every stack ignores it once its handshake is finished
#: (RFC 6347, 4.1.2.7: a record of another epoch), and so may ours: it proves nothing.
NOT_ASSOCIATED = bytes((ALERT, 0xFE, 0xFD, *bytes(8), 0, 2, 2, 10))


def is_sealed_payload(datagram: bytes) -> bool:
    """Does it look like a payload of an association? Always longer than the answer."""
    return (
        len(datagram) > RECORD_HEADER + SHORTEST_WITHOUT_NONCE
        and datagram[0] == APPLICATION_DATA
        and datagram[1:3] == _DTLS_1_2
        and datagram[3:5] != _NO_EPOCH
        and RECORD_HEADER + int.from_bytes(datagram[11:13]) <= len(datagram)
    )


def random_of(hello: bytes) -> bytes:
    """Return the random of a datagram that `is_client_hello`; shorter if it is cut."""
    return hello[_RANDOM]


def shows_cookie(hello: bytes) -> bool:
    """Is there a cookie? Reads two fields; a hello cut before them has none."""
    if len(hello) <= _SESSION:
        return False
    place = _SESSION + 1 + hello[_SESSION]
    return place < len(hello) and hello[place] > 0


def parse_client_hello(datagram: bytes) -> ClientHello:
    """
    Read a datagram that is one whole ClientHello and nothing else.

    A hello in fragments is refused: OpenSSL's ``DTLSv1_listen`` requires it whole,
    and putting fragments together would mean storing state for strangers.

    :raises PeerError: it is anything else.
    """
    outer = _Cursor(datagram, 0, len(datagram))
    if outer.number(1) != HANDSHAKE:
        raise PeerError("not a handshake record")
    if outer.take(2)[:1] != b"\xfe":
        raise PeerError("not DTLS")
    if outer.take(2) != _NO_EPOCH:
        raise PeerError("an encrypted record from a stranger")
    sequence = outer.take(6)
    if outer.number(2) != len(datagram) - RECORD_HEADER:
        raise PeerError("more or less than one record")
    if outer.number(1) != _CLIENT_HELLO:
        raise PeerError("not a ClientHello")
    size = outer.number(3)
    message = outer.number(2)
    if outer.number(3) != 0 or outer.number(3) != size:
        raise PeerError("a ClientHello in fragments")
    if size != len(datagram) - outer.place:
        raise PeerError("more or less than one message")
    return _read_hello(datagram, outer.place, sequence, message)


def _read_hello(
    datagram: bytes, start: int, sequence: bytes, message: int
) -> ClientHello:
    cursor = _Cursor(datagram, start, len(datagram))
    if cursor.take(2)[:1] != b"\xfe":
        raise PeerError("not DTLS")
    random = cursor.take(32)
    cursor.vector(1, most=32)
    before_cookie = cursor.place
    cookie = cursor.vector(1)
    after_cookie = cursor.place
    suites = cursor.vector(2, least=2)
    if len(suites) % 2:
        raise PeerError("half a cipher suite")
    cursor.vector(1, least=1)
    parameters = datagram[start:before_cookie] + datagram[after_cookie:]
    extensions = b""
    if not cursor.is_at_end:
        extensions = cursor.vector(2)
        if not cursor.is_at_end:
            raise PeerError("bytes after the extensions")
    return ClientHello(sequence, message, random, cookie, parameters, extensions)


def _read_server_name(extensions: bytes) -> bytes | None:
    cursor = _Cursor(extensions, 0, len(extensions))
    found: bytes | None = None
    while not cursor.is_at_end:
        kind = cursor.number(2)
        body = cursor.vector(2)
        if kind != _SERVER_NAME:
            continue
        if found is not None:
            raise PeerError("two server names")
        names = _Cursor(body, 0, len(body))
        # The format is a list; since RFC 6066 it has exactly one host name.
        if names.number(2) != len(body) - 2 or names.number(1) != _HOST_NAME:
            raise PeerError("not a host name")
        found = names.vector(2, least=1, most=255)
        if not names.is_at_end:
            raise PeerError("two server names")
    return found


def hello_verify_request(sequence: bytes, cookie: bytes) -> bytes:
    """
    Make a HelloVerifyRequest: the client must send its hello again, with *cookie*.

    Record and message have DTLS 1.0's version whatever is negotiated later
    (RFC 6347, 4.2.1); the record has the number of the hello that it answers.
    """
    body = _DTLS_1_0 + bytes((len(cookie),)) + cookie
    size = len(body).to_bytes(3)
    message = bytes((_HELLO_VERIFY_REQUEST,)) + size + bytes(5) + size + body
    return (
        bytes((HANDSHAKE,))
        + _DTLS_1_0
        + _NO_EPOCH
        + sequence
        + len(message).to_bytes(2)
        + message
    )


def is_one_record(datagram: bytes) -> bool:
    """Does it hold exactly one record, by the first one's length field?"""
    return int.from_bytes(datagram[11:13]) + RECORD_HEADER == len(datagram)


def _records(data: bytes) -> Iterator[bytes]:
    """Cut *data* into its whole records; leave out an incomplete tail."""
    place = 0
    while place + RECORD_HEADER <= len(data):
        size = int.from_bytes(data[place + 11 : place + RECORD_HEADER])
        after = place + RECORD_HEADER + size
        if after > len(data):
            return
        yield data[place:after]
        place = after


def without_short_records(datagram: bytes, shortest: int) -> bytes:
    """
    Remove encrypted records that nobody can have sealed, and a tail that is no record.

    OpenSSL before 4.0.3 does not drop such a record but gives up, so anybody who can
    spoof an address could end a connection.

    :param shortest: of a record's body, bytes.
    """
    return b"".join(
        record
        for record in _records(datagram)
        if len(record) >= RECORD_HEADER + shortest or record[3:5] == _NO_EPOCH
    )


def without_plaintext_alerts(datagram: bytes) -> bytes:
    """
    Remove unauthenticated alerts, records too short to be sealed ones of a handshake,
    and a tail that isn't a whole record.

    During a handshake OpenSSL would act on such alerts, so anybody who can spoof an
    address could end it; see also `without_short_records`.
    """
    kept = []
    for record in _records(datagram):
        if record[3:5] == _NO_EPOCH:
            is_kept = record[0] != ALERT
        else:
            is_kept = len(record) >= RECORD_HEADER + SHORTEST_SEALED
        if is_kept:
            kept.append(record)
    return kept[0] if len(kept) == 1 else b"".join(kept)


def client_records(datagram: bytes) -> tuple[bytes, list[bytes]]:
    """
    Keep the records that a client may send during its handshake.

    OpenSSL reserves memory for each message that a plaintext fragment announces, and
    keeps each encrypted record that comes too early, so both are judged before it.

    :returns: the plaintext ones, joined; and the encrypted ones.
    """
    plain, sealed = [], []
    for record in _records(datagram):
        kind, epoch, body = record[0], record[3:5], record[RECORD_HEADER:]
        if epoch == _FIRST_EPOCH:
            if len(body) >= SHORTEST_SEALED:
                sealed.append(record)
        elif epoch == _NO_EPOCH and (
            (kind == CHANGE_CIPHER_SPEC and body == b"\1")
            or (kind == HANDSHAKE and _is_of_client(body))
        ):
            plain.append(record)
    return b"".join(plain), sealed


def _is_of_client(body: bytes) -> bool:
    """Does a plaintext handshake record hold only fragments that a client sends?"""
    place, end = 0, len(body)
    while place < end:
        after = place + HANDSHAKE_HEADER
        if after > end or body[place] not in _OF_CLIENTS:
            return False
        size = int.from_bytes(body[place + 1 : place + 4])
        number = int.from_bytes(body[place + 4 : place + 6])
        offset = int.from_bytes(body[place + 6 : place + 9])
        part = int.from_bytes(body[place + 9 : after])
        if size > LONGEST_MESSAGE or number > LAST_MESSAGE or offset + part > size:
            return False
        place = after + part
    # Not if it is empty, or its last fragment is cut.
    return 0 < place == end


def without_repeated_hello(flight: bytes) -> bytes:
    """
    Drop each ClientHello that OpenSSL sent once more in front of its next flight.

    Nothing is behind a hello in one flight, so those before something else are such.
    """
    records = list(_records(flight))
    last = _hello_number(records[-1]) if records else None
    return b"".join(
        record for record in records if _hello_number(record) in (None, last)
    )


def _hello_number(record: bytes) -> bytes | None:
    """Read the message number of a ClientHello, or of a piece of it."""
    if not is_client_hello(record):
        return None
    return record[RECORD_HEADER + 4 : RECORD_HEADER + 6]


def cut_datagrams(flight: bytes, mtu: int) -> list[bytes]:
    """
    Cut what OpenSSL wrote into datagrams of whole records.

    A memory BIO does not keep datagram borders, so a flight comes out in one piece.

    :param mtu: longest datagram, bytes; a longer record still goes alone.
    """
    if len(flight) <= mtu:
        return [flight]
    datagrams = []
    start = place = 0
    while place < len(flight):
        size = RECORD_HEADER + int.from_bytes(flight[place + 11 : place + 13])
        if place > start and place + size - start > mtu:
            datagrams.append(flight[start:place])
            start = place
        place += size
    datagrams.append(flight[start:])
    return datagrams
