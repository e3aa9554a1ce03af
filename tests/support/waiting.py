"""Entries that wait, and what a rule of matchmaking makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vinom.base.model import Player, QueueEntry
from vinom.lobby.matchmaking.rules.rule import Proposal, Rule


def entry(
    name: str, since: float = 0.0, game: str = "maze", *, size: int = 1, **facts: Any
) -> QueueEntry:
    """Make an entry; a party's players are called by its name and a number."""
    names = [name, *(f"{name}{number}" for number in range(1, size))]
    players = tuple(Player(one, one) for one in names)
    return QueueEntry(name, players, game, since, **facts)


def rated(name: str, rating: float, since: float = 0.0, **facts: Any) -> QueueEntry:
    """Make an entry of players who are equally strong."""
    return entry(name, since, **facts, ratings=(rating,) * facts.get("size", 1))


def run(
    rule: Rule, entries: Sequence[QueueEntry], now: float
) -> tuple[list[Proposal], float | None]:
    """Have a rule look once; returns what it proposes, and when to ask again."""
    proposals = []
    finding = rule.find(entries, now)
    while True:
        try:
            found = next(finding)
        except StopIteration as stop:
            return proposals, stop.value
        if found is not None:
            proposals.append(found)


def names(proposals: Sequence[Proposal]) -> list[list[str]]:
    """List the entries of each proposal."""
    return [[one.entry_id for one in proposal.entries] for proposal in proposals]


def sizes_of_teams(proposal: Proposal) -> list[int]:
    """Count the players of each team."""
    counts: dict[int, int] = {}
    for one, team in zip(proposal.entries, proposal.teams, strict=True):
        counts[team] = counts.get(team, 0) + len(one.players)
    return sorted(counts.values())
