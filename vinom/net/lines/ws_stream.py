"""
One WebSocket's bytes, the server's side: the opening handshake, once HTTP is parsed by
whoever serves HTTP, and then frames.

Frames are cut here. A whole text message in one frame is read by a short cut, the
shortest of them already in `vinom.net.lines.websocket`; every other frame goes to the
``websockets`` package, which is made when it is needed and forgotten when it has
nothing more to remember: most clients never need it. The server's own frames are whole,
unmasked and mostly uncompressed. Sources: RFC 6455, 4, 5.2 and 7.4; RFC 7692 for
compression; docs/protocol/websocket.rst, section "Close codes"; decision 0008.
"""

from __future__ import annotations

import codecs
import logging
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from struct import Struct

import attrs
from websockets.datastructures import Headers
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN, SEND_EOF, SERVER, Protocol
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from vinom.errors import Code, PeerError
from vinom.net.frames import LINE_LIMIT
from vinom.net.lines.forwarded import SIGNS, Forwarding

#: Nothing is left to send.
NORMAL = 1000
#: A message is too long (RFC 6455, 7.4.1).
TOO_LONG = 1009
#: Any code that has no number of its own: the reason begins with it.
OTHER = 4000

#: Numbers from 4000 on are ours (RFC 6455, 7.4.2).
NUMBERS = {
    Code.SHUTDOWN: 1001,
    Code.INTERNAL: 1011,
    Code.REPLACED: 4001,
    Code.TIMEOUT: 4002,
    Code.KICKED: 4003,
    Code.TOO_SLOW: 4008,
    Code.RATE_LIMITED: 4029,
}


def farewell(code: Code | None, reason: str) -> tuple[int, str]:
    """
    Find what a close frame carries.

    :returns: its number, and its reason: the code, and the same in words.
    """
    if code is None:
        return NORMAL, reason
    return NUMBERS.get(code, OTHER), f"{code.value}: {reason}" if reason else code.value


#: How whole text frames of short payloads begin, by their size.
_SHORT = tuple(bytes((0x81, size)) for size in range(126))
_middle = Struct("!BBH").pack
#: Asks whether the peer still answers.
PING = b"\x89\x00"


def text_frame(payload: bytes) -> bytes:
    """Write one text message as one frame; *payload* is UTF-8 already."""
    size = len(payload)
    if size < 126:
        return _SHORT[size] + payload
    if size < 65536:
        return _middle(0x81, 126, size) + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


class Framer:
    """
    Make one frame of what a turn sends to a connection, once for all alike.

    Connections of one room come one after the other, and most of them are sent the
    same; so it is enough to remember the last.
    """

    __slots__ = ("_frame", "_messages")

    def __init__(self) -> None:
        self._messages: Sequence[bytes] = ()
        self._frame = b""

    def frame(self, messages: list[bytes]) -> bytes:
        """Frame messages as an array; *messages* must not change any more."""
        # Lists are compared by what they hold, and that is mostly the same objects.
        if messages != self._messages:
            self._frame = text_frame(b"[%b]" % b",".join(messages))
            self._messages = messages
        return self._frame


try:
    from websockets.speedups import apply_mask as apply_mask
except ImportError:  # a platform without its C part
    from websockets.utils import apply_mask as apply_mask

#: Frames that a peer may send beside whole text messages until `forgive`.
MOST_ODD = 4096
#: Longest reason of a close frame, bytes. Source: RFC 6455, 5.5.
_LONGEST_REASON = 123

#: The first byte of a text message in one frame, and of a pong.
WHOLE_TEXT, _WHOLE_PONG = 0x81, 0x8A
_KNOWN_OPCODES = frozenset(Opcode)
_new_decoder = codecs.getincrementaldecoder("utf-8")


