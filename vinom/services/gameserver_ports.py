"""What a game server is handed: sockets' ways out, and places to write to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime, IReactorUDP

from vinom.services.recorded import Recording, RecordingPlace
from vinom.wire.dtls import Association

__all__ = ["IGameReactor", "PayloadPort", "Recording", "RecordingPlace"]


class IGameReactor(IReactorTime, IReactorUDP):
    """What a game server needs of a reactor; its seconds are of the Unix epoch."""


class PayloadPort(Protocol):
    """What carries our payloads: `vinom.net.datagrams.DatagramPort`."""

    def send(self, association: Association, *payloads: bytes) -> None:
        """Seal *payloads* for one peer."""

    def send_each(self, payloads: Iterable[tuple[Association, bytes]]) -> None:
        """Seal one payload for each of some peers; cheaper."""

    def close(self, association: Association) -> None:
        """Say close_notify to one peer."""
