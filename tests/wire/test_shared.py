"""One message for many players."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from vinom.wire.shared import Shared
from vinom.wire.websocket_frames import text_frame


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


class SharedTests(SynchronousTestCase):
    """`Shared`."""

    def test_frame(self) -> None:
        """
        A browser gets one text message with one array of the one message.
        """
        frame = read_frame(Shared(b'{"type":"x"}').frame)
        self.assertEqual((frame.opcode, frame.fin), (Opcode.TEXT, True))
        self.assertEqual(frame.data, b'[{"type":"x"}]')


class TextFrameTests(SynchronousTestCase):
    """`text_frame`."""

    def test_sizes(self) -> None:
        """
        Messages of every length arrive whole: all three ways to write a length.
        """
        for size in (0, 1, 125, 126, 127, 65535, 65536, 70000):
            payload = b"x" * size
            self.assertEqual(read_frame(text_frame(payload)).data, payload)
