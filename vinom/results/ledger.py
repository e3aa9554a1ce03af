"""
All kept results of one node and how far sending them is: a pure value.

Whatever happens is a record, and the ledger follows from its records alone: the memory
store applies them, the file store writes them down first and applies them again when
the node starts.
"""

from __future__ import annotations

import heapq
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator

import attrs
from msgspec import Raw, Struct, json

from vinom.messages.results import decode_result, encode_result
from vinom.model import KeptResult, Result, ResultCounts, ResultState

#: Place of a result in the order of all: milliseconds since the Unix epoch when it was
#: noted, and a number that tells apart those of one millisecond.
Position = tuple[int, int]

_CURSOR = re.compile(r"([0-9]{1,15})-([0-9]{1,9})")
_START: Position = (-1, 0)


class Added(Struct, frozen=True, tag="added"):
    """A result is kept."""

    cursor: str
    is_wanted: bool
    result: Raw


class Sent(Struct, frozen=True, tag="sent"):
    """A result was received."""

    cursor: str


class Postponed(Struct, frozen=True, tag="postponed"):
    """A result was not received, and is due again at that time."""

    cursor: str
    at: float
    why: str


class Buried(Struct, frozen=True, tag="buried"):
    """A result was given up."""

    cursor: str
    why: str


class Revived(Struct, frozen=True, tag="revived"):
    """A result that was given up waits again."""

    cursor: str


Record = Added | Sent | Postponed | Buried | Revived

_records: json.Decoder[Record] = json.Decoder(Record)
_encode = json.Encoder().encode


def encode_record(record: Record) -> bytes:
    """Write a record as one line of JSON, without its end."""
    return _encode(record)


def decode_record(line: bytes) -> Record:
    """
    Read what `encode_record` wrote.

    :raises msgspec.MsgspecError: it is something else.
    """
    return _records.decode(line)


def read_cursor(text: str) -> Position:
    """
    Read a cursor; an empty one is before all results.

    :raises ValueError: it is none.
    """
    if not text:
        return _START
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no cursor: use one of a list of results")
    return int(found[1]), int(found[2])


def write_cursor(position: Position) -> str:
    """Write a position as a cursor."""
    return f"{position[0]}-{position[1]}"


@attrs.define(eq=False)
class _Kept:
    """A result, and how far sending it is; ``due``: when it may be taken."""

    position: Position
    result_id: str
    match_id: str
    at: float
    text: bytes
    state: ResultState
    tries: int = 0
    why: str = ""
    due: float = 0.0

    def facts(self) -> KeptResult:
        return KeptResult(
            write_cursor(self.position),
            decode_result(self.text),
            self.state,
            self.tries,
            self.why,
        )


