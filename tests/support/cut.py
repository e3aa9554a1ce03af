"""A network that can be cut: a TCP proxy on the loopback, in a thread."""

from __future__ import annotations

import contextlib
import socket
import threading


class CuttableWay:
    """
    Carry connections to a port, until somebody cuts them.

    Browsers' own emulation of being offline spares WebSockets that are open.

    :ivar port: where to connect instead.
    :ivar to_port: where new connections go; the test may change it.
    """

    def __init__(self, to_port: int) -> None:
        self.to_port = to_port
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_cut = False
        self._flows = threading.Event()
        self._flows.set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection, and let none through."""
        with self._lock:
            self._is_cut = True
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def hold(self) -> None:
        """Deliver nothing until `mend`, as a network that loses every packet."""
        self._flows.clear()

    def mend(self) -> None:
        """Let connections through again, and deliver what was held."""
        with self._lock:
            self._is_cut = False
        self._flows.set()

    def close(self) -> None:
        """End it for good."""
        self.cut()
        self._flows.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), near:
            if self._is_cut:
                return
            with socket.create_connection(("127.0.0.1", self.to_port)) as far:
                with self._lock:
                    self._open |= {near, far}
                back = threading.Thread(
                    target=self._pump, args=(far, near), daemon=True
                )
                back.start()
                self._pump(near, far)
                back.join()
                with self._lock:
                    self._open -= {near, far}

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
