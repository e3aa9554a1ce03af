"""
The game server: a process that hosts rooms and serves players over UDP.

`GameServer` takes orders from its node over the control link. It ends when its work is
done, when the node orders it, or when the link has been lost for a while. It listens on
the port that the node names, and reports figures for the node's metrics (see
`vinom.reactor.figures`) and the ages of its cookie keys. Rooms and links use a
monotonic clock; tokens and tickets use seconds since the Unix epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.logger import Logger

from vinom.control import messages
from vinom.control.messages import AnyToServer, Bind, ToNode
from vinom.dtls.admission import Admission, StrangerPolicy
from vinom.dtls.port import DatagramPort
from vinom.dtls.server import DtlsServer
from vinom.errors import Misconfigured, Refused
from vinom.game import Game
from vinom.gameserver.connections import Connections
from vinom.gameserver.reception import Reception, Workload
from vinom.gameserver.relay import Relays
from vinom.gameserver.room import HostedRoom
from vinom.gameserver.seats import ConnectionLimits, IGameReactor
from vinom.hosting.host import RecordingStore
from vinom.model import MatchEnd, MatchPlan
from vinom.play.clock import JOIN_TIMEOUT
from vinom.play.guard import Guard
from vinom.reactor.alarm import Alarms
from vinom.reactor.figures import LOSS_BOUNDS, RTT_BOUNDS, Histogram
from vinom.reactor.turns import TurnWatch
from vinom.tokens import TokenVerifier


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


def measure_port(dtls: DtlsServer, port: DatagramPort) -> dict[str, float]:
    """Count datagrams, handshakes by result, and dropped datagrams by reason."""
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


#: Longest datagram that is read whole, bytes; longer ones are junk.
_LONGEST_DATAGRAM = 8192


def server_of(
    bind: Bind,
    now: float,
    entropy: Callable[[int], bytes],
    strangers: StrangerPolicy | None,
    idle: float,
) -> DtlsServer:
    """
    Make the server's end of DTLS that a node orders.

    :param bind: the order.
    :param now: seconds since the Unix epoch.
    :param entropy: returns as many random bytes as its argument.
    :param strangers: limits for addresses that are not admitted.
    :param idle: silence after which a connection ends, seconds.
    :raises Misconfigured: certificate or key are not usable.
    """
    admission = Admission(
        f"{bind.server}.{bind.realm}", now, entropy=entropy, policy=strangers
    )
    return DtlsServer(bind.certificate, bind.key, admission, idle=idle)


def listen(reactor: IGameReactor, bind: Bind, port: DatagramPort) -> IListeningPort:
    """
    Open the port that a node orders.

    :raises CannotListenError: it is in use, or not available here.
    """
    listening: IListeningPort = reactor.listenUDP(
        bind.port, port, interface=bind.interface, maxPacketSize=_LONGEST_DATAGRAM
    )
    return listening


def report_cookies(
    dtls: DtlsServer, now: float
) -> tuple[messages.CookieKeyReport, ...]:
    """List the ages of the cookie keys; not their times, because clocks differ."""
    return tuple(
        messages.CookieKeyReport(
            key.number,
            now - key.since,
            None if key.until is None else key.until - now,
        )
        for key in dtls.admission.cookie_keys(now)
    )


#: How long a game server runs without its node, seconds.
ORPHAN_TIMEOUT = 5.0


class GameServer:
    """
    Host rooms for one node.

    :ivar rooms: by match id.
    :ivar figures: counts, such as dropped packets by reason.
    """

    _log = Logger()

    def __init__(
        self,
        server_id: str,
        games: Mapping[str, Game[Any, Any]],
        reactor: IGameReactor,
        seconds: Callable[[], float],
        entropy: Callable[[int], bytes],
        recordings: RecordingStore,
        stopped: Callable[[], None],
        *,
        rooms_limit: int = 1,
        limits: ConnectionLimits | None = None,
        strangers: StrangerPolicy | None = None,
        idle: float = 30.0,
        turns: TurnWatch | None = None,
        guard: Guard | None = None,
        receive_buffer: int = 0,
        join_timeout: float = JOIN_TIMEOUT,
        bound: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Start without a link, a port and rooms.

        :param server_id: its label inside the realm.
        :param games: by name.
        :param reactor: its seconds are of the Unix epoch.
        :param seconds: a clock that never goes back.
        :param entropy: returns as many random bytes as its argument.
        :param recordings: where matches are recorded.
        :param stopped: called once, when the process has nothing left to do.
        :param rooms_limit: matches after which the process ends.
        :param limits: of each connection.
        :param strangers: limits for addresses that are not admitted.
        :param idle: silence after which a connection ends, seconds.
        :param turns: measures the reactor's turns.
        :param guard: interrupts calls into games that take too long.
        :param receive_buffer: receive buffer to request for the port, bytes.
        :param join_timeout: how long a room waits for its players, seconds.
        :param bound: called once, when it has its port and nobody knows it yet.
        """
        self.rooms: dict[str, HostedRoom] = {}
        self.figures: Counter[str] = Counter()
        self._slipped = 0.0
        self._samples = LinkSamples()
        self._turns, self._guard = turns, guard
        self._server_id, self._games = server_id, games
        self._reactor, self._seconds, self._entropy = reactor, seconds, entropy
        self._recordings, self._stopped = recordings, stopped
        self._rooms_left, self._idle = rooms_limit, idle
        self._receive_buffer, self._join_timeout = receive_buffer, join_timeout
        self._strangers, self._bound = strangers, bound
        self._workload = Workload(self.figures, turns)
        self._send: Callable[[ToNode], None] = _to_nobody
        self._connections = Connections(
            limits or ConnectionLimits(), self.figures, seconds
        )
        self._alarms = Alarms(reactor, seconds)
        self._relays = Relays(
            self.rooms,
            reactor,
            seconds,
            self._report,
            self._connections.dismiss,
        )
        self._dtls: DtlsServer | None = None
        self._port: DatagramPort | None = None
        self._listening: IListeningPort | None = None
        self._realm = ""
        self._orphaned: IDelayedCall | None = None
        self._is_stopping = False
        self._is_over = False
        self._waiting: list[Deferred[None]] = []

    # From the node.

    def linked(
        self,
        send: Callable[[ToNode], None],
        is_behind: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Use a control link that was made.

        :param send: sends to the node.
        :param is_behind: whether the node does not read what it was sent.
        """
        self._send, self._relays.is_behind = send, is_behind
        if self._orphaned is not None:
            self._orphaned.cancel()
            self._orphaned = None

    def unlinked(self) -> None:
        """Note that the control link is lost: play continues for a while."""
        self._send = _to_nobody
        if self._orphaned is None and not self._is_over:
            self._log.warn(
                "lost the control link to the node; ending in {s} s", s=ORPHAN_TIMEOUT
            )
            self._orphaned = self._reactor.callLater(ORPHAN_TIMEOUT, self._end_alone)

    def _end_alone(self) -> None:
        self._orphaned = None
        self.stop()

    def _report(self, message: ToNode) -> None:
        self._send(message)

    def received(self, message: AnyToServer) -> None:
        """Carry out an order of the node."""
        match message:
            case messages.Heartbeat():
                now, dtls = self._reactor.seconds(), self._dtls
                keys = () if dtls is None else report_cookies(dtls, now)
                self._report(messages.Alive(message.number, self.measure(), keys))
            case Bind():
                self._bind(message)
            case messages.OpenRoom():
                self._open_room(message)
            case messages.AddTicket():
                if message.ticket.match_id in self.rooms and self._dtls is not None:
                    self._dtls.admission.add_ticket(message.ticket)
                self._report(messages.TicketAdded(message.ticket.label))
            case messages.Kick():
                if (hosted := self.rooms.get(message.match_id)) is not None:
                    now = self._seconds()
                    connection = hosted.kick(message.seat, now)
                    if connection is not None:
                        self._connections.dismiss(connection)
                    hosted.end_turn(now)
            case messages.CloseRoom():
                if (hosted := self.rooms.get(message.match_id)) is not None:
                    now = self._seconds()
                    hosted.room.close(message.reason, now)
                    hosted.end_turn(now)
            case messages.TokenKeys():
                self._take_keys(message)
            case (
                messages.RelayWatch()
                | messages.RelaySeat()
                | messages.RelayNewcomer()
                | messages.RelayAction()
            ):
                self._relays.take(message)
            case messages.RotateCookies():
                if self._dtls is not None:
                    self._dtls.admission.rotate_cookies(self._reactor.seconds())
            case messages.Stop():
                self.stop()

    def _take_keys(self, order: messages.TokenKeys) -> None:
        """Replace the token keys; before a port is bound, `Bind` will bring them."""
        reception = self._connections.reception
        if reception is not None:
            try:
                reception.trust(TokenVerifier(order.keys, self._realm))
            except Misconfigured as error:
                self._log.error("token keys are refused: {why}", why=str(error))
                return
        self._report(messages.TokenKeysTaken(order.number))

    def _bind(self, bind: Bind) -> None:
        if self._listening is not None:
            self._report(
                messages.BindFailed(
                    bind.port, "this game server has already bound a port"
                )
            )
            return
        try:
            verifier = TokenVerifier(bind.token_keys, bind.realm)
            now = self._reactor.seconds()
            dtls = server_of(bind, now, self._entropy, self._strangers, self._idle)
            dtls.received = self._connections.received
            port = DatagramPort(
                self._reactor,
                dtls,
                self._connections.deliver,
                turned=self._workload.port_turned,
                seconds=self._seconds,
                receive_buffer=self._receive_buffer,
            )
            listening = listen(self._reactor, bind, port)
        except (CannotListenError, Misconfigured) as error:
            self._log.warn("port {port}: {why}", port=bind.port, why=str(error))
            self._report(messages.BindFailed(bind.port, str(error)))
            return
        self._dtls, self._port, self._realm = dtls, port, bind.realm
        self._connections.reception = Reception(
            self.rooms,
            verifier,
            self._reactor,
            self._seconds,
            self._entropy,
            port,
            self.figures,
            self._workload,
        )
        self._listening = listening
        self._bound()
        self._report(messages.Bound(bind.port))

    def _open_room(self, asked: messages.OpenRoom) -> None:
        plan = asked.plan
        if plan.match_id in self.rooms:
            # A second order must not end a match that is being played.
            self._log.error("match {match_id} is open already", match_id=plan.match_id)
            return
        try:
            self._rooms_left -= 1
            hosted = self._host(plan, asked)
        except (Refused, Misconfigured) as error:
            self._log.error(
                "match {match_id} cannot be hosted: {why}",
                match_id=plan.match_id,
                why=str(error),
            )
            self._report(messages.RoomEnded(MatchEnd(plan.match_id, "crashed")))
            self._stop_if_done()
            return
        assert self._dtls is not None
        for ticket in asked.tickets:
            self._dtls.admission.add_ticket(ticket)
        self._report(messages.RoomOpened(plan.match_id))
        hosted.end_turn(self._seconds())

    def _host(self, plan: MatchPlan, asked: messages.OpenRoom) -> HostedRoom:
        game = self._games.get(plan.game)
        if game is None:
            raise Misconfigured(f"game {plan.game!r} is not installed here")
        if self._port is None or self._rooms_left < 0:
            raise Misconfigured("this game server has no port, or hosts no more rooms")
        hosted = HostedRoom(
            plan,
            game,
            self._seconds(),
            port=self._port,
            alarms=self._alarms,
            report=self._report,
            over=self._forget,
            recording=self._recordings.open(
                plan, game, self._reactor.seconds(), asked.files
            ),
            guard=self._guard,
            is_relayed=asked.is_relayed,
            join_timeout=self._join_timeout,
        )
        self.rooms[plan.match_id] = hosted
        self._log.info(
            "match {match_id} of {game} is open", match_id=plan.match_id, game=plan.game
        )
        return hosted

    def _forget(self, hosted: HostedRoom) -> None:
        match_id = hosted.room.plan.match_id
        del self.rooms[match_id]
        self._slipped += hosted.room.slipped
        self._relays.forget(hosted)
        if self._dtls is not None:
            self._dtls.admission.remove_match(match_id)
        # Later: this may be in the middle of a turn that delivers.
        self._reactor.callLater(0, self._stop_if_done)

    # The end.

    def stop(self) -> Deferred[None]:
        """
        Close every room, send players the end, and stop.

        Fires when that is done, at most 2 s later.
        """
        done: Deferred[None] = Deferred()
        if self._is_over:
            done.callback(None)
            return done
        self._waiting.append(done)
        if not self._is_stopping:
            self._is_stopping = True
            now = self._seconds()
            for hosted in list(self.rooms.values()):
                hosted.room.close("shutdown", now)
                hosted.end_turn(now)
            self._stop_if_done()
        return done

    def _stop_if_done(self) -> None:
        if self.rooms or self._is_over:
            return
        if not self._is_stopping and self._rooms_left > 0:
            return
        self._is_over = True
        if self._orphaned is not None:
            self._orphaned.cancel()
            self._orphaned = None
        if self._connections.reception is not None:
            self._connections.reception.close()
        if self._port is not None:
            # Send the last goodbyes.
            self._port.flush()
        closed: Deferred[Any] = (
            maybeDeferred(self._listening.stopListening)
            if self._listening is not None
            else maybeDeferred(lambda: None)
        )
        closed.addBoth(self._ended)

    def _ended(self, _: object) -> None:
        # Unasked, because counts since the last heartbeat must not be lost.
        self._report(messages.Alive(0, self.measure()))
        self._stopped()
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(None)

    def measure(self) -> dict[str, float]:
        """Return the figures of this game server, for metrics."""
        figures: dict[str, float] = dict(self.figures)
        figures["slipped_seconds"] = self._slipped + sum(
            hosted.room.slipped for hosted in self.rooms.values()
        )
        figures["overloaded"] = float(self._workload.is_high(self._seconds()))
        figures |= self._samples.measure(self.rooms.values())
        if self._turns is not None:
            figures |= self._turns.figures()
        if self._dtls is not None and self._port is not None:
            figures |= measure_port(self._dtls, self._port)
        return figures


def _to_nobody(message: ToNode) -> None:
    """Drop a message, because there is no node; the log has the same facts."""
