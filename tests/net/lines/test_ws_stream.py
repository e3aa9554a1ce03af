"""What comes over a WebSocket: the short cut and the core, together and alone."""

from __future__ import annotations

import codecs
import re
import struct
from pathlib import Path

import attrs
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN, SERVER, Protocol
from websockets.streams import StreamReader

from tests.support.hellos import long_hello
from tests.support.websocket_lines import hear_by_line
from tests.support.websockets import frame, read_frames
from vinom.errors import Code
from vinom.net.frames import HELLO_LIMIT
from vinom.net.lines.ws_stream import (
    MOST_ODD,
    NORMAL,
    NUMBERS,
    OTHER,
    Framer,
    WebSocketStream,
    farewell,
    shortened,
    text_frame,
)

LIMIT = 300


@attrs.frozen
class Heard:
    """What came of a stream."""

    messages: list[bytes]
    pongs: list[bytes]
    #: Number of the close frame that was sent.
    farewell: int | None
    is_over: bool


def listen(parts: list[bytes], is_short_cut: bool = True) -> Heard:
    """Feed a stream in parts."""
    stream = WebSocketStream(LIMIT, is_short_cut=is_short_cut)
    messages, sent = [], b""
    for part in parts:
        messages += stream.receive(part)
        sent += b"".join(stream.outbox)
        stream.outbox.clear()
    return _heard(messages, sent, stream.is_over)


def listen_by_line(parts: list[bytes], is_short_cut: bool = True) -> Heard:
    """Feed a line, which reads short texts itself, in parts."""
    return _heard(*hear_by_line(parts, LIMIT, is_short_cut))


def listen_by_the_book(data: bytes) -> Heard:
    """The same by the ``websockets`` package alone, one byte at a time."""
    core = Protocol(SERVER, state=OPEN, max_size=LIMIT)
    decoder, text, messages, sent = None, b"", [], b""
    for at in range(len(data)):
        core.receive_data(data[at : at + 1])
        for event in core.events_received():
            assert isinstance(event, Frame)
            if event.opcode is Opcode.BINARY:
                core.fail(CloseCode.UNSUPPORTED_DATA)
            elif event.opcode in (Opcode.TEXT, Opcode.CONT):
                decoder = decoder or codecs.getincrementaldecoder("utf-8")()
                try:
                    decoder.decode(event.data, event.fin)
                except UnicodeDecodeError:
                    core.fail(CloseCode.INVALID_DATA)
                    break
                text += event.data
                if event.fin:
                    messages.append(text)
                    decoder, text = None, b""
        sent += b"".join(core.data_to_send())
    return _heard(messages, sent, core.eof_sent)


def _heard(messages: list[bytes], sent: bytes, is_over: bool) -> Heard:
    pongs, farewell = [], None
    for said in read_frames(sent):
        assert farewell is None, "something after the farewell"
        if said.opcode is Opcode.PONG:
            pongs.append(bytes(said.data))
        else:
            assert said.opcode is Opcode.CLOSE, said
            farewell = struct.unpack("!H", said.data[:2])[0] if said.data else 1005
    return Heard(messages, pongs, farewell, is_over)


_GOOD_TEXTS = st.one_of(
    st.text(max_size=12).map(str.encode),
    st.sampled_from([125, 126, 127, LIMIT - 1, LIMIT]).map(lambda size: b"x" * size),
)
_GOOD = st.one_of(
    st.builds(frame, st.just(Opcode.TEXT), _GOOD_TEXTS),
    st.builds(frame, st.just(Opcode.TEXT), st.just(b"{}"), width=st.just(8)),
    st.builds(
        frame, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=9)
    ),
    # Pieces of one text, cut anywhere, with pings between them.
    st.builds(
        lambda text, cut, between: (
            frame(Opcode.TEXT, text[:cut], is_final=False)
            + between
            + frame(Opcode.CONT, text[cut:])
        ),
        st.text(max_size=6).map(str.encode),
        st.integers(0, 12),
        st.sampled_from([b"", frame(Opcode.PING, b"p"), frame(Opcode.PONG, b"")]),
    ),
)
_FAULTS = st.one_of(
    st.builds(frame, st.just(Opcode.TEXT), st.binary(min_size=1, max_size=6)),
    st.builds(frame, st.just(Opcode.TEXT), st.just(b"x" * (LIMIT + 1))),
    st.builds(frame, st.just(Opcode.TEXT), _GOOD_TEXTS, is_final=st.just(False)),
    st.builds(
        frame,
        st.sampled_from([Opcode.TEXT, Opcode.PONG]),
        _GOOD_TEXTS,
        reserved=st.sampled_from([0, 1, 2, 4]),
    ),
    st.builds(frame, st.just(Opcode.CONT), _GOOD_TEXTS, is_final=st.booleans()),
    st.builds(
        frame,
        st.integers(0, 15),
        st.binary(max_size=130),
        is_final=st.booleans(),
        reserved=st.sampled_from([0, 0, 0, 1, 2, 4]),
        is_masked=st.sampled_from([True, True, True, False]),
        width=st.sampled_from([None, 2, 8]),
    ),
    st.builds(
        lambda code, reason: frame(Opcode.CLOSE, struct.pack("!H", code) + reason),
        st.sampled_from([999, 1000, 1001, 1004, 1005, 1006, 1015, 2999, 3000, 5000]),
        st.binary(max_size=4),
    ),
    st.sampled_from([frame(Opcode.CLOSE, b""), frame(Opcode.CLOSE, b"x")]),
    st.binary(max_size=8),
)


