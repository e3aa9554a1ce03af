"""h11's parsers by the short way, beside its public one."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import h11
from twisted.trial.unittest import SynchronousTestCase

from vinom.http import parsers
from vinom.http.parsers import answer_reader, read_upgrade

_SWITCHES = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
)
#: Answers, good and bad, with what follows them.
ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nhi\r\n0\r\nA: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nup to the end",
    b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nold",
    b"HTTP/1.1 204 None\r\n\r\n",
    b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + _SWITCHES + b"frames",
    _SWITCHES,
    _SWITCHES + b"\x81\x02hi",
    b"HTTP/1.1 101\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n a: b\r\n\r\n",
    b"HTTP/2 200 OK\r\n\r\n",
    b"nothing of the kind\r\n\r\n",
    b"\r\n\r\n",
    b"",
)


def shown(event: Any) -> Any:
    """Describe an event so that two can be compared."""
    if isinstance(event, h11.Data):
        return "data", bytes(event.data)
    if isinstance(event, h11.Response | h11.InformationalResponse):
        head = event.status_code, bytes(event.reason), event.http_version
        return type(event).__name__, head, event.headers.raw_items()
    if isinstance(event, h11.EndOfMessage):
        return "end", list(event.headers)
    return str(event)


def heard(reader: h11.Connection, data: bytes, size: int) -> list[Any]:
    """Have an answer read in pieces: its events, or the error, and what is left."""
    found: list[Any] = []
    try:
        for start in range(0, len(data) + size, size):
            reader.receive_data(data[start : start + size])
            while True:
                event = reader.next_event()
                if event in (h11.NEED_DATA, h11.PAUSED):
                    break
                found.append(shown(event))
                if isinstance(event, h11.ConnectionClosed):
                    break
    except (h11.RemoteProtocolError, RuntimeError) as error:
        found.append((type(error).__name__, str(error)))
    return [*found, reader.trailing_data, reader.states]


class PartsTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """
        This version of h11 is made as expected. If this fails, its public ways do the
        work, and more slowly: see `vinom.http.parsers`.
        """
        self.assertTrue(parsers.IS_KNOWN)


class AnswerTests(SynchronousTestCase):
    def test_same_answer(self) -> None:
        """
        Each answer is read as h11 reads it otherwise, however it is cut, and one never
        depends on those before.
        """
        for answer in ANSWERS:
            for method, is_upgrade in (
                (b"GET", False),
                (b"GET", True),
                (b"HEAD", False),
            ):
                for size in (1, 7, 1000):
                    found = []
                    for is_known in (True, False):
                        with patch.object(parsers, "IS_KNOWN", is_known):
                            reader = answer_reader(method, is_upgrade)
                        found.append(heard(reader, answer, size))
                    self.assertEqual(found[0], found[1], (answer, method, size))

    def test_upgrade(self) -> None:
        """
        An answer that begins a WebSocket is the same as from h11's connection; of all
        others nothing is taken.
        """
        for answer in ANSWERS:
            found = read_upgrade(answer)
            if not answer.startswith(_SWITCHES):
                # One without an empty line, or without headers, is h11's to judge.
                self.assertTrue(found is None or answer == b"HTTP/1.1 101\r\n\r\n")
                continue
            reader = answer_reader(b"GET", True)
            reader.receive_data(answer)
            assert found is not None
            self.assertEqual(shown(found[0]), shown(reader.next_event()))
            self.assertEqual(found[1], reader.trailing_data[0])
            self.assertEqual(found[1], answer[len(_SWITCHES) :])
        for cut in range(len(_SWITCHES)):
            self.assertIsNone(read_upgrade(_SWITCHES[:cut]))
        with patch.object(parsers, "IS_KNOWN", False):
            self.assertIsNone(read_upgrade(_SWITCHES))
