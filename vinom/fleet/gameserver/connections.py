"""Players' connections: pass their packets to rooms, and answer once per turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from vinom.errors import Code, PeerError
from vinom.fleet.gameserver.reception import Reception
from vinom.fleet.gameserver.room import Connection, HostedRoom
from vinom.fleet.gameserver.seats import ConnectionLimits
from vinom.net.dtls.association import Association
from vinom.net.dtls.events import Connected, Disconnected, Received
from vinom.net.dtls.server import ServerEvent


class Connections:
    """
    Serve the connections of one game server.

    :ivar reception: has connections without a seat; ``None`` before a port is bound.
    """

    def __init__(
        self,
        limits: ConnectionLimits,
        figures: Counter[str],
        seconds: Callable[[], float],
    ) -> None:
        """
        Start without connections.

        :param limits: for each connection.
        :param figures: counts dropped packets, by reason.
        :param seconds: a clock that never goes back.
        """
        self.reception: Reception | None = None
        self._limits, self._figures, self._seconds = limits, figures, seconds
        self._touched: dict[HostedRoom, None] = {}
        # The time of this turn: asked once, not for each payload.
        self._now: float | None = None

    def received(self, association: Association, payload: bytes) -> None:
        """Take one payload of a connection; `deliver` follows in the same turn."""
        connection = association.owner
        if not isinstance(connection, Connection):
            return
        now = self._now
        if now is None:
            now = self._now = self._seconds()
        if not connection.allowance.take(now):
            # It counts as lost: the player resends what matters.
            self._figures["packets_dropped_rate"] += 1
            return
        try:
            news = connection.link.receive(payload, now)
        except PeerError as error:
            self._figures["packets_dropped_bad"] += 1
            connection.refuse(Code.BAD_PACKET, str(error), now)
            news = []
        room, seat = connection.room, connection.seat
        if room is None or seat is None:
            if self.reception is not None:
                self.reception.take(connection, news, now)
            return
        if news:
            room.take(connection, seat, news, now)
        if not room.can_wait(connection, news):
            self._touched[room] = None

    def deliver(self, events: list[ServerEvent]) -> None:
        """Take the events of a turn, and answer the whole turn at once."""
        for event in events:
            if type(event) is Received:
                self.received(event.association, event.payload)
            elif type(event) is Connected:
                self._open(event.association)
            elif type(event) is Disconnected:
                self._lose(event.association.owner)
        self._now = None
        if self._touched:
            touched, self._touched = self._touched, {}
            now = self._seconds()
            for room in touched:
                room.end_turn(now)

    def _open(self, association: Association) -> None:
        if self.reception is None or not association.is_open:
            # It may be lost already; then the next event reports that.
            return
        try:
            now = self._seconds()
            connection = Connection.open(association, self._limits, now, self._figures)
        except PeerError as error:
            self.reception.log.info("a connection is refused: {why}", why=str(error))
            self.reception.port.close(association)
        else:
            association.owner = connection
            self.reception.add(connection)

    def _lose(self, connection: object) -> None:
        if not isinstance(connection, Connection):
            return
        connection.association.owner = None
        connection.link.end()
        if connection.room is not None and connection.seat is not None:
            self._touched[connection.room] = None
            connection.room.lost(connection, connection.seat, self._seconds())
        elif self.reception is not None:
            self.reception.discard(connection)

    def dismiss(self, connection: Connection) -> None:
        """Keep a refused connection for a while, so that its player gets the reason."""
        if self.reception is not None:
            self.reception.add(connection)
            connection.flush(self.reception.port)
