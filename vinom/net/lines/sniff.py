"""
Recognize the protocol of a connection by its first bytes, and read and write PROXY
headers, which come before them.

Pure: bytes in, an answer out, however the network splits them. Used by the lobby's
port, the front door and the gateway.
Sources: RFC 8446, 5.1 (TLS); RFC 9110, 9.1 (methods of HTTP); the specification of
HAProxy's PROXY protocol, section 2; docs/protocol/gateway.rst (packets).
"""

from __future__ import annotations

import re
import struct
from enum import Enum
from ipaddress import ip_address

#: The first bytes of each packet of the gateway; neither text nor TLS begins so.
PACKET_MAGIC = b"\xf5VG"
#: The first byte of a TLS connection: a handshake record.
TLS_HANDSHAKE = 0x16
#: What a lobby line begins with: an object, an empty line, or a blank.
_LINE = frozenset(b"{\r\n ")
#: A method of HTTP, the longest that is registered has 17 letters.
_METHOD = re.compile(rb"[A-Z][A-Z-]{0,19}(?P<end> |\Z)")

#: How a PROXY header of the second version begins, and how much of it must be there.
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_ENOUGH = 16
#: The first version is a line, at most this long with its end, bytes.
PROXY_LINE = b"PROXY "
LONGEST_PROXY_LINE = 107
_END = b"\r\n"


class Spoken(Enum):
    """
    The protocol of a connection.

    A WebSocket begins as HTTP; its request shows that it is one.
    """

    LINES = "lines"
    TLS = "tls"
    HTTP = "http"
    PACKETS = "packets"
    OTHER = "other"


def sniff(data: bytes) -> Spoken | None:
    """
    Recognize the protocol of a connection.

    :param data: all bytes received so far.
    :returns: ``None`` if more bytes are needed; never with more than 20.
    """
    if not data:
        return None
    first = data[0]
    if first in _LINE:
        return Spoken.LINES
    if first == TLS_HANDSHAKE:
        return Spoken.TLS
    if first == PACKET_MAGIC[0]:
        size = len(PACKET_MAGIC)
        if data[:size] == PACKET_MAGIC:
            return Spoken.PACKETS
        return None if PACKET_MAGIC.startswith(data) else Spoken.OTHER
    method = _METHOD.match(data)
    if method is None:
        return Spoken.OTHER
    return Spoken.HTTP if method["end"] else None


def begins_proxy_header(data: bytes) -> bool | None:
    """
    Do these bytes begin a PROXY header, of either version?

    :returns: ``None`` if more bytes are needed; never with 12.
    """
    if data.startswith((PROXY_LINE, _SIGNATURE)):
        return True
    is_short = PROXY_LINE.startswith(data) or _SIGNATURE.startswith(data)
    return None if is_short else False


def end_of_proxy_header(data: bytes) -> int | None:
    """
    Find the length of the PROXY header at the start of a connection; 0 without one.

    :param data: all bytes received so far on a proxy's connection.
    :returns: ``None`` if more bytes are needed to know, or to complete it.
    """
    size = len(data)
    is_begun = begins_proxy_header(data)
    if not is_begun:
        return 0 if is_begun is False else None
    if data.startswith(PROXY_LINE):
        end = data.find(_END, 0, LONGEST_PROXY_LINE)
        if end >= 0:
            return end + len(_END)
        return None if size < LONGEST_PROXY_LINE else size
    if size < _ENOUGH:
        return None
    end = _ENOUGH + int.from_bytes(data[_ENOUGH - 2 : _ENOUGH])
    return end if size >= end else None


#: Version 2, command PROXY; and command LOCAL, for the proxy's own connections.
_PROXY, _LOCAL = 0x21, 0x20
#: TCP over IPv4, and over IPv6.
_FAMILIES = {4: 0x11, 6: 0x21}


def write_proxy_header(host: str, port: int, here: str, here_port: int) -> bytes:
    """
    Write a header.

    :param host: the client's address; a suffix after ``%`` is left out.
    :param port: the client's port.
    :param here: the address to which the client connected.
    :param here_port: its port.
    """
    try:
        source = ip_address(host.partition("%")[0])
        target = ip_address(here.partition("%")[0])
    except ValueError:
        return _SIGNATURE + struct.pack(">BBH", _LOCAL, 0, 0)
    if source.version != target.version:
        # Both as IPv6: an IPv4 address is mapped there.
        source, target = (
            one if one.version == 6 else ip_address(f"::ffff:{one}")
            for one in (source, target)
        )
    body = source.packed + target.packed + struct.pack(">HH", port, here_port)
    return (
        _SIGNATURE
        + struct.pack(">BBH", _PROXY, _FAMILIES[source.version], len(body))
        + body
    )
