"""
The PROXY header, version 2, that names a client to a back end.

Pure. Source: the specification of HAProxy's PROXY protocol, section 2.2.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
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
