"""
RFC 6455 from outside: every kind of frame, right and wrong, on real sockets.

The same ground as the Autobahn test suite covers, by its sections: frames,
pings, reserved bits, opcodes, fragments, UTF-8, closing, sizes, compression.
Each case runs whole and in bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

import attrs
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.trial.unittest import TestCase
from websockets.frames import Opcode

from tests.support.redis_servers import until
from tests.support.websocket_net import EchoServer, RawClient, upgraded
from tests.support.websockets import frame
from vinom.net.lines.limits import LineBounds

#: Longest message in.
LIMIT = 2048
TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
CLOSE, PING, PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG


@attrs.frozen
class Case:
    """
    What a client sends, and what must come of it.

    :ivar name: its section, and what it is about.
    :ivar messages: what is echoed, in order.
    :ivar pongs: the payloads of answers to pings, in order.
    :ivar close: number of the server's farewell; 1005 is none, and ``None`` means
        that the connection stays open.
    """

    name: str
    sent: bytes
    messages: tuple[bytes, ...] = ()
    pongs: tuple[bytes, ...] = ()
    close: int | None = None


def _close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


def _pieces(text: bytes, *cuts: int, between: bytes = b"") -> bytes:
    """Send one text in fragments, with *between* between them."""
    ends = [*cuts, len(text)]
    parts = [text[at:end] for at, end in zip([0, *cuts], ends, strict=True)]
    frames = [
        frame(TEXT if number == 0 else CONT, part, is_final=number == len(parts) - 1)
        for number, part in enumerate(parts)
    ]
    return between.join(frames)


def _framing() -> Iterable[Case]:
    for size in (0, 1, 125, 126, 127, 128, 255, 256, 1000, LIMIT - 1, LIMIT):
        text = b"*" * size
        yield Case(f"1.1 text of {size} bytes", frame(TEXT, text), (text,))
    for size in (0, 125, 126, LIMIT):
        data = frame(BINARY, b"\xfe" * size)
        yield Case(f"1.2 binary of {size} bytes is refused", data, close=1003)
    for width in (2, 8):
        yield Case(
            f"1.3 a length in {width} bytes that one could hold",
            frame(TEXT, b"short", width=width),
            (b"short",),
        )
    yield Case("1.4 no mask", frame(TEXT, b"x", is_masked=False), close=1002)
    yield Case("1.5 no mask, empty", frame(TEXT, b"", is_masked=False), close=1002)
    top = bytes([0x81, 0xFF]) + b"\xff" * 8 + b"key!"
    yield Case("1.6 a length of 2^64 - 1", top, close=1009)


def _pings() -> Iterable[Case]:
    yield Case("2.1 ping without payload", frame(PING, b""), pongs=(b"",))
    yield Case("2.2 ping with text", frame(PING, b"Hello"), pongs=(b"Hello",))
    binary = bytes([0, 255, 254, 253, 252, 251, 0, 255])
    yield Case("2.3 ping with binary", frame(PING, binary), pongs=(binary,))
    most = b"\xfe" * 125
    yield Case("2.4 ping with 125 bytes", frame(PING, most), pongs=(most,))
    yield Case("2.5 ping with 126 bytes", frame(PING, most + b"\xfe"), close=1002)
    yield Case("2.5 pong with 126 bytes", frame(PONG, most + b"\xfe"), close=1002)
    for payload in (b"", b"unsolicited", most):
        data = frame(PONG, payload) + frame(PING, b"1")
        yield Case(f"2.7 pong of {len(payload)} nobody wants", data, pongs=(b"1",))
    ten = tuple(b"payload-%d" % number for number in range(10))
    data = b"".join(frame(PING, payload) for payload in ten)
    yield Case("2.10 ten pings", data, pongs=ten)


def _reserved() -> Iterable[Case]:
    good = frame(TEXT, b"first")
    for bits in range(1, 8):
        for opcode in (TEXT, BINARY, CONT, PING, PONG, CLOSE):
            yield Case(
                f"3 reserved bits {bits:03b} on {opcode.name}",
                good + frame(opcode, b"\x03\xe8", reserved=bits),
                (b"first",),
                close=1002,
            )
        empty = frame(TEXT, b"", reserved=bits)
        yield Case(f"3 reserved bits {bits:03b}, empty", empty, close=1002)


def _opcodes() -> Iterable[Case]:
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        for payload in (b"", b"payload"):
            yield Case(
                f"4 opcode {opcode} with {len(payload)} bytes",
                frame(TEXT, b"before")
                + frame(opcode, payload)
                + frame(PING, b"never answered"),
                (b"before",),
                close=1002,
            )


def _fragments() -> Iterable[Case]:
    two = b"fragment1fragment2"
    for opcode in (PING, PONG, CLOSE):
        data = frame(opcode, b"\x03", is_final=False) + frame(CONT, b"\xe8")
        yield Case(f"5.1 {opcode.name} in fragments", data, close=1002)
    yield Case("5.3 text in two", _pieces(two, 9), (two,))
    ping = frame(PING, b"between")
    yield Case(
        "5.6 a ping between", _pieces(two, 9, between=ping), (two,), (b"between",)
    )
    pong = frame(PONG, b"between")
    yield Case("5.7 a pong between", _pieces(two, 9, between=pong), (two,))
    for is_final in (True, False):
        data = frame(CONT, b"nothing to go on with", is_final=is_final)
        yield Case(f"5.9 no start, final {is_final}", data, close=1002)
        yield Case(
            f"5.10 no start after a text, final {is_final}",
            frame(TEXT, b"whole") + data,
            (b"whole",),
            close=1002,
        )
    again = frame(CONT, b"x", is_final=False) + frame(TEXT, b"y") + frame(CONT, b"z")
    yield Case("5.15 no start twice", _pieces(two, 9) + again, (two,), close=1002)
    for second in (TEXT, BINARY):
        data = frame(TEXT, b"start", is_final=False) + frame(second, b"another start")
        yield Case(f"5.18 {second.name} inside of a text", data, close=1002)
    five = b"fragment1fragment2fragment3fragment4fragment5"
    data = _pieces(five, 9, 18, 27, 36, between=ping)
    yield Case("5.19 five, with pings between", data, (five,), (b"between",) * 4)
    yield Case("5.20 empty fragments", _pieces(b"", 0, 0), (b"",))
    yield Case("5.21 empty ones around", _pieces(b"text", 0, 0, 4, 4), (b"text",))
    data = frame(BINARY, b"x", is_final=False)
    yield Case("5.22 binary in fragments is refused at once", data, close=1003)
    data = frame(TEXT, b"x", is_final=False) + _close(1000)
    yield Case("5.23 a farewell inside of a text", data, close=1002)
    each = _pieces(five, *range(1, len(five)))
    yield Case("5.24 one byte a fragment", each, (five,))


#: Valid UTF-8, with what is at the borders of each length.
_VALID = (
    "",
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "\x00",
    "\x7f",
    "\x80",
    "߿",
    "ࠀ",
    "\ud7ff",
    "\ue000",
    "�",
    "\uffff",
    "￾",
    "\U00010000",
    "\U0010ffff",
    "\U0001fffe",
)
#: And bytes that are not: source: RFC 3629, sections 3 and 10.
_INVALID = (
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\x80",
    b"\xbf",
    b"\x80\xbf\x80",
    b"\xc0 ",
    b"\xe0 ",
    b"\xf0 ",
    b"\xc3",
    b"\xe0\x80",
    b"\xf0\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xf8\x80\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"ok\xff",
)


def _utf8() -> Iterable[Case]:
    for text in _VALID:
        data = text.encode("utf-8")
        yield Case(f"6 valid {data.hex(' ')}", frame(TEXT, data), (data,))
        cuts = range(1, len(data))
        if len(data) > 1:
            yield Case(
                f"6 valid in bytes {data.hex(' ')}", _pieces(data, *cuts), (data,)
            )
    for data in _INVALID:
        name = data.hex(" ")
        yield Case(f"6 invalid {name}", frame(TEXT, data), close=1007)
        yield Case(
            f"6 invalid in bytes {name}",
            _pieces(data, *range(1, len(data))),
            close=1007,
        )
    for data in (b"\xf4\x90", b"\xc0", b"\xe0\x80", b"good\xff"):
        yield Case(
            f"6.4 refused at once {data.hex(' ')}",
            frame(TEXT, data, is_final=False),
            close=1007,
        )
    half = "ü".encode()
    data = frame(TEXT, half[:1], is_final=False) + frame(CONT, b"x")
    yield Case("6.5 a character that goes on wrong", data, close=1007)
    unfinished = frame(TEXT, half[:1], is_final=False) + frame(CONT, b"")
    yield Case("6.6 a character without its end", unfinished, close=1007)


def _closing() -> Iterable[Case]:
    late = frame(TEXT, b"too late") + frame(PING, b"too late")
    yield Case(
        "7.1 after a text", frame(TEXT, b"x") + _close(1000), (b"x",), close=1000
    )
    yield Case("7.1 twice", _close(1000) + _close(1001), close=1000)
    yield Case("7.1 more after it", _close(1000) + late, close=1000)
    yield Case("7.3 without a number", frame(CLOSE, b""), close=1005)
    yield Case("7.3 with one byte", frame(CLOSE, b"\x03"), close=1002)
    yield Case("7.3 with a reason", _close(1000, b"Hello World!"), close=1000)
    yield Case("7.3 with the longest reason", _close(1000, b"*" * 123), close=1000)
    yield Case("7.3 with a longer one", _close(1000, b"*" * 124), close=1002)
    yield Case("7.5 with a reason of no UTF-8", _close(1000, b"\xff\xfe"), close=1007)
    for code in (*range(1000, 1004), *range(1007, 1012), 3000, 3999, 4000, 4999):
        yield Case(f"7.7 {code} is one", _close(code), close=code)
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield Case(f"7.9 {code} is none", _close(code), close=1002)


def _sizes() -> Iterable[Case]:
    text = b"*" * LIMIT
    yield Case("9.1 above the limit", frame(TEXT, text + b"*"), close=1009)
    yield Case("9.2 far above it", frame(TEXT, text * 40), close=1009)
    yield Case("9.3 its head alone", frame(TEXT, text * 40)[:14], close=1009)
    for size in (64, 256, 1024):
        cuts = range(size, LIMIT, size)
        yield Case(f"9.4 in pieces of {size}", _pieces(text, *cuts), (text,))
        over = _pieces(text + b"*", *range(size, LIMIT + 1, size))
        yield Case(f"9.5 above it in pieces of {size}", over, close=1009)
    many = tuple(b"%d" % number for number in range(200))
    data = b"".join(frame(TEXT, text) for text in many)
    yield Case("9.7 two hundred at once", data, many)


CASES = [
    *_framing(),
    *_pings(),
    *_reserved(),
    *_opcodes(),
    *_fragments(),
    *_utf8(),
    *_closing(),
    *_sizes(),
]


class ConformanceCase(TestCase):
    """One server, and a connection for each case."""

    deflates = False

    def setUp(self) -> None:
        self.server = EchoServer(
            reactor,
            LineBounds(limit=LIMIT, per_network=10_000),
            deflates=self.deflates,
        )
        self.clients: list[RawClient] = []
        self.addCleanup(lambda: ensureDeferred(self._clean()))

    async def _clean(self) -> None:
        await self.server.stop()
        await gatherResults([one.close() for one in self.clients if not one.is_over])
        # It may still read what came after a message that is too long.
        await until(lambda: not len(self.server.websockets.connections))

    async def connect(self, **headers: str | None) -> RawClient:
        client = await upgraded(reactor, self.server.port, **headers)
        self.clients.append(client)
        return client

    async def play(self, case: Case, chop: int) -> None:
        """Send what a case sends, and hold the answers against it."""
        client = await self.connect()
        client.write(case.sent, chop)
        if case.close is None:
            client.write(_close(4999, b"done"), chop)
        texts, pongs, close = [], [], None
        for said in await client.rest():
            self.assertIsNone(close, "something after the farewell")
            self.assertTrue(said.fin and not said.rsv1)
            if said.opcode is TEXT:
                texts.append(bytes(said.data))
            elif said.opcode is PONG:
                pongs.append(bytes(said.data))
            else:
                self.assertIs(said.opcode, CLOSE)
                close = struct.unpack("!H", said.data[:2])[0] if said.data else 1005
        heard = b",".join(text[1:-1] for text in texts)
        self.assertEqual(heard, b",".join(case.messages))
        self.assertEqual(tuple(pongs), case.pongs)
        self.assertEqual(close, 4999 if case.close is None else case.close)


class FrameTests(ConformanceCase):
    """A test for each case, by `_add`."""


def _add(case: Case, number: int, chop: int) -> None:
    """Give a case a test of its own."""

    async def test(self: ConformanceCase) -> None:
        await self.play(case, chop)

    way = f"in pieces of {chop} bytes" if chop else "at once"
    test.__doc__ = f"{case.name}, sent {way}."
    name = f"test_{number:03}_{'chopped' if chop else 'whole'}"
    test.__name__ = name
    setattr(FrameTests, name, test)


for _number, _case in enumerate(CASES):
    _add(_case, _number, 0)
    # A byte each would take minutes for the longest.
    _add(_case, _number, 1 if len(_case.sent) < 400 else 97)


class CompressionTests(ConformanceCase):
    """Sections 12 and 13: permessage-deflate, if it is switched on."""

    deflates = True

    async def test_sizes(self) -> None:
        """
        Texts of all sizes go both ways, whole and in fragments.
        """
        offer = "permessage-deflate; client_max_window_bits"
        client = await self.connect(Sec_WebSocket_Extensions=offer)
        for size in (0, 16, 64, 256, 1024, LIMIT):
            text = (b'{"x":%d}' % size * size)[:size]
            squeezed = _squeeze(text)
            half = len(squeezed) // 2
            for data in (
                frame(TEXT, squeezed, reserved=4),
                frame(TEXT, squeezed[:half], is_final=False, reserved=4)
                + frame(PING, b"between")
                + frame(CONT, squeezed[half:]),
                frame(TEXT, text),
            ):
                client.write(data)
                said = await client.frame()
                assert said is not None
                if said.opcode is PONG:
                    said = await client.frame()
                assert said is not None
                self.assertTrue(said.rsv1)
                self.assertEqual(_unsqueeze(bytes(said.data)), b"[" + text + b"]")

    async def test_offers(self) -> None:
        """
        Offers that are wrong are not taken; the conversation goes on without.
        """
        for offer in (
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; unheard_of",
            "x-webkit-deflate-frame",
            "permessage-deflate; client_max_window_bits=99",
        ):
            client = await self.connect(Sec_WebSocket_Extensions=offer)
            client.say(TEXT, b"plain")
            said = await client.frame()
            assert said is not None
            self.assertEqual((said.data, said.rsv1), (b"[plain]", False))

    async def test_faults(self) -> None:
        """
        Invalid compressed text, or one too long, ends the conversation.
        """
        offer = "permessage-deflate; client_max_window_bits"
        for data, close in (
            (frame(TEXT, b"\xff\xff\xff\xff", reserved=4), 1002),
            (frame(TEXT, _squeeze(b" " * 1_000_000), reserved=4), 1009),
            (frame(TEXT, _squeeze(b"\xff\xfe"), reserved=4), 1007),
            (frame(PING, b"", reserved=4), 1002),
            (frame(TEXT, b"x", reserved=2), 1002),
        ):
            client = await self.connect(Sec_WebSocket_Extensions=offer)
            client.write(data)
            said = (await client.rest())[-1]
            self.assertEqual(struct.unpack("!H", said.data[:2]), (close,))


def _squeeze(text: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-12)
    return (squeezer.compress(text) + squeezer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _unsqueeze(data: bytes) -> bytes:
    return zlib.decompressobj(wbits=-15).decompress(data + b"\x00\x00\xff\xff")
