"""
A control link and a port on a reactor that is never installed: see `rehearse`.

Twisted finds out at the first use of each class what it provides, and keeps that.
No descriptor is left behind.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol, connectionDone

from vinom.net.control import dial
from vinom.net.turns import TurnWatch
from vinom.wire.control import CONTROL_PROTOCOL, AnyToServer, Heartbeat, Ready, encode

#: It takes milliseconds; this is when it is given up, seconds.
_PATIENCE = 2.0


class _Echo(DatagramProtocol):
    """Hears what it said."""

    transport: IUDPTransport
    noisy = False
    heard = 0

    def startProtocol(self) -> None:
        address = self.transport.getHost()
        self.transport.write(b"", (address.host, address.port))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.heard += 1


def rehearse_reactor(folder: Path) -> int:
    """
    Link, hear a heartbeat, bind a port; returns how much of it came about.

    :param folder: for the link's socket, which stays there.
    """
    if sys.platform != "linux":
        return 0
    from twisted.internet.epollreactor import EPollReactor

    # Its module has an `install`, which is what nobody may call here.
    reactor: Any = EPollReactor()
    turns = TurnWatch(time.monotonic)
    turns.start(reactor)
    heard: list[AnyToServer] = []
    echo = _Echo()
    path = str(folder / "link")
    with socket.socket(socket.AF_UNIX) as node:
        node.bind(path)
        node.listen(1)

        def answer() -> None:
            line, _ = node.accept()
            with line:
                line.send(encode(Heartbeat(1)))
                line.recv(4096)

        def lost() -> None:
            reactor.callLater(0, reactor.stop)

        reactor.listenUDP(0, echo, interface="127.0.0.1")
        dial(
            UNIXClientEndpoint(reactor, path),
            reactor,
            Ready("rehearsal", os.getpid(), CONTROL_PROTOCOL),
            heard.append,
            lost,
        ).addCallback(lambda _: answer())
        given_up = reactor.callLater(_PATIENCE, reactor.stop)
        reactor.run(installSignalHandlers=False)
    if given_up.active():
        given_up.cancel()
    turns.stop()
    reactor.removeReader(reactor.waker)
    reactor.waker.connectionLost(connectionDone)
    reactor._poller.close()
    return len(heard) + echo.heard
