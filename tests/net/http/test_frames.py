"""Frames of a WebSocket that are passed on, and where it can be closed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase
from websockets.frames import Close, Frame, Opcode

from vinom.net.http.frames import FrameRelay, close_frame

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 70000]
BACK = close_frame(1012, "back")


def frames(sizes: list[int], is_masked: bool = False) -> list[bytes]:
    """Write frames."""
    return [
        Frame(Opcode.BINARY, bytes(size)).serialize(mask=is_masked) for size in sizes
    ]


class FrameRelayTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        """
        The end of a frame is found however the stream is cut, and nowhere else.
        """
        wire = frames([0, 3, 126, 0, 1])
        whole = b"".join(wire)
        ends = {sum(map(len, wire[:count])) for count in range(len(wire) + 1)}
        for first in range(len(whole)):
            for second in (first, first + 1, first + 2, (first + len(whole)) // 2):
                found = FrameRelay()
                found.pass_on(whole[:first])
                self.assertEqual(found.is_between, first in ends, first)
                found.pass_on(whole[first:second])
                self.assertEqual(found.is_between, min(second, len(whole)) in ends)
                self.assertEqual(found.pass_on(whole[second:]), whole[second:])
                self.assertTrue(found.is_between)

    def test_close_behind_a_frame(self) -> None:
        """
        A frame that has begun is finished, in any split, then the close frame follows;
        nothing else is sent behind it.
        """
        wire = frames([0, 3, 126, 0, 1])
        whole = b"".join(wire)
        ends = [sum(map(len, wire[:count])) for count in range(len(wire) + 1)]
        for start in range(len(whole) + 1):
            end = min(end for end in ends if end >= start)
            for step in (1, 2, 3, 50, len(whole)):
                found = FrameRelay()
                sent = found.pass_on(whole[:start]) + found.close(BACK)
                for at in range(start, len(whole), step):
                    sent += found.pass_on(whole[at : at + step])
                self.assertEqual(sent, whole[:end] + BACK)
                self.assertEqual(found.close(BACK), b"")
                self.assertTrue(found.is_closing)

    @given(
        some.lists(some.sampled_from(SIZES), max_size=4),
        some.booleans(),
        some.lists(some.integers(0, 300_000), max_size=5),
    )
    def test_sizes(self, sizes: list[int], is_masked: bool, cuts: list[int]) -> None:
        """
        Short and long frames are followed, masked and not.
        """
        whole = b"".join(frames(sizes, is_masked))
        found, before = FrameRelay(), 0
        for cut in [*sorted(cuts), len(whole)]:
            found.pass_on(whole[before:cut])
            before = max(before, cut)
        self.assertTrue(found.is_between)
        self.assertFalse(found.is_closing)

    def test_close(self) -> None:
        """
        A close frame is noticed, in any split, and none of ours follows it; ours is one
        that clients can read.
        """
        wire = frames([5])[0] + close_frame(1012, "come back" * 50)
        for cut in range(len(wire)):
            found = FrameRelay()
            found.pass_on(wire[:cut])
            found.pass_on(wire[cut:])
            self.assertTrue(found.is_closing)
            self.assertTrue(found.is_between)
            self.assertEqual(found.close(BACK), b"")
        found = FrameRelay()
        found.pass_on(wire[:8])
        found.close(BACK)
        self.assertEqual(found.pass_on(wire[8:]), wire[8:])
        content = close_frame(1012, "x" + "\u00e9" * 100)
        self.assertEqual(len(content), 2 + content[1])
        close = Close.parse(content[2:])
        self.assertEqual((close.code, close.reason), (1012, "x" + "\u00e9" * 61))
