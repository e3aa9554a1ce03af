"""
``python -m benchmarks.soak.gateways.backend NAME PORT``: a back end that echoes.

One port accepts plain bytes, HTTP, WebSocket and links. Commands on standard input
change its behaviour: ``slow SECONDS``, ``fail`` (every second HTTP request gets 500),
``well``. It exits when its standard input ends.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Any
from typing import Protocol as Shape

from twisted.internet import reactor, stdio
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from vinom.base.reactor.waits import Rounds
from vinom.net.streams.channels import Channel, Reason
from vinom.net.streams.multiplex import VISIT_SECONDS, PacketConnection, PeerTerms
from vinom.net.streams.packets import MAGIC, Kind, Packet

_clock: Any = reactor
_DATA_FRAMES = (Opcode.TEXT, Opcode.BINARY)


class Mood:
    """
    How this back end behaves.

    :ivar delay: delay of each answer, seconds.
    :ivar fails: does every second request get 500?
    """

    def __init__(self, name: str) -> None:
        """:param name: is in each HTTP answer."""
        self.name, self.delay, self.fails = name.encode(), 0.0, False
        self._requests = 0

    def obey(self, order: str) -> None:
        """Change the behaviour."""
        word, _, seconds = order.partition(" ")
        self.delay = float(seconds) if word == "slow" else 0.0
        self.fails = word == "fail"

    def status(self) -> bytes:
        """Choose the status of an answer."""
        self._requests += 1
        return b"500 Broken" if self.fails and self._requests % 2 else b"200 OK"


class Answers:
    """What one connection or session is sent, in order, and as late as the mood is."""

    def __init__(self, mood: Mood) -> None:
        """:param mood: says how late."""
        self._mood = mood
        self._due: deque[tuple[float, Callable[[], None]]] = deque()
        self._is_over = False

    def later(self, send: Callable[[], None]) -> None:
        """Send something."""
        if not self._due and not self._mood.delay:
            send()
            return
        last = self._due[-1][0] if self._due else 0.0
        now = _clock.seconds()
        self._due.append((max(last, now + self._mood.delay), send))
        if len(self._due) == 1:
            self._wait()

    def end(self) -> None:
        """The connection is lost."""
        self._is_over = True
        self._due.clear()

    def _wait(self) -> None:
        _clock.callLater(max(0.0, self._due[0][0] - _clock.seconds()), self._send)

    def _send(self) -> None:
        if self._is_over:
            return
        self._due.popleft()[1]()
        if self._due:
            self._wait()


class Served(Shape):
    """Serves one connection whose protocol is known."""

    def received(self, data: bytes) -> None:
        """The peer sent bytes."""


class Echo:
    """Plain bytes."""

    def __init__(self, transport: Any, answers: Answers) -> None:
        """:param transport: of the connection."""
        self._transport, self._answers = transport, answers

    def received(self, data: bytes) -> None:
        """The peer sent bytes."""
        self._answers.later(lambda: self._transport.write(data))


class Http:
    """Requests: the answer is the body; the path ``/ws...`` is for WebSockets."""

    def __init__(self, transport: Any, answers: Answers, mood: Mood) -> None:
        """:param transport: of the connection."""
        self._transport, self._answers, self._mood = transport, answers, mood
        self._held = b""

    def received(self, data: bytes) -> None:
        """The peer sent bytes."""
        self._held += data
        while True:
            head, end, rest = self._held.partition(b"\r\n\r\n")
            if not end:
                return
            fields = dict(
                line.lower().partition(b": ")[::2] for line in head.split(b"\r\n")[1:]
            )
            size = int(fields.get(b"content-length", b"0"))
            if len(rest) < size:
                return
            body, self._held = rest[:size], rest[size:]
            self._answer(body, b" /health " in head)

    def _answer(self, body: bytes, is_check: bool) -> None:
        status = b"200 OK" if is_check else self._mood.status()
        self._answers.later(
            lambda: self._transport.write(
                b"HTTP/1.1 %b\r\nX-Backend: %b\r\nContent-Length: %d\r\n\r\n%b"
                % (status, self._mood.name, len(body), body)
            )
        )


class WebSocket:
    """Messages."""

    def __init__(self, transport: Any, answers: Answers) -> None:
        """:param transport: of the connection."""
        self._transport, self._answers = transport, answers
        self._socket = ServerProtocol(max_size=1 << 21)

    def received(self, data: bytes) -> None:
        """The peer sent bytes."""
        socket = self._socket
        socket.receive_data(data)
        self._write()
        for event in socket.events_received():
            if isinstance(event, Request):
                socket.send_response(socket.accept(event))
                self._write()
            elif isinstance(event, Frame) and event.opcode in _DATA_FRAMES:
                content = bytes(event.data)
                self._answers.later(lambda content=content: self._send(content))  # type: ignore[misc]

    def _send(self, content: bytes) -> None:
        try:
            self._socket.send_binary(content)
        except Exception:
            # It is closing, so nothing more may be sent.
            return
        self._write()

    def _write(self) -> None:
        for out in self._socket.data_to_send():
            if out:
                self._transport.write(out)
            else:
                self._transport.loseConnection()


class Session:
    """The leg of a session on a link."""

    def __init__(self, channel: Channel, answers: Answers) -> None:
        """:param channel: its other side."""
        self._channel, self._answers = channel, answers

    def received(self, data: bytes) -> None:
        """The client sent bytes."""
        self._answers.later(lambda: self._channel.send(data))

    def finished(self) -> None:
        """The client sends no more."""
        self._answers.later(lambda: self._channel.close(Reason.DONE))

    def lost(self, reason: Reason, words: str = "") -> None:
        """The session is over."""
        self._answers.end()

    def filled(self) -> None:
        """The client does not read what it is sent."""
        self._channel.pause()

    def drained(self) -> None:
        """The client reads again."""
        self._channel.resume()


class Links:
    """Sessions of links (`vinom.net.streams.multiplex.Taker`)."""

    def __init__(self, mood: Mood) -> None:
        """:param mood: of this back end."""
        self._mood, self._rounds = mood, Rounds(_clock, VISIT_SECONDS)

    def line(self) -> PacketConnection:
        """Make the end of a link."""
        return PacketConnection(
            self, _clock, self._rounds, PeerTerms(lost=Reason.CLIENT_LOST)
        )

    def opened(self, line: PacketConnection, packet: Packet) -> None:
        """The gateway greets, or opens a session."""
        if not packet.session_id:
            line.open(Packet(Kind.OPEN, b'{"node_id": "%b"}' % self._mood.name))
            return
        channel = Channel(line, packet.session_id)
        channel.leg = Session(channel, Answers(self._mood))
        line.add(channel)

    def emptied(self, line: PacketConnection) -> None:
        """Do nothing: a link stays open."""

    def closing(self, line: PacketConnection, why: str) -> None:
        """The gateway ends the link itself."""

    def lost(self, line: PacketConnection, why: str) -> None:
        """Do nothing: its sessions have been ended."""


class Connection(Protocol):
    """Recognizes a protocol; the gateway sends enough bytes at once."""

    transport: Any

    def __init__(self, mood: Mood, links: Links) -> None:
        """:param mood: of this back end."""
        self._mood, self._links = mood, links
        self._answers = Answers(mood)
        self._served: Served | None = None

    def dataReceived(self, data: bytes) -> None:
        if self._served is None:
            if data.startswith(MAGIC):
                line = self._links.line()
                self.transport.protocol = line
                line.makeConnection(self.transport)
                line.dataReceived(data)
                return
            # A peer that does not read is not read from, either.
            self.transport.registerProducer(self, True)
            self._served = self._find(data)
        self._served.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._answers.end()

    def pauseProducing(self) -> None:
        """The peer does not read."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The peer reads again."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The connection is lost."""

    def _find(self, data: bytes) -> Served:
        if data.startswith(b"GET /ws"):
            return WebSocket(self.transport, self._answers)
        if data.startswith((b"GET /", b"POST /")):
            return Http(self.transport, self._answers, self._mood)
        return Echo(self.transport, self._answers)


class Orders(LineOnlyReceiver):
    """Standard input."""

    delimiter = b"\n"

    def __init__(self, mood: Mood) -> None:
        """:param mood: is changed by commands."""
        self._mood = mood

    def lineReceived(self, line: bytes) -> None:
        self._mood.obey(line.decode())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if _clock.running:
            _clock.stop()


def main() -> None:
    """Serve."""
    name, port = sys.argv[1], int(sys.argv[2])
    mood = Mood(name)
    links = Links(mood)
    factory: Any = Factory.forProtocol(lambda: Connection(mood, links))
    factory.noisy = False
    _clock.listenTCP(port, factory, 4096, interface="127.0.0.1")
    stdio.StandardIO(Orders(mood))
    _clock.callWhenRunning(sys.stderr.write, "serves\n")
    _clock.run()


if __name__ == "__main__":
    main()
