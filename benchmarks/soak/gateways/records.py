"""Records of clients' sessions, and their comparison with the gateway's access log."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import permutations
from typing import Any

import attrs

#: How a client left a session: it was done, had no time for more, or was sent away.
CLOSED, LEFT, SENT_AWAY = "closed", "left", "sent_away"
#: The connection closed, which is all that plain bytes can be sent.
ENDED = "ended"
#: Not what a client of its protocol should see.
SILENT, WRONG = "silent", "wrong"

#: Outcomes that clients of lines and of WebSocket cannot distinguish.
_AWAY = frozenset(("backend_lost", "no_backend", "too_many", "timeout", "draining"))
#: Clients that do not read, or break off, only see that the session is over.
_ROUGH = frozenset(
    ("too_slow", "client_lost", "done", "backend_lost", "timeout", "bad_packet")
)
#: No run takes a day, seconds.
_LONGEST = 86400.0


@attrs.define(eq=False)
class Record:
    """
    One session, as its client saw it; for HTTP one connection.

    :ivar kind: as the access log names it.
    :ivar port: the client's own.
    :ivar is_good: does the client read and write as it should?
    :ivar session_id: the session's id, if the client knows it.
    :ivar sent: sent bytes of the session; for HTTP and WebSocket those of bodies.
    :ivar received: received bytes, likewise.
    :ivar end: how it ended.
    :ivar why: the gateway's reason.
    """

    kind: str
    port: int
    is_good: bool = True
    session_id: int = 0
    sent: int = 0
    received: int = 0
    end: str = LEFT
    why: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """Find its lines in the access log."""
        return self.kind, self.session_id or self.port


def _key(line: dict[str, Any]) -> tuple[str, int]:
    kind = line["kind"]
    if kind == "packets":
        return kind, int(line["session"].rpartition(":")[2])
    return kind, line["client_port"]


def compare(records: Iterable[Record], lines: Sequence[dict[str, Any]]) -> list[str]:
    """
    Compare what clients saw with the access log.

    :returns: the differences, each kind once, with the number of occurrences.
    """
    found: Counter[str] = Counter()
    example: dict[str, object] = {}

    def wrong(what: str, *of: object) -> None:
        found[what] += 1
        example.setdefault(what, of)

    by_key: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        by_key[_key(line)].append(line)
    if len({line["session"] for line in lines}) != len(lines):
        wrong("two lines of the access log have the same session")
    of_key: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for record in records:
        if record.end in (SILENT, WRONG):
            wrong(f"{record.kind}: {record.end}: {record.why}", record)
        of_key[record.key].append(record)
    for key, ours in of_key.items():
        theirs = by_key.pop(key, [])
        if key[0] == "http":
            _compare_http(ours, theirs, wrong)
        elif len(theirs) < len(ours) and not any(one.is_good for one in ours):
            # It may have been sent away before its session began.
            continue
        elif len(theirs) != len(ours):
            wrong(f"{key[0]}: {len(theirs)} lines for {len(ours)} sessions", ours)
        else:
            for record, line in zip(ours, _in_order(ours, theirs), strict=True):
                _compare_one(record, line, wrong)
    for key, theirs in by_key.items():
        wrong(f"{key[0]}: a line of a session that no client had", theirs)
    return [f"{count} x {what}, as {example[what]}" for what, count in found.items()]


def _in_order(
    ours: Sequence[Record], theirs: Sequence[dict[str, Any]]
) -> Sequence[dict[str, Any]]:
    """
    Find which line is whose, where a port was used again.

    The gateway may see the end of one session after the beginning of the next.
    """
    if not 1 < len(ours) < 5:
        return theirs

    def faults(lines: Sequence[dict[str, Any]]) -> int:
        found: list[object] = []
        for record, line in zip(ours, lines, strict=True):
            _compare_one(record, line, lambda *wrong: found.append(wrong))
        return len(found)

    return min(permutations(theirs), key=faults)


def _compare_one(record: Record, line: dict[str, Any], wrong: Any) -> None:
    kind, outcome = record.kind, line["outcome"]
    if record.is_good and record.end == CLOSED:
        is_exact = kind != "websocket"
        for name in ("sent", "received"):
            # The log has the client's view; frames and heads are more than messages.
            ours = getattr(record, "received" if name == "sent" else "sent")
            if line[name] < ours or (is_exact and line[name] != ours):
                wrong(f"{kind}: bytes {name} differ", record, line)
    elif line["sent"] < record.received:
        wrong(f"{kind}: the client got more than was sent", record, line)
    if not 0 <= line["seconds"] < _LONGEST:
        wrong(f"{kind}: a session is said to have lasted impossibly long", line)
    if outcome not in _outcomes(record):
        wrong(f"{kind}: {record.end} {record.why} is {outcome}", record, line)


def _outcomes(record: Record) -> frozenset[str]:
    """List the outcomes that the access log may have for the end of a session."""
    if not record.is_good or record.end == LEFT:
        return _ROUGH | _AWAY
    if record.end == CLOSED:
        # Its back end may have gone at the same time.
        return frozenset(("done", "backend_lost"))
    if record.end == ENDED:
        return frozenset(("done", "backend_lost", "no_backend"))
    if record.kind == "packets":
        return frozenset((record.why,))
    return _AWAY if record.kind == "lines" else _AWAY | {"done"}


def _compare_http(
    ours: Sequence[Record], theirs: Sequence[dict[str, Any]], wrong: Any
) -> None:
    if not theirs:
        if any(record.is_good and record.sent for record in ours):
            wrong("http: no line", ours)
        return
    for name in ("sent", "received"):
        mine = "received" if name == "sent" else "sent"
        least = sum(
            getattr(record, mine)
            for record in ours
            if record.is_good and record.end == CLOSED
        )
        if sum(line[name] for line in theirs) < least:
            wrong(f"http: fewer bytes {name} than the client's", ours, theirs)
