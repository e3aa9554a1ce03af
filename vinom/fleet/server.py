"""One game server, seen from its node: its life, its control link, and its keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from signal import SIGTERM
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.control.link import ControlLink
from vinom.control.messages import (
    Alive,
    AnyToNode,
    Bind,
    BindFailed,
    Bound,
    CookieKeyReport,
    Heartbeat,
    MatchStarted,
    Ready,
    RelayEvent,
    RelayFailed,
    RelayRefusal,
    RelayState,
    RelayTaken,
    RoomEnded,
    RoomOpened,
    RotateCookies,
    RoundEnded,
    SeatChanged,
    Stop,
    TicketAdded,
    TokenKeysTaken,
    ToServer,
)
from vinom.errors import Misconfigured, NoCapacity, PeerError
from vinom.fleet.hosted import HostedRooms, MatchFiles, RoomTimeouts
from vinom.fleet.life import (
    CutLink,
    Gone,
    Kill,
    SayStop,
    ServerFacts,
    ServerTimeouts,
    Stage,
    Terminate,
    Wanted,
    open_server_life,
)
from vinom.fleet.pool import PoolPolicy
from vinom.model import (
    Exit,
    Issued,
    Placement,
    ServerAddress,
)
from vinom.ports import IFleet, IGameServer


class Issuer(Protocol):
    """The calls of the fleet to `vinom.keys.authority.Authority`."""

    @property
    def anchor(self) -> bytes:
        """The certificate that players verify game servers with, PEM."""

    def issue(self, server: str) -> Issued:
        """
        Make a certificate for one game server.

        :raises Misconfigured: the authority cannot sign.
        """

    def token_keys(self) -> dict[str, bytes]:
        """The keys that verify connect tokens, by id, PEM."""


@attrs.frozen
class FleetSettings:
    """
    The operator's settings.

    :ivar realm: domain that game servers' names end with.
    :ivar policy: how many game servers to run.
    :ivar timeouts: how long each step of a game server's life may take.
    :ivar stop_seconds: time for game servers to end when the node stops.
    """

    realm: str
    policy: PoolPolicy = attrs.field(factory=PoolPolicy)
    timeouts: ServerTimeouts = attrs.field(factory=ServerTimeouts)
    stop_seconds: float = 3.0


@attrs.frozen
class ServerStatus:
    """
    One game server, for operators.

    :ivar stage: stage of its life.
    :ivar pid: id of its process; ``None`` until it dials.
    :ivar port: the port that it has or is to bind.
    :ivar matches: ids of the matches that it hosts.
    :ivar figures: its latest figures; see `vinom.reactor.figures`.
    """

    stage: str
    pid: int | None
    port: int | None
    matches: tuple[str, ...]
    figures: Mapping[str, float]


@attrs.frozen
class FleetStatus:
    """
    All counts of a fleet, for operators and metrics.

    :ivar servers: game servers by stage of their life.
    :ivar ports_free: addresses that are free.
    :ivar ports_bound: addresses that game servers have.
    :ivar ports_quarantined: addresses that could not be bound, and rest for a while.
    :ivar waiting: matches without a game server.
    :ivar rooms: matches with one.
    :ivar is_draining: no new match is taken.
    :ivar game_servers: by id.
    """

    servers: Mapping[str, int]
    ports_free: int
    ports_bound: int
    ports_quarantined: int
    waiting: int
    rooms: int
    is_draining: bool
    game_servers: Mapping[str, ServerStatus]


#: A game server that leaves this many heartbeats unanswered hangs.
MISSED_HEARTBEATS = 3

#: A warm game server gets another certificate after this time, seconds: so the one that
#: it serves a match with has almost all of its life left.
RENEWAL_SECONDS = 86400.0


@attrs.frozen
class Credentials:
    """
    What a game server needs besides a port, made while no player waits for it.

    :ivar issued: its certificate and key.
    :ivar anchor: the certificate that players verify it with, PEM.
    :ivar renew_at: when a game server that still waits for a match gets others, seconds
        on the fleet's clock.
    """

    issued: Issued = attrs.field(repr=False)
    anchor: bytes
    renew_at: float


@attrs.frozen
class ServerReports:
    """
    What a `GameServer` calls in its fleet.

    :ivar listening: players can reach it.
    :ivar keys_taken: it accepts the token keys with this number.
    :ivar match_over: a match has left it.
    :ivar gone: it is gone; its remaining matches are lost.
    :ivar changed: something happened to it that the fleet may act on.
    :ivar moved: it came from one stage of its life to another.
    """

    listening: Callable[[], None]
    keys_taken: Callable[[str, int], None]
    match_over: Callable[[GameServer, str], None]
    gone: Callable[[GameServer], None]
    changed: Callable[[], None]
    moved: Callable[[GameServer, Stage, Stage], None]


@implementer(IGameServer)
class GameServer:
    """
    Start a game server, give it an address and matches, watch it, and end it.

    :ivar rooms: its rooms.
    :ivar figures: the latest that it reported, by name.
    :ivar cookie_keys: the cookie keys that it reported last, without secrets.
    :ivar is_overloaded: it last reported that it is too busy for new players.
    :ivar has_listened: players have been able to reach it.
    :ivar was_asked_to_leave: its exit is not a failure.
    """

    _log = Logger()

    def __init__(
        self,
        server_id: str,
        supply: IFleet,
        issuer: Issuer,
        settings: FleetSettings,
        room_timeouts: RoomTimeouts,
        reports: ServerReports,
        clock: IReactorTime,
        now: Callable[[], float],
        files: MatchFiles | None = None,
    ) -> None:
        """
        :param server_id: its label inside the realm.
        :param supply: starts and stops it, and gives it an address.
        :param issuer: signs its certificate.
        :param settings: realm, rooms of one process, and timeouts.
        :param room_timeouts: how long rooms may take.
        :param reports: called with what happens to it.
        :param clock: for the time that tickets may take.
        :param now: seconds on a clock that nobody sets.
        :param files: of its matches; ``None``: they have none of ours.
        """
        self.server_id = server_id
        self.figures: dict[str, float] = {}
        self.cookie_keys: tuple[CookieKeyReport, ...] = ()
        self.is_overloaded = self.has_listened = self.was_asked_to_leave = False
        self.rooms = HostedRooms(
            settings.policy.rooms_per_process,
            self.send,
            clock,
            now,
            room_timeouts,
            files,
        )
        self._supply, self._issuer, self._realm = supply, issuer, settings.realm
        self._reports, self._now = reports, now
        self._facts = ServerFacts(settings.timeouts, now() + settings.timeouts.start)
        self._life = open_server_life(self._facts)
        self._pid: int | None = None
        self._link: ControlLink | None = None
        self._beats = self._unanswered = 0
        # Its address: requested, being bound, bound; and the anchor for its players.
        self._wanted: Deferred[None] | None = None
        self._binding: Deferred[bool] | None = None
        self._port: int | None = None
        self._where: ServerAddress | None = None
        self._anchor = b""
        # For `Bind`, until players can reach it.
        self._credentials: Credentials | None = None
        self._token_keys: dict[str, bytes] = {}
        self._has_ended = False

    @property
    def stage(self) -> Stage:
        """The stage of its life."""
        return self._facts.stage

    def describe(self) -> ServerStatus:
        """Describe it to an operator."""
        return ServerStatus(
            stage=self.stage,
            pid=self._pid,
            port=self._port,
            matches=self.rooms.match_ids,
            figures=dict(self.figures),
        )

    # Calls of the supply (`IGameServer`).

    def wanted(self) -> Deferred[None]:
        """The result comes when a match needs it."""
        self._wanted = Deferred()
        return self._wanted

    def bind(self, interface: str, port: int) -> Deferred[bool]:
        """Have it bind a port; the result is ``True`` if it has."""
        credentials = self._credentials
        if credentials is None:
            return fail(NoCapacity(f"game server {self.server_id} has no certificate"))
        # Another authority may be signing by the time players are placed here.
        self._anchor = credentials.anchor
        self._port, self._binding = port, Deferred()
        self.send(
            Bind(
                interface=interface,
                port=port,
                server=self.server_id,
                realm=self._realm,
                certificate=credentials.issued.certificate,
                key=credentials.issued.key,
                token_keys=self._token_keys,
            )
        )
        return self._binding

    def ended(self, how: Exit) -> None:
        """Its process has ended."""
        self._has_ended, self._port, self._where = True, None, None
        is_expected = self.stage == "leaving" and (
            how.status == 0 or how.signal == SIGTERM
        )
        (self._log.debug if is_expected else self._log.info)(
            "game server {server} (process {pid}) ended: status {status}, "
            "signal {signal}",
            server=self.server_id,
            pid=how.pid,
            status=how.status,
            signal=how.signal,
        )
        self._do(self._life.exited)

    # Its process and its link.

    def start(self) -> None:
        """Have the supply start it."""
        self._supply.start(self).addCallbacks(self._reached, self._not_started)

    def need(self) -> None:
        """A match needs it: get it an address."""
        self._do(self._life.need)

    def arrived(self, ready: Ready, link: ControlLink) -> bool:
        """A process dialed with this id; ``False`` if it is not the right one."""
        if self.stage != "starting" or not self._supply.admits(
            self.server_id, ready.pid
        ):
            return False
        self._pid, self._link = ready.pid, link
        self.renew_certificate()
        self.trust(self._issuer.token_keys())
        self._do(self._life.dialed)
        return True

    def lost(self) -> None:
        """Its link is closed."""
        self._link = None
        self.rooms.unreachable()
        self._do(self._life.link_lost)

    def cut(self) -> None:
        """Close its link, which nothing waits for."""
        if self._link is not None:
            self._link.abort()

    def leave(self, ask: bool = True) -> None:
        """Let it end; *ask* it to unless it ends by itself."""
        self.was_asked_to_leave = True
        self._do(lambda now: self._life.leave(ask, now))

    def tick(self) -> None:
        """Check, each second, whether it is alive and on time."""
        now = self._now()
        if now >= self._facts.deadline:
            self._log.info(
                "game server {server} is late ({stage})",
                server=self.server_id,
                stage=self.stage,
            )
            self._do(self._life.overdue)
        elif self.stage in ("warm", "binding", "listening"):
            self._beat()
        if self._credentials is not None and now >= self._credentials.renew_at:
            self.renew_certificate()
        if self.stage == "listening" and (match_id := self.rooms.late()) is not None:
            self._log.error(
                "game server {server} does not answer for match {match_id}",
                server=self.server_id,
                match_id=match_id,
            )
            self._do(self._life.overdue)

    def _beat(self) -> None:
        if self._unanswered >= MISSED_HEARTBEATS:
            self._log.error("game server {server} hangs", server=self.server_id)
            self._do(self._life.overdue)
            return
        self._beats += 1
        self._unanswered += 1
        self.send(Heartbeat(self._beats))

    # Its keys.

    def renew_certificate(self) -> None:
        """
        Make the certificate that it will serve players with; not if it does now.

        If the authority cannot sign, it keeps the one that it has.
        """
        if self.has_listened:
            return
        renew_at = self._now() + RENEWAL_SECONDS
        try:
            issued = self._issuer.issue(self.server_id)
        except Misconfigured as error:
            self._log.error(
                "game server {server} gets no new certificate: {why}",
                server=self.server_id,
                why=str(error),
            )
            if self._credentials is not None:
                self._credentials = attrs.evolve(self._credentials, renew_at=renew_at)
        else:
            self._credentials = Credentials(issued, self._issuer.anchor, renew_at)

    def trust(self, token_keys: dict[str, bytes]) -> None:
        """Accept tokens of these keys once it is given a port."""
        self._token_keys = token_keys

    @property
    def has_keys(self) -> bool:
        """Was it sent token keys, and can players still connect?"""
        return self._port is not None and self.stage in ("binding", "listening")

    def rotate_cookies(self) -> None:
        """Have it make cookies with a new key."""
        self.send(RotateCookies())

    def send(self, message: ToServer, descriptors: tuple[int, ...] = ()) -> None:
        """
        Send it a message; no effect if it is known to be gone.

        :param message: the message.
        :param descriptors: open files that go with it, and are closed here.
        """
        if self._link is not None:
            self._link.send(message, descriptors)
            return
        for one in descriptors:
            os.close(one)

    def _reached(self, where: ServerAddress) -> None:
        if self.stage != "binding":
            return  # It is leaving already.
        self._where, self.has_listened, self._credentials = where, True, None
        self._reports.listening()
        self._do(self._life.reached)

    def _not_started(self, failure: Failure) -> None:
        if self._has_ended:
            return  # It was started, and its exit is known.
        self._log.error(
            "game server {server} not started: {why}",
            server=self.server_id,
            why=failure.getErrorMessage(),
        )
        self._do(self._life.exited)

    def _do(self, step: Callable[[float], None]) -> None:
        """Pass an event to its machine, and act on the outbox."""
        facts = self._facts
        before = facts.stage
        step(self._now())
        if facts.stage != before:
            self._reports.moved(self, before, facts.stage)
        effects, facts.outbox = facts.outbox, []
        for effect in effects:
            match effect:
                case Wanted():
                    if self._wanted is not None:
                        wanted, self._wanted = self._wanted, None
                        wanted.callback(None)
                case SayStop():
                    self.send(Stop())
                case Terminate():
                    self._supply.stop(self.server_id)
                case Kill():
                    self._supply.stop(self.server_id, kill=True)
                case CutLink():
                    self.cut()
                case Gone():
                    self._reports.gone(self)
        self._reports.changed()

    # Its messages.

    def received(self, message: AnyToNode) -> None:
        """
        Handle a message that it sent.

        :raises PeerError: the message is not allowed now; the process is killed.
        """
        try:
            self._received(message)
        except PeerError:
            self._do(self._life.overdue)
            raise

    def _received(self, message: AnyToNode) -> None:
        match message:
            case Alive():
                self._unanswered, self.figures = 0, message.figures
                self.is_overloaded = self.figures.get("overloaded", 0.0) > 0
                self.cookie_keys = message.cookie_keys
            case TokenKeysTaken(number):
                self._reports.keys_taken(self.server_id, number)
            case Bound() | BindFailed():
                self._port_answered(message)
            case RoomOpened(match_id):
                if (where := self._where) is not None:
                    anchor = self._anchor.decode("ascii")
                    self.rooms.opened(
                        match_id,
                        Placement(self.server_id, where.address, where.port, anchor),
                    )
            case TicketAdded(label):
                self.rooms.ticket_added(label)
            case SeatChanged(match_id, seat, state):
                self.rooms.seat_changed(match_id, seat, state)
            case MatchStarted(match_id):
                self.rooms.started(match_id)
            case RoundEnded(match_id, outcome):
                self.rooms.round_ended(match_id, outcome)
            case (
                RelayState()
                | RelayEvent()
                | RelayRefusal()
                | RelayTaken()
                | RelayFailed()
            ):
                self.rooms.relayed(message)
            case RoomEnded(end):
                if end.match_id in self.rooms:
                    self._reports.match_over(self, end.match_id)
                    self.rooms.ended(end)
                if self.rooms.is_used_up:
                    self._do(lambda now: self._life.leave(False, now))
                else:
                    self._reports.changed()
            case Ready():
                raise PeerError("a game server sends ready only once, at first")

    def _port_answered(self, answer: Bound | BindFailed) -> None:
        if self.stage == "leaving":
            return
        binding, self._binding = self._binding, None
        if self.stage != "binding" or binding is None or answer.port != self._port:
            raise PeerError(f"port {answer.port} was not requested")
        if isinstance(answer, Bound):
            binding.callback(True)
            return
        self._log.info(
            "port {port} cannot be bound: {why}", port=answer.port, why=answer.why
        )
        self._port = None
        self._life.bind_failed(self._now())
        self._reports.moved(self, "binding", self.stage)
        binding.callback(False)
        self._reports.changed()
