"""Packets in binary messages of a WebSocket, for browsers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from vinom.lines.sniffed import put_protocol
from vinom.lines.ws.binary import BinaryStream
from vinom.lines.ws.handshake import accept_handshake

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

    def __init__(self, transport: Any, client: IProtocol) -> None:
        """
        :param transport: its earlier owner left it, and is not its producer.
        :param client: serves the client; its bytes follow with `dataReceived`.
        """
        self.transport, self._client = transport, client
        self._stream = BinaryStream(_MOST_MESSAGE)

    def begin(self, answer: bytes) -> None:
        """
        Take the transport over.

        :param answer: to the handshake.
        """
        self.transport.write(answer)
        put_protocol(self.transport, self)
        self._client.makeConnection(self)  # type: ignore[arg-type]  # all it needs

    # What the transport calls.

    def dataReceived(self, data: bytes) -> None:
        found = self._stream.receive(data)
        if found:
            self._client.dataReceived(found)
        self._send()
        if self._stream.is_over:
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
        self._stream.close()
        self._send()
        self.transport.loseConnection()

    def abortConnection(self) -> None:
        """Close at once."""
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
