"""WebSockets over real sockets: a server that echoes, and a client of raw bytes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from websockets.frames import Frame, Opcode

from tests.support.ears import Ear
from tests.support.websockets import frame
from vinom.base.limits.origins import Origins
from vinom.base.reactor.turns import TurnEnd
from vinom.net.lines.limits import LineBounds
from vinom.net.lines.websocket import WebSocketLine, WebSockets
from vinom.net.web.answers import Folder, QuietSite
from vinom.net.web.front_door import FrontDoor
from vinom.net.web.websocket import WebSocketPage

KEY = base64.b64encode(b"sixteen bytes ok").decode()
#: Longest wait for anything, seconds: a bound on liveness.
PATIENCE = 20.0


class Echo(Ear):
    """Echoes messages, and closes at "bye"."""

    def received(self, message: bytes) -> None:
        super().received(message)
        self.line.send(message)
        if message == b'"bye"':
            self.line.close()


class EchoServer:
    """
    ``/ws``, and other pages, on a free port of loopback.

    :ivar echoes: every conversation so far.
    :ivar websockets: what they share.
    """

    def __init__(
        self,
        reactor: Any,
        bounds: LineBounds | None = None,
        origins: Origins | None = None,
        deflates: bool = False,
        wrap: Callable[[Any], Any] = lambda site: site,
        **pages: Resource,
    ) -> None:
        self.echoes: list[Echo] = []
        self.websockets = WebSockets(
            self._open,
            reactor,
            TurnEnd(reactor),
            bounds or LineBounds(),
        )
        page = WebSocketPage(self.websockets, origins or Origins(), deflates)
        root = Folder(ws=page, **pages)
        self.site = FrontDoor(QuietSite(root, reactor), page, reactor)
        listening = reactor.listenTCP(0, wrap(self.site), interface="127.0.0.1")
        self.port: int = listening.getHost().port
        self.stop: Callable[[], Any] = listening.stopListening

    def _open(self, line: WebSocketLine) -> Echo:
        echo = Echo(line)
        self.echoes.append(echo)
        return echo


class RawClient(Protocol):
    """
    Bytes to and from a server, and frames when one waits for them.

    :ivar lost: fires when the connection is over.
    """

    def __init__(self) -> None:
        self.received = bytearray()
        self.is_over = False
        self.lost: Deferred[None] = Deferred()
        self._waiting: Deferred[None] | None = None

    def connectionMade(self) -> None:
        self.transport: Any
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_over = True
        self._wake()
        self.lost.callback(None)

    def write(self, data: bytes, chop: int = 0) -> None:
        """Send *data*, in pieces of *chop* bytes if that is not 0."""
        if not chop:
            self.transport.write(data)
            return
        for at in range(0, len(data), chop):
            # Directly: Twisted would put small pieces together.
            piece = data[at : at + chop]
            try:
                sent = self.transport.getHandle().send(piece)
            except OSError:
                return
            assert sent == len(piece), "the server does not read"

    def say(self, opcode: int, payload: bytes = b"", **kind: Any) -> None:
        """Send one frame."""
        self.write(frame(opcode, payload, **kind))

    async def head(self) -> bytes:
        """Wait for an answer of HTTP, and take it."""
        while b"\r\n\r\n" not in self.received:
            if not await self._more():
                raise AssertionError(f"no answer: {bytes(self.received)!r}")
        end = self.received.index(b"\r\n\r\n") + 4
        taken = bytes(self.received[:end])
        del self.received[:end]
        return taken

    async def frame(self) -> Frame | None:
        """Wait for a frame, and take it; ``None`` if the connection ends."""
        while (found := self._take()) is None:
            if not await self._more():
                assert not self.received, f"part of a frame: {self.received!r}"
                return None
        return found

    async def rest(self) -> list[Frame]:
        """Wait for the end, and take all frames before it."""
        frames = []
        while (found := await self.frame()) is not None:
            frames.append(found)
        return frames

    def close(self) -> Deferred[None]:
        """Cut it."""
        self.transport.abortConnection()
        return self.lost

    def _take(self) -> Frame | None:
        held = self.received
        if len(held) < 2:
            return None
        size, at = held[1], 2
        assert size < 128, "servers do not mask"
        if size > 125:
            at += 2 if size == 126 else 8
            size = int.from_bytes(held[2:at], "big")
        if len(held) < at + size:
            return None
        first, payload = held[0], bytes(held[at : at + size])
        del held[: at + size]
        reserved = bool(first & 0x40)
        return Frame(Opcode(first & 15), payload, bool(first & 128), reserved)

    async def _more(self) -> bool:
        """Wait for more bytes; ``False`` if none can come."""
        if self.is_over:
            return False
        self._waiting = waiting = Deferred()
        from twisted.internet import reactor

        waiting.addTimeout(PATIENCE, reactor)
        before = len(self.received)
        await waiting
        return len(self.received) > before

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


def handshake(port: int = 0, **headers: str | None) -> bytes:
    """Write a request; *headers* replace usual ones, ``None`` leaves one out."""
    usual: dict[str, str | None] = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    }
    usual |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}\r\n" for name, value in usual.items() if value]
    return ("GET /ws HTTP/1.1\r\n" + "".join(lines) + "\r\n").encode("latin-1")


async def connect(reactor: Any, port: int) -> RawClient:
    """Open a connection that has said nothing yet."""
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    client: RawClient = await endpoint.connect(Factory.forProtocol(RawClient))
    return client


async def upgraded(reactor: Any, port: int, **headers: str | None) -> RawClient:
    """Open a connection and shake hands."""
    client = await connect(reactor, port)
    client.write(handshake(port, **headers))
    head = await client.head()
    digest = hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode())
    accept = base64.b64encode(digest.digest())
    assert head.startswith(b"HTTP/1.1 101 "), head
    assert b"Sec-WebSocket-Accept: " + accept in head, head
    return client
