"""The last bytes of recordings, which are sent again after a link was lost."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import attrs

from vinom.fleet.control.messages import RecordingData
from vinom.play.hosting.recordings import pieces

#: Most bytes of each recording that are kept: more than can be in transit.
MOST_KEPT = 256 * 1024
#: The same without a link, when nothing arrives: a few minutes of a busy match.
MOST_KEPT_ALONE = 4 * 1024 * 1024
#: About the most bytes of all recordings of a process.
_MOST_TOGETHER = 64 * 1024 * 1024


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
        most = MOST_KEPT_ALONE if is_alone else MOST_KEPT
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