class WebSocketStream:
    """
    Read what a client sends, and write what needs more than a text frame.

    :param limit: longest message in, bytes.
    :param extensions: what the handshake agreed on.
    :param is_short_cut: ``False`` leaves all frames to ``websockets``.
    :ivar is_between: nothing of a frame or of a message is held, and short cuts are
        allowed: a whole text that comes now may be read without `receive`.
    :ivar outbox: bytes to send, in order: answers to pings, and close frames.
    :ivar is_open: neither side has begun to close.
    :ivar is_over: nothing follows: when the outbox is sent, end the connection.
    :ivar closed: the close frame sent, or else received: its number and reason.
    """

    __slots__ = (
        "_core",
        "_decoder",
        "_extensions",
        "_held",
        "_is_short_cut",
        "_limit",
        "_odd",
        "_text",
        "closed",
        "is_between",
        "is_open",
        "is_over",
        "outbox",
    )

    def __init__(
        self,
        limit: int = LINE_LIMIT,
        extensions: Sequence[Extension] = (),
        is_short_cut: bool = True,
    ) -> None:
        self._limit, self._is_short_cut = limit, is_short_cut
        self._extensions = tuple(extensions)
        self._core: Protocol | None = None
        self._held = b""
        self._odd = 0
        # Of a message in several frames: what came, and what checks it.
        self._text: bytearray | None = None
        self._decoder: codecs.IncrementalDecoder | None = None
        self.outbox: list[bytes] = []
        self.is_open, self.is_over = True, False
        self.is_between = is_short_cut
        self.closed: tuple[int, str] | None = None

    def receive(self, data: bytes) -> list[bytes]:
        """
        Take bytes, and give the messages that are whole now.

        Those before a bad frame count; look at `outbox` and `is_over` after it.
        """
        if self._held:
            data, self._held = self._held + data, b""
        messages: list[bytes] = []
        at, end = 0, len(data)
        while end - at > 1 and not self.is_over:
            first, size = data[at], data[at + 1] - 0x80
            body = at + 6
            if size < 126:
                pass
            elif size == 126:
                if end - at < 4:
                    break
                body, size = at + 8, int.from_bytes(data[at + 2 : at + 4], "big")
            else:
                if end - at < 10:
                    break
                body, size = at + 14, int.from_bytes(data[at + 2 : at + 10], "big")
            stop = body + size
            if size < 0 or size > self._limit or first & 0x0F not in _KNOWN_OPCODES:
                # Unmasked, too long or unknown: the core refuses it at once.
                stop = end
            elif stop > end:
                break
            elif first == WHOLE_TEXT and self._can_short_cut():
                message = apply_mask(data[body:stop], data[body - 4 : body])
                if message.isascii() or _is_utf8(message):
                    messages.append(message)
                    at = stop
                    continue
            elif first == _WHOLE_PONG and size < 126 and self._can_short_cut():
                self._odd += 1
                if self._odd <= MOST_ODD:
                    at = stop
                    continue
            self._receive_odd(data[at:stop], messages)
            at = stop
        if at < end and not self.is_over:
            self._held = data[at:] if at else data
        self.is_between = not self._held and self._can_short_cut()
        return messages

    def frame(self, text: bytes) -> bytes:
        """Write a text message, compressed if that was agreed on."""
        if not self._extensions:
            return text_frame(text)
        # Not by the core: what was sent before a close frame goes out before it.
        return Frame(Opcode.TEXT, text).serialize(
            mask=False, extensions=self._extensions
        )

    @property
    def is_plain(self) -> bool:
        """Are text messages sent as `text_frame` writes them?"""
        return not self._extensions

    def close(self, number: int, reason: str = "") -> None:
        """Send a close frame, once; a reason that is too long loses its end."""
        if self.is_open:
            core = self._core or self._new_core()
            core.send_close(number, shortened(reason))
            self._take_writes(core)

    def bound(self, limit: int) -> None:
        """Accept messages of at most *limit* bytes from now on."""
        self._limit = limit
        core = self._core
        # The older name is that of websockets 15. What the core would not refuse for
        # its length, `receive` could not cut.
        for name in ("max_message_size", "max_size"):
            if core is not None and hasattr(core, name):
                setattr(core, name, limit)

    def forgive(self) -> None:
        """Time has passed: the peer may send `MOST_ODD` odd frames again."""
        self._odd = 0

    def _can_short_cut(self) -> bool:
        return self._is_short_cut and self._text is None and self.is_open

    def _new_core(self) -> Protocol:
        core = self._core = Protocol(SERVER, state=OPEN, max_size=self._limit)
        core.extensions = list(self._extensions)
        return core

    def _receive_odd(self, data: bytes, messages: list[bytes]) -> None:
        core = self._core or self._new_core()
        self._odd += 1
        if self._odd > MOST_ODD:
            core.fail(CloseCode.POLICY_VIOLATION, "too many small frames")
        else:
            core.receive_data(data)
        for frame in core.events_received():
            if isinstance(frame, Frame):
                self._take(core, frame, messages)
        self._take_writes(core)
        if self.is_open and self._text is None and not self._extensions:
            self._core = None

    def _take(self, core: Protocol, frame: Frame, messages: list[bytes]) -> None:
        if not self.is_open or frame.opcode not in (
            Opcode.TEXT,
            Opcode.CONT,
            Opcode.BINARY,
        ):
            return
        if frame.opcode is Opcode.BINARY:
            core.fail(CloseCode.UNSUPPORTED_DATA, "text messages only")
            return
        if self._text is None or self._decoder is None:
            self._text, self._decoder = bytearray(), _new_decoder()
        try:
            # As it comes: what can never become a message is refused at once.
            self._decoder.decode(frame.data, frame.fin)
        except UnicodeDecodeError as error:
            core.fail(CloseCode.INVALID_DATA, f"not UTF-8: {error.reason}")
            return
        self._text += frame.data
        if frame.fin:
            messages.append(bytes(self._text))
            self._text = self._decoder = None

    def _take_writes(self, core: Protocol) -> None:
        for data in core.data_to_send():
            if data == SEND_EOF:
                self.is_over = True
            else:
                self.outbox.append(data)
        if core.state is not OPEN and self.is_open:
            self.is_open = self.is_between = False
            self._text = self._decoder = None
            close = core.close_sent or core.close_rcvd
            if close is not None:
                self.closed = int(close.code), close.reason


