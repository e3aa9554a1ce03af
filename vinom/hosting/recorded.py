"""Matches being written down: what every host of rooms does the same way."""

from __future__ import annotations

from typing import Any, Protocol

import attrs
from twisted.logger import Logger

from vinom.game import Game
from vinom.model import MatchEnd, MatchPlan
from vinom.play.play import Recorded
from vinom.play.room import BotFailed, Closed

_log = Logger()


class Recording(Protocol):
    """A match being written down; no method fails."""

    def record(self, recorded: Recorded) -> None:
        """Write down one thing that reached the game."""

    def close(self, end: MatchEnd, state: Any, report: str | None = None) -> str:
        """Write the end; returns where the crash report is."""


class RecordingStore(Protocol):
    """Where matches are written down: `vinom.hosting.recordings.Recordings`."""

    def open(
        self, plan: MatchPlan, game: Game[Any, Any], opened_at: float
    ) -> Recording:
        """
        Begin a recording.

        :param opened_at: seconds since the Unix epoch.
        """

    def sweep(self, now: float) -> int:
        """
        Remove recordings that are too old, or the oldest if they take too much space.

        :param now: seconds since the Unix epoch.
        :returns: how many were removed.
        """

    def flush(self) -> None:
        """Write everything that is still held in memory; the process ends."""


class Played(Protocol):
    """What was played."""

    plan: MatchPlan

    @property
    def state(self) -> Any:
        """The game's state."""


def write_end(recording: Recording, room: Played, closed: Closed) -> MatchEnd:
    """
    Write down how a room ended, and say so in the log.

    :returns: the end, with the place of the crash report if there is one.
    """
    where = recording.close(closed.end, room.state, closed.report)
    end = attrs.evolve(closed.end, report=where)
    if closed.report is not None:
        why = closed.report.strip().rpartition("\n")[2]
        told = f"game {room.plan.game} failed: {why}; see {where or 'no report'}"
        _log.error("{told}", told=told, match_id=end.match_id)
    _log.info(
        "match {match_id} is over: {reason}, version {version}",
        match_id=end.match_id,
        reason=end.reason,
        version=end.version,
    )
    return end


def log_bot_failed(room: Played, failed: BotFailed) -> None:
    """Say in the log why a bot plays no more."""
    _log.error(
        "match {match_id}: the bot of seat {seat} failed: {report}",
        match_id=room.plan.match_id,
        seat=failed.seat,
        report=failed.report,
    )
