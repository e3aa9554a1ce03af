"""Packets in binary messages of a WebSocket, for browsers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from vinom.gateway.packets_door import MOST_OWED
from vinom.net.lines.sniffed import put_protocol
from vinom.net.lines.ws.binary import BinaryStream
from vinom.net.lines.ws.handshake import accept_handshake
from vinom.net.streams.multiplex import PacketLine

#: The path at which packets are served, unless a rule matches it exactly.
PACKETS_PATH = "/packets"
#: Longest message of a client, bytes: more than one packet with all its credit.
_MOST_MESSAGE = 128 * 1024


class PacketSocket(Protocol):
    """
    A WebSocket as the connection of a client of packets, whose bytes its messages have.

    It is the protocol of the transport, and the transport of the client's protocol.
    """

    transport: Any

    def __init__(
        self, transport: Any, client: PacketLine, pay: Callable[[int], object]
    ) -> None:
        """
        :param transport: its earlier owner left it, and is not its producer.
        :param client: serves the client; its bytes follow with `dataReceived`.
        :param pay: counts frames, for which *client* reads no more for a while.
        """
        self.transport, self._client, self._pay = transport, client, pay
        self._is_over, self._owed = False, 0
        self._stream = BinaryStream(_MOST_MESSAGE)

    def begin(self, answer: bytes) -> None:
        """
        Take the transport over.

        :param answer: to the handshake.
        """
        self.transport.write(answer)
        put_protocol(self.transport, self)
        self._client.makeConnection(self)  # type: ignore[no-untyped-call]  # Twisted's

    # What the transport calls.

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            return
        before = self._stream.frames
        found = self._stream.receive(data)
        self._pay(self._stream.frames - before)
        pongs = self._stream.written()
        self._owed = self._owed + len(pongs) if self._client.is_full else 0
        if self._owed > MOST_OWED:
            self.abortConnection()
            return
        if pongs:
            self.transport.write(pongs)
        # Without bytes, too: it waits if there were too many frames.
        self._client.dataReceived(found)
        if self._stream.is_over:
            self._is_over = True
            # Twisted keeps a connection open as long as it has a producer.
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._client.connectionLost(reason)

    # What the client's protocol calls (ITransport, IConsumer, IPushProducer).

    def write(self, data: bytes) -> None:
        """Send bytes in a message."""
        self._stream.send(data)
        self._send()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send bytes in a message."""
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """Close when everything is sent."""
        self._is_over = True
        self._stream.close()
        self._send()
        self.transport.loseConnection()

    def abortConnection(self) -> None:
        """Close at once."""
        self._is_over = True
        self.transport.abortConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause a producer while the client does not read."""
        self.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """The producer has no more data."""
        self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """Read nothing for a while."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again."""
        self.transport.resumeProducing()

    def _send(self) -> None:
        data = self._stream.written()
        if data:
            self.transport.write(data)


def handshake_answer(path: str, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """
    Answer a WebSocket's handshake.

    :param fields: the headers.
    :raises HandshakeRefused: it is not a valid one.
    """
    headers = [(name.decode("ascii"), text.decode("latin-1")) for name, text in fields]
    return accept_handshake(path, headers).answer
