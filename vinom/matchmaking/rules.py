"""
Rules of matchmaking: first come, first served.

Only entries with equal game and options meet. A full table starts at once;
once the oldest entry has waited `Rules.fill_seconds`, the game's minimum is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import attrs

from vinom.model import QueueEntry, Waiting


@attrs.frozen
class Rules:
    """
    Sizes of tables, and when a smaller one may start.

    :ivar tables: game name to fewest and most players.
    :ivar fill_seconds: how long the oldest entry waits for a full table.
    """

    tables: Mapping[str, tuple[int, int]]
    fill_seconds: float = 5.0


@attrs.frozen
class Proposal:
    """These entries could play together, the longest wait first."""

    game: str
    options: bytes
    entries: tuple[QueueEntry, ...]


@attrs.frozen
class Proposals:
    """
    What can start now.

    :ivar deadline: when to ask again, seconds since the Unix epoch; ``None``
        is "when an entry comes".
    """

    ready: tuple[Proposal, ...] = ()
    deadline: float | None = None


def due_at(game: str, queue: Waiting, rules: Rules) -> float | None:
    """
    Find when a table of a queue can start, if no further entry comes.

    :param queue: counts of the entries for *game* with the same options.
    :returns: seconds since the Unix epoch; 0 for a full table; ``None`` if there are
        too few for one.
    """
    fewest, most = rules.tables.get(game, (inf, inf))
    if queue.since is None or queue.ready < fewest:
        return None
    return 0.0 if queue.ready >= most else queue.since + rules.fill_seconds


def propose(waiting: Sequence[QueueEntry], rules: Rules, now: float) -> Proposals:
    """
    Find every table that can start.

    :param waiting: entries, the longest wait first; suspended ones are left out.
    :param now: seconds since the Unix epoch.
    """
    groups: dict[tuple[str, bytes], list[QueueEntry]] = {}
    for entry in waiting:
        if not entry.suspended and entry.game in rules.tables:
            groups.setdefault((entry.game, entry.options), []).append(entry)
    ready: list[Proposal] = []
    deadlines: list[float] = []
    for (game, options), entries in groups.items():
        fewest, most = rules.tables[game]
        while entries:
            table = _fill(entries, most)
            count = sum(len(entry.players) for entry in table)
            due = entries[0].since + rules.fill_seconds
            if count < most and not (count >= fewest and now >= due):
                if count >= fewest:
                    deadlines.append(due)
                break
            ready.append(Proposal(game, options, tuple(table)))
            taken = {entry.entry_id for entry in table}
            entries = [entry for entry in entries if entry.entry_id not in taken]
    return Proposals(tuple(ready), min(deadlines, default=None))


def explain(
    entry: QueueEntry, place: int, queue: Waiting, others: int, rules: Rules, now: float
) -> dict[str, Any]:
    """
    Explain to an operator what *entry* waits for.

    :param place: its place in its queue.
    :param queue: counts of the entries with the same game and options.
    :param others: players who wait for the same game with other options.
    """
    fewest, most = rules.tables.get(entry.game, (0, 0))
    count = queue.ready
    fill_at = (now if queue.since is None else queue.since) + rules.fill_seconds
    if entry.suspended:
        why = "its player is disconnected; the place is kept for a short time"
    elif not most:
        why = "this node has no game with this name"
    elif count >= most:
        why = "the table is full; the next round of matchmaking starts it"
    elif count >= fewest:
        why = (
            f"enough to start in {max(0.0, fill_at - now):.1f} s unless the table fills"
        )
    else:
        why = f"{fewest - count} more needed with the same game and options"
    return {
        "state": "suspended" if entry.suspended else "waiting",
        "game": entry.game,
        "options": entry.options.decode(),
        "waited": max(0.0, now - entry.since),
        "position": place,
        "same_wish": count,
        "needed": fewest,
        "full": most,
        "other_options": others,
        "why": why,
    }


def _fill(entries: Sequence[QueueEntry], most: int) -> list[QueueEntry]:
    """Take the entries with the longest waits that fit one table."""
    table: list[QueueEntry] = []
    free = most
    for entry in entries:
        if len(entry.players) <= free:
            table.append(entry)
            free -= len(entry.players)
        if not free:
            break
    return table
