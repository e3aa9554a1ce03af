"""What leads datagrams from a port of the machine to a pod."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol

_Address = tuple[str, int]


class _Back(DatagramProtocol):
    """Brings a pod's datagrams back to one player."""

    def __init__(self, front: Forward, player: _Address) -> None:
        self._front, self._player = front, player

    def datagramReceived(self, datagram: bytes, addr: _Address) -> None:
        if addr == self._front.pod and self._front.transport is not None:
            self._front.came += 1
            self._front.transport.write(datagram, self._player)


class Forward(DatagramProtocol):
    """
    Forwards one UDP port, as the container runtime does for a host port.

    Each player has a port of its own towards the pod, as with source NAT.

    :ivar pod: where datagrams go.
    :ivar came: how many came from there.
    """

    def __init__(self, reactor: Any, pod: _Address) -> None:
        self._reactor, self.pod, self.came = reactor, pod, 0
        self._backs: dict[_Address, IListeningPort] = {}
        self._port: IListeningPort | None = None

    def open(self, host: str, port: int) -> None:
        """Begin to forward this port of the machine."""
        self._port = self._reactor.listenUDP(port, self, interface=host)

    def close(self) -> None:
        """Forward no more."""
        for one in (self._port, *self._backs.values()):
            if one is not None:
                one.stopListening()
        self._backs.clear()

    def datagramReceived(self, datagram: bytes, addr: _Address) -> None:
        back = self._backs.get(addr)
        if back is None:
            back = self._backs[addr] = self._reactor.listenUDP(
                0, _Back(self, addr), interface="127.0.0.1"
            )
        back.write(datagram, self.pod)
