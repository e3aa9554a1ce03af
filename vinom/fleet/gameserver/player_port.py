"""
The port of players: DTLS, their connections, and who may have a seat.

Packets of players with a seat go to their rooms, which answer once per turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort

from vinom.base.model import Ticket
from vinom.base.reactor.steady import on_clock_of_day, on_reactors_clock
from vinom.base.tokens import TokenVerifier
from vinom.errors import Code, PeerError
from vinom.fleet.control.messages import Bind, CookieKeyReport
from vinom.fleet.gameserver.reception import Reception, Workload
from vinom.fleet.gameserver.room import Connection, HostedRoom
from vinom.fleet.gameserver.seats import ConnectionLimits, Runtime
from vinom.net.dtls.admission import Admission, StrangerPolicy
from vinom.net.dtls.association import Association
from vinom.net.dtls.channel import Connected, Disconnected, Received
from vinom.net.dtls.context import ServerCertificates
from vinom.net.dtls.port import DatagramPort
from vinom.net.dtls.server import DtlsServer, ServerEvent

#: Longest datagram that is read whole, bytes; longer ones are junk.
_LONGEST_DATAGRAM = 8192


@attrs.frozen
class PortLimits:
    """
    The limits of players' connections.

    :ivar connection: of each one.
    :ivar strangers: of addresses that are not admitted.
    :ivar idle: silence after which a connection ends, seconds.
    """

    connection: ConnectionLimits = attrs.field(factory=ConnectionLimits)
    strangers: StrangerPolicy = attrs.field(factory=StrangerPolicy)
    idle: float = 30.0


class PlayerPort:
    """
    Serve the players who come to one UDP port.

    :ivar certificates: prove to players who this is.
    :ivar dtls: has the associations.
    :ivar datagrams: sends to players.
    :ivar reception: has connections without a seat.
    """

    def __init__(
        self,
        bind: Bind,
        rooms: Mapping[str, HostedRoom],
        runtime: Runtime,
        limits: PortLimits,
        workload: Workload,
        may_send: Callable[[], bool] | None = None,
    ) -> None:
        """
        Start without connections, and without having opened the port.

        :param bind: the port, its names, certificate and keys.
        :param rooms: by match id.
        :param runtime: its clocks, entropy, and what opens the port.
        :param limits: of connections.
        :param workload: is sent how long turns take; dropped packets are counted, by
            reason, in its figures.
        :param may_send: as for `DatagramPort`.
        :raises Misconfigured: certificate or keys are not usable.
        """
        self._bind, self._limits = bind, limits.connection
        self._reactor, self._seconds = runtime.reactor, runtime.seconds
        self._figures = workload.figures
        verifier = TokenVerifier(bind.token_keys, bind.realm)
        self.certificates = ServerCertificates(bind.certificate, bind.key)
        self.dtls = DtlsServer(
            self.certificates,
            Admission(
                f"{bind.server}.{bind.realm}",
                runtime.reactor.seconds(),
                entropy=runtime.entropy,
                policy=limits.strangers,
            ),
            idle=limits.idle,
        )
        self.dtls.received = self.received
        self.datagrams = DatagramPort(
            runtime.reactor,
            self.dtls,
            self.deliver,
            turned=workload.port_turned,
            seconds=runtime.seconds,
            may_send=may_send,
        )
        self.reception = Reception(rooms, verifier, runtime, self.datagrams, workload)
        self._listening: IListeningPort | None = None
        self._touched: dict[HostedRoom, None] = {}
        # The time of this turn: asked once, not for each payload.
        self._now: float | None = None

    def listen(self) -> None:
        """
        Open the port.

        :raises CannotListenError: it is in use, or not available here.
        """
        self._listening = self._reactor.listenUDP(
            self._bind.port,
            self.datagrams,
            interface=self._bind.interface,
            maxPacketSize=_LONGEST_DATAGRAM,
        )

    def close(self) -> Deferred[Any]:
        """Send what is left, such as the last goodbyes, and close the port."""
        self.datagrams.flush()
        listening, self._listening = self._listening, None
        return (
            succeed(None)
            if listening is None
            else maybeDeferred(listening.stopListening)
        )

    # Who may come.

    def admit(self, ticket: Ticket) -> None:
        """Let a ticket's holder connect; admission counts by the reactor's clock."""
        expires_at = on_reactors_clock(self._reactor, ticket.expires_at)
        self.dtls.admission.add_ticket(attrs.evolve(ticket, expires_at=expires_at))

    def tickets_of(self, match_id: str) -> tuple[Ticket, ...]:
        """List the tickets of a match as they were given to `admit`."""
        return tuple(
            attrs.evolve(one, expires_at=on_clock_of_day(self._reactor, one.expires_at))
            for one in self.dtls.admission.tickets_of(match_id)
        )

    def trust(self, token_keys: dict[str, bytes]) -> None:
        """
        Accept tokens of these keys, and no others.

        :raises Misconfigured: a key is not usable.
        """
        self.reception.trust(TokenVerifier(token_keys, self._bind.realm))

    def rotate_cookies(self) -> None:
        """Make cookies with a new key."""
        self.dtls.admission.rotate_cookies(self._reactor.seconds())

    def cookie_keys(self) -> tuple[CookieKeyReport, ...]:
        """List the ages of the cookie keys; not their times, because clocks differ."""
        now = self._reactor.seconds()
        return tuple(
            CookieKeyReport(
                key.number,
                now - key.since,
                None if key.until is None else key.until - now,
            )
            for key in self.dtls.admission.cookie_keys(now)
        )

    def measure(self) -> dict[str, float]:
        """Count datagrams, handshakes by result, and dropped datagrams by reason."""
        dtls, pressure = self.dtls, self.dtls.admission.pressure
        return {
            **dtls.figures,
            **{f"admission_{k}": v for k, v in dtls.admission.outcomes.items()},
            "datagrams_in": dtls.datagrams_in,
            "datagrams_out": dtls.datagrams_out,
            "pressed": float(pressure.is_high),
            "pressure_rises": pressure.rises,
            "dropped_unsendable": self.datagrams.unsendable,
            "dropped_crowded_out": self.datagrams.crowded_out,
            "associations": len(dtls.associations),
        }

    # Their connections.

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
            self.reception.take(connection, news, now)
            return
        if news:
            room.take(connection, seat, news, now)
        if (news and not room.ticks_soon) or not room.can_wait(connection):
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
        if not association.is_open:
            # It may be lost already; then the next event reports that.
            return
        try:
            now = self._seconds()
            connection = Connection.open(association, self._limits, now, self._figures)
        except PeerError as error:
            self.reception.log.info("a connection is refused: {why}", why=str(error))
            self.datagrams.close(association)
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
        else:
            self.reception.discard(connection)

    def dismiss(self, connection: Connection) -> None:
        """Keep a refused connection for a while, so that its player gets the reason."""
        self.reception.add(connection)
        connection.flush(self.datagrams)
