"""Where the frames of a WebSocket end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase
from websockets.frames import Close, Frame, Opcode

from vinom.net.http.frames import FrameEnds, close_frame

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 70000]


def frames(sizes: list[int], is_masked: bool = False) -> list[bytes]:
    """Write frames."""
    return [
        Frame(Opcode.BINARY, bytes(size)).serialize(mask=is_masked) for size in sizes
    ]


class FrameEndsTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        """
        The end of a frame is found however the stream is cut, and nowhere else.
        """
        wire = frames([0, 3, 126, 0, 1])
        whole = b"".join(wire)
        ends = {sum(map(len, wire[:count])) for count in range(len(wire) + 1)}
        for first in range(len(whole)):
            for second in (first, first + 1, first + 2, (first + len(whole)) // 2):
                found = FrameEnds()
                found.pass_on(whole[:first])
                self.assertEqual(found.is_between, first in ends, first)
                found.pass_on(whole[first:second])
                self.assertEqual(found.is_between, min(second, len(whole)) in ends)
                found.pass_on(whole[second:])
                self.assertTrue(found.is_between)

    def test_up_to_end(self) -> None:
        """
        A frame that has begun is finished, in any split; nothing behind it is sent.
        """
        wire = frames([0, 3, 126, 0, 1])
        whole = b"".join(wire)
        ends = [sum(map(len, wire[:count])) for count in range(len(wire) + 1)]
        for start in range(len(whole)):
            for step in (1, 2, 3, 50, len(whole)):
                found = FrameEnds()
                found.pass_on(whole[:start])
                at = start
                while not found.is_between:
                    part = whole[at : at + step]
                    sent = found.up_to_end(part)
                    self.assertTrue(sent == len(part) or found.is_between)
                    at += sent
                self.assertEqual(at, min(end for end in ends if end >= start))
                self.assertEqual(found.up_to_end(whole[at:]), 0)

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
        found, before = FrameEnds(), 0
        for cut in [*sorted(cuts), len(whole)]:
            found.pass_on(whole[before:cut])
            before = max(before, cut)
        self.assertTrue(found.is_between)
        self.assertFalse(found.is_closing)

    def test_close(self) -> None:
        """
        A close is noticed, in any split; ours is one that clients can read.
        """
        wire = frames([5])[0] + close_frame(1012, "come back" * 50)
        for cut in range(len(wire)):
            found = FrameEnds()
            found.pass_on(wire[:cut])
            found.pass_on(wire[cut:])
            self.assertTrue(found.is_closing)
            self.assertTrue(found.is_between)
        content = close_frame(1012, "x" + "\u00e9" * 100)
        self.assertEqual(len(content), 2 + content[1])
        close = Close.parse(content[2:])
        self.assertEqual((close.code, close.reason), (1012, "x" + "\u00e9" * 61))
