"""Clients of a gateway that send, and compare what comes back byte by byte."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from benchmarks.soak.gateways.records import (
    CLOSED,
    ENDED,
    LEFT,
    SENT_AWAY,
    SILENT,
    WRONG,
    Record,
)
from vinom.net.streams.packets import Kind, Packet, PacketReader, encode

HOST = "127.0.0.1"
#: A client that gets nothing for this long was forgotten, seconds.
PATIENCE = 60.0
#: Codes of the services that packets ask for.
STEADY_CODE, STRUCK_CODE = 1, 2
_OWN_ANSWERS = (502, 503, 504)
_WINDOW_STEP = 16 * 1024


class Over(Exception):
    """The session is over: how it ended, and the gateway's reason."""

    def __init__(self, end: str, why: str = "") -> None:
        super().__init__(end, why)
        self.end, self.why = end, why


@attrs.define(eq=False)
class World:
    """
    State that all clients share.

    :ivar port: the gateway's port.
    :ivar pause: pause between two messages of a client, seconds.
    :ivar records: sessions that are over.
    :ivar waits: waits for answers of back ends that are not struck, seconds.
    :ivar is_counting: are waits kept?
    :ivar is_over: is the run over, so that clients begin nothing more?
    """

    port: int
    pause: float
    random: random.Random
    records: list[Record] = attrs.field(factory=list)
    waits: list[float] = attrs.field(factory=list)
    messages: int = 0
    is_counting: bool = False
    is_over: asyncio.Event = attrs.field(factory=asyncio.Event)

    def piece(self) -> bytes:
        """Make a unique text of letters and digits."""
        return (
            self.random.randbytes(self.random.choice((20, 50, 500, 1500)))
            .hex()
            .encode()
        )

    async def rest(self, seconds: float) -> None:
        """Wait, or raise `Over` if all is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.is_over.wait(), seconds)
        if self.is_over.is_set():
            raise Over(CLOSED)


class Client:
    """
    One client; it has one session after the other.

    Each kind has its own `begin`, `echo` and `close`.
    """

    kind = ""

    def __init__(self, world: World, is_steady: bool) -> None:
        """
        :param world: shared.
        :param is_steady: whether its back ends are never struck.
        """
        self._world, self._is_steady = world, is_steady
        self._record = Record(self.kind, 0)

    async def run(self) -> None:
        """Have sessions until the run is over."""
        world = self._world
        with suppress(Over):
            await world.rest(world.random.uniform(0.0, 1.0))
            while True:
                await self._session()
                await world.rest(world.random.uniform(0.0, 0.2))

    async def _session(self) -> None:
        world, random_ = self._world, self._world.random
        record = self._record = Record(self.kind, 0)
        try:
            await asyncio.wait_for(self.begin(record), PATIENCE)
            for _ in range(random_.randrange(1, 20)):
                piece = world.piece()
                began = time.monotonic()
                await asyncio.wait_for(self.echo(record, piece), PATIENCE)
                world.messages += 1
                if world.is_counting and self._is_steady:
                    world.waits.append(time.monotonic() - began)
                await world.rest(world.pause * random_.uniform(0.5, 1.5))
            record.end = CLOSED
        except Over as over:
            record.end, record.why = over.end, over.why
        except TimeoutError:
            record.end, record.why = SILENT, "no answer, and no end"
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            record.end, record.why = SILENT, type(error).__name__
        finally:
            if record.port:
                world.records.append(record)
            elif record.end not in (LEFT, CLOSED):
                record.end, record.why = WRONG, f"no connection: {record.why}"
                world.records.append(record)
            with suppress(Exception):
                await asyncio.wait_for(self.close(record), PATIENCE)

    async def begin(self, record: Record) -> None:
        """Connect, and set the port of the record."""

    async def echo(self, record: Record, piece: bytes) -> None:
        """Send *piece*, and check what comes back."""

    async def close(self, record: Record) -> None:
        """Close the connection."""


class BytesClient(Client):
    """Plain bytes: lobby lines, or an unknown protocol."""

    first = b"{"

    async def begin(self, record: Record) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(
            HOST, self._world.port
        )
        record.port = self._writer.get_extra_info("sockname")[1]

    async def close(self, record: Record) -> None:
        """Close."""
        self._writer.close()
        await self._writer.wait_closed()

    async def echo(self, record: Record, piece: bytes) -> None:
        """Send *piece*, and check what comes back."""
        whole = self.first + piece + b"\n"
        record.sent += len(whole)
        self._writer.write(whole)
        try:
            got = await self._reader.readexactly(len(whole))
        except asyncio.IncompleteReadError as error:
            got = error.partial
        except ConnectionError:
            got = b""
        if got == whole:
            record.received += len(got)
            return
        with suppress(ConnectionError):
            got += await self._reader.read()
        self._judge(record, whole, got)

    def _judge(self, record: Record, whole: bytes, got: bytes) -> None:
        # No echo has quotation marks.
        echo, mark, words = got.partition(b'{"')
        if not whole.startswith(echo):
            raise Over(WRONG, "other bytes came back")
        record.received += len(echo)
        if not mark:
            raise Over(ENDED)
        try:
            raise Over(SENT_AWAY, json.loads(mark + words)["error"]["code"])
        except (ValueError, KeyError):
            raise Over(WRONG, "an error that is not a line") from None


class LinesClient(BytesClient):
    """Lobby lines."""

    kind = "lines"


class TcpClient(BytesClient):
    """An unknown protocol."""

    kind = "tcp"
    first = b"\x00"


class HttpClient(BytesClient):
    """Requests on one connection."""

    kind = "http"

    async def echo(self, record: Record, piece: bytes) -> None:
        """Send a request, and check its answer."""
        path = b"/steady" if self._is_steady else b"/struck"
        self._writer.write(
            b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b"
            % (path, len(piece), piece)
        )
        record.sent += len(piece)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        fields = dict(
            line.lower().partition(b": ")[::2] for line in head.split(b"\r\n")[1:]
        )
        try:
            body = await self._reader.readexactly(int(fields[b"content-length"]))
        except (asyncio.IncompleteReadError, ConnectionError):
            # The client can see that the answer is incomplete.
            raise Over(SENT_AWAY, "cut") from None
        if status in _OWN_ANSWERS:
            if status == 503 and b"retry-after" not in fields:
                raise Over(WRONG, "503 without Retry-After")
            raise Over(SENT_AWAY, str(status))
        if (status, body) != (200, piece):
            raise Over(WRONG, f"{status}, or another body")
        record.received += len(body)


class WebSocketClient(Client):
    """WebSocket messages, with a library."""

    kind = "websocket"
    _socket: ClientConnection | None = None

    async def begin(self, record: Record) -> None:
        """Connect."""
        self._socket = None
        path = "ws-steady" if self._is_steady else "ws-struck"
        made: list[int] = []

        class Connection(ClientConnection):
            def connection_made(self, transport: Any) -> None:
                made.append(transport.get_extra_info("sockname")[1])
                super().connection_made(transport)

        try:
            self._socket = await connect(
                f"ws://{HOST}:{self._world.port}/{path}",
                create_connection=Connection,
                compression=None,
                ping_interval=None,
                proxy=None,
                open_timeout=PATIENCE,
                close_timeout=2,
            )
        except InvalidStatus as error:
            # Such answers can come to any request.
            status = error.response.status_code
            raise Over(
                SENT_AWAY if status in _OWN_ANSWERS else WRONG, str(status)
            ) from None
        except InvalidMessage as error:
            raise Over(SILENT, f"no handshake: {error.__cause__}") from None
        finally:
            record.port = made[-1] if made else 0

    async def echo(self, record: Record, piece: bytes) -> None:
        """Send a message, and check what comes back."""
        assert self._socket is not None
        record.sent += len(piece)
        try:
            await self._socket.send(piece)
            got = await self._socket.recv()
        except ConnectionClosed as error:
            if error.rcvd is None:
                raise Over(SILENT, "no close frame") from None
            raise Over(SENT_AWAY, str(error.rcvd.code)) from None
        if got != piece:
            raise Over(WRONG, "another message came back")
        record.received += len(piece)

    async def close(self, record: Record) -> None:
        """Close."""
        if self._socket is not None:
            await self._socket.close()


class PacketsClient(Client):
    """Sessions in packets: one at a time on each connection."""

    kind = "packets"

    async def begin(self, record: Record) -> None:
        """Connect, and open a session."""
        self._reader, self._writer = await asyncio.open_connection(
            HOST, self._world.port
        )
        self._packets, self._got = PacketReader(), list[Packet]()
        self._taken = 0
        code = STEADY_CODE if self._is_steady else STRUCK_CODE
        self._writer.write(encode(Packet(Kind.OPEN, service_type=code)))
        one = await self._next()
        if one.kind is not Kind.OPEN:
            raise Over(WRONG, f"no open but {one.kind.name}")
        record.session_id = one.session_id
        record.port = self._writer.get_extra_info("sockname")[1]

    async def echo(self, record: Record, piece: bytes) -> None:
        """Send bytes, and check what comes back."""
        record.sent += len(piece)
        self._writer.write(self._packet(Kind.DATA, piece, record))
        got = b""
        while len(got) < len(piece):
            one = await self._next()
            if one.kind is Kind.DATA:
                got += one.body
                record.received += len(one.body)
            elif one.kind is Kind.CLOSE and one.session_id == record.session_id:
                raise Over(SENT_AWAY, one.body.decode().partition(":")[0])
            elif one.kind is Kind.PING:
                self._writer.write(encode(Packet(Kind.PONG, one.body)))
            elif one.kind is not Kind.WINDOW:
                raise Over(WRONG, f"a packet {one.kind.name}")
        if got != piece:
            raise Over(WRONG, "other bytes came back")
        self._taken += len(got)
        if self._taken >= _WINDOW_STEP:
            credit, self._taken = self._taken.to_bytes(4), 0
            self._writer.write(self._packet(Kind.WINDOW, credit, record))

    async def close(self, record: Record) -> None:
        """End the session, then close."""
        if record.end == CLOSED and record.session_id:
            self._writer.write(self._packet(Kind.CLOSE, b"done", record))
        self._writer.close()
        await self._writer.wait_closed()

    def _packet(self, kind: Kind, body: bytes, record: Record) -> bytes:
        return encode(Packet(kind, body, session_id=record.session_id))

    async def _next(self) -> Packet:
        while not self._got:
            data = await self._reader.read(1 << 16)
            if not data:
                raise Over(SILENT, "no close")
            self._got = self._packets.read(data)
            if self._packets.mistake is not None:
                raise Over(WRONG, self._packets.mistake)
        return self._got.pop(0)


#: What makes good clients, and whether its back ends are never struck: the gateway has
#: one service for lines, and one for bytes that it does not know.
GOOD: tuple[Callable[[World], Client], ...] = (
    lambda world: LinesClient(world, False),
    lambda world: TcpClient(world, True),
    lambda world: HttpClient(world, True),
    lambda world: HttpClient(world, False),
    lambda world: WebSocketClient(world, True),
    lambda world: WebSocketClient(world, False),
    lambda world: PacketsClient(world, True),
    lambda world: PacketsClient(world, False),
)
