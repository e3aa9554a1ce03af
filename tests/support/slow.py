"""A game that takes as long as its options say, for tests with real processes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from vinom.game import Game, Outcome, Table

#: Calls that can be made to take forever.
CALLS = ("start", "act", "view", "bot")


class Go(Struct, frozen=True):
    """End the round, or do what the options say."""


class Slowness(Struct, frozen=True, forbid_unknown_fields=True):
    """
    Which call never ends.

    :ivar slow: one of `CALLS`; empty: none does.
    """

    slow: str = ""


class Moment(Struct, frozen=True):
    """The state."""

    slow: str
    is_over: bool = False
    has_gone: bool = False


class Slow(Game[Moment, Go]):
    """Ends at the action go; the call that its options name never returns."""

    name = "slow"
    actions = Go
    options = Slowness
    seats = (2, 2)
    linger = 0.1
    absent = "bot"
    bot_seconds = 0.1

    def start(self, table: Table) -> Moment:
        if table.options.slow == "start":
            for_ever()
        return Moment(table.options.slow)

    def act(self, s: Moment, seat: int, action: Go, now: float) -> Moment:
        if s.slow == "":
            return replace(s, is_over=True)
        if s.slow == "act":
            for_ever()
        return replace(s, has_gone=True)

    def outcome(self, s: Moment) -> Outcome | None:
        return Outcome(1, ((0, 1),)) if s.is_over else None

    def view(self, s: Moment, audience: Hashable) -> dict[str, Any]:
        if s.slow == "view" and s.has_gone:
            for_ever()
        return {"over": s.is_over}

    def bot(self, view: Any, seat: int, chance: Any, setup: Any) -> Go | None:
        if view["over"] is False:
            for_ever()
        return None


def for_ever() -> None:
    """Do not return, even when interrupted."""
    while True:
        try:
            sum(range(100))
        except BaseException:
            continue
