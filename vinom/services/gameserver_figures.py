"""What a game server counts, for its node's metrics."""

from __future__ import annotations

from collections.abc import Collection

from vinom.net.datagrams import DatagramPort
from vinom.services.gameserver_room import HostedRoom
from vinom.wire.dtls import DtlsServer


def measure_lines(rooms: Collection[HostedRoom]) -> dict[str, float]:
    """Count rooms and players; average what their links know, seconds and shares."""
    links = [
        seat.line.link
        for hosted in rooms
        for seat in hosted.seats
        if seat.line is not None and seat.present
    ]
    figures: dict[str, float] = {
        "rooms": len(rooms),
        "players": len(links),
        "slipped_seconds": sum(hosted.room.slipped for hosted in rooms),
    }
    for name, known in (
        ("rtt_seconds", [link.rtt for link in links]),
        ("jitter_seconds", [link.jitter for link in links]),
        ("loss", [link.loss for link in links]),
    ):
        values = [value for value in known if value is not None]
        if values:
            figures[name] = sum(values) / len(values)
    return figures


def measure_port(dtls: DtlsServer, port: DatagramPort) -> dict[str, float]:
    """Count datagrams, handshakes by result and what was dropped by reason."""
    figures: dict[str, float] = dict(dtls.figures)
    for word, count in dtls.admission.outcomes.items():
        figures[f"admission_{word}"] = count
    figures["datagrams_in"] = dtls.datagrams_in
    figures["datagrams_out"] = dtls.datagrams_out
    figures["dropped_unsendable"] = port.unsendable
    figures["associations"] = len(dtls.associations)
    return figures
