"""The fuzzers' targets, with the inputs that were kept: see benchmarks/fuzz."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.fuzz.__main__ import CORPORA
from benchmarks.fuzz.targets import TARGETS


class CorpusTests(SynchronousTestCase):
    """What fuzzers once found, or found their way by."""

    def test_kept_inputs(self) -> None:
        """
        No kept input fails.
        """
        for name, (target, seeds) in TARGETS.items():
            kept = [file.read_bytes() for file in sorted((CORPORA / name).iterdir())]
            self.assertTrue(kept, name)
            for data in (*seeds, *kept):
                target(data)

    def test_neighbours(self) -> None:
        """
        Nor does one with some bytes changed, cut out or doubled.
        """
        chance = random.Random(1)
        for target, seeds in TARGETS.values():
            for turn in range(200):
                data = bytearray(seeds[turn % len(seeds)])
                for _ in range(chance.randrange(1, 4)):
                    place = chance.randrange(len(data))
                    end = place + chance.randrange(4)
                    data[place:end] = (
                        chance.choice(
                            (
                                b"",
                                chance.randbytes(end - place),
                                data[place:end] * 2,
                            )
                        )
                        or b"x"
                    )
                target(bytes(data))
