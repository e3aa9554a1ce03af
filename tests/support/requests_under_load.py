"""Requests by HTTP through a gateway, as many as go, and what came of each."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import attrs

from benchmarks.soak.gateways.records import CLOSED, Record

HOST = "127.0.0.1"
#: Requests of a client that keeps its connection, before it takes another one.
_KEPT = 15


@attrs.frozen
class Answer:
    """
    One request that was answered.

    :ivar began: when it was sent, as :func:`time.monotonic` counts.
    :ivar ended: when its answer was there.
    :ivar status: of the answer.
    :ivar backend: who answered; empty for the gateway.
    """

    began: float
    ended: float
    status: int
    backend: str


@attrs.define(eq=False)
class Load:
    """
    Clients that ask without end, each request with a body of its own.

    :ivar port: of the gateway.
    :ivar answers: in the order of their ends.
    :ivar records: connections that are over.
    :ivar wrong: what no client may see.
    """

    port: int
    pause: float = 0.02
    answers: list[Answer] = attrs.field(factory=list)
    records: list[Record] = attrs.field(factory=list)
    wrong: list[str] = attrs.field(factory=list)
    is_over: bool = False

    async def run(self, clients: int, trouble: Any) -> None:
        """Ask, until the coroutine *trouble* is over."""
        asking = [
            asyncio.ensure_future(self._ask_on(_KEPT if number % 2 else 1))
            for number in range(clients)
        ]
        try:
            await trouble
        finally:
            self.is_over = True
            await asyncio.gather(*asking)

    async def _ask_on(self, most: int) -> None:
        while not self.is_over:
            try:
                async with asyncio.timeout(20):
                    await self._connection(most)
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                self.wrong.append(f"{type(error).__name__} {error}")

    async def _connection(self, most: int) -> None:
        reader, writer = await asyncio.open_connection(HOST, self.port)
        record = Record("http", writer.get_extra_info("sockname")[1])
        self.records.append(record)
        try:
            for _ in range(most):
                is_last = await self._ask(reader, writer, record)
                await asyncio.sleep(self.pause)
                if is_last or self.is_over:
                    break
            record.end = CLOSED
        finally:
            writer.close()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: Record
    ) -> bool:
        began, body = time.monotonic(), os.urandom(100).hex().encode()
        writer.write(
            b"POST /site HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        record.sent += len(body)
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(
            line.lower().partition(b": ")[::2] for line in head.split(b"\r\n")[1:]
        )
        got = await reader.readexactly(int(fields[b"content-length"]))
        backend = fields.get(b"x-backend", b"").decode()
        status = int(head.split(b" ", 2)[1])
        self.answers.append(Answer(began, time.monotonic(), status, backend))
        if backend:
            record.received += len(got)
            if got != body:
                self.wrong.append("another body came back")
        return fields.get(b"connection") == b"close"
