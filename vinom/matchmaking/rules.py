"""
Who plays with whom: first come, first served.

Only entries with equal game and options meet. A full table starts at once;
after `Rules.fill_seconds` of the oldest's wait the game's minimum is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from vinom.model import QueueEntry


@attrs.frozen
class Rules:
    """
    What tables look like.

    :ivar tables: game name to fewest and most players.
    :ivar fill_seconds: how long the oldest waits for a full table.
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


def propose(waiting: Sequence[QueueEntry], rules: Rules, now: float) -> Proposals:
    """Find every table that can start; *waiting* has the longest wait first."""
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
            count = _players(table)
            due = entries[0].since + rules.fill_seconds
            if count < most and not (count >= fewest and now >= due):
                if count >= fewest:
                    deadlines.append(due)
                break
            ready.append(Proposal(game, options, tuple(table)))
            taken = {entry.entry_id for entry in table}
            entries = [entry for entry in entries if entry.entry_id not in taken]
    return Proposals(tuple(ready), min(deadlines, default=None))


def position(entry: QueueEntry, waiting: Sequence[QueueEntry]) -> int:
    """Tell how many with the same wish are served first, plus one."""
    place = 1
    for other in waiting:
        if other.entry_id == entry.entry_id:
            break
        if _is_same_wish(entry, other):
            place += 1
    return place


def explain(
    entry: QueueEntry, waiting: Sequence[QueueEntry], rules: Rules, now: float
) -> dict[str, Any]:
    """Say for an operator what *entry* waits for."""
    fewest, most = rules.tables.get(entry.game, (0, 0))
    same = [
        other
        for other in waiting
        if _is_same_wish(entry, other) and not other.suspended
    ]
    count = _players(same)
    fill_at = min((other.since for other in same), default=now) + rules.fill_seconds
    if entry.suspended:
        why = "its player is disconnected; it keeps its place for a short time"
    elif not most:
        why = "no such game is installed here"
    elif count >= most:
        why = "a full table is there; the next round of matchmaking seats it"
    elif count >= fewest:
        why = (
            f"enough to start in {max(0.0, fill_at - now):.1f} s unless the table fills"
        )
    else:
        why = f"{fewest - count} more with the same game and options must come"
    return {
        "state": "suspended" if entry.suspended else "waiting",
        "game": entry.game,
        "options": entry.options.decode(),
        "waited": max(0.0, now - entry.since),
        "position": position(entry, waiting),
        "same_wish": count,
        "needed": fewest,
        "full": most,
        "other_options": sum(
            1
            for other in waiting
            if other.game == entry.game and other.options != entry.options
        ),
        "why": why,
    }


def _is_same_wish(one: QueueEntry, other: QueueEntry) -> bool:
    return one.game == other.game and one.options == other.options


def _fill(entries: Sequence[QueueEntry], most: int) -> list[QueueEntry]:
    """Take the longest waits that fit one table together."""
    table: list[QueueEntry] = []
    free = most
    for entry in entries:
        if len(entry.players) <= free:
            table.append(entry)
            free -= len(entry.players)
        if not free:
            break
    return table


def _players(entries: Sequence[QueueEntry]) -> int:
    return sum(len(entry.players) for entry in entries)
