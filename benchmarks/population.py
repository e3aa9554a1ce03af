"""
A simulated population that queues for two days, by rule.

Nothing is random but the seed: the same players come, at the same times, to each rule.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from math import ceil, inf, pi, sin
from pathlib import Path

import attrs

from benchmarks.figures import Figure, Size
from benchmarks.machine import Failed
from benchmarks.population_plot import COLOURS, Curve, draw
from vinom.base.model import Player, QueueEntry
from vinom.lobby.matchmaking.rules.buckets import Buckets, BucketSettings
from vinom.lobby.matchmaking.rules.fifo import Fifo, FifoSettings
from vinom.lobby.matchmaking.rules.rating import ByRating, RatingSettings
from vinom.lobby.matchmaking.rules.rule import Proposal, Rule, Shape

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
ARRIVALS = 100_000
SEED = 13
#: Entries per second: on average, and the part by which it swings in a day.
_RATE, _SWING = 1.0, 0.9
_DAY = ARRIVALS / _RATE / 2
#: Seconds between two rounds.
ROUND = 0.5
#: Regions, with their share of the players and their neighbours' distance, ms.
_REGIONS = {
    "eu": (0.5, {"eu": 20.0, "us": 95.0, "asia": 190.0}),
    "us": (0.35, {"us": 25.0, "eu": 95.0, "asia": 150.0}),
    "asia": (0.15, {"asia": 30.0, "us": 150.0, "eu": 190.0}),
}
_LAST_STEP = 60.0


@attrs.frozen
class Queue:
    """A queue of the simulation: its rule, and how many of its entries are pairs."""

    rule: Rule
    pairs: float = 0.0
    last_step: float = _LAST_STEP


QUEUES = {
    "fifo": Queue(Fifo(Shape(2, 2), FifoSettings()), last_step=0.0),
    "rating": Queue(ByRating(Shape(2, 2), RatingSettings())),
    "buckets": Queue(Buckets(Shape(2, 2), BucketSettings())),
    "rating, two against two": Queue(
        ByRating(Shape(4, 4, 2), RatingSettings()), pairs=0.25
    ),
}


@attrs.define
class Outcome:
    """
    What a population got.

    :ivar waits: of each player, seconds.
    :ivar spreads: of each match, the difference between its teams on average, points.
    :ivar echoes: of each player to the place of its match, ms; none without regions.
    :ivar late: waits that were longer than they may be.
    """

    waits: list[float] = attrs.field(factory=list)
    spreads: list[float] = attrs.field(factory=list)
    echoes: list[float] = attrs.field(factory=list)
    late: int = 0

    def add(self, found: Proposal, now: float) -> None:
        """Note a match that starts."""
        teams: dict[int, list[float]] = {}
        for number, entry in enumerate(found.entries):
            team = found.teams[number] if found.teams else number
            teams.setdefault(team, []).extend(entry.ratings)
        means = [sum(ratings) / len(ratings) for ratings in teams.values()]
        self.spreads.append(max(means) - min(means))
        for entry in found.entries:
            self.waits += [now - entry.since] * len(entry.players)
            if found.region:
                here = dict(entry.echoes)[found.region]
                self.echoes += [here] * len(entry.players)


def arrivals(count: int, pairs: float, seed: int = SEED) -> Iterator[QueueEntry]:
    """Make the entries of a population, in the order of their arrival."""
    chance = random.Random(seed)
    now = 0.0
    names = list(_REGIONS)
    shares = [share for share, _ in _REGIONS.values()]
    for number in range(count):
        rate = _RATE * (1.0 + _SWING * sin(2 * pi * now / _DAY))
        now += chance.expovariate(rate)
        size = 1 + (chance.random() < pairs)
        ratings = tuple(chance.gauss(25.0, 25.0 / 3) for _ in range(size))
        home = chance.choices(names, shares)[0]
        late = chance.expovariate(1 / 15.0)
        echoes = sorted((ms + late, region) for region, ms in _REGIONS[home][1].items())
        yield QueueEntry(
            f"e{number}",
            tuple(Player(f"p{number}-{one}", "somebody") for one in range(size)),
            "duel",
            now,
            ratings=ratings,
            echoes=tuple((region, round(ms, 1)) for ms, region in echoes),
        )


def simulate(queue: Queue, count: int, seed: int = SEED) -> Outcome:
    """Let a population queue."""
    outcome = Outcome()
    waiting: list[QueueEntry] = []
    coming = arrivals(count, queue.pairs, seed)
    following = next(coming, None)
    now, due = 0.0, inf
    while following is not None or due < inf:
        # Rounds in which nobody came and nothing widens change nothing.
        soonest = min(due, inf if following is None else following.since)
        now = max(now + ROUND, ceil(soonest / ROUND) * ROUND)
        while following is not None and following.since <= now:
            waiting.append(following)
            following = next(coming, None)
        finding, taken = queue.rule.find(waiting, now), set[str]()
        while True:
            try:
                found = next(finding)
            except StopIteration as stop:
                due = inf if stop.value is None else float(stop.value)
                break
            if found is not None:
                outcome.add(found, now)
                taken.update(entry.entry_id for entry in found.entries)
        waiting = [entry for entry in waiting if entry.entry_id not in taken]
        outcome.late += _late(queue, waiting, now)
    return outcome


def _late(queue: Queue, waiting: list[QueueEntry], now: float) -> int:
    """Does the oldest wait too long, while those who wait could play with it?"""
    if not waiting or now - waiting[0].since <= queue.last_step + 2 * ROUND:
        return 0
    pairs = sum(len(entry.players) == 2 for entry in waiting)
    lone = len(waiting) - pairs
    if queue.rule.shape.most == 2:
        return int(lone > 1)
    # Two against two: the teams are a pair, or two who are alone.
    if len(waiting[0].players) == 2:
        return int(pairs > 1 or lone > 1)
    return int(lone > 3 or (lone > 1 and pairs > 0))


def part_of(values: list[float], part: float) -> float:
    """Find the value that this part of all values is below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def population(size: Size, folder: Path, say: Callable[[str], None]) -> list[Figure]:
    """Waits and differences of rating by rule, 100,000 arrivals; draws the plots."""
    count = size.count(ARRIVALS)
    figures, outcomes = [], {}
    for name, queue in QUEUES.items():
        say(f"population, {name}: {count} arrivals")
        found = outcomes[name] = simulate(queue, count)
        if found.late:
            raise Failed(f"{name}: {found.late} waited too long beside a partner")
        for what, unit, values in (
            ("wait", "s", found.waits),
            ("difference of rating", "points", found.spreads),
            ("echo", "ms", found.echoes),
        ):
            for part in (0.5, 0.95, 0.99) if values else ():
                figures.append(
                    Figure(
                        f"{what} of {part:.0%} is below: {name}",
                        unit,
                        (part_of(values, part),),
                    )
                )
    if size.is_full:
        plot(outcomes)
        say(f"drawn: {IMAGES}/matchmaking-*.svg")
    return figures


def plot(outcomes: dict[str, Outcome]) -> None:
    """Draw the plots of the manual."""
    plots: tuple[tuple[str, str, str, Callable[[Outcome], list[float]], float], ...] = (
        (
            "waits",
            "Share of players who wait at most so long",
            "seconds",
            lambda one: one.waits,
            75.0,
        ),
        (
            "ratings",
            "Share of matches whose two teams, or players, differ by at most so much",
            "points of rating",
            lambda one: one.spreads,
            20.0,
        ),
        (
            "echoes",
            "Share of players with at most this echo to the place of their match",
            "milliseconds",
            lambda one: one.echoes,
            250.0,
        ),
    )
    for name, title, unit, values, end in plots:
        curves = [
            Curve(rule, sorted(values(found)), colour)
            for (rule, found), colour in zip(outcomes.items(), COLOURS, strict=True)
            if values(found)
        ]
        text = draw(title, unit, curves, end)
        (IMAGES / f"matchmaking-{name}.svg").write_text(text, encoding="utf-8")
