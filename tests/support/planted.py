"""A small game for `vinom chaos`, and the same game with faults, each its own."""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any

from msgspec import Struct

from vinom.errors import Rejected
from vinom.game import Chance, Event, Game, Outcome, Step, Table


class Add(Struct, frozen=True, forbid_unknown_fields=True):
    """
    Add to the sum.

    :ivar number: what to add; an odd one is refused when the sum is odd.
    """

    number: int


class Sum(Struct, frozen=True):
    """
    Everybody's sum.

    :ivar total: of all that was added.
    :ivar count: how many additions there were.
    :ivar most: after this many the round is over.
    """

    total: int
    count: int
    most: int


class AddingOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """
    How long a match is.

    :ivar most: additions.
    """

    most: int = 60


class Adding(Game[Sum, Add]):
    """Add numbers until there were enough."""

    name = "adding"
    actions = Add
    options = AddingOptions
    seats = (2, 2)
    linger = 0.2

    def start(self, table: Table) -> Sum | Step[Sum]:
        return Step(Sum(0, 0, table.options.most), (Event("began"),))

    def act(self, s: Sum, seat: int, action: Add, now: float) -> Sum | Step[Sum]:
        if s.count >= s.most:
            raise Rejected("over", "the round is over")
        if s.total % 2 and action.number % 2:
            raise Rejected("odd", "add an even number")
        after = Sum(s.total + action.number, s.count + 1, s.most)
        if after.count % 5 == 0:
            return Step(after, (Event("fifth", {"count": after.count}),))
        return after

    def view(self, s: Sum, audience: Hashable) -> Sum:
        return s

    def outcome(self, s: Sum) -> Outcome | None:
        return Outcome(1, ((0,), (1,))) if s.count >= s.most else None

    def bot(self, view: Any, seat: int, chance: Chance, setup: Any = None) -> Add:
        number, _ = chance.below(100)
        return Add(number)


class Hiding(Adding):
    """Keeps the sum outside its state, where no other process finds it."""

    name = "hiding"

    def __init__(self) -> None:
        self._totals: dict[int, int] = {}

    def act(self, s: Sum, seat: int, action: Add, now: float) -> Sum | Step[Sum]:
        if s.count >= s.most:
            raise Rejected("over", "the round is over")
        # The number of calls of this process, whichever match they are for.
        calls = self._totals[0] = self._totals.get(0, 0) + 1
        return Sum(s.total + action.number + 1000 * calls, s.count + 1, s.most)


class Guessing(Adding):
    """Draws from the system instead of its state's chance."""

    name = "guessing"

    def act(self, s: Sum, seat: int, action: Add, now: float) -> Sum | Step[Sum]:
        if s.count >= s.most:
            raise Rejected("over", "the round is over")
        return Sum(s.total + os.urandom(1)[0], s.count + 1, s.most)


class Losing(Adding):
    """Collects inputs outside its state, and plays them three at a time."""

    name = "losing"

    def __init__(self) -> None:
        self._held: list[int] = []

    def act(self, s: Sum, seat: int, action: Add, now: float) -> Sum | Step[Sum]:
        if s.count >= s.most:
            raise Rejected("over", "the round is over")
        self._held.append(action.number)
        held, counted = self._held, s.count + 1
        if len(held) < 3:
            return Sum(s.total, counted, s.most)
        self._held = []
        return Sum(s.total + sum(held), counted, s.most)
