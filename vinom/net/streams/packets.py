"""
The packets of binary clients and of links to back ends: a header and a body.

Pure: bytes in, packets out. Source: docs/protocol/gateway.rst.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from msgspec import Struct

from vinom.net.lines.sniff import PACKET_MAGIC

#: The first bytes of each packet; neither text nor TLS begins like this.
MAGIC = PACKET_MAGIC
#: Version of the header; a peer with another one is refused.
VERSION = 1
#: magic, version, kind, flags, length, service_type, realm_id, user_id, session_id
_HEADER = struct.Struct(">3sBBBIHIQQ")
HEADER_BYTES = _HEADER.size
#: Default of the longest body, bytes.
MOST_BODY = 1 << 20
#: Longest body of a packet that is not *data*, bytes.
MOST_CONTROL = 4096
#: Session ids that a gateway assigns have this bit set; those chosen by clients do not.
OWN_SESSION = 1 << 62


class Kind(IntEnum):
    """
    The kind of a packet.

    ``OPEN`` begins a session, ``DATA`` carries its bytes, ``CLOSE`` ends it with a
    reason, ``PING`` and ``PONG`` detect silence, ``WINDOW`` lets the peer send more
    bytes.
    """

    OPEN = 1
    DATA = 2
    CLOSE = 3
    PING = 4
    PONG = 5
    WINDOW = 6


_KINDS = {kind.value: kind for kind in Kind}
_DATA = Kind.DATA


class Packet(Struct, frozen=True, gc=False):
    """
    One packet.

    The ids say where it should go. They prove nothing.

    :ivar kind: its kind.
    :ivar body: bytes of the session, a reason in UTF-8, or a number of four bytes.
    :ivar service_type: code of the service, from 0 to 65535.
    :ivar realm_id: the realm, from 0 to 2**32 - 1.
    :ivar user_id: the user, from 0 to 2**64 - 1.
    :ivar session_id: id of the session; 0 asks for one.
    :ivar flags: 0, because none is defined yet.
    """

    kind: Kind
    body: bytes = b""
    service_type: int = 0
    realm_id: int = 0
    user_id: int = 0
    session_id: int = 0
    flags: int = 0


def encode(packet: Packet, most_body: int = MOST_BODY) -> bytes:
    """
    Write a packet.

    :param most_body: longest body, bytes.
    :raises ValueError: its body is longer, or an id does not fit its field.
    """
    if len(packet.body) > most_body:
        raise ValueError(f"body of {len(packet.body)} bytes, limit {most_body}")
    try:
        header = _HEADER.pack(
            MAGIC,
            VERSION,
            packet.kind,
            packet.flags,
            len(packet.body),
            packet.service_type,
            packet.realm_id,
            packet.user_id,
            packet.session_id,
        )
    except struct.error as error:
        raise ValueError(f"a field of the header: {error}") from None
    return header + packet.body


def data_header(session_id: int, length: int) -> bytes:
    """Write the header of a *data* packet that names only its session."""
    return _HEADER.pack(MAGIC, VERSION, Kind.DATA, 0, length, 0, 0, 0, session_id)


class PacketReader:
    """
    Read packets from a stream, however the network splits it.

    The body of a *data* packet is returned in pieces as they arrive, each as a packet.
    So this holds at most a header and a body of `MOST_CONTROL` bytes.

    :ivar ended: number of complete packets so far.
    :ivar mistake: why the stream is invalid; ``None`` if it is valid.
    """

    __slots__ = ("_held", "_missing", "_most_body", "_session", "ended", "mistake")

    def __init__(self, most_body: int = MOST_BODY) -> None:
        """:param most_body: longest body, bytes."""
        self._held, self._most_body = b"", most_body
        # Missing bytes of the body of an incomplete *data* packet.
        self._missing = self._session = 0
        self.ended = 0
        self.mistake: str | None = None

    @property
    def is_between(self) -> bool:
        """Is the last packet complete?"""
        return not (self._held or self._missing)

    def read(self, data: bytes) -> list[Packet]:
        """
        Read received bytes.

        Packets before a mistake are still returned; after it nothing is.
        """
        found: list[Packet] = []
        if self.mistake is not None:
            return found
        if self._held:
            data, self._held = self._held + data, b""
        at, end = 0, len(data)
        if self._missing:
            at = min(self._missing, end)
            self._missing -= at
            self.ended += not self._missing
            found.append(Packet(_DATA, data[:at], 0, 0, 0, self._session))
        while end - at >= HEADER_BYTES:
            magic, version, kind, flags, length, service, realm, user, session = (
                _HEADER.unpack_from(data, at)
            )
            if magic != MAGIC or version != VERSION or flags or kind not in _KINDS:
                self.mistake = _mistake(data[at : at + HEADER_BYTES])
                return found
            at += HEADER_BYTES
            if kind == _DATA:
                if length > self._most_body:
                    self.mistake = f"body of {length} bytes, limit {self._most_body}"
                    return found
                body = data[at : at + length]
                if len(body) < length:
                    self._missing, self._session = length - len(body), session
                    if body:
                        found.append(Packet(_DATA, body, service, realm, user, session))
                    return found
            else:
                if length > MOST_CONTROL:
                    self.mistake = f"body of {length} bytes, limit {MOST_CONTROL}"
                    return found
                body = data[at : at + length]
                if len(body) < length:
                    at -= HEADER_BYTES
                    break
            at += length
            self.ended += 1
            found.append(Packet(_KINDS[kind], body, service, realm, user, session))
        if at < end:
            self._held = data[at:]
            # An invalid packet is refused at its first wrong byte.
            self.mistake = _mistake(self._held[:HEADER_BYTES])
        return found


def _mistake(front: bytes) -> str | None:
    """Find the mistake in the beginning of a packet."""
    if front[: len(MAGIC)] != MAGIC[: len(front)]:
        return "this is not a packet: it must begin with f5 56 47"
    if len(front) > 3 and front[3] != VERSION:
        return f"a packet has version {front[3]}, not {VERSION}"
    if len(front) > 4 and front[4] not in _KINDS:
        return f"a packet has the unknown kind {front[4]}"
    if len(front) > 5 and front[5]:
        return f"a packet has unknown flags {front[5]:#x}"
    return None
