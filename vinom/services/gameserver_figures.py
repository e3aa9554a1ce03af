"""What a game server counts, for its node's metrics (see `vinom.rules.figures`)."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from vinom.net.datagrams import DatagramPort
from vinom.rules.figures import LOSS_BOUNDS, RTT_BOUNDS, Histogram
from vinom.services.gameserver_room import HostedRoom
from vinom.wire.dtls import DtlsServer


@attrs.define
class LinkSamples:
    """
    Look at every player's link each time that somebody asks.

    A node asks once a second: so the histograms count seconds of players, and
    play itself pays nothing.
    """

    _rtt: Histogram = attrs.field(factory=lambda: Histogram(RTT_BOUNDS))
    _loss: Histogram = attrs.field(factory=lambda: Histogram(LOSS_BOUNDS))

    def measure(self, rooms: Collection[HostedRoom]) -> dict[str, float]:
        """
        Count rooms and players; say what their links know, seconds and shares.
        """
        links = [
            seat.line.link
            for hosted in rooms
            for seat in hosted.seats
            if seat.line is not None and seat.present
        ]
        figures: dict[str, float] = {"rooms": len(rooms), "players": len(links)}
        for name, known, samples in (
            ("rtt_seconds", [link.rtt for link in links], self._rtt),
            ("jitter_seconds", [link.jitter for link in links], None),
            ("loss", [link.loss for link in links], self._loss),
        ):
            values = [value for value in known if value is not None]
            if values:
                figures[name] = sum(values) / len(values)
            if samples is not None:
                for value in values:
                    samples.add(value)
                figures |= samples.figures(name)
        return figures


def measure_port(dtls: DtlsServer, port: DatagramPort) -> dict[str, float]:
    """Count datagrams, handshakes by result and what was dropped by reason."""
    figures: dict[str, float] = dict(dtls.figures)
    for word, count in dtls.admission.outcomes.items():
        figures[f"admission_{word}"] = count
    figures["datagrams_in"] = dtls.datagrams_in
    figures["datagrams_out"] = dtls.datagrams_out
    pressure = dtls.admission.pressure
    figures["pressed"] = float(pressure.is_high)
    figures["pressure_rises"] = pressure.rises
    figures["dropped_unsendable"] = port.unsendable
    figures["dropped_crowded_out"] = port.crowded_out
    figures["associations"] = len(dtls.associations)
    return figures
