"""
Somebody else's WebSocket client: the ``websockets`` package's.

One thread reads and writes all connections. Two threads must not use one connection of
TLS at once, and the package's client for threads does that: over TLS 1.3 it lost a
connection now and then.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from functools import cache
from types import TracebackType
from typing import Any, Self, TypeVar

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as asyncio_connect
from websockets.protocol import Protocol

_T = TypeVar("_T")


class WebSocketClient:
    """
    One connection. Its methods block, and any thread may call them.

    :param connection: an open one, made in the thread of all connections.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def protocol(self) -> Protocol:
        """What was negotiated."""
        return self._connection.protocol

    def send(self, message: str | bytes) -> None:
        """Send one message."""
        _run(self._connection.send(message))

    def recv(self, timeout: float) -> str | bytes:
        """
        Wait for a message.

        :param timeout: how long, seconds.
        :raises TimeoutError: none came.
        """
        return _run(asyncio.wait_for(self._connection.recv(), timeout))

    def close(self) -> None:
        """Say goodbye, and wait for the end."""
        _run(self._connection.close())

    def cut(self) -> None:
        """Drop the connection without closing it; a second call does nothing."""
        _loop().call_soon_threadsafe(self._connection.transport.abort)


def connect(uri: str, **options: Any) -> WebSocketClient:
    """
    Open a connection, never through a proxy of this machine's settings.

    :param options: as `websockets.asyncio.client.connect` takes them.
    """

    async def opening() -> ClientConnection:
        return await asyncio_connect(uri, proxy=None, **options)

    return WebSocketClient(_run(opening()))


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Start the thread of all connections, which ends with this process."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="websockets", daemon=True).start()
    return loop
