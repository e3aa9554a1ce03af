"""The opening handshake."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from tests.support.websockets import frame
from vinom.net.lines.ws_stream import (
    HandshakeRefused,
    WebSocketStream,
    accept_handshake,
)

GOOD = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}

_ODD = [
    None,
    "",
    "websocket",
    "WebSocket",
    "websocket, h2c",
    "upgrade",
    "keep-alive,Upgrade",
    "upgraded",
    "13",
    "13, 8",
    "AAAAAAAAAAAAAAAAAAAAAA==",
    "AAAAAAAAAAAAAAAAAAAAAB==",
    "AAAAAAAAAAAAAAAAAAAAAAA=",
    "AAAAAAAAAAAAAAAAAAAAAA==\u00fc",
]


class HandshakeTests(SynchronousTestCase):
    """`accept_handshake`."""

    def test_accepted(self) -> None:
        """
        A browser gets the answer that RFC 6455 (1.3) computes for its example, without
        compression unless the operator enables it.
        """
        for more in ({}, {"Sec-WebSocket-Extensions": "permessage-deflate"}):
            accepted = accept_handshake("/ws", (GOOD | more).items())
            self.assertTrue(accepted.answer.startswith(b"HTTP/1.1 101 "))
            self.assertTrue(accepted.answer.endswith(b"\r\n\r\n"))
            self.assertIn(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", accepted.answer)
            self.assertNotIn(b"permessage", accepted.answer)
            self.assertEqual(accepted.extensions, ())

    @settings(deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from([name for name in GOOD if name != "Host"]),
            st.sampled_from(_ODD),
            max_size=2,
        ),
        st.lists(st.sampled_from(list(GOOD.items())), max_size=1),
    )
    def test_usual_and_unusual(
        self, changed: dict[str, str | None], again: list[tuple[str, str]]
    ) -> None:
        """
        The quick answer for usual handshakes is given to those, and no others,
        that the ``websockets`` package accepts in the same way.
        """
        headers = {**GOOD, **changed}
        given = [(name, value) for name, value in headers.items() if value is not None]
        request = Request("/ws", Headers(given + again))
        expected = ServerProtocol().accept(request)
        try:
            answer = accept_handshake("/ws", given + again).answer
        except HandshakeRefused as error:
            self.assertEqual(error.status, expected.status_code)
        else:
            self.assertEqual(expected.status_code, 101)
            self.assertIn(expected.headers["Sec-WebSocket-Accept"].encode(), answer)

    def test_refused(self) -> None:
        """
        A handshake that lacks something, or has it wrong, is answered with 4xx.
        """
        wrong = {
            "Upgrade": (426, ["h2c"]),
            "Connection": (426, ["close"]),
            "Sec-WebSocket-Key": (400, ["short", "!!!!"]),
            "Sec-WebSocket-Version": (400, ["12", "x"]),
        }
        for name, (status, values) in wrong.items():
            for value in (None, *values):
                headers = dict(GOOD)
                if value is None:
                    del headers[name]
                else:
                    headers[name] = value
                with self.assertRaises(HandshakeRefused, msg=(name, value)) as caught:
                    accept_handshake("/ws", headers.items())
                self.assertEqual(caught.exception.status, status, (name, value))

    def test_compression(self) -> None:
        """
        With compression both directions arrive, whole and in pieces, and a bomb
        does not: a short frame that is a long message ends with 1009.
        """
        offered = {
            **GOOD,
            "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
        }
        accepted = accept_handshake("/ws", offered.items(), deflates=True)
        self.assertIn(b"server_no_context_takeover", accepted.answer)
        client = PerMessageDeflate(True, True, 12, 12)
        stream = WebSocketStream(2048, accepted.extensions)
        self.assertFalse(stream.is_plain)
        text = b'{"type":"ping"}' * 20

        def compressed(message: bytes, cut: int | None = None) -> bytes:
            data = bytes(client.encode(Frame(Opcode.TEXT, message)).data)
            if cut is None:
                return frame(Opcode.TEXT, data, reserved=4)
            first = frame(Opcode.TEXT, data[:cut], is_final=False, reserved=4)
            return first + frame(Opcode.CONT, data[cut:])

        self.assertEqual(stream.receive(compressed(text)), [text])
        self.assertEqual(stream.receive(compressed(text, 9)), [text])
        self.assertEqual(stream.receive(frame(Opcode.TEXT, b"plain")), [b"plain"])
        said = stream.frame(text)
        self.assertLess(len(said), len(text))
        (read,) = _inflated(client, said)
        self.assertEqual(read, text)
        self.assertEqual(stream.receive(compressed(b" " * 100_000)), [])
        assert stream.closed is not None
        self.assertEqual(stream.closed[0], 1009)


def _inflated(client: PerMessageDeflate, data: bytes) -> list[bytes]:
    stream = StreamReader()
    stream.feed_data(data)
    reading = Frame.parse(stream.read_exact, mask=False, extensions=[client])
    try:
        next(reading)
    except StopIteration as done:
        return [bytes(done.value.data)]
    raise AssertionError("part of a frame")
