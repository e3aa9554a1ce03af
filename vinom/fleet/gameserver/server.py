"""
The game server: a process that hosts rooms and serves players over UDP.

`GameServer` takes orders from its node over the control link. It ends when its work is
done, when the node orders it, or when the link has been lost for a while. It listens on
the port that the node names, and reports figures for the node's metrics (see
`vinom.base.reactor.figures`) and the ages of its cookie keys. Rooms and links use a
monotonic clock; tokens and tickets use seconds since the Unix epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import attrs
from msgspec.structs import replace
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from vinom.base.model import MatchEnd, MatchPlan, Ticket
from vinom.base.reactor.alarm import Alarms
from vinom.base.reactor.figures import LOSS_BOUNDS, RTT_BOUNDS, Histogram
from vinom.base.reactor.steady import on_clock_of_day, on_reactors_clock, time_of_day
from vinom.base.reactor.turns import TurnWatch
from vinom.base.tokens import TokenVerifier
from vinom.errors import Misconfigured, Refused, Unreadable
from vinom.fleet.control import messages
from vinom.fleet.control.messages import (
    CONTROL_PROTOCOL,
    AnyToServer,
    Bind,
    Playing,
    Ready,
    ToNode,
)
from vinom.fleet.control.unsent import UnsentCheckpoints
from vinom.fleet.gameserver.connections import Connections
from vinom.fleet.gameserver.keeping import (
    LONGEST_CHECKPOINT,
    Checkpoints,
    MatchKeeper,
    part_from,
    read_kept,
    resumed_from,
)
from vinom.fleet.gameserver.lease import LEASE_SECONDS, Lease
from vinom.fleet.gameserver.orphan import Orphan
from vinom.fleet.gameserver.reception import Reception, Workload
from vinom.fleet.gameserver.relay import Relays
from vinom.fleet.gameserver.room import HostedRoom, NoPort
from vinom.fleet.gameserver.seats import ConnectionLimits, IGameReactor
from vinom.fleet.gameserver.tails import RecordingTails
from vinom.fleet.local.outliving import ENDS, IS_ADOPTED, PLAYS_ON
from vinom.game import Game
from vinom.net.dtls.admission import Admission, StrangerPolicy
from vinom.net.dtls.context import ServerCertificates
from vinom.net.dtls.port import DatagramPort
from vinom.net.dtls.server import DtlsServer
from vinom.play.clock import JOIN_TIMEOUT
from vinom.play.guard import Guard
from vinom.play.hosting.checkpoints import Codecs
from vinom.play.hosting.host import LONGEST_TEXT, RecordingStore


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
LONGEST_DATAGRAM = 8192


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
    certificates = ServerCertificates(bind.certificate, bind.key)
    return DtlsServer(certificates, admission, idle=idle)


def listen(reactor: IGameReactor, bind: Bind, port: DatagramPort) -> IListeningPort:
    """
    Open the port that a node orders.

    :raises CannotListenError: it is in use, or not available here.
    """
    listening: IListeningPort = reactor.listenUDP(
        bind.port, port, interface=bind.interface, maxPacketSize=LONGEST_DATAGRAM
    )
    return listening


#: Rooms that a list of processes names.
_MOST_NAMED = 4


def title_of(rooms: Collection[HostedRoom]) -> str:
    """Say in a few words what a game server with these rooms does."""
    named = [
        f"{'room' if one.is_relayed else 'match'} {one.room.plan.match_id} of "
        f"{one.room.plan.game}"
        for one in list(rooms)[:_MOST_NAMED]
    ]
    if len(rooms) > _MOST_NAMED:
        named.append(f"{len(rooms) - _MOST_NAMED} more")
    return ", ".join(named) or "no match"


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


#: How long a hand-over may take when the time to drain is over, seconds.
LAST_HAND_OVER = 2.0
#: How soon a hand-over is tried again if the node does not read, seconds.
_HAND_OVER_AGAIN = 0.02


class GameServer:
    """
    Host rooms for one node.

    :ivar rooms: by match id.
    :ivar figures: counts, such as dropped packets by reason.
    :ivar lease: how long it may play.
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
        join_timeout: float = JOIN_TIMEOUT,
        bound: Callable[[], None] = lambda: None,
        has_checkpoints: bool = True,
        entitle: Callable[[str], None] = lambda what: None,
        lease: float = LEASE_SECONDS,
        outlives: Callable[[int], None] = lambda _: None,
        claim: Callable[[int], int | None] = lambda _: None,
    ) -> None:
        """
        Start without a link, a port and rooms.

        :param server_id: its label inside the realm.
        :param games: by name.
        :param reactor: runs it; also the clock.
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
        :param join_timeout: how long a room waits for its players, seconds.
        :param bound: called once, when it has its port and nobody knows it yet.
        :param has_checkpoints: whether its matches can go on elsewhere.
        :param entitle: called with what it does, for lists of processes.
        :param lease: how long it plays on without a node, seconds.
        :param outlives: notes whether it may: see `vinom.fleet.local.outliving`.
        :param claim: gives an open file that came from the node, by its inode number;
            ``None`` if it did not come.
        """
        self._claim = claim
        # Has it matches, and no node that has answered? Then checkpoints go to a file.
        self._is_away = self._is_speechless = False
        self._unsent: UnsentCheckpoints | None = None
        self.rooms: dict[str, HostedRoom] = {}
        self.figures: Counter[str] = Counter()
        self._slipped = 0.0
        self._samples = LinkSamples()
        self._turns, self._guard = turns, guard
        self._server_id, self._games = server_id, games
        self._reactor, self._seconds, self._entropy = reactor, seconds, entropy
        self._recordings, self._stopped = recordings, stopped
        self._rooms_left, self._idle = rooms_limit, idle
        self._join_timeout = join_timeout
        self._strangers, self._bound = strangers, bound
        self._workload = Workload(self.figures, turns)
        self._send: Callable[[ToNode], object] = _to_nobody
        self._unanswered: Callable[[ToNode], None] = _to_nobody
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
        # Bound, or ordered to do without a port.
        self._is_reachable = False
        self._listening: IListeningPort | None = None
        self._bound_to: Bind | None = None
        self._realm = ""
        self._orphan = Orphan(reactor, seconds, lease, self.stop, self._fall_silent)
        self._tails = RecordingTails()
        self._outlives, self._label = outlives, ""
        self._has_checkpoints, self._codecs = has_checkpoints, Codecs()
        self._entitle = entitle
        entitle("warm")
        self._checkpoints = Checkpoints(reactor, seconds, self)
        self._send_all: Callable[[Sequence[ToNode]], None] = _all_to_nobody
        self._is_lossy = self._is_handing_over = False
        self.lease = Lease(lease)
        self._is_stopping = self._is_draining = False
        self._is_over = self._is_adopted = False
        self._waiting: list[Deferred[None]] = []

    # From the node.

    def linked(
        self,
        send: Callable[[ToNode], None],
        is_behind: Callable[[], bool] = lambda: False,
        is_lossy: bool = False,
        send_all: Callable[[Sequence[ToNode]], None] | None = None,
    ) -> None:
        """
        Use a control link that was made.

        :param send: sends to the node, which was sent `ready` first.
        :param is_behind: whether the node does not read what it was sent.
        :param is_lossy: whether what was sent can be lost with this process; over a
            UNIX socket it cannot.
        :param send_all: sends several messages together; ``None``: one by one.
        """

        def one_by_one(several: Sequence[ToNode]) -> None:
            for message in several:
                send(message)

        self._send_all = send_all or one_by_one
        self._send, self._relays.is_behind = send, is_behind
        self._is_lossy = is_lossy
        self.lease.linked(self._seconds())
        if self._orphan.plays_on:
            # It may be a node that refuses this link: until it answers it is sent
            # nothing that the next one must get.
            self._unanswered, self._send = send, self._send_unanswered
        else:
            self._send_kept(send)

    def _send_kept(self, send: Callable[[ToNode], None]) -> None:
        """Send what was kept to a node that takes it."""
        self._send = send
        # Before the ends of matches, after which nothing of theirs is written.
        for message in (*self._tails.messages(), *self._orphan.kept()):
            send(message)
        self._orphan.forget()
        self._orphan.stop()

    def _send_unanswered(self, message: ToNode) -> None:
        """Send a message to a node that may refuse this link, unless it can wait."""
        is_recorded = isinstance(message, messages.RecordingData)
        if not (self._orphan.keep(message) or is_recorded):
            self._unanswered(message)

    @property
    def plays_on(self) -> bool:
        """Is it without a node, and may another one still come?"""
        return self._orphan.plays_on

    def ready(self, pid: int) -> Ready:
        """
        Write the first message over a link.

        :param pid: of this process.
        """
        return Ready(
            self._server_id,
            pid,
            CONTROL_PROTOCOL,
            matches=(*self._playing(), *self._orphan.ended),
            label=self._label,
            port=0 if self._bound_to is None else self._bound_to.port,
        )

    def _playing(self) -> list[Playing]:
        """Describe the matches, with their newest checkpoints as far as these fit."""
        # What recordings hold would not fit beside the checkpoints of many matches.
        self._recordings.flush()
        playing, left = [], LONGEST_CHECKPOINT
        for hosted in self._matches():
            one, keeper = hosted.playing(), hosted.host.keeper
            if self._dtls is not None:
                tickets = map(
                    self._of_day, self._dtls.admission.tickets_of(one.match_id)
                )
                one = replace(one, tickets=tuple(tickets))
            if isinstance(keeper, MatchKeeper):
                one, size = self._with_checkpoint(one, keeper, left)
                left -= size
            playing.append(one)
        return playing

    def _with_checkpoint(
        self, playing: Playing, keeper: MatchKeeper, most: int
    ) -> tuple[Playing, int]:
        """Add the newest checkpoint of a match, and say how long it is."""
        kept = keeper.whole(self._seconds())
        if kept is None:
            return replace(playing, number=keeper.number), 0
        if self._is_away and self._unsent is not None:
            # Later ones are changes of it, and this link may be refused.
            self.keep([kept])
        if len(kept.data) > most:
            # It follows when the node has answered.
            keeper.again()
            kept = replace(kept, data=b"")
        playing = replace(
            playing,
            number=kept.number,
            checkpoint=kept.data,
            recorded=kept.recorded,
            length=kept.length,
        )
        return playing, len(kept.data)

    def _matches(self) -> list[HostedRoom]:
        """List what is played on without a node: not the node's own rooms."""
        rooms = self.rooms.values()
        return [one for one in rooms if not one.is_relayed and one.is_open]

    def unlinked(self) -> None:
        """Note that the control link is lost: matches are played on for a while."""
        self._send, self._relays.is_behind = self._orphan.keep, lambda: False
        self._send_all, self._is_lossy = _all_to_nobody, False
        if self._is_over:
            return
        has_matches = bool(self._matches())
        self._orphan.begin(has_matches)
        now = self._seconds()
        if has_matches:
            self._keep_alone(now)
        self._relays.unlinked(now)
        if has_matches:
            for hosted in [one for one in self.rooms.values() if one.is_relayed]:
                hosted.room.close("lost", now)
                hosted.end_turn(now)

    def _keepers(self) -> list[tuple[HostedRoom, MatchKeeper]]:
        """List the matches that can go on elsewhere."""
        return [
            (hosted, hosted.host.keeper)
            for hosted in self._matches()
            if isinstance(hosted.host.keeper, MatchKeeper)
            and not hosted.host.keeper.is_over
        ]

    def _keep_alone(self, now: float) -> None:
        """
        Keep checkpoints without a node: what players see must outlive this process.

        Without a file for them, `ahead` games pause until there is a node again. Others
        play on, and may be resumed from before the link was lost.
        """
        was_away, self._is_away = self._is_away, True
        if self.keeps():
            # What was sent last may not have arrived.
            wholes = [keeper.whole(now) for _, keeper in self._keepers()]
            self.keep([one for one in wholes if one is not None])
        elif not was_away:
            self._pause([one for one in self._keepers() if one[1].is_ahead])

    def _pause(self, paused: Sequence[tuple[HostedRoom, MatchKeeper]]) -> None:
        now = self._seconds()
        for hosted, _ in paused:
            hosted.pause(now)
        if paused:
            self._log.warn(
                "{count} matches wait for a link: what players saw could not be kept",
                count=len(paused),
            )

    def _pause_all(self) -> None:
        """Pause, unless a node has come meanwhile."""
        if self._is_speechless:
            self._pause(self._keepers())

    def _use_file(self, inode: int) -> None:
        """Write there what cannot be sent, from now on."""
        if self._unsent is not None:
            self._unsent.close()
        descriptor = self._claim(inode) if inode else None
        self._unsent = None if descriptor is None else UnsentCheckpoints(descriptor)

    def _adopted(self, match_ids: Collection[str], again: bool) -> None:
        """A node has answered: it goes on with these matches."""
        self._is_away = self._is_speechless = False
        if self._orphan.plays_on:
            self._send_kept(self._unanswered)
        if not again:
            # It watches this process; the fork server of the one before need not.
            self._outlives(IS_ADOPTED)
            self._is_adopted = True
        now = self._seconds()
        self.lease.adopted(now)
        for hosted in [one for one in self.rooms.values() if not one.is_relayed]:
            if hosted.room.plan.match_id not in match_ids and (
                hosted.is_open or hosted.host.is_held
            ):
                self._log.error(
                    "match {match_id} is not known to the node, and ends",
                    match_id=hosted.room.plan.match_id,
                )
                if hosted.host.is_held:
                    # What its players were not shown is not kept: they ask the lobby
                    # whether the match goes on elsewhere.
                    hosted.part()
                    continue
                hosted.room.close("lost", now)
            hosted.go_on(now)
            hosted.end_turn(now)
        if self._is_draining and self.rooms:
            # It was asked to while it had no node, or another one.
            self._report(messages.Draining())
        self._stop_if_done()

    def _fall_silent(self) -> None:
        """End without a word: what is played here may be played elsewhere."""
        self._is_over = True
        for hosted in self.rooms.values():
            self._alarms.discard(hosted)
        self.rooms.clear()
        self._close()

    def _report(self, message: ToNode) -> None:
        if isinstance(message, messages.RoomEnded):
            hosted = self.rooms.get(message.end.match_id)
            if hosted is not None and not hosted.is_relayed:
                if isinstance(hosted.host.keeper, MatchKeeper):
                    message = replace(message, number=hosted.host.keeper.end())
                self._orphan.match_ended(hosted.playing(), message)
        self._send(message)

    def received(self, message: AnyToServer) -> None:
        """Carry out an order of the node."""
        if not self.rooms and self.lease.is_over(self._seconds()):
            # It stood still, or this process did: nothing here may reach a player.
            if not (self._is_draining or self._is_over):
                self._log.warn("no node has been there for long: this process ends")
                self.drain()
            return
        match message:
            case messages.Heartbeat():
                self._orphan.forget_ends()
                ended = (one.match_id for one in self._orphan.ended)
                self._tails.keep_only({*self.rooms, *ended})
                now, dtls = self._reactor.seconds(), self._dtls
                self.lease.beat(message.number, self._seconds())
                keys = () if dtls is None else report_cookies(dtls, now)
                self._report(messages.Alive(message.number, self.measure(), keys))
            case Bind():
                self._bind(message)
            case messages.OpenRoom():
                self._open_room(message)
            case messages.AddTicket():
                if message.ticket.match_id in self.rooms:
                    self._admit(message.ticket)
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
            case messages.KeptTaken():
                self._kept_taken(message)
            case messages.HandOver():
                self._hand_over()
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
            case messages.Adopted(matches, file, again):
                self._use_file(file)
                self._adopted(matches, again)
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
        if self._is_reachable:
            self._report(
                messages.BindFailed(
                    bind.port, "this game server has already bound a port"
                )
            )
            return
        if not bind.port:
            # The node has the players' connections.
            self._is_reachable = True
            self._bound_to, self._label = bind, bind.server
            self._bound()
            self._report(messages.Bound(0))
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
                may_send=self._may_send,
            )
            listening = listen(self._reactor, bind, port)
        except (CannotListenError, Misconfigured) as error:
            self._log.warn("port {port}: {why}", port=bind.port, why=str(error))
            self._report(messages.BindFailed(bind.port, str(error)))
            return
        self._dtls, self._port, self._realm = dtls, port, bind.realm
        self._bound_to, self._label = bind, bind.server
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
        self._listening, self._is_reachable = listening, True
        # Players of a match that goes on here know the port already. What they send
        # is read once the match is open: before that nobody would answer it.
        port.pause()
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
        except (Refused, Misconfigured, Unreadable) as error:
            self._log.error(
                "match {match_id} cannot be hosted: {why}",
                match_id=plan.match_id,
                why=str(error),
            )
            reason = "lost" if asked.checkpoint else "crashed"
            end = MatchEnd(plan.match_id, reason, why=str(error)[:LONGEST_TEXT])
            self._report(messages.RoomEnded(end))
            self._stop_if_done()
            return
        finally:
            if self._port is not None:
                self._port.resume()
        for ticket in asked.tickets:
            self._admit(ticket)
        self._report(messages.RoomOpened(plan.match_id))
        if asked.checkpoint:
            hosted.report_seats()
        hosted.end_turn(self._seconds())
        # Now: until the first one is there a match dies with this process.
        self._checkpoints.may_send()

    def _admit(self, ticket: Ticket) -> None:
        """Let a ticket's holder connect; the port counts by the reactor's clock."""
        if self._dtls is not None:
            expires_at = on_reactors_clock(self._reactor, ticket.expires_at)
            ticket = attrs.evolve(ticket, expires_at=expires_at)
            self._dtls.admission.add_ticket(ticket)

    def _of_day(self, ticket: Ticket) -> Ticket:
        """Write a ticket as its node gave it: see `_admit`."""
        expires_at = on_clock_of_day(self._reactor, ticket.expires_at)
        return attrs.evolve(ticket, expires_at=expires_at)

    def _host(self, plan: MatchPlan, asked: messages.OpenRoom) -> HostedRoom:
        game = self._games.get(plan.game)
        if game is None:
            raise Misconfigured(f"game {plan.game!r} is not installed here")
        if not self._is_reachable or self._rooms_left < 0:
            raise Misconfigured("this game server has no port, or hosts no more rooms")
        kept, resumed, part = None, None, None
        if asked.checkpoint:
            kept = read_kept(asked.checkpoint, plan)
            codec = self._codecs.of(game)
            if codec is None:
                raise Unreadable(f"states of {game.name} cannot be read here")
            plan, resumed = kept.plan, resumed_from(kept, game, codec)
            if resumed is not None:
                part = part_from(kept, resumed, codec, asked.part)
        hosted = HostedRoom(
            plan,
            game,
            self._seconds(),
            port=self._port or NoPort(),
            alarms=self._alarms,
            report=self._report,
            over=self._forget,
            recording=self._recordings.open(
                plan, game, time_of_day(self._reactor)(), asked.files, part
            ),
            guard=self._guard,
            is_relayed=asked.is_relayed,
            join_timeout=self._join_timeout,
            kept=kept,
            resumed=resumed,
            part=asked.part,
        )
        self.rooms[plan.match_id] = hosted
        self._entitle(title_of(self.rooms.values()))
        self._keep(hosted, asked)
        if not asked.is_relayed and not self._is_adopted:
            self._outlives(PLAYS_ON)
        self._log.info(
            "match {match_id} of {game} {what}",
            match_id=plan.match_id,
            game=plan.game,
            what="is open" if kept is None else f"goes on at version {kept.version}",
        )
        return hosted

    def _keep(self, hosted: HostedRoom, asked: messages.OpenRoom) -> None:
        """Keep checkpoints of a match, if its game has states that can be kept."""
        codec = self._codecs.of(hosted.room.game) if self._has_checkpoints else None
        if codec is not None and not hosted.is_relayed:
            hosted.host.keeper = MatchKeeper(
                hosted.host,
                lambda: hosted.seats,
                codec,
                self._checkpoints,
                asked.number,
            )

    def _may_send(self) -> bool:
        """Does the lease last, and has everything left that is to be kept?"""
        if not self.lease.is_over(self._seconds()):
            return self._checkpoints.may_send() and (
                not self._is_handing_over or self._is_over
            )
        # The matches here may be played elsewhere.
        if not self._is_over:
            self._is_over = True
            self._log.error(
                "no node has been there for {s:g} s: this process ends, without a word",
                s=self.lease.length,
            )
            self._checkpoints.stop()
            self._orphan.stop()
            self._reactor.callLater(0, self._fall_silent)
        return False

    # Checkpoints (vinom.fleet.gameserver.keeping.CheckpointSink).

    def keep(self, checkpoints: Sequence[messages.Kept]) -> None:
        """Send checkpoints to the node at once."""
        unsent = self._unsent
        if self._is_away and unsent is not None and not unsent.write(checkpoints):
            self._log.error("checkpoints cannot be written: the file for them is full")
            unsent.close()
            # What was about to be shown stays here.
            self._unsent, self._is_speechless = None, True
            self._reactor.callLater(0, self._pause_all)
        self._send_all(checkpoints)

    def keeps(self) -> bool:
        """Does anything keep checkpoints: a node, or a file that outlives this?"""
        return not self._is_away or self._unsent is not None

    def has_left(self) -> bool:
        """Has everything left that was sent, or is nobody there to take it?"""
        return not (self._is_speechless or self._relays.is_behind())

    def caught_up(self) -> None:
        """Show what was held while the node did not read what it was sent."""
        now = self._seconds()
        for hosted in list(self.rooms.values()):
            if hosted.host.is_held:
                hosted.end_turn(now)
        if self._port is not None:
            self._port.try_again()

    def is_lossy(self) -> bool:
        """Can what has left be lost with this process?"""
        return self._is_lossy

    def _kept_taken(self, answer: messages.KeptTaken) -> None:
        if answer.file:
            self._use_file(answer.file)
        hosted = self.rooms.get(answer.match_id)
        if hosted is None or not isinstance(hosted.host.keeper, MatchKeeper):
            return
        # It may be on its way since before the end, which is taken at once.
        hosted.host.keeper.taken = max(hosted.host.keeper.taken, answer.number)
        if hosted.host.is_held:
            hosted.end_turn(self._seconds())

    def _forget(self, hosted: HostedRoom) -> None:
        match_id = hosted.room.plan.match_id
        del self.rooms[match_id]
        self._entitle(title_of(self.rooms.values()))
        self._slipped += hosted.room.slipped
        self._relays.forget(hosted)
        if isinstance(hosted.host.keeper, MatchKeeper):
            self._checkpoints.forget(hosted.host.keeper)
        if not (self._is_adopted or self._matches() or self._orphan.plays_on):
            self._outlives(ENDS)
        if self._dtls is not None:
            self._dtls.admission.remove_match(match_id)
        # Later: this may be in the middle of a turn that delivers.
        self._reactor.callLater(0, self._stop_if_done)

    def send_recording(
        self, match_id: str, part: int, at: int, data: bytes, is_report: bool
    ) -> None:
        """Send what is to be written to a recording on the node's machine."""
        message = messages.RecordingData(match_id, part, at, data, is_report)
        self._tails.add(message, is_alone=self._orphan.plays_on)
        self._report(message)

    # The end.

    def _hand_over(self) -> None:
        """Have another process go on with the matches here, and end."""
        if self._is_over:
            return
        now = self._seconds()
        self._is_handing_over = True
        if not self._checkpoints.leave(now):
            # The node does not read; nothing is shown meanwhile.
            self._reactor.callLater(_HAND_OVER_AGAIN, self._hand_over)
            return
        self._log.info(
            "{count} matches go on at another game server", count=len(self.rooms)
        )
        self._is_over = True
        self._orphan.stop()
        for hosted in self.rooms.values():
            hosted.let_go()
        if self._port is not None:
            # Players' connections are closed, so that they look where to go on.
            self._port.flush()
        self._close_port().addBoth(self._ended)

    def _close_port(self) -> Deferred[Any]:
        if self._listening is None:
            return succeed(None)
        return maybeDeferred(self._listening.stopListening)

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
        if self._is_away and not self.keeps():
            # Others go on with what waits here.
            self._fall_silent()
            return done
        if not self._is_stopping:
            self._is_stopping = True
            now = self._seconds()
            for hosted in list(self.rooms.values()):
                hosted.room.close("shutdown", now)
                hosted.end_turn(now)
            self._stop_if_done()
        return done

    def drain(self) -> Deferred[None]:
        """
        Host no more rooms, and stop when the last one is over; fires then.

        The node is asked not to send players here any more.
        """
        done: Deferred[None] = Deferred()
        if self._is_over:
            done.callback(None)
            return done
        self._waiting.append(done)
        self._rooms_left, self._is_draining = 0, True
        self._report(messages.Draining())
        self._stop_if_done()
        return done

    def hand_over_last(self) -> Deferred[None]:
        """
        Have the node take what it can; fires when it has.

        At once if it has said that this is to end, or is gone. Matches that were not
        handed over are still here then, if it took too long.
        """
        done: Deferred[None] = Deferred()
        is_alone = self._is_stopping or self._is_away
        if self._is_over or is_alone or not self._keepers():
            done.callback(None)
            return done
        self._waiting.append(done)
        done.addTimeout(LAST_HAND_OVER, self._reactor, onTimeoutCancel=lambda *_: None)
        self._report(messages.Draining(True))
        return done

    def _stop_if_done(self) -> None:
        if self.rooms or self._is_over:
            return
        if not self._is_stopping and (self._rooms_left > 0 or self._orphan.must_wait):
            return
        self._is_over = True
        self._orphan.stop()
        self._close()

    def _close(self) -> None:
        """Close the port, then call *stopped*."""
        if self._connections.reception is not None:
            self._connections.reception.close()
        if self._port is not None:
            # Send the last goodbyes.
            self._port.flush()
        self._close_port().addBoth(self._ended)

    def _ended(self, _: object) -> None:
        # Unasked, because counts since the last heartbeat must not be lost.
        self._report(messages.Alive(0, self.measure()))
        self._checkpoints.stop()
        self._stopped()
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            if not done.called:
                done.callback(None)

    def measure(self) -> dict[str, float]:
        """Return the figures of this game server, for metrics."""
        figures: dict[str, float] = dict(self.figures)
        figures["slipped_seconds"] = self._slipped + sum(
            hosted.room.slipped for hosted in self.rooms.values()
        )
        figures["recordings_stopped"] = self._recordings.stopped
        figures["overloaded"] = float(self._workload.is_high(self._seconds()))
        figures |= self._samples.measure(self.rooms.values())
        if self._turns is not None:
            figures |= self._turns.figures()
        if self._dtls is not None and self._port is not None:
            figures |= measure_port(self._dtls, self._port)
        return figures


def _to_nobody(message: ToNode) -> None:
    """Drop a message, because there is no node; the log has the same facts."""


def _all_to_nobody(several: Sequence[ToNode]) -> None:
    """Drop messages."""
