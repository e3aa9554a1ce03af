"""
The value of dice in Farkle.

A straight counts first, then three or more of a kind, then single ones and fives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

#: Faces and their value; the first straight found counts.
_STRAIGHTS = (
    ((1, 2, 3, 4, 5, 6), 1500),
    ((1, 2, 3, 4, 5), 500),
    ((2, 3, 4, 5, 6), 750),
)
_THREE = {1: 1000, 2: 200, 3: 300, 4: 400, 5: 500, 6: 600}
_LONE = {1: 100, 5: 50}


def score(dice: Sequence[int]) -> int:
    """
    Count the value of some dice together.

    :param dice: faces, 1 to 6, in any order.
    :returns: points; 0 if any die does not score, or there are no dice.
    """
    counts = [dice.count(face) for face in range(7)]
    points = 0
    for faces, worth in _STRAIGHTS:
        if all(counts[face] for face in faces):
            points = worth
            for face in faces:
                counts[face] -= 1
            break
    for face in range(1, 7):
        count = counts[face]
        if count >= 3:
            # The value doubles with each die after the third.
            points += _THREE[face] << (count - 3)
        elif count and face not in _LONE:
            return 0
        elif count:
            points += _LONE[face] * count
    return points


def choices(dice: Sequence[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """List which dice of a roll may be set aside: points, and their positions."""
    for count in range(1, len(dice) + 1):
        for positions in combinations(range(len(dice)), count):
            points = score([dice[position] for position in positions])
            if points:
                yield points, positions


def is_bust(dice: Sequence[int]) -> bool:
    """Is this a roll without a score?"""
    # Every straight contains a one or a five, so this covers straights too.
    return not any(face in _LONE or dice.count(face) >= 3 for face in dice)
