"""
What a game server sends to its node, and what it keeps for the next one.

While there is no node, it ends soon if it has no match. With one it goes on until its
lease is over, because the same node, or another one, may link to it again. Then it ends
silently, because its matches may be played elsewhere by then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.base.reactor.alarm import Timer
from vinom.fleet.control.messages import (
    MatchStarted,
    Playing,
    RecordingData,
    RelayTaken,
    RoomEnded,
    RoundEnded,
    SeatChanged,
    ToNode,
)
from vinom.play.hosting.recordings import pieces

#: How long a game server without a match runs without its node, seconds: the next node
#: looks which ports are free.
ALONE_SECONDS: Final = 0.2

#: Reports that a node must get, even if it comes later.
_KEPT = (MatchStarted, SeatChanged, RoundEnded, RoomEnded, RelayTaken)
#: Largest number of waiting reports; a match of some minutes has far fewer.
_MOST_KEPT = 10_000
#: The end of a match is reported again to a node that comes within this time, seconds:
#: the one before may have died with the report unread.
_ENDS_KEPT = 5.0
#: Most bytes of each recording that are kept: more than can be in transit.
TAIL = 256 * 1024
#: The same without a link, when nothing arrives: a few minutes of a busy match.
TAIL_ALONE = 4 * 1024 * 1024
#: About the most bytes of all recordings of a process.
_MOST_TOGETHER = 64 * 1024 * 1024


@attrs.frozen
class _Ended:
    playing: Playing
    report: RoomEnded
    at: float


@attrs.define(eq=False)
class _Tail:
    """
    The last bytes of a file.

    :ivar length: length of the whole file.
    """

    length: int = 0
    data: bytearray = attrs.field(factory=bytearray)


class RecordingTails:
    """Keep the last bytes of each recording, and of each crash report."""

    def __init__(self) -> None:
        # By match, part, and whether it is the crash report.
        self._tails: dict[tuple[str, int, bool], _Tail] = {}

    def add(self, message: RecordingData, is_alone: bool) -> None:
        """
        Keep the bytes of a message.

        :param message: follows the previous one of the same file.
        :param is_alone: is there no node that has answered?
        """
        key = message.match_id, message.part, message.is_report
        tail = self._tails.setdefault(key, _Tail())
        tail.data += message.data
        tail.length = message.at + len(message.data)
        most = TAIL_ALONE if is_alone else TAIL
        # All matches together are bounded, too, in a process that has many.
        most = min(most, _MOST_TOGETHER // len(self._tails))
        # Not at each message, because this moves all kept bytes.
        if len(tail.data) > most + most // 4:
            del tail.data[:-most]

    def keep_only(self, match_ids: Collection[str]) -> None:
        """Forget all other matches: they are over, and nodes have their ends."""
        for key in [one for one in self._tails if one[0] not in match_ids]:
            del self._tails[key]

    def messages(self) -> Iterator[RecordingData]:
        """Make messages with all kept bytes, for a new link."""
        for (match_id, part, is_report), tail in self._tails.items():
            start = tail.length - len(tail.data)
            for at, some in pieces(start, tail.data):
                yield RecordingData(match_id, part, at, some, is_report)


def _to_nobody(message: ToNode) -> None:
    """Drop a message, because there is no node; the log has the same facts."""


def _all_to_nobody(several: Sequence[ToNode]) -> None:
    """Drop messages, because there is no node."""


class NodeOutbox:
    """
    Send to the node; keep reports while there is none, and end if none comes.

    :ivar plays_on: is it without a node that has answered, and may one still come?
    :ivar send_all: sends messages together, if there is a link.
    :ivar is_behind: returns whether the node does not read what it was sent.
    """

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
        self._alarm = Timer(self._clock)
        self._reports: deque[ToNode] = deque(maxlen=_MOST_KEPT)
        self._ended: dict[str, _Ended] = {}
        self._tails = RecordingTails()
        self.plays_on = False
        self.is_behind: Callable[[], bool] = _never
        self._send: Callable[[ToNode], object] = _to_nobody
        self.send_all: Callable[[Sequence[ToNode]], None] = _all_to_nobody
        self._unanswered: Callable[[ToNode], None] = _to_nobody

    def send(self, message: ToNode) -> None:
        """Send a message; without a node only reports are kept."""
        self._send(message)

    def record(self, message: RecordingData) -> None:
        """Send what is to be written to a recording on the node's machine."""
        self._tails.add(message, is_alone=self.plays_on)
        self._send(message)

    def linked(
        self,
        send: Callable[[ToNode], None],
        is_behind: Callable[[], bool] | None = None,
        send_all: Callable[[Sequence[ToNode]], None] | None = None,
    ) -> None:
        """
        Use a link that was made.

        :param send: sends to the node.
        :param is_behind: see the attribute; ``None``: it never is.
        :param send_all: sends several messages together; ``None``: one by one.
        """

        def one_by_one(several: Sequence[ToNode]) -> None:
            for message in several:
                send(message)

        self.send_all = send_all or one_by_one
        self.is_behind = is_behind or _never
        self._send = self._unanswered = send
        if self.plays_on:
            # It may be a node that refuses this link: until it answers it is sent
            # nothing that the next one must get.
            self._send = self._send_unanswered
        else:
            self._send_kept()

    def answered(self) -> None:
        """The node has taken the link."""
        if self.plays_on:
            self._send_kept()

    def _send_kept(self) -> None:
        """Send what was kept to a node that takes it."""
        send = self._send = self._unanswered
        # Before the ends of matches, after which nothing of theirs is written.
        for message in (*self._tails.messages(), *self._kept()):
            send(message)
        self._reports.clear()
        self.stop()

    def _send_unanswered(self, message: ToNode) -> None:
        """Send a message to a node that may refuse this link, unless it can wait."""
        if not (self._keep(message) or isinstance(message, RecordingData)):
            self._unanswered(message)

    def unlinked(self) -> None:
        """The link is lost."""
        self._send, self.send_all = self._keep, _all_to_nobody
        self.is_behind = _never

    def wait(self, has_matches: bool) -> None:
        """Wait for a link; without matches not long."""
        if self._alarm.is_running:
            return
        self.plays_on = has_matches or bool(self._ended)
        seconds, then = ALONE_SECONDS, self._end
        if self.plays_on:
            seconds, then = self._lease, self._lease_over
        self._log.warn("lost the control link to the node; exiting in {s} s", s=seconds)
        self._alarm.start(seconds, then)

    def stop(self) -> None:
        """Stop waiting: there is a node, or everything is over."""
        self.plays_on = False
        self._alarm.cancel()

    def _lease_over(self) -> None:
        self.plays_on = False
        self._log.error(
            "no node linked within {s} s: exiting with all matches", s=self._lease
        )
        self._fall_silent()

    # What is kept.

    def _keep(self, message: ToNode) -> bool:
        """Keep a report, if a later node must get it; returns whether it must."""
        is_kept = isinstance(message, _KEPT)
        if is_kept:
            self._reports.append(message)
        return is_kept

    def _kept(self) -> list[ToNode]:
        """List the reports that were kept, for a node that has come."""
        reports = list(self._reports)
        ended = {one.end.match_id for one in reports if isinstance(one, RoomEnded)}
        again = (one.report for one in self._ended.values())
        return [*reports, *(one for one in again if one.end.match_id not in ended)]

    def match_ended(self, playing: Playing, report: RoomEnded) -> None:
        """Note the end of a match, which may not arrive."""
        ended = _Ended(playing, report, self._seconds())
        self._ended[playing.match_id] = ended

    def forget(self, match_ids: Collection[str]) -> None:
        """
        Forget what has arrived, as a heartbeat of the node shows.

        :param match_ids: the matches that are still played.
        """
        if self._ended:
            oldest = self._seconds() - _ENDS_KEPT
            self._ended = {k: v for k, v in self._ended.items() if v.at > oldest}
        self._tails.keep_only({*match_ids, *self._ended})

    @property
    def ended(self) -> tuple[Playing, ...]:
        """Matches whose end the node may not have received."""
        return tuple(one.playing for one in self._ended.values())

    @property
    def must_wait(self) -> bool:
        """Is there an end that was not sent to any node?"""
        return self.plays_on and bool(self._ended)


def _never() -> bool:
    return False
