"""Clients that do not read, or take their time: the gateway sends them away."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from websockets.frames import Frame, Opcode

from benchmarks.soak.gateways.clients import HOST, PATIENCE, STEADY_CODE, Over, World
from benchmarks.soak.gateways.records import LEFT, Record
from vinom.net.streams.packets import Kind, Packet, encode

_BULK = 64 * 1024
#: Between two of them, seconds: more would keep the echoing back ends busy, and the
#: process of the clients, but not the gateway.
_BULK_SECONDS = 0.1
#: Sessions of one connection of packets, none of which is read.
_SESSIONS = 60
#: Below the credit that a session begins with.
_UNDER_CREDIT = 60_000


class _Socket:
    """A connection with small kernel buffers."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setblocking(False)

    async def connect(self) -> int:
        """Connect; returns the port of this end."""
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.socket, (HOST, self._world.port))
        port: int = self.socket.getsockname()[1]
        return port

    async def send(self, data: bytes) -> None:
        """Send everything, however long it takes, unless the run is over."""
        await self._unless_over(
            asyncio.get_running_loop().sock_sendall(self.socket, data)
        )

    async def receive(self, size: int) -> bytes:
        """Receive bytes; empty at the end."""
        found: bytes = await self._unless_over(
            asyncio.get_running_loop().sock_recv(self.socket, size)
        )
        return found

    async def _unless_over(self, work: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.ensure_future(work)
        over = asyncio.ensure_future(self._world.is_over.wait())
        await asyncio.wait({task, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if not task.done():
            task.cancel()
            raise Over(LEFT)
        return task.result()


_Bad = Callable[[World, _Socket, list[Record], int], Coroutine[Any, Any, None]]


def _record(kind: str, port: int, records: list[Record]) -> Record:
    records.append(record := Record(kind, port, is_good=False))
    return record


async def _deaf_to_bytes(
    world: World, line: _Socket, records: list[Record], port: int
) -> None:
    """Send without end, and read nothing."""
    _record("tcp", port, records)
    while True:
        await line.send(b"\x00" * _BULK)
        await world.rest(_BULK_SECONDS)


async def _slow_reader(
    world: World, line: _Socket, records: list[Record], port: int
) -> None:
    """Read one byte per second of the megabytes that come."""
    _record("tcp", port, records)
    sending = asyncio.ensure_future(line.send(b"\x00" * 8_000_000))
    try:
        # Bytes received before the end can still be read after it.
        while not sending.done() and await line.receive(1):
            await world.rest(1.0)
    finally:
        sending.cancel()
        with suppress(BaseException):
            await sending


async def _deaf_to_http(
    world: World, line: _Socket, records: list[Record], port: int
) -> None:
    """Send requests, and read no answer."""
    _record("http", port, records)
    body = bytes(1_000_000)
    while True:
        await line.send(
            b"POST /steady HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
            % len(body)
        )
        await line.send(body)
        await world.rest(10 * _BULK_SECONDS)


async def _deaf_to_websocket(
    world: World, line: _Socket, records: list[Record], port: int
) -> None:
    """Send messages, and read none."""
    _record("websocket", port, records)
    await line.send(
        b"GET /ws-steady HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n\r\n"
    )
    if not (await line.receive(64)).startswith(b"HTTP/1.1 101 "):
        return
    frame = Frame(Opcode.BINARY, bytes(_BULK)).serialize(mask=True)
    while True:
        await line.send(frame)
        await world.rest(_BULK_SECONDS)


async def _deaf_to_packets(
    world: World, line: _Socket, records: list[Record], port: int
) -> None:
    """Open sessions, make the back end send much on each, and read nothing."""
    first = world.random.getrandbits(62)
    for number in range(first, first + _SESSIONS):
        _record("packets", port, records).session_id = number
        await line.send(
            encode(Packet(Kind.OPEN, service_type=STEADY_CODE, session_id=number))
            + encode(Packet(Kind.DATA, bytes(_UNDER_CREDIT), session_id=number))
        )
    while True:
        await world.rest(1.0)
        await line.send(encode(Packet(Kind.PING)))


async def _no_credit(
    world: World, line: _Socket, records: list[Record], port: int
) -> None:
    """Read everything, and give a session no credit for it."""
    number = world.random.getrandbits(62)
    _record("packets", port, records).session_id = number
    await line.send(
        encode(Packet(Kind.OPEN, service_type=STEADY_CODE, session_id=number))
        + encode(Packet(Kind.DATA, bytes(_UNDER_CREDIT), session_id=number))
    )
    sent = _UNDER_CREDIT
    got = b""
    while data := await line.receive(_BULK):
        got += data
        if encode(Packet(Kind.CLOSE, session_id=number))[:6] in got[-200:]:
            return
        if sent < 2 * _UNDER_CREDIT and len(got) > _UNDER_CREDIT // 2:
            # Credit for this came long ago.
            sent += 30_000
            await line.send(encode(Packet(Kind.DATA, bytes(30_000), session_id=number)))


async def _dripping_head(
    world: World, line: _Socket, records: list[Record], port: int
) -> None:
    """Send the head of a request at one byte per second, which is refused in time."""
    head = b"GET /steady HTTP/1.1\r\nHost: a-host-that-has-quite-a-long-name\r\n\r\n"
    for at in range(4, len(head)):
        await line.send(head[at : at + 1] if at > 4 else head[:5])
        await world.rest(1.0)


async def _dripping_bytes(
    world: World, line: _Socket, records: list[Record], port: int
) -> None:
    """Send one byte per second, which is allowed; each comes back."""
    record = _record("tcp", port, records)
    for _ in range(5):
        await line.send(b"\x00")
        record.sent += 1
        if await line.receive(1) != b"\x00":
            return
        record.received += 1
        await world.rest(1.0)


async def _silent(
    world: World, line: _Socket, records: list[Record], port: int
) -> None:
    """Send nothing until the gateway closes the connection."""
    await line.receive(1)


BAD: tuple[_Bad, ...] = (
    _deaf_to_bytes,
    _deaf_to_packets,
    _deaf_to_websocket,
    _deaf_to_http,
    _slow_reader,
    _no_credit,
    _dripping_head,
    _dripping_bytes,
    _silent,
)


async def misbehave(world: World, bad: _Bad, sent_away: Callable[[str], None]) -> None:
    """
    Misbehave again and again until the run is over.

    :param sent_away: called with the kind each time that the gateway ends a connection.
    """
    with suppress(Over):
        await world.rest(world.random.uniform(0.0, 1.0))
        while True:
            line = _Socket(world)
            try:
                port = await line.connect()
                async with asyncio.timeout(PATIENCE):
                    await bad(world, line, world.records, port)
            except (ConnectionError, TimeoutError):
                pass
            finally:
                line.socket.close()
            sent_away(bad.__name__.strip("_"))
            await world.rest(world.random.uniform(0.5, 5.0))
