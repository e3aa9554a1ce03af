"""
A game server that has lost its node: the reports that it keeps, and when it exits.

Without a match it exits soon. With one it goes on until its lease is over, because the
same node, or another one, may link to it again. Then it exits silently, because its
matches may be played elsewhere by then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vinom.fleet.control.messages import (
    MatchStarted,
    Playing,
    RelayTaken,
    RoomEnded,
    RoundEnded,
    SeatChanged,
    ToNode,
)

#: How long a game server without a match runs without its node, seconds.
ORPHAN_TIMEOUT: Final = 5.0

#: Reports that a node must get, even if it comes later.
_KEPT = (MatchStarted, SeatChanged, RoundEnded, RoomEnded, RelayTaken)
#: Largest number of waiting reports; a match of some minutes has far fewer.
_MOST_KEPT = 10_000
#: The end of a match is reported again to a node that comes within this time, seconds:
#: the one before may have died with the report unread.
_ENDS_KEPT = 5.0


@attrs.frozen
class _Ended:
    playing: Playing
    report: RoomEnded
    at: float


class Orphan:
    """Keep reports for the next node, and exit if none comes."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        seconds: Callable[[], float],
        lease: float,
        end: Callable[[], object],
        fall_silent: Callable[[], None],
    ) -> None:
        """
        :param clock: for deadlines.
        :param seconds: a monotonic clock.
        :param lease: how long it goes on with a match.
        :param end: called when it exits because it has no match.
        :param fall_silent: called when its lease is over.
        """
        self._clock, self._seconds, self._lease = clock, seconds, lease
        self._end, self._fall_silent = end, fall_silent
        self._alarm: IDelayedCall | None = None
        self._reports: deque[ToNode] = deque(maxlen=_MOST_KEPT)
        self._ended: dict[str, _Ended] = {}
        self.plays_on = False

    def keep(self, message: ToNode) -> bool:
        """Keep a report, if a later node must get it; returns whether it must."""
        is_kept = isinstance(message, _KEPT)
        if is_kept:
            self._reports.append(message)
        return is_kept

    def match_ended(self, playing: Playing, report: RoomEnded) -> None:
        """Note the end of a match, which may not arrive."""
        ended = _Ended(playing, report, self._seconds())
        self._ended[playing.match_id] = ended

    def forget_ends(self) -> None:
        """Forget ends that have arrived, as a heartbeat of the node shows."""
        if self._ended:
            oldest = self._seconds() - _ENDS_KEPT
            self._ended = {k: v for k, v in self._ended.items() if v.at > oldest}

    @property
    def ended(self) -> tuple[Playing, ...]:
        """Matches whose end the node may not have received."""
        return tuple(one.playing for one in self._ended.values())

    @property
    def must_wait(self) -> bool:
        """Is there an end that was not sent to any node?"""
        return self.plays_on and bool(self._ended)

    def begin(self, has_matches: bool) -> None:
        """The link is lost."""
        if self._alarm is not None:
            return
        self.plays_on = has_matches or bool(self._ended)
        seconds, then = ORPHAN_TIMEOUT, self._end_alone
        if self.plays_on:
            seconds, then = self._lease, self._lease_over
        self._log.warn(
            "lost the control link to the node; exiting in {s} s",
            s=seconds,
        )
        self._alarm = self._clock.callLater(seconds, then)

    def stop(self) -> None:
        """Stop waiting: there is a node, or everything is over."""
        self.plays_on = False
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def kept(self) -> list[ToNode]:
        """List the reports that were kept, for a node that has come."""
        reports = list(self._reports)
        ended = {one.end.match_id for one in reports if isinstance(one, RoomEnded)}
        again = (one.report for one in self._ended.values())
        return [*reports, *(one for one in again if one.end.match_id not in ended)]

    def forget(self) -> None:
        """A node has got the reports that were kept."""
        self._reports.clear()

    def _end_alone(self) -> None:
        self._alarm = None
        self._end()

    def _lease_over(self) -> None:
        self._alarm, self.plays_on = None, False
        self._log.error(
            "no node linked within {s} s: exiting with all matches", s=self._lease
        )
        self._fall_silent()
