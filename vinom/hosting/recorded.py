"""What all hosts of rooms do with recordings, and with a game's or bot's failure."""

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
    """The recording of a match in progress; no method fails."""

    def record(self, recorded: Recorded) -> None:
        """Record one call to the game."""

    def close(self, end: MatchEnd, state: Any, report: str | None = None) -> str:
        """Write the end; returns the path of the crash report, or an empty text."""


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
    """
    The match that was played.

    :ivar plan: of the match.
    """

    plan: MatchPlan

    @property
    def state(self) -> Any:
        """The game's state."""


def write_end(recording: Recording, room: Played, closed: Closed) -> MatchEnd:
    """
    Record and log the end of a room.

    :param recording: the match's.
    :param room: the room.
    :param closed: its end.
    :returns: the end, with the path of the crash report if there is one.
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
    """Log why a bot was stopped."""
    _log.error(
        "match {match_id}: the bot of seat {seat} failed: {report}",
        match_id=room.plan.match_id,
        seat=failed.seat,
        report=failed.report,
    )
