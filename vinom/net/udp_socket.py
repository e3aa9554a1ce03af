"""The sockets below UDP ports: the cheapest ways in and out, and room to wait in."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

from twisted.internet.interfaces import IUDPTransport

from vinom.wire.admission import Address

#: Sends one datagram.
Write = Callable[[bytes, Address], object]
#: Reads one datagram, or the start of a longer one, from a socket that never waits.
Read = Callable[[int], tuple[bytes, Address]]


def writer_of(transport: IUDPTransport) -> Write:
    """
    Find the cheapest way to send through an unconnected UDP port.

    Twisted's own `write` looks at each address whether it is one; ours come from
    the socket. Transports without a socket (in memory) are written to.
    """
    bound = socket_of(transport)
    if bound is not None:
        return bound.sendto
    return transport.write


def socket_of(transport: IUDPTransport) -> socket.socket | None:
    """Find the socket below a transport; ``None`` if it has none (in memory)."""
    handle = getattr(transport, "getHandle", None)
    bound = None if handle is None else handle()
    return bound if isinstance(bound, socket.socket) else None


def widen_receive_buffer(bound: socket.socket, size: int) -> int:
    """
    Ask the kernel for more room for datagrams that wait; never for less.

    :param size: wanted, bytes; Linux doubles it for its own bookkeeping, and cuts
        it to ``net.core.rmem_max`` without a word (source: socket(7)).
    :returns: what there is now, in the same measure as *size*.
    """
    level, option = socket.SOL_SOCKET, socket.SO_RCVBUF
    if size > bound.getsockopt(level, option) // 2:
        # Where it is refused instead, what there was remains.
        with suppress(OSError):
            bound.setsockopt(level, option, size)
    return bound.getsockopt(level, option) // 2
