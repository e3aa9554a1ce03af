"""
The port of players: DTLS, their connections, and who may have a seat.

Packets of players with a seat go to their rooms, which answer once per turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort

from vinom.base.model import Ticket
from vinom.base.reactor.alarm import Alarms
from vinom.base.reactor.figures import LOSS_BOUNDS, RTT_BOUNDS, Histogram
from vinom.base.reactor.steady import on_clock_of_day, on_reactors_clock
from vinom.base.reactor.turns import TurnWatch
from vinom.base.tokens import TokenVerifier
from vinom.errors import Code, PeerError
from vinom.fleet.control.messages import Bind, CookieKeyReport, ToNode
from vinom.fleet.gameserver.reception import Reception, Workload
from vinom.fleet.gameserver.relay import Relays
from vinom.fleet.gameserver.room import Connection, HostedRoom, Played
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
        players: Players,
        may_send: Callable[[], bool] | None = None,
    ) -> None:
        """
        Open the port.

        :param bind: the port, its names, certificate and keys.
        :param players: come to it; dropped packets are counted, by reason, in their
            figures.
        :param may_send: as for `DatagramPort`.
        :raises Misconfigured: certificate or keys are not usable.
        :raises CannotListenError: it is in use, or not available here.
        """
        runtime, limits, workload = players.runtime, players.limits, players.workload
        self._limits, self._seconds = limits.connection, runtime.seconds
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
        self.reception = Reception(
            players.rooms, verifier, runtime, self.datagrams, workload
        )
        self._touched: dict[HostedRoom, None] = {}
        # The time of this turn: asked once, not for each payload.
        self._now: float | None = None
        self._listening: IListeningPort | None = runtime.reactor.listenUDP(
            bind.port,
            self.datagrams,
            interface=bind.interface,
            maxPacketSize=_LONGEST_DATAGRAM,
        )

    def close(self) -> Deferred[Any]:
        """Close all connections, send what is left, and close the port."""
        self.reception.close()
        self.datagrams.flush()
        listening, self._listening = self._listening, None
        return (
            succeed(None)
            if listening is None
            else maybeDeferred(listening.stopListening)
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
        room, seat = connection.room, connection.seat
        if room is not None and room.is_paused:
            # What matters is sent again, perhaps to another process.
            return
        try:
            news = connection.link.receive(payload, now)
        except PeerError as error:
            self._figures["packets_dropped_bad"] += 1
            connection.refuse(Code.BAD_PACKET, str(error), now)
            news = []
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
            connection = Connection.open(
                association, self.datagrams, self._limits, now, self._figures
            )
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


class Players:
    """
    The players of the matches of one process, and the port that they come to.

    A game server has these, and so has a node that relays: to players both are the
    same. What differs is what plays a match: `vinom.fleet.gameserver.room.Played`.

    :ivar runtime: serves them.
    :ivar limits: of their connections.
    :ivar rooms: the matches, by id.
    :ivar figures: counts, such as dropped packets by reason.
    :ivar alarms: ring the matches.
    :ivar relays: pass on what players do who are connected to the node.
    :ivar workload: refuses newcomers during an overload.
    :ivar port: where they come; ``None`` before it is open, and if they all come to the
        node.
    """

    def __init__(
        self,
        runtime: Runtime,
        limits: PortLimits,
        report: Callable[[ToNode], None],
        turns: TurnWatch | None = None,
    ) -> None:
        """
        Start without matches, and without a port.

        :param runtime: see the attribute.
        :param limits: see the attribute.
        :param report: sends to the node.
        :param turns: as for `Workload`.
        """
        self.rooms: dict[str, HostedRoom] = {}
        self.figures: Counter[str] = Counter()
        self.workload = Workload(self.figures, turns)
        self.alarms = Alarms(runtime.reactor, runtime.seconds)
        self.relays = Relays(self.rooms, runtime, report, self.dismiss)
        self.port: PlayerPort | None = None
        self.runtime, self.limits = runtime, limits
        self._reactor, self._seconds = runtime.reactor, runtime.seconds
        self._realm = ""
        self._links = LinkSamples()

    def listen(
        self, bind: Bind, may_send: Callable[[], bool] | None = None
    ) -> PlayerPort:
        """
        Open the port.

        :param bind: as for `PlayerPort`, which raises the same.
        :param may_send: as for `DatagramPort`.
        """
        self._realm = bind.realm
        self.port = PlayerPort(bind, self, may_send)
        return self.port

    def close(self) -> Deferred[Any]:
        """Close all connections, send what is left, and close the port."""
        return succeed(None) if self.port is None else self.port.close()

    # Who may come.

    def open(
        self,
        played: Played,
        report: Callable[[ToNode], None],
        over: Callable[[HostedRoom], None],
        tickets: Iterable[Ticket] = (),
        is_relayed: bool = False,
    ) -> HostedRoom:
        """
        Let players come to a match.

        :param tickets: of those who come over UDP.

        The other parameters are those of `HostedRoom`.
        """
        hosted = HostedRoom(played, self.alarms, report, over, is_relayed)
        self.rooms[hosted.match_id] = hosted
        self.admit(tickets)
        if self.port is not None:
            self.port.certificates.keep(hosted.match_id)
        return hosted

    def admit(self, tickets: Iterable[Ticket]) -> None:
        """Let their holders connect; admission counts by the reactor's clock."""
        if self.port is not None:
            for ticket in tickets:
                at = on_reactors_clock(self._reactor, ticket.expires_at)
                evolved = attrs.evolve(ticket, expires_at=at)
                self.port.dtls.admission.add_ticket(evolved)

    def tickets_of(self, match_id: str) -> tuple[Ticket, ...]:
        """List the tickets of a match as they were given to `admit`."""
        if self.port is None:
            return ()
        return tuple(
            attrs.evolve(one, expires_at=on_clock_of_day(self._reactor, one.expires_at))
            for one in self.port.dtls.admission.tickets_of(match_id)
        )

    def kick(self, match_id: str, seat: int) -> None:
        """Remove a seat's player for good; no effect after the match."""
        hosted = self.rooms.get(match_id)
        if hosted is None or not 0 <= seat < len(hosted.seats):
            return
        now, kicked = self._seconds(), hosted.seats[seat]
        connection = kicked.connection
        if connection is not None:
            connection.refuse(Code.KICKED, "an operator removed you", now)
        hosted.give_up(connection, kicked, now)
        if connection is not None:
            self.dismiss(connection)
        hosted.end_turn(now)

    def dismiss(self, connection: Connection) -> None:
        """Keep a refused connection for a while, so that its player gets the reason."""
        if self.port is not None:
            self.port.reception.add(connection)
            connection.flush()

    def forget(self, hosted: HostedRoom) -> None:
        """Drop a match that is over."""
        del self.rooms[hosted.match_id]
        self.relays.forget(hosted)
        if self.port is not None:
            self.port.dtls.admission.remove_match(hosted.match_id)
            self.port.certificates.forget(hosted.match_id)

    def trust(self, token_keys: dict[str, bytes]) -> None:
        """
        Accept tokens of these keys, and no others.

        :raises Misconfigured: a key is not usable.
        """
        if self.port is not None:
            self.port.reception.trust(TokenVerifier(token_keys, self._realm))

    def rotate_cookies(self) -> None:
        """Make cookies with a new key."""
        if self.port is not None:
            self.port.dtls.admission.rotate_cookies(self._reactor.seconds())

    def cookie_keys(self) -> tuple[CookieKeyReport, ...]:
        """List the ages of the cookie keys; not their times, because clocks differ."""
        if self.port is None:
            return ()
        now = self._reactor.seconds()
        return tuple(
            CookieKeyReport(
                key.number,
                now - key.since,
                None if key.until is None else key.until - now,
            )
            for key in self.port.dtls.admission.cookie_keys(now)
        )

    # Figures.

    def measure(self) -> dict[str, float]:
        """Count what came, and what became of it."""
        return {**self.figures, **({} if self.port is None else self.port.measure())}

    def measure_links(self) -> dict[str, float]:
        """Measure every player's link; to be called once per second."""
        return self._links.measure(self.rooms.values())


@attrs.define
class LinkSamples:
    """
    Measure every player's link at each heartbeat.

    A node sends one per second, so the histograms count player-seconds, and play
    itself costs nothing more.
    """

    _rtt: Histogram = attrs.field(factory=lambda: Histogram(RTT_BOUNDS))
    _loss: Histogram = attrs.field(factory=lambda: Histogram(LOSS_BOUNDS))

    def measure(self, rooms: Collection[HostedRoom]) -> dict[str, float]:
        """Count rooms and players, and average their links: seconds and shares."""
        links = [
            seat.connection.link
            for hosted in rooms
            for seat in hosted.seats
            if seat.connection is not None and seat.present
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
