"""What one look at a long queue costs, by its rule."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from math import log
from pathlib import Path

import attrs
from msgspec import convert

from benchmarks.figures import Figure, Size
from vinom.base.model import Player, QueueEntry
from vinom.lobby.matchmaking.rules.fifo import Fifo, FifoSettings
from vinom.lobby.matchmaking.rules.rating import ByRating, RatingSettings
from vinom.lobby.matchmaking.rules.rule import Rule, Shape
from vinom.store.memory.lobby import MemoryLobbyStore

FEW, MANY = 10_000, 100_000
#: Bars: CPU of one look, and of the work between two turns of the reactor, ms.
_BARS = {FEW: 50.0, MANY: 500.0}
_SLICE_BAR = 10.0
#: What the matchmaker does at least before it lets the reactor have its turn, ms.
_SLICE = 5.0
_PAGE = 1000
_NARROW = convert({"steps": [{"seconds": 0, "window": 0.0}]}, RatingSettings)
#: By name: the rule, and the rating of a number of entry.
_Ratings = Callable[[int, random.Random], float]


def _spread(number: int, chance: random.Random) -> float:
    return chance.gauss(25.0, 25.0 / 3)


def _apart(number: int, chance: random.Random) -> float:
    return number / 32


RULES: dict[str, tuple[Rule, _Ratings]] = {
    "fifo, all matched": (Fifo(Shape(2, 2), FifoSettings()), _spread),
    "fifo, parties": (Fifo(Shape(4, 4, 2), FifoSettings()), _spread),
    "rating, all matched": (ByRating(Shape(2, 2), RatingSettings()), _spread),
    "rating, few matched": (ByRating(Shape(2, 2), _NARROW), _apart),
    "rating, met others": (ByRating(Shape(2, 2), RatingSettings()), _spread),
    "rating, two against two": (ByRating(Shape(4, 4, 2), RatingSettings()), _spread),
}


@attrs.frozen
class Look:
    """One look: its CPU, the largest slice of it, ms, and the players matched."""

    cpu: float
    slice: float
    matched: int


def queue(size: Size, folder: Path, say: Callable[[str], None]) -> list[Figure]:
    """CPU of one look at 10,000 and 100,000 entries, its slices, and its growth."""
    figures = []
    for name, (rule, ratings) in RULES.items():
        looks: dict[int, list[Look]] = {}
        for full in (FEW, MANY):
            count = size.count(full)
            say(f"queue, {name}: {count} entries")
            store = filled(count, ratings, name)
            looks[full] = [look(store, rule) for _ in range(size.runs)]
            figures.append(
                Figure(
                    f"look at {full:,}: {name}",
                    "ms",
                    tuple(one.cpu for one in looks[full]),
                    _BARS[full],
                    detail={"entries": count, "matched": looks[full][0].matched},
                )
            )
        figures.append(
            Figure(
                f"largest slice of {MANY:,}: {name}",
                "ms",
                tuple(one.slice for one in looks[MANY]),
                _SLICE_BAR,
            )
        )
        figures.append(
            Figure(
                f"growth, {MANY:,} / {FEW:,}: {name}",
                "x",
                tuple(
                    many.cpu / few.cpu
                    for few, many in zip(looks[FEW], looks[MANY], strict=True)
                ),
                round(MANY * log(MANY) / (FEW * log(FEW)), 1),
            )
        )
    return figures


def filled(count: int, ratings: _Ratings, name: str) -> MemoryLobbyStore:
    """
    Make a store with entries.

    :param ratings: of their players.
    :param name: of the case: with parties each third one has two players; those who
        met others have two whom they avoid.
    """
    has_parties, have_met = name.endswith("parties"), name.endswith("met others")
    chance = random.Random(1)
    store = MemoryLobbyStore(lambda: 1000.0)
    for number in range(count):
        players = (Player(f"p{number}", "somebody"), Player(f"q{number}", "a friend"))
        store.enqueue(
            QueueEntry(
                f"e{number}",
                players[: 1 + (has_parties and number % 3 == 0)],
                "duel",
                1000.0 + number / 1000,
                ratings=(ratings(number, chance),),
                recent=tuple(
                    f"p{chance.randrange(count)}" for _ in range(2 * have_met)
                ),
            )
        )
    return store


def look(store: MemoryLobbyStore, rule: Rule) -> Look:
    """Read a queue, and have the rule find its matches, which are not started."""
    gc.collect()
    gc.freeze()
    began = at = time.thread_time()
    worst = 0.0
    entries: list[QueueEntry] = []
    after, matched = "", 0

    def rest() -> None:
        # The matchmaker's clock costs less than this one of the processor's time.
        nonlocal at, worst
        if 1000 * (now := time.thread_time()) - 1000 * at > _SLICE:
            worst, at = max(worst, now - at), now

    while True:
        page = store.page("duel", b"{}", "", after, _PAGE).result
        entries += page.entries
        rest()
        after = page.next
        if not after:
            break
    for found in rule.find(entries, 1100.0):
        if found is None or not matched % 64:
            rest()
        if found is not None:
            matched += sum(len(entry.players) for entry in found.entries)
    now = time.thread_time()
    worst = max(worst, now - at)
    gc.unfreeze()
    return Look(1000 * (now - began), 1000 * worst, matched)