@attrs.define(eq=False)
class Ledger:
    """
    The results in order, and those to send by match and by time.

    :ivar most: most results that are kept.
    :ivar most_age: longest time that one is kept, seconds.
    :ivar forgotten: how many gave way before they were sent.
    """

    most: int
    most_age: float
    forgotten: int = 0
    _kept: dict[Position, _Kept] = attrs.field(factory=dict, init=False)
    # Rising; those in front of `_first` are gone, and removed when they are half.
    _order: list[Position] = attrs.field(factory=list, init=False)
    _first: int = attrs.field(default=0, init=False)
    _ids: dict[str, Position] = attrs.field(factory=dict, init=False)
    # By match: those that wait, in order. Only the first of them can be taken.
    _waiting: dict[str, deque[_Kept]] = attrs.field(factory=dict, init=False)
    _count: int = attrs.field(default=0, init=False)
    # When the first of a match is due. An entry that is out of date is passed over.
    _due: list[tuple[float, Position]] = attrs.field(factory=list, init=False)
    _dead: dict[Position, _Kept] = attrs.field(factory=dict, init=False)

    # What happens.

    def added(self, result: Result, is_wanted: bool) -> Added | None:
        """Write the record of a new result; ``None`` if there is one already."""
        if result.result_id in self._ids:
            return None
        position = (int(result.at * 1000), 0)
        if self._order and position <= self._order[-1]:
            # Another one of this millisecond, or the clock was set back.
            last = self._order[-1]
            position = (last[0], last[1] + 1)
        return Added(write_cursor(position), is_wanted, Raw(encode_result(result)))

    def apply(self, record: Record) -> bool:
        """
        Do what a record says; ``False`` if it says nothing new.

        :raises ValueError: it was not written by us; nothing has changed.
        """
        if isinstance(record, Added):
            return self._add(record)
        position = read_cursor(record.cursor)
        kept = self._kept.get(position)
        if kept is None:
            return False
        if isinstance(record, Revived):
            if kept.state != "dead":
                return False
            del self._dead[position]
            kept.tries, kept.why = 0, ""
            self._wait(kept)
            return True
        if kept.state != "waiting":
            return False
        if isinstance(record, Sent):
            kept.state = "sent"
            self._done(kept)
            return True
        kept.tries += 1
        kept.why = record.why
        if isinstance(record, Buried):
            kept.state = "dead"
            self._dead[position] = kept
            self._done(kept)
        else:
            kept.due = record.at
            heapq.heappush(self._due, (kept.due, position))
        return True

    def _add(self, record: Added) -> bool:
        position = read_cursor(record.cursor)
        text = bytes(record.result)
        result = decode_result(text)
        if self._order and position <= self._order[-1]:
            raise ValueError(f"result {record.cursor} is not after the one before it")
        while result.result_id in self._ids:
            # Read from files: the older one had been forgotten when this one came, and
            # so had all before it.
            self._forget(self._kept[self._order[self._first]])
        kept = _Kept(
            position, result.result_id, result.match_id, result.at, text, "kept"
        )
        self._kept[position] = kept
        self._ids[result.result_id] = position
        self._order.append(position)
        if record.is_wanted:
            self._wait(kept)
        return True

    def _wait(self, kept: _Kept) -> None:
        kept.state, kept.due = "waiting", 0.0
        queue = self._waiting.setdefault(kept.match_id, deque())
        self._count += 1
        if queue and queue[0].position > kept.position:
            # Only after it was dead.
            queue.appendleft(kept)
        else:
            queue.append(kept)
        if queue[0] is kept:
            heapq.heappush(self._due, (0.0, kept.position))

    def _done(self, kept: _Kept) -> None:
        """It waits no more: the next one of its match is due."""
        queue = self._waiting[kept.match_id]
        queue.remove(kept)
        self._count -= 1
        if queue:
            heapq.heappush(self._due, (queue[0].due, queue[0].position))
        else:
            del self._waiting[kept.match_id]

    # What is asked.

    def take(self, now: float, until: float, most: int) -> list[KeptResult]:
        """Take results to send, as `vinom.ports.IResultStore.take` says."""
        taken: list[KeptResult] = []
        while self._due and self._due[0][0] <= now and len(taken) < most:
            due, position = heapq.heappop(self._due)
            kept = self._kept.get(position)
            if kept is None or kept.state != "waiting" or kept.due != due:
                continue
            if self._waiting[kept.match_id][0] is not kept:
                continue
            kept.due = until
            heapq.heappush(self._due, (until, position))
            taken.append(kept.facts())
        return taken

    def after(self, cursor: str, most: int) -> list[KeptResult]:
        """
        List results.

        :raises ValueError: this is no cursor.
        """
        begin = bisect_right(self._order, read_cursor(cursor), self._first)
        positions = self._order[begin : begin + most]
        return [self._kept[position].facts() for position in positions]

    def dead(self, cursor: str, most: int) -> list[KeptResult]:
        """
        List results that were given up.

        :raises ValueError: this is no cursor.
        """
        begin = read_cursor(cursor)
        found = heapq.nsmallest(most, (one for one in self._dead if one > begin))
        return [self._dead[position].facts() for position in found]

    def counts(self) -> ResultCounts:
        """Count the results."""
        heads = (queue[0].at for queue in self._waiting.values())
        return ResultCounts(
            len(self._kept),
            self._count,
            len(self._dead),
            min(heads, default=None),
            self.forgotten,
        )

    # Its bounds.

    @property
    def oldest(self) -> Position | None:
        """The place of the oldest result; ``None`` without results."""
        return self._order[self._first] if self._first < len(self._order) else None

    def trim(self, now: float) -> int:
        """
        Forget results that are too many or too old.

        :param now: seconds since the Unix epoch.
        :returns: how many of them were to be sent, and were not.
        """
        unsent = 0
        for kept in self._excess(now):
            unsent += kept.state in ("waiting", "dead")
            self._forget(kept)
        # The last position stays: the next one must be after it.
        if self._first > 1024 and self._first * 2 > len(self._order):
            keep = min(self._first, len(self._order) - 1)
            del self._order[:keep]
            self._first -= keep
        self.forgotten += unsent
        return unsent

    def _excess(self, now: float) -> Iterator[_Kept]:
        while self._kept:
            kept = self._kept[self._order[self._first]]
            if len(self._kept) <= self.most and now - kept.at <= self.most_age:
                return
            yield kept

    def _forget(self, kept: _Kept) -> None:
        if kept.state == "waiting":
            self._done(kept)
        self._dead.pop(kept.position, None)
        del self._kept[kept.position], self._ids[kept.result_id]
        self._first += 1
