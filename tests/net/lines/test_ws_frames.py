"""One message for many players, and the frames that carry it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from vinom.net.lines.ws.frames import Framer, text_frame


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
