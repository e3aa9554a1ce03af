"""What players' connections bring, handed to rooms; what a turn brings is one piece."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.logger import Logger

from vinom.dtls.association import Association
from vinom.dtls.events import Connected, Disconnected, Received
from vinom.dtls.server import ServerEvent
from vinom.errors import Code, PeerError
from vinom.gameserver.reception import Reception
from vinom.gameserver.room import Connection, HostedRoom
from vinom.gameserver.seats import ConnectionLimits


class Connections:
    """
    Serve the connections of one game server.

    :param limits: of each connection.
    :param figures: counts what was dropped and why.
    :param seconds: a clock that never goes back.
    :param turn: called with each room that was brought something, when all is in.
    :ivar reception: has those who have no seat; ``None`` before a port is bound.
    """

    _log = Logger()

    def __init__(
        self,
        limits: ConnectionLimits,
        figures: Counter[str],
        seconds: Callable[[], float],
        turn: Callable[[HostedRoom, float], None],
    ) -> None:
        self.reception: Reception | None = None
        self._limits, self._figures = limits, figures
        self._seconds, self._turn = seconds, turn

    def deliver(self, events: list[ServerEvent]) -> None:
        """Take what one turn of the reactor brought; answer it as one."""
        now = self._seconds()
        touched: set[HostedRoom] = set()
        for event in events:
            if type(event) is Received:
                # Written out, because there is one for each input.
                connection = event.association.owner
                if not isinstance(connection, Connection):
                    continue
                if not connection.allowance.take(now):
                    # As if it was lost: what matters is sent again.
                    self._figures["packets_dropped_rate"] += 1
                    continue
                try:
                    news = connection.link.receive(event.payload, now)
                except PeerError as error:
                    self._figures["packets_dropped_bad"] += 1
                    connection.refuse(Code.BAD_PACKET, str(error), now)
                    news = []
                room, seat = connection.room, connection.seat
                if room is None or seat is None:
                    if self.reception is not None:
                        self.reception.take(connection, news, now)
                    continue
                if news:
                    room.take(connection, seat, news, now)
                if not room.can_wait(connection, news):
                    touched.add(room)
            elif type(event) is Connected:
                self._open(event.association, now)
            elif type(event) is Disconnected:
                self._lose(event.association.owner, now, touched)
        for room in touched:
            self._turn(room, now)

    def _open(self, association: Association, now: float) -> None:
        if self.reception is None or not association.is_open:
            # In what came at once it may be lost already, and that is told next.
            return
        try:
            connection = Connection.open(association, self._limits, now, self._figures)
        except PeerError as error:
            self._log.info("a connection is refused: {why}", why=str(error))
            self.reception.port.close(association)
        else:
            association.owner = connection
            self.reception.add(connection)

    def _lose(self, connection: object, now: float, touched: set[HostedRoom]) -> None:
        if not isinstance(connection, Connection):
            return
        connection.association.owner = None
        connection.link.end()
        if connection.room is not None and connection.seat is not None:
            touched.add(connection.room)
            connection.room.lost(connection, connection.seat, now)
        elif self.reception is not None:
            self.reception.discard(connection)

    def dismiss(self, connection: Connection) -> None:
        """A connection is refused, and told why for a while."""
        if self.reception is not None:
            self.reception.add(connection)
