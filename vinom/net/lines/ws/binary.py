"""Bytes in binary messages, without I/O: they may be cut into messages anywhere."""

from __future__ import annotations

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, SERVER, Protocol

_NO_TEXT = 1003


class BinaryStream:
    """
    The server's end of a WebSocket whose handshake is done.

    :ivar frames: how many came.
    :ivar is_over: when everything is sent, end the connection.
    """

    def __init__(self, limit: int) -> None:
        """:param limit: longest message in, bytes."""
        self._core = Protocol(SERVER, state=OPEN, max_size=limit)
        self.frames = 0

    @property
    def is_over(self) -> bool:
        return self._core.close_expected()

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the connection; returns those in messages. Then `written`."""
        core, found = self._core, []
        core.receive_data(data)
        for event in core.events_received():
            assert isinstance(event, Frame)
            self.frames += 1
            if event.opcode in (Opcode.BINARY, Opcode.CONT):
                found.append(bytes(event.data))
            elif event.opcode is Opcode.TEXT:
                core.fail(_NO_TEXT, "send binary messages")
        return b"".join(found)

    def send(self, data: bytes) -> None:
        """Send bytes in one message; nothing after the end."""
        if self._core.state is OPEN:
            self._core.send_binary(data)

    def close(self) -> None:
        """Send a close frame, once."""
        if self._core.state is OPEN:
            self._core.send_close(1000)

    def written(self) -> bytes:
        """Take what is to be sent."""
        return b"".join(self._core.data_to_send())
