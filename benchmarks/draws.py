"""What one draw of a game's random numbers costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import Figure, Size
from vinom.game import Chance

_DRAWS = 200_000
#: Twice the rooms that blocks are kept for: each draw makes its block again.
_ROOMS = 2048
_DECK = tuple(range(52))


def draws(size: Size, folder: Path, say: Callable[[str], None]) -> list[Figure]:
    """CPU of a draw of `Chance`, and of a shuffled deck."""
    count = size.count(_DRAWS)
    say("draws")
    alone = tuple(_in_rooms(1, count) for _ in range(size.runs))
    apart = tuple(_in_rooms(_ROOMS, count) for _ in range(size.runs))
    dice = tuple(_dice(count) for _ in range(size.runs))
    decks = tuple(_decks(count // 50) for _ in range(size.runs))
    return [
        Figure("64 bits, one room", "us CPU", alone, 2.0),
        Figure(f"64 bits, {_ROOMS} rooms in turn", "us CPU", apart),
        Figure("a die, one room", "us CPU", dice, 2.0),
        Figure("a deck of 52 cards", "us CPU", decks),
    ]


def _in_rooms(rooms: int, count: int) -> float:
    """Draw in rooms that take turns, us of CPU per draw."""
    chances = [Chance(room) for room in range(rooms)]
    began = time.thread_time_ns()
    for number in range(count):
        room = number % rooms
        _, chances[room] = chances[room].draw()
    return (time.thread_time_ns() - began) / 1000 / count


def _dice(count: int) -> float:
    chance = Chance(1)
    began = time.thread_time_ns()
    for _ in range(count):
        _, chance = chance.below(6)
    return (time.thread_time_ns() - began) / 1000 / count


def _decks(count: int) -> float:
    chance = Chance(1)
    began = time.thread_time_ns()
    for _ in range(count):
        _, chance = chance.shuffled(_DECK)
    return (time.thread_time_ns() - began) / 1000 / count
