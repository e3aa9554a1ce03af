"""
What the author of a rule of matchmaking writes: one small pure class.

A rule has no clock, no I/O and no randomness of its own: it gets the entries that wait
and the time. Its class is named by an entry point of the group ``vinom.rules``, and
chosen for a queue in the node's settings.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from math import inf, isnan
from typing import Any, ClassVar

import attrs
from msgspec import Struct

from vinom.base.model import QueueEntry, Waiting


@attrs.frozen
class Steps:
    """
    The steps of a window.

    :ivar seconds: when each begins, seconds of waiting; the first is 0.
    """

    seconds: tuple[float, ...]

    @classmethod
    def of(cls, seconds: Sequence[float], *widths: Sequence[float]) -> Steps:
        """
        Check steps, and make them.

        :param seconds: when each begins.
        :param widths: for each thing that widens, its width in each step.
        :raises ValueError: the steps are not in order, or a width shrinks.
        """
        if not seconds or seconds[0] != 0:
            raise ValueError("steps must begin with one of seconds = 0")
        for column in (seconds, *widths):
            if any(isnan(one) or one < 0 for one in column):
                raise ValueError("steps must have numbers from 0 up")
            if list(column) != sorted(column):
                raise ValueError(
                    "each number of steps must be as large as the one before it, or "
                    f"larger, not {', '.join(f'{one:g}' for one in column)}"
                )
        return cls(tuple(seconds))

    def at(self, waited: float) -> int:
        """
        Find the step of an entry.

        :param waited: seconds; below 0 if a clock was set back, which counts as 0.
        """
        step = len(self.seconds) - 1
        while step and waited < self.seconds[step]:
            step -= 1
        return step

    def next_at(self, since: float, step: int) -> float:
        """When the step after this one begins for an entry; infinite after the last."""
        following = step + 1
        return since + self.seconds[following] if following < len(self.seconds) else inf


@attrs.frozen
class Shape:
    """
    How many players a match of a queue has.

    :ivar fewest: players of the smallest match.
    :ivar most: players of a full one.
    :ivar teams: how many teams; ``None`` if the game has none.
    """

    fewest: int
    most: int
    teams: int | None = None

    @property
    def largest(self) -> int:
        """Most players of one team, and so of a party."""
        return self.most if self.teams is None else -(-self.most // self.teams)


class Proposal(Struct, frozen=True):
    """
    These entries could play together.

    :ivar entries: the longest wait first.
    :ivar teams: the team of each entry; empty if the game has none.
    :ivar region: where to play, if the rule chooses that.
    """

    entries: tuple[QueueEntry, ...]
    teams: tuple[int, ...] = ()
    region: str = ""


@attrs.frozen
class Explanation:
    """
    Why an entry waits.

    :ivar why: in words.
    :ivar excluded: how many players of the queue it cannot meet now, by reason.
    :ivar widens_at: when it can meet more of them, seconds since the Unix epoch;
        ``None`` if that will not happen.
    :ivar facts: other facts for operators, such as the present window.
    """

    why: str
    excluded: Mapping[str, int] = attrs.field(factory=dict)
    widens_at: float | None = None
    facts: Mapping[str, Any] = attrs.field(factory=dict)


#: What `Rule.find` is: see there.
Finding = Generator[Proposal | None, None, float | None]


class NoSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of a rule that has none."""


class Rule:
    """
    A rule of matchmaking for one queue.

    Only `find` is mandatory.

    :cvar settings: what the node's settings can set for it, a frozen `msgspec.Struct`
        with defaults, and with ``forbid_unknown_fields=True``.
    :cvar uses_ratings: do its entries need `QueueEntry.ratings`?
    :cvar uses_echoes: do its entries need `QueueEntry.echoes`?
    :cvar is_in_order: if the first part of a long queue has matches, are they the ones
        to start first? Then the rest need not be read.
    :ivar shape: how many players a match has.
    :ivar chosen: the settings, an instance of `settings`.
    """

    settings: ClassVar[type[Struct]] = NoSettings
    uses_ratings: ClassVar[bool] = False
    uses_echoes: ClassVar[bool] = False
    is_in_order: ClassVar[bool] = False

    def __init__(self, shape: Shape, chosen: Any) -> None:
        """
        Make the rule of one queue.

        :param shape: how many players a match has.
        :param chosen: the settings, an instance of `settings`.
        :raises ValueError: the settings do not fit each other, or the shape.
        """
        self.shape, self.chosen = shape, chosen

    def due(self, waiting: Waiting) -> float | None:
        """
        Find when `find` can find something, as far as counts show it.

        The queue is read only then. ``waiting.ready`` is at least ``shape.fewest``.

        :returns: seconds since the Unix epoch; 0 for now, ``None`` for "when another
            entry comes".
        """
        return 0.0

    def find(self, entries: Sequence[QueueEntry], now: float) -> Finding:
        """
        Find matches: a generator.

        It yields each `Proposal` as soon as it is found, with no entry in two of them.
        Every 100 entries or so it yields ``None``: then the server may do other work.
        It returns when to ask again if no entry comes or goes, seconds since the Unix
        epoch; or ``None``.

        :param entries: those who wait and can be matched, the longest wait first. A
            party is one entry, and stays together in one team.
        :param now: seconds since the Unix epoch.
        """
        raise NotImplementedError

    def explain(
        self, entry: QueueEntry, entries: Sequence[QueueEntry], now: float
    ) -> Explanation:
        """
        Explain to an operator what an entry waits for.

        :param entry: the entry, which can be matched.
        :param entries: all who can be matched, the longest wait first.
        :param now: seconds since the Unix epoch.
        """
        players = sum(len(one.players) for one in entries)
        if players < self.shape.fewest:
            missing = self.shape.fewest - players
            return Explanation(f"{missing} more needed with the same game and options")
        return Explanation("the queue's rule has found no match for it yet")
