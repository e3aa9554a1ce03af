"""A way to Redis on which an answer is lost, though its step has happened."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import BinaryIO

from tests.support.cut import CuttableWay


class LosingWay(CuttableWay):
    """
    Carry a node's connections to its Redis, and lose one answer that a test chooses.

    Tests try each answer in turn, and so need not know which steps there are.

    :ivar is_met: was there such an answer?
    :ivar is_learning: is the node asking nothing but what it always asks? That is not
        counted afterwards.
    :ivar is_deaf: messages of other nodes do not come; subscribing fails.
    """

    def __init__(self, to_port: int) -> None:
        self.is_met = self.is_learning = self.is_deaf = False
        self._usual: set[tuple[bytes, ...]] = set()
        self._left, self._counting = -1, threading.Lock()
        super().__init__(to_port)

    def lose(self, number: int) -> None:
        """
        Lose an answer: its connection breaks instead.

        :param number: how many others come before it from now on.
        """
        self.is_met, self._left = False, number

    def stop_losing(self) -> None:
        """Lose no more."""
        self._left = -1

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        if sink.getpeername()[1] != self.to_port:
            super()._pump(source, sink)
            return
        with contextlib.suppress(OSError), source.makefile("rb") as requests:
            while request := _read(requests):
                self._flows.wait()
                if self.is_deaf and request[0] == b"SUBSCRIBE":
                    break
                if self._is_chosen(request):
                    with socket.create_connection(("127.0.0.1", self.to_port)) as own:
                        own.sendall(_written(request))
                        own.recv(1 << 16)
                    self.is_met = True
                    break
                sink.sendall(_written(request))
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _is_chosen(self, request: list[bytes]) -> bool:
        name = tuple(request[:2])
        with self._counting:
            if self.is_learning:
                self._usual.add(name)
            if name in self._usual or self._left < 0:
                return False
            self._left -= 1
            return self._left < 0


def _read(requests: BinaryIO) -> list[bytes]:
    """Read one request; nothing at the end."""
    count = requests.readline()[1:]
    return [
        requests.read(int(requests.readline()[1:]) + 2)[:-2]
        for _ in range(int(count or 0))
    ]


def _written(request: list[bytes]) -> bytes:
    parts = b"".join(b"$%d\r\n%s\r\n" % (len(one), one) for one in request)
    return b"*%d\r\n" % len(request) + parts