def shortened(reason: str) -> str:
    """Cut a reason to what a close frame can hold, between characters."""
    return reason.encode()[:_LONGEST_REASON].decode("utf-8", "ignore")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


_NO_TEXT = 1003


class BinaryStream:
    """
    The server's end of a WebSocket whose handshake is done.

    :ivar frames: how many came.
    :ivar is_over: when everything is sent, end the connection.
    """

    def __init__(self, limit: int) -> None:
        """:param limit: longest message in, bytes."""
        self._core = Protocol(SERVER, state=OPEN, max_size=limit)
        self.frames = 0

    @property
    def is_over(self) -> bool:
        return self._core.close_expected()

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the connection; returns those in messages. Then `written`."""
        core, found = self._core, []
        core.receive_data(data)
        for event in core.events_received():
            assert isinstance(event, Frame)
            self.frames += 1
            if event.opcode in (Opcode.BINARY, Opcode.CONT):
                found.append(bytes(event.data))
            elif event.opcode is Opcode.TEXT:
                core.fail(_NO_TEXT, "send binary messages")
        return b"".join(found)

    def send(self, data: bytes) -> None:
        """Send bytes in one message; nothing after the end."""
        if self._core.state is OPEN:
            self._core.send_binary(data)

    def close(self) -> None:
        """Send a close frame, once."""
        if self._core.state is OPEN:
            self._core.send_close(1000)

    def written(self) -> bytes:
        """Take what is to be sent."""
        return b"".join(self._core.data_to_send())


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
