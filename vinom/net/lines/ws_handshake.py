"""
The opening handshake, once HTTP is parsed by whoever serves HTTP.

Source: RFC 6455, section 4; RFC 7692 for compression.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from itertools import islice

import attrs
from websockets.datastructures import Headers
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from vinom.errors import PeerError
from vinom.net.lines.forwarded import SIGNS, Forwarding

_log = logging.getLogger("websockets.server")
_log.addHandler(logging.NullHandler())

#: Each message is compressed by itself: remembering those before would cost every
#: client some 40 KB at each end. Windows of 2^12 bytes hold our longest messages.
_DEFLATE = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True,
    client_no_context_takeover=True,
    server_max_window_bits=12,
    client_max_window_bits=12,
    compress_settings={"memLevel": 5},
)


class HandshakeRefused(PeerError):
    """
    This is not a handshake that we accept.

    :ivar status: of the HTTP answer.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@attrs.frozen
class Accepted:
    """
    A handshake that is done.

    :ivar answer: to be sent, whole.
    :ivar extensions: what was agreed on, for `WebSocketStream`.
    """

    answer: bytes
    extensions: Sequence[Extension] = ()


#: The answer to nearly everybody; for the rest `ServerProtocol` finds the words.
_ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n"
    b"\r\n"
)
_KEY = re.compile("[A-Za-z0-9+/]{21}[AQgw]==")
#: Where the headers end, the longest that are read here, and names of headers.
_END = b"\r\n\r\n"
_LONGEST = 4096
_NAME = re.compile("[A-Za-z0-9-]+")
_WITH_BODY = frozenset(("content-length", "transfer-encoding"))


def accept_handshake(
    path: str, headers: Iterable[tuple[str, str]], deflates: bool = False
) -> Accepted:
    """
    Answer a GET of HTTP/1.1.

    :param headers: all of them, in order.
    :param deflates: compress messages if the client can (permessage-deflate).
    :raises HandshakeRefused: it asks for something else, or in a wrong way.
    """
    headers = list(headers)
    found = {name.lower(): value for name, value in headers}
    if (
        not deflates
        and len(found) == len(headers)
        and (key := _plain_key(found)) is not None
    ):
        return Accepted(_ANSWER % accept_key(key).encode())
    server = ServerProtocol(extensions=[_DEFLATE] if deflates else None, logger=_log)
    response = server.accept(Request(path, Headers(headers)))
    if response.status_code != 101:
        why = server.handshake_exc
        raise HandshakeRefused(response.status_code, f"no WebSocket handshake: {why}")
    return Accepted(response.serialize(), tuple(server.extensions))


@attrs.frozen
class PlainHandshake:
    """
    A handshake as browsers and clients write it, in one piece.

    :ivar host: what the client calls us; ``None`` if it does not.
    :ivar origin: of the web page that connects; ``None`` for native clients.
    :ivar answer: to be sent, if it is let in.
    :ivar rest: what came after it.
    :ivar forwarded: from whom it came, if a proxy says so, or shows itself.
    """

    host: str | None
    origin: str | None
    answer: bytes
    rest: bytes
    forwarded: Forwarding = attrs.field(factory=Forwarding)


def read_plain_handshake(path: bytes, data: bytes) -> PlainHandshake | None:
    """
    Read a handshake without a parser of HTTP, which takes longer than all the rest.

    ``None`` is anything but the plainest: who serves HTTP then reads and judges it.
    """
    if not data.startswith(b"GET " + path + b" HTTP/1.1\r\n"):
        return None
    end = data.find(_END, 0, _LONGEST)
    if end < 0:
        return None
    try:
        lines = data[:end].decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        return None
    found: dict[str, str] = {}
    for line in islice(lines, 1, None):
        name, colon, value = line.partition(":")
        if not colon or not _NAME.fullmatch(name) or not value.isprintable():
            return None
        found[name.lower()] = value.strip(" ")
    # Each of them once: the core refuses others.
    key = _plain_key(found) if len(found) == len(lines) - 1 else None
    if key is None or not _WITH_BODY.isdisjoint(found):
        return None
    return PlainHandshake(
        found.get("host"),
        found.get("origin"),
        _ANSWER % accept_key(key).encode(),
        data[end + len(_END) :],
        Forwarding(
            [found["forwarded"]] if "forwarded" in found else (),
            [found["x-forwarded-for"]] if "x-forwarded-for" in found else (),
            not SIGNS.isdisjoint(found),
        ),
    )


def _plain_key(found: dict[str, str]) -> str | None:
    """Find the key of a handshake as browsers and clients write it."""
    key = found.get("sec-websocket-key", "")
    if (
        found.get("sec-websocket-version") == "13"
        and found.get("upgrade", "").lower() == "websocket"
        and "upgrade" in found.get("connection", "").lower().split(", ")
        and _KEY.fullmatch(key)
    ):
        return key
    return None
