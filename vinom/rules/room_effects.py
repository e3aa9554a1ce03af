"""What comes out of a room, for its caller to act on."""

from __future__ import annotations

import traceback
from typing import Any

import attrs

from vinom.game import Event, Outcome
from vinom.model import MatchEnd, MatchPlan
from vinom.rules.guard import TooSlow


@attrs.frozen
class Started:
    """Match time runs."""


@attrs.frozen
class Emitted:
    """
    The game told something once.

    :ivar version: of the state that it belongs to.
    """

    event: Event
    version: int


@attrs.frozen
class RoundOver:
    """A round has an outcome; the room goes on for its game's linger."""

    outcome: Outcome


@attrs.frozen
class Closed:
    """
    The room is over; nothing follows.

    :ivar report: what went wrong with the game, for its author.
    """

    end: MatchEnd
    report: str | None = None


@attrs.frozen
class Forfeited:
    """A seat was away too long and is gone for good, by `Game.absent`."""

    seat: int


@attrs.frozen
class BotFailed:
    """
    A bot failed for a dropped seat, which now waits for its player.

    :ivar report: what went wrong with the bot, for its author; for the log.
    """

    seat: int
    report: str


Effect = Started | Emitted | RoundOver | Forfeited | BotFailed | Closed


def outcome_facts(outcome: Outcome) -> dict[str, Any]:
    """Write an outcome as messages carry it: ``{round, places, scores}``."""
    return {
        "round": outcome.round,
        "places": [list(seats) for seats in outcome.places],
        "scores": list(outcome.scores),
    }


def crash_report(
    plan: MatchPlan, version: int, time: float, error: BaseException
) -> str:
    """
    Write down for a game's author what went wrong.

    :param time: match time, seconds.
    """
    about = (
        f"match {plan.match_id}, game {plan.game}, version {version}, "
        f"match time {time:.3f} s\n\n"
    )
    # What a game was struck out of, perhaps thousands of times, tells nothing.
    is_chained = not isinstance(error, TooSlow)
    return about + "".join(traceback.format_exception(error, chain=is_chained))
