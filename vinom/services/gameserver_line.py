"""One player's connection, as its game server knows it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs

from vinom.rules.limits import TokenBucket
from vinom.services.gameserver_ports import PayloadPort
from vinom.wire.dtls import Association
from vinom.wire.seatlink import SeatLink

if TYPE_CHECKING:
    from vinom.services.gameserver_room import HostedRoom
    from vinom.services.gameserver_seats import HostedSeat


@attrs.frozen
class LineLimits:
    """
    How much one connection may ask of us.

    :ivar packets: a second, and `packet_burst` at once.
    :ivar inputs: actions a second, and `input_burst` at once.
    """

    packets: float = 250.0
    packet_burst: float = 500.0
    inputs: float = 100.0
    input_burst: float = 200.0


@attrs.define(eq=False)
class Line:
    """
    A connection; it has a room and a seat once its JOIN was accepted.

    :ivar allowance: for packets.
    :ivar figures: counts, for all connections, what was refused by code.
    """

    association: Association
    link: SeatLink
    allowance: TokenBucket
    figures: Counter[str]
    room: HostedRoom | None = None
    seat: HostedSeat | None = None

    @classmethod
    def open(
        cls,
        association: Association,
        limits: LineLimits,
        now: float,
        figures: Counter[str],
    ) -> Line:
        """
        Serve a connection that was just made.

        :raises PeerError: it cannot carry a packet.
        """
        inputs = TokenBucket(limits.inputs, limits.input_burst)
        return cls(
            association,
            SeatLink(association.max_payload, now, inputs.take),
            TokenBucket(limits.packets, limits.packet_burst),
            figures,
        )

    def refuse(
        self, code: str, message: str, now: float, retry_after: float = 0.0
    ) -> None:
        """
        End the connection and say why.

        :param retry_after: when to come again, seconds; 0 does not say.
        """
        if self.link.phase not in ("refused", "over"):
            self.figures[f"errors_{code}"] += 1
        self.link.refuse(code, message, now, retry_after)

    def flush(self, port: PayloadPort) -> bool:
        """
        Send what the link has; close the connection if the link is over.

        :returns: is it over?
        """
        link = self.link
        packets = link.take_packets()
        if packets:
            port.send(self.association, *packets)
        if link.phase != "over":
            return False
        self.association.owner = None
        port.close(self.association)
        return True
