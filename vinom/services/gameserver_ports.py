"""What a game server is handed: sockets' ways out, and places to write to."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime, IReactorUDP

from vinom.game import Game
from vinom.model import MatchEnd, MatchPlan
from vinom.rules.play import Recorded
from vinom.wire.dtls import Association


class IGameReactor(IReactorTime, IReactorUDP):
    """What a game server needs of a reactor; its seconds are of the Unix epoch."""


class PayloadPort(Protocol):
    """What carries our payloads: `vinom.net.datagrams.DatagramPort`."""

    def send(self, association: Association, payload: bytes) -> None:
        """Seal *payload* for one peer."""

    def close(self, association: Association) -> None:
        """Say close_notify to one peer."""


class Recording(Protocol):
    """A match being written down; no method fails."""

    def record(self, recorded: Recorded) -> None:
        """Write down one thing that reached the game."""

    def close(self, end: MatchEnd, state: Any, report: str | None = None) -> str:
        """Write the end; returns where the crash report is."""


class RecordingPlace(Protocol):
    """Where matches are written down: `vinom.storage.recordings.Recordings`."""

    def open(
        self, plan: MatchPlan, game: Game[Any, Any], opened_at: float
    ) -> Recording:
        """Begin a recording."""
