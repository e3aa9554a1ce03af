"""How the fuzzers choose what to keep."""

from __future__ import annotations

import contextlib

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.fuzz.least import arcs_of, least
from vinom.errors import PeerError
from vinom.net.frames import LineReader

INPUTS = [b"", b"a", b"abcdef", b"ab\n", b"\n", b"ab\nabcdef", b"a\r\n\nabcd\n"]


def target(data: bytes) -> None:
    """Cut lines of three bytes at most."""
    reader = LineReader(3)
    with contextlib.suppress(PeerError):
        reader.receive(data)
        while reader.next_line() is not None:
            pass


def reached(inputs: list[bytes]) -> int:
    """Count the steps that inputs make together."""
    return len(set().union(*(arcs_of(target, data) for data in inputs)))


class LeastTests(SynchronousTestCase):
    """`least`."""

    def test_nothing_is_lost(self) -> None:
        """
        Fewer inputs are kept, and they reach all that was reached.
        """
        kept = least(target, INPUTS * 2, 10)
        self.assertLess(len(kept), len(INPUTS))
        self.assertEqual(reached(kept), reached(INPUTS))

    def test_room_for_few(self) -> None:
        """
        If there is room for fewer, those that reach most are kept.
        """
        (kept,) = least(target, INPUTS, 1)
        best = max(reached([data]) for data in INPUTS)
        self.assertEqual(reached([kept]), best)