@st.composite
def _streams(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    """Good frames, a fault, and good ones again; and where the network cuts them."""
    frames = draw(st.lists(_GOOD, max_size=3))
    frames.append(draw(_FAULTS))
    frames += draw(st.lists(_GOOD, max_size=3))
    data = b"".join(frames)
    cuts = draw(st.lists(st.integers(0, len(data)), max_size=5))
    return data, sorted(cuts)


def _parts(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = [*cuts, len(data)]
    parts = [data[at:end] for at, end in zip([0, *cuts], ends, strict=True)]
    return [part for part in parts if part]


def _frames(data: bytes) -> list[bytes]:
    """Cut a stream of masked frames where they end; what is wrong comes whole."""
    parts = []
    while data:
        size = 6 + (data[1] & 0x7F) if len(data) > 1 else 1
        if size > 6 + 125:
            size = len(data)
        parts.append(data[:size])
        data = data[size:]
    return parts


class SplitTests(SynchronousTestCase):
    """Streams that the network cuts anywhere, with any reader."""

    @settings(deadline=None)
    @given(_streams())
    def test_any_split(self, drawn: tuple[bytes, list[int]]) -> None:
        """
        A client's messages, and the number it is sent away with, depend neither on
        the network nor on our short cut.
        """
        data, cuts = drawn
        whole = listen([data])
        self.assertEqual(listen(_parts(data, cuts)), whole)
        self.assertEqual(listen(_parts(data, cuts), is_short_cut=False), whole)
        self.assertEqual(listen([data], is_short_cut=False), whole)

    @settings(deadline=None)
    @given(_streams())
    @example((frame(Opcode.TEXT, b"a", is_final=False) + frame(Opcode.TEXT, b"b"), []))
    @example((frame(Opcode.CLOSE, b"\x03\xe8") + frame(Opcode.TEXT, b"late"), []))
    @example((frame(Opcode.TEXT, b"\xdb\x85" + b"z" * 8), [6]))
    @example((b"\x81\xfe\x00\x7c\0\0\0\0" + b"x" * 124, []))
    @example((frame(Opcode.TEXT, "\u00fc".encode()), []))
    @example((frame(Opcode.TEXT, b"\xfc"), []))
    @example((frame(Opcode.TEXT, b"x" * 125) + frame(Opcode.TEXT, b"x" * 126), []))
    def test_line(self, drawn: tuple[bytes, list[int]]) -> None:
        """
        The same is understood when each frame comes alone, which is when the line
        reads short texts without the stream.
        """
        data, cuts = drawn
        whole = listen([data])
        for parts in ([data], _parts(data, cuts), _frames(data)):
            self.assertEqual(listen_by_line(parts), whole)
            self.assertEqual(listen_by_line(parts, is_short_cut=False), whole)

    @settings(deadline=None)
    @given(_streams())
    def test_by_the_book(self, drawn: tuple[bytes, list[int]]) -> None:
        """
        The same is understood as by the package that browsers are tested against.

        It says a frame's fault a little later in one case: when the frame is not
        there yet. So frames that are cut off are completed here.
        """
        data, cuts = drawn
        data += b"\x00" * (LIMIT + 14)
        self.assertEqual(listen(_parts(data, cuts)), listen_by_the_book(data))

    def test_every_cut_of_a_talk(self) -> None:
        """
        Texts, a fragmented one with a ping inside, and a farewell, cut anywhere.
        """
        data = (
            frame(Opcode.TEXT, b'{"a":1}')
            + frame(Opcode.TEXT, "wün".encode()[:2], is_final=False)
            + frame(Opcode.PING, b"?")
            + frame(Opcode.CONT, "wün".encode()[2:])
            + frame(Opcode.TEXT, b"y" * 200)
            + frame(Opcode.PONG, b"")
            + frame(Opcode.TEXT, b"")
            + frame(Opcode.CLOSE, b"\x03\xe8bye")
        )
        expected = Heard(
            [b'{"a":1}', "wün".encode(), b"y" * 200, b""], [b"?"], 1000, True
        )
        for cut in range(len(data) + 1):
            for is_short_cut in (True, False):
                self.assertEqual(listen(_parts(data, [cut]), is_short_cut), expected)
            self.assertEqual(listen_by_line(_parts(data, [cut])), expected)
        for is_short_cut in (True, False):
            single = [data[at : at + 1] for at in range(len(data))]
            self.assertEqual(listen(single, is_short_cut), expected)


class BoundTests(SynchronousTestCase):
    """What one stream may cost."""

    def test_too_long(self) -> None:
        """
        A message above the limit ends with 1009, before its bytes are kept; one of just
        the limit is received. So it is whole and in pieces.
        """
        for text in (b"x" * (LIMIT + 1), b"x" * 70000):
            heard = listen([frame(Opcode.TEXT, text)[:14]])
            self.assertEqual((heard.farewell, heard.is_over), (1009, True))
        most = b"x" * LIMIT
        parts = [frame(Opcode.TEXT, most, is_final=False), frame(Opcode.CONT, b"y")]
        self.assertEqual(listen(parts).farewell, 1009)
        self.assertEqual(listen([frame(Opcode.TEXT, most)]).messages, [most])
        parts = [
            frame(Opcode.TEXT, most[:-1], is_final=False),
            frame(Opcode.CONT, b"", is_final=False),
            frame(Opcode.CONT, b"x"),
        ]
        self.assertEqual(listen(parts).messages, [most])

    def test_long_hello(self) -> None:
        """
        A hello of 8 KB with a token arrives, whole or in pieces; nothing else so long.
        """
        hello = long_hello(HELLO_LIMIT)
        wire = frame(Opcode.TEXT, hello)
        pieces = [
            frame(Opcode.TEXT, hello[:3000], is_final=False),
            frame(Opcode.CONT, hello[3000:]),
        ]
        for parts in (
            [wire],
            [wire[:1], wire[1:]],
            [wire[:2100], wire[2100:]],
            pieces,
        ):
            heard = hear_by_line(parts, LIMIT, is_admitted=False)
            self.assertEqual(heard, ([hello], b"", False))
            heard = hear_by_line(parts, LIMIT)
            self.assertEqual((heard[0], heard[1][2:4]), ([], b"\x03\xf1"))
        for other in (b"x" * 3000, long_hello(3000).replace(b"token", b"taken")):
            parts = [frame(Opcode.TEXT, other), frame(Opcode.TEXT, b"{}")]
            heard = hear_by_line(parts, LIMIT, is_admitted=False)
            self.assertEqual((heard[0], heard[1][2:4]), ([], b"\x03\xf1"))

    def test_bounded_later(self) -> None:
        """
        When the limit falls, the next message is held to it, whatever came before.
        """
        long = b"x" * (LIMIT - 10)
        for extensions in ((), (PerMessageDeflate(True, True, 12, 12),)):
            for begun in (
                b"",
                frame(Opcode.PING, b""),
                frame(Opcode.TEXT, b"a", is_final=False),
            ):
                stream = WebSocketStream(LIMIT, extensions)
                self.assertEqual(stream.receive(frame(Opcode.TEXT, long)), [long])
                stream.receive(begun)
                stream.bound(LIMIT - 20)
                opcode = Opcode.CONT if begun[:1] == b"\x01" else Opcode.TEXT
                stream.receive(frame(opcode, long)[:14])
                stream.receive(b"")
                closed = stream.closed or (0, "")
                self.assertEqual(closed[0], 1009)

    def test_flood_of_small_frames(self) -> None:
        """
        A client that sends nothing but pings, pongs or empty fragments is disconnected;
        one that does so slowly is not.
        """
        for flood in (
            frame(Opcode.PING, b""),
            frame(Opcode.PONG, b""),
            frame(Opcode.CONT, b"", is_final=False),
        ):
            start = frame(Opcode.TEXT, b"x", is_final=False)
            stream = WebSocketStream(LIMIT)
            stream.receive(start if flood[0] == 0 else b"")
            for _ in range(3):
                for _ in range(MOST_ODD - 1):
                    stream.receive(flood)
                stream.forgive()
            self.assertTrue(stream.is_open)
            for _ in range(MOST_ODD + 1):
                stream.receive(flood)
            self.assertTrue(stream.is_over)
            self.assertEqual(stream.closed, (1008, "too many small frames"))

    def test_nothing_is_kept(self) -> None:
        """
        A quiet client costs no parser, also after pings and fragments.
        """
        stream = WebSocketStream(LIMIT)
        stream.receive(frame(Opcode.PING, b"?"))
        stream.receive(frame(Opcode.TEXT, b"a", is_final=False))
        self.assertIsNotNone(stream._core)
        stream.receive(frame(Opcode.CONT, b"b"))
        self.assertIsNone(stream._core)
        self.assertEqual(stream._held, b"")


class FarewellTests(SynchronousTestCase):
    """Closing."""

    def test_we_close(self) -> None:
        """
        We send the reason; what the client sends until it agrees is ignored.
        """
        stream = WebSocketStream(LIMIT)
        stream.close(4001, "replaced: elsewhere")
        (said,) = read_frames(b"".join(stream.outbox))
        self.assertEqual(said.data, b"\x0f\xa1replaced: elsewhere")
        stream.outbox.clear()
        self.assertEqual(stream.receive(frame(Opcode.TEXT, b"late")), [])
        self.assertFalse(stream.is_over)
        stream.close(4002, "twice")
        stream.receive(frame(Opcode.CLOSE, b"\x0f\xa1"))
        self.assertTrue(stream.is_over)
        self.assertEqual(stream.outbox, [])
        self.assertEqual(stream.receive(b"anything"), [])

    def test_long_reason(self) -> None:
        """
        A reason that no close frame can hold loses its end, between characters.
        """
        self.assertEqual(shortened("x" * 124), "x" * 123)
        self.assertEqual(shortened("x" + "ü" * 70), "x" + "ü" * 61)
        stream = WebSocketStream(LIMIT)
        stream.close(4000, "ü" * 200)
        (said,) = read_frames(b"".join(stream.outbox))
        self.assertLessEqual(len(said.data), 125)


def read_frame(data: bytes) -> Frame:
    """Read the one frame that *data* is, by the ``websockets`` package."""
    stream = StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    reading = Frame.parse(stream.read_exact, mask=False)
    try:
        next(reading)
    except StopIteration as done:
        frame: Frame = done.value
        assert not stream.buffer, "bytes after the frame"
        return frame
    raise AssertionError("more than one frame's bytes are missing")


class FramerTests(SynchronousTestCase):
    """`Framer`."""

    def setUp(self) -> None:
        self.framer = Framer()

    def test_same(self) -> None:
        """
        What many players are sent is framed once: they get the very same bytes.
        """
        first, second = b"1", b"2"
        frame = self.framer.frame([first, second])
        self.assertIs(self.framer.frame([first, second]), frame)

    def test_others(self) -> None:
        """
        A browser gets one text message with one array of all that was sent to it. A
        player who is sent something else, more or less, or in another order, gets just
        that.
        """
        first, second = b"1", b'{"type":"x"}'
        for said, data in (
            ([first, second], b'[1,{"type":"x"}]'),
            ([first], b"[1]"),
            ([second], b'[{"type":"x"}]'),
            ([second, first], b'[{"type":"x"},1]'),
            ([b"1"], b"[1]"),
            ([b"3"], b"[3]"),
            ([b"4"], b"[4]"),
        ):
            read = read_frame(self.framer.frame(list(said)))
            self.assertEqual((read.opcode, read.fin), (Opcode.TEXT, True))
            self.assertEqual(read.data, data)


class TextFrameTests(SynchronousTestCase):
    """`text_frame`."""

    def test_sizes(self) -> None:
        """
        Messages of every length arrive whole: all three ways to write a length.
        """
        for size in (0, 1, 125, 126, 127, 65535, 65536, 70000):
            payload = b"x" * size
            self.assertEqual(read_frame(text_frame(payload)).data, payload)


DOCS = Path(__file__).parents[3] / "docs"


def numbers(docs: Path) -> tuple[str, dict[str, str]]:
    """The page's table of close codes, and the number of each code in it."""
    page = (docs / "protocol" / "websocket.rst").read_text("utf-8")
    table = page.split("Close codes\n-----")[1]
    return table, dict(re.findall(r"^(\d{4})  ``(\w+)``", table, re.MULTILINE))


class WebSocketPageTests(SynchronousTestCase):
    """``docs/protocol/websocket.rst``."""

    def test_numbers(self) -> None:
        """
        A client that switches on the page's numbers is right.
        """
        table, told = numbers(DOCS)
        self.assertEqual(
            told, {str(number): code.value for code, number in NUMBERS.items()}
        )
        for number in (NORMAL, OTHER, 1002, 1003, 1007, 1008, 1009):
            self.assertIn(f"\n{number}  ", table)

    def test_reasons(self) -> None:
        """
        The reason begins with the code, also where the number is a general one.
        """
        self.assertEqual(farewell(None, ""), (1000, ""))
        self.assertEqual(farewell(Code.TOO_SLOW, "read"), (4008, "too_slow: read"))
        self.assertEqual(farewell(Code.BUSY, ""), (4000, "busy"))
