"""What a run of the gateway calls wrong, on values."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.soak.gateways.records import (
    CLOSED,
    ENDED,
    SENT_AWAY,
    SILENT,
    Record,
    compare,
)

_DONE = Record("lines", 5000, sent=10, received=10, end=CLOSED)


def line(record: Record, **other: Any) -> dict[str, Any]:
    """Write the line of the access log that fits a record."""
    line.number += 1  # type: ignore[attr-defined]
    session_id = record.session_id or line.number  # type: ignore[attr-defined]
    return {
        "session": f"g1:{session_id}",
        "kind": record.kind,
        "client_port": record.port,
        "received": record.sent,
        "sent": record.received,
        "seconds": 1.0,
        "outcome": "done",
        **other,
    }


line.number = 100  # type: ignore[attr-defined]


class CompareTests(SynchronousTestCase):
    """Clients' records and lines of the access log."""

    def wrong(self, record: Record, *lines: dict[str, Any]) -> None:
        """These do not fit."""
        self.assertEqual(len(compare([record], lines)), 1, (record, lines))

    def test_fit(self) -> None:
        """
        Sessions of every kind that ended well, or whose clients were told, are right.
        """
        packets = attrs.evolve(_DONE, kind="packets", session_id=7)
        told = attrs.evolve(packets, session_id=8, end=SENT_AWAY, why="backend_lost")
        http = attrs.evolve(_DONE, kind="http")
        ended = attrs.evolve(_DONE, kind="tcp", end=ENDED, received=3)
        lines = [
            line(_DONE),
            line(packets),
            line(told, outcome="backend_lost"),
            # Heads are more than bodies; another back end serves the rest.
            line(http, received=300, sent=5),
            line(http, received=300, sent=300),
            line(ended, sent=5),
        ]
        self.assertEqual(compare([_DONE, packets, told, http, ended], lines), [])

    def test_one_line_each(self) -> None:
        """
        A session without a line, with two, or a line without a session is wrong.
        """
        self.wrong(_DONE)
        self.wrong(_DONE, line(_DONE), line(_DONE))
        self.wrong(_DONE, line(_DONE), line(attrs.evolve(_DONE, port=5001)))
        first = line(_DONE)
        other = attrs.evolve(_DONE, port=5001)
        again = line(other, session=first["session"])
        self.assertEqual(len(compare([_DONE, other], [first, again])), 1)

    def test_port_used_again(self) -> None:
        """
        The gateway may notice the end of a session after the next one at its port.
        """
        away = attrs.evolve(_DONE, received=0, end=SENT_AWAY, why="no_backend")
        lines = [line(away, outcome="no_backend"), line(_DONE)]
        self.assertEqual(compare([_DONE, away], lines), [])
        self.assertEqual(len(compare([_DONE, away], [lines[0], line(away)])), 1)

    def test_impossibly_long(self) -> None:
        """
        A session that is said to have lasted since 1970 is wrong.
        """
        self.wrong(_DONE, line(_DONE, seconds=1.8e9))

    def test_bytes(self) -> None:
        """
        Bytes that are lost, doubled or never were a client's are wrong.
        """
        for name in ("sent", "received"):
            for count in (9, 11):
                self.wrong(_DONE, line(_DONE, **{name: count}))
        self.wrong(attrs.evolve(_DONE, kind="http"), line(_DONE, kind="http", sent=9))
        ended = attrs.evolve(_DONE, end=ENDED)
        self.wrong(ended, line(ended, sent=9))

    def test_not_told(self) -> None:
        """
        A client who was not told, or told something else than the log has, is wrong.
        """
        silent = attrs.evolve(_DONE, end=SILENT)
        self.wrong(silent, line(silent, outcome="backend_lost"))
        self.wrong(_DONE, line(_DONE, outcome="too_slow"))
        told = Record("packets", 5000, session_id=7, end=SENT_AWAY, why="backend_lost")
        self.wrong(told, line(told, outcome="no_backend"))
