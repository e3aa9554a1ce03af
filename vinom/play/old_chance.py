"""
The generator of recordings of format 1, so that they still replay.

It has 64 bits: too few to shuffle a deck of cards, and a few seen cards give away the
rest. New matches use `vinom.game.Chance` (decision 37).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

_MASK = (1 << 64) - 1


@attrs.frozen
class SplitMix64:
    """
    What `vinom.game.Chance` was: a game that draws from it draws what was recorded.

    Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014).

    :ivar word: the state of the generator, 64 bits.
    """

    word: int = attrs.field(
        validator=[attrs.validators.ge(0), attrs.validators.le(_MASK)]
    )

    def draw(self) -> tuple[int, SplitMix64]:
        """Draw 64 bits; returns them and the next source."""
        word = (self.word + 0x9E3779B97F4A7C15) & _MASK
        z = word
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31), SplitMix64(word)

    def below(self, limit: int) -> tuple[int, SplitMix64]:
        """Draw an integer from 0 to ``limit - 1``; returns it and the next source."""
        chance, bound = self, (1 << 64) - (1 << 64) % limit
        while True:
            bits, chance = chance.draw()
            if bits < bound:
                return bits % limit, chance

    def shuffled(self, items: Sequence[Any]) -> tuple[tuple[Any, ...], SplitMix64]:
        """Draw an order of *items*; returns it and the next source."""
        order, chance = list(items), self
        for last in range(len(order) - 1, 0, -1):
            pick, chance = chance.below(last + 1)
            order[last], order[pick] = order[pick], order[last]
        return tuple(order), chance
