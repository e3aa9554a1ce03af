"""Frames that a server writes, and the page of reference that prints their numbers."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from vinom.errors import Code
from vinom.net.lines.ws_stream import (
    NORMAL,
    NUMBERS,
    OTHER,
    Framer,
    farewell,
    text_frame,
)


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

    def test_frame(self) -> None:
        """
        A browser gets one text message with one array of all that was sent to it.
        """
        frame = read_frame(self.framer.frame([b'{"type":"x"}', b"2"]))
        self.assertEqual((frame.opcode, frame.fin), (Opcode.TEXT, True))
        self.assertEqual(frame.data, b'[{"type":"x"},2]')

    def test_same(self) -> None:
        """
        What many players are sent is framed once: they get the very same bytes.
        """
        first, second = b"1", b"2"
        frame = self.framer.frame([first, second])
        self.assertIs(self.framer.frame([first, second]), frame)

    def test_others(self) -> None:
        """
        A player who is sent something else, more or less, or in another order, gets
        just that.
        """
        first, second = b"1", b"2"
        for said, data in (
            ([first, second], b"[1,2]"),
            ([first], b"[1]"),
            ([second], b"[2]"),
            ([second, first], b"[2,1]"),
            ([b"1"], b"[1]"),
            ([b"3"], b"[3]"),
            ([b"4"], b"[4]"),
        ):
            self.assertEqual(read_frame(self.framer.frame(list(said))).data, data)


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
