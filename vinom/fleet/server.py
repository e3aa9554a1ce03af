"""
One game server as its node sees it: its process, its link and its rooms.

The rooms of one game server: opened, watched for lateness, and ended once.

What the fleet is told, what it tells, and what it asks an authority for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from signal import SIGTERM
from typing import Any, Literal, Protocol

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.control.messages import (
    AddTicket,
    Alive,
    AnyToNode,
    Bind,
    BindFailed,
    Bound,
    CloseRoom,
    CookieKeyTold,
    FromRelayed,
    Heartbeat,
    Kick,
    MatchStarted,
    OpenRoom,
    Ready,
    RelayEvent,
    RelayFailed,
    RelayRefusal,
    RelayState,
    RelayTaken,
    RelayWatch,
    RoomEnded,
    RoomOpened,
    RotateCookies,
    RoundEnded,
    SeatChanged,
    Stop,
    TicketAdded,
    TokenKeys,
    TokenKeysTaken,
    ToRelayed,
    ToServer,
)
from vinom.errors import NoCapacity, PeerError
from vinom.fleet.life import (
    BindPort,
    CutLink,
    Gone,
    Kill,
    Patience,
    PortFree,
    PortSpoilt,
    SayStop,
    ServerFacts,
    Stage,
    Terminate,
    open_server_life,
)
from vinom.fleet.pool import QUARANTINE_SECONDS, PoolPolicy
from vinom.model import Exit, MatchEnd, MatchPlan, Placement, Ticket
from vinom.ports import IFleet, IMatchWatch


@attrs.frozen
class RoomPatience:
    """
    How long a room may take, seconds; what is late is closed, then killed.

    :ivar open: from `OpenRoom` to its answer.
    :ivar join: from there to the first player.
    :ivar grace: on top of what the room should see to itself.
    :ivar ticket: from `AddTicket` to its answer.
    :ivar longest: how long a match can be at most.
    """

    longest: Callable[[MatchPlan], float]
    open: float = 10.0
    join: float = 10.0
    grace: float = 5.0
    ticket: float = 5.0


@attrs.define(eq=False)
class Hosting:
    """
    One wish for a place to play.

    :ivar placed: fires with the place; ``None`` when it did, or nobody cares.
    :ivar relay: hears what players of the node are told; see `Fleet.host`.
    :ivar attempts: game servers that were asked.
    """

    plan: MatchPlan
    tickets: tuple[Ticket, ...]
    watch: IMatchWatch
    placed: Deferred[Placement] | None = None
    relay: Callable[[FromRelayed], None] | None = None
    attempts: int = 0
    is_withdrawn: bool = False

    @property
    def match_id(self) -> str:
        return self.plan.match_id

    def fail(self, why: str) -> None:
        """There is no place for it."""
        if self.placed is not None:
            placed, self.placed = self.placed, None
            placed.errback(NoCapacity(why))

    def place(self, placement: Placement) -> None:
        """It is played here."""
        if self.placed is not None:
            placed, self.placed = self.placed, None
            placed.callback(placement)


@attrs.define(eq=False)
class _Room:
    """
    A match on this game server.

    :ivar stage: "closing" when it was told to close because it is late.
    :ivar deadline: when it is late.
    :ivar ends_by: latest end of the match.
    :ivar verdict: why it is over if nobody says so.
    """

    hosting: Hosting
    deadline: float
    stage: Literal["opening", "open", "played", "closing"] = "opening"
    ends_by: float = inf
    verdict: str = "lost"


class HostedRooms:
    """
    What one game server plays.

    :param rooms: how many it hosts in its life.
    :param send: tells it something.
    """

    _log = Logger()

    def __init__(
        self,
        rooms: int,
        send: Callable[[ToServer], None],
        clock: IReactorTime,
        now: Callable[[], float],
        patience: RoomPatience,
    ) -> None:
        self.spare = rooms
        self._send, self._clock, self._now = send, clock, now
        self._patience = patience
        self._rooms: dict[str, _Room] = {}
        self._tickets: dict[str, tuple[str, Deferred[None]]] = {}

    @property
    def match_ids(self) -> list[str]:
        """The matches that are not over."""
        return list(self._rooms)

    @property
    def is_used_up(self) -> bool:
        """Was the last room it could host closed?"""
        return not self._rooms and not self.spare

    # What the fleet wants.

    def open(self, hosting: Hosting) -> None:
        """Host a match."""
        self.spare -= 1
        hosting.attempts += 1
        late_at = self._now() + self._patience.open
        self._rooms[hosting.match_id] = _Room(hosting, late_at)
        is_relayed = hosting.relay is not None
        self._send(OpenRoom(hosting.plan, hosting.tickets, is_relayed))

    def pass_on(self, message: ToRelayed) -> None:
        """Tell a match what a player of the node did."""
        if message.match_id in self._rooms:
            self._send(message)

    def follow(
        self, match_id: str, relay: Callable[[FromRelayed], None] | None
    ) -> None:
        """Hear what players of the node are told, or no more."""
        room = self._rooms.get(match_id)
        if room is not None:
            room.hosting.relay = relay
            self._send(RelayWatch(match_id, relay is not None))

    def close(self, match_id: str, reason: str) -> None:
        """End a match."""
        if match_id in self._rooms:
            self._send(CloseRoom(match_id, reason))

    def kick(self, match_id: str, seat: int) -> None:
        """Remove a player for good."""
        if match_id in self._rooms:
            self._send(Kick(match_id, seat))

    def add_ticket(self, ticket: Ticket) -> Deferred[None]:
        """
        Let one more handshake in.

        :raises NoCapacity: the match is over, or nobody answers.
        """
        if ticket.match_id not in self._rooms:
            return fail(NoCapacity("the match is over"))

        def too_late(_: object, seconds: float) -> None:
            self._tickets.pop(ticket.label, None)
            raise NoCapacity(f"the game server did not answer for {seconds} s")

        added: Deferred[None] = Deferred()
        added.addTimeout(self._patience.ticket, self._clock, onTimeoutCancel=too_late)
        self._tickets[ticket.label] = (ticket.match_id, added)
        self._send(AddTicket(ticket))
        return added

    def late(self) -> str | None:
        """
        Close what is late.

        :returns: the match of a room that does not even close (or open): its
            process must be ended.
        """
        now = self._now()
        for match_id, room in tuple(self._rooms.items()):
            if now < room.deadline:
                continue
            if room.stage in ("opening", "closing"):
                return match_id
            room.verdict = "void" if room.stage == "open" else "time_limit"
            room.stage, room.deadline = "closing", now + self._patience.grace
            self.close(match_id, room.verdict)
        return None

    # What the game server tells.

    def opened(self, match_id: str, placement: Placement) -> None:
        """Players may come."""
        room = self._rooms.get(match_id)
        if room is None or room.stage != "opening":
            return
        late = self._now() + self._patience.grace
        room.stage, room.deadline = "open", late + self._patience.join
        if room.hosting.relay is None:
            room.ends_by = late + self._patience.longest(room.hosting.plan)
        room.hosting.place(placement)

    def ticket_added(self, label: str) -> None:
        """This ticket is known."""
        _, added = self._tickets.pop(label, (None, None))
        if added is not None:
            added.callback(None)

    def seat_changed(self, match_id: str, seat: int, state: str) -> None:
        """A seat's connection changed."""
        room = self._rooms.get(match_id)
        if room is not None and room.stage == "open":
            # Somebody came: the room sees to the others.
            room.stage, room.deadline = "played", room.ends_by
        self._tell(match_id, lambda watch: watch.seat_changed(match_id, seat, state))

    def started(self, match_id: str) -> None:
        """Match time runs."""
        self._tell(match_id, lambda watch: watch.started(match_id))

    def round_ended(self, match_id: str, outcome: dict[str, Any]) -> None:
        """A round has an outcome."""
        self._tell(match_id, lambda watch: watch.round_ended(match_id, outcome))

    def relayed(self, message: FromRelayed) -> None:
        """What players of the node are to be told."""
        room = self._rooms.get(message.match_id)
        if room is not None and (relay := room.hosting.relay) is not None:
            self._call(room.hosting, lambda _: relay(message))

    def ended(self, end: MatchEnd) -> None:
        """A match is over."""
        room = self._rooms.pop(end.match_id, None)
        if room is None:
            return
        self._fail_tickets(end.match_id)
        self._end(room, end)

    def unreachable(self) -> None:
        """The game server hears nothing any more."""
        for match_id in self._rooms:
            self._fail_tickets(match_id)

    def gone(self, verdict: str | None) -> list[Hosting]:
        """
        The game server is gone, and its matches with it.

        :param verdict: why, if not for the usual reasons.
        :returns: those that had not begun: they can be played elsewhere.
        """
        self.unreachable()
        rooms, self._rooms = self._rooms, {}
        displaced = []
        for room in rooms.values():
            if room.stage == "opening" and verdict is None:
                displaced.append(room.hosting)
            else:
                why = verdict or room.verdict
                self._end(room, MatchEnd(room.hosting.match_id, why))
        return displaced

    def _end(self, room: _Room, end: MatchEnd) -> None:
        hosting = room.hosting
        self._call(hosting, lambda watch: watch.ended(end))
        hosting.fail(f"the match is over: {end.reason}")

    def _tell(self, match_id: str, step: Callable[[IMatchWatch], Any]) -> None:
        room = self._rooms.get(match_id)
        if room is not None:
            self._call(room.hosting, step)

    def _call(self, hosting: Hosting, step: Callable[[IMatchWatch], Any]) -> None:
        if hosting.is_withdrawn:
            return
        try:
            step(hosting.watch)
        except Exception:
            self._log.failure("not dealt with", match_id=hosting.match_id)

    def _fail_tickets(self, of_match: str) -> None:
        for label, (match_id, added) in tuple(self._tickets.items()):
            if match_id == of_match:
                del self._tickets[label]
                added.errback(NoCapacity("the match's game server is gone"))


class IssuedCertificate(Protocol):
    """What a game server proves itself with; both PEM."""

    @property
    def certificate(self) -> bytes:
        """Leaf and chain."""

    @property
    def key(self) -> bytes:
        """The leaf's private key."""


class Issuer(Protocol):
    """What the fleet asks of `vinom.keys.authority.Authority`."""

    @property
    def anchor(self) -> bytes:
        """What players verify game servers with, PEM."""

    def issue(self, server: str) -> IssuedCertificate:
        """Make a certificate for one game server."""

    def token_keys(self) -> dict[str, bytes]:
        """The keys that connect tokens are verified with, by id."""


@attrs.frozen
class FleetSettings:
    """
    What the operator decides.

    :ivar realm: domain that game servers' names end with.
    :ivar interface: address that game servers bind.
    :ivar advertise: host that players are told.
    :ivar ports: lowest and highest UDP port.
    :ivar stop_seconds: time to say goodbye when the node stops.
    """

    realm: str
    ports: tuple[int, int]
    interface: str = "127.0.0.1"
    advertise: str = "127.0.0.1"
    policy: PoolPolicy = attrs.field(factory=PoolPolicy)
    patience: Patience = attrs.field(factory=Patience)
    quarantine_seconds: float = QUARANTINE_SECONDS
    stop_seconds: float = 3.0


@attrs.frozen
class ServerStatus:
    """
    One game server, for operators.

    :ivar pid: of its process; ``None`` until it has one.
    :ivar port: that it has or is to bind.
    :ivar matches: the ids of those that it hosts.
    :ivar figures: what it told last; see `vinom.reactor.figures`.
    """

    stage: str
    pid: int | None
    port: int | None
    matches: tuple[str, ...]
    figures: Mapping[str, float]


@attrs.frozen
class FleetStatus:
    """
    What there is, for operators and metrics.

    :ivar servers: game servers by stage of their life.
    :ivar waiting: matches without a place.
    :ivar rooms: matches with one.
    :ivar game_servers: each, by its id.
    """

    servers: Mapping[str, int]
    ports_free: int
    ports_bound: int
    ports_quarantined: int
    waiting: int
    rooms: int
    is_draining: bool
    game_servers: Mapping[str, ServerStatus]


#: Heartbeats without an answer after which a game server hangs.
MISSED_HEARTBEATS = 3


class Link(Protocol):
    """A way to talk to a game server: `vinom.control.link.ControlLink`."""

    def send(self, message: ToServer) -> None:
        """Tell it; in vain when it is gone."""

    def abort(self) -> None:
        """Close at once."""


class Home(Protocol):
    """What a game server tells the fleet it belongs to."""

    def bind_order(self, server_id: str, port: int) -> Bind:
        """Make what a game server needs to listen on this port."""

    def placement(self, server_id: str, port: int) -> Placement:
        """Tell where players find it."""

    def keys_taken(self, server_id: str, number: int) -> None:
        """A game server accepts the token keys of this message."""

    def port_free(self, port: int) -> None:
        """Nobody has this port any more."""

    def port_spoilt(self, port: int) -> None:
        """Somebody else has this port."""

    def listening(self) -> None:
        """A game server came to life, and has a port."""

    def gone(self, server: GameServer) -> None:
        """It is over; its rooms are to be told."""

    def changed(self) -> None:
        """There may be something to do."""


class GameServer:
    """
    Start it, give it a port and matches, watch it, and see it to its end.

    :ivar figures: the latest that it told, by name.
    :ivar cookie_keys: likewise, without their secrets.
    :ivar anchor: what players verify it with, PEM; it has it with its port.
    """

    _log = Logger()

    def __init__(
        self,
        server_id: str,
        rooms: int,
        home: Home,
        supply: IFleet,
        clock: IReactorTime,
        now: Callable[[], float],
        patience: Patience,
        room_patience: RoomPatience,
    ) -> None:
        self.server_id = server_id
        self.figures: dict[str, float] = {}
        self.cookie_keys: tuple[CookieKeyTold, ...] = ()
        self.anchor = b""
        self.has_listened = self.was_told_to_leave = False
        self.rooms = HostedRooms(rooms, self._send, clock, now, room_patience)
        self._home, self._supply, self._now = home, supply, now
        self._facts = ServerFacts(patience, now() + patience.start)
        self._life = open_server_life(self._facts)
        self._pid: int | None = None
        self._link: Link | None = None
        self._beats = self._unanswered = 0

    @property
    def stage(self) -> Stage:
        """Where in its life it is."""
        return self._facts.stage

    @property
    def is_overloaded(self) -> bool:
        """Did it tell last that it has too much to do for new players?"""
        return self.figures.get("overloaded", 0.0) > 0

    def describe(self) -> ServerStatus:
        """Show it to an operator."""
        return ServerStatus(
            stage=self.stage,
            pid=self._pid,
            port=self._facts.port,
            matches=tuple(self.rooms.match_ids),
            figures=dict(self.figures),
        )

    # Its process and its link.

    def start(self) -> None:
        """Get it a process."""
        self._supply.start(self.server_id, self._exited).addCallbacks(
            self._started, self._not_started
        )

    def arrived(self, ready: Ready, link: Link) -> bool:
        """A process says that it is this one; ``False`` if it cannot be."""
        if self.stage != "starting" or self._pid not in (None, ready.pid):
            return False
        self._link = link
        self._do(lambda now: self._life.dialed(now))
        return True

    def lost(self) -> None:
        """Its link is closed."""
        self._link = None
        self.rooms.unreachable()
        self._do(lambda now: self._life.link_lost(now))

    def cut(self) -> None:
        """Nobody waits for its link any more."""
        if self._link is not None:
            self._link.abort()

    def leave(self, ask: bool = True) -> None:
        """Let it end; *ask* if it does not know that itself."""
        self.was_told_to_leave = True
        self._do(lambda now: self._life.leave(ask, now))

    def tick(self) -> None:
        """A second went by: is it alive, and on time?"""
        now = self._now()
        if now >= self._facts.deadline:
            self._log.info(
                "game server {server} is late ({stage})",
                server=self.server_id,
                stage=self.stage,
            )
            self._do(lambda now: self._life.overdue(now))
        elif self.stage in ("warm", "binding", "listening"):
            self._beat()
        if self.stage == "listening" and (match_id := self.rooms.late()) is not None:
            self._log.error(
                "game server {server} does not answer for match {match_id}",
                server=self.server_id,
                match_id=match_id,
            )
            self._do(lambda now: self._life.overdue(now))

    def _beat(self) -> None:
        if self._unanswered >= MISSED_HEARTBEATS:
            self._log.error("game server {server} hangs", server=self.server_id)
            self._do(lambda now: self._life.overdue(now))
            return
        self._beats += 1
        self._unanswered += 1
        self._send(Heartbeat(self._beats))

    @property
    def has_keys(self) -> bool:
        """Was it told token keys, and may players still come?"""
        return self.stage in ("binding", "listening")

    def tell_keys(self, message: TokenKeys) -> None:
        """Have it accept these token keys and no others."""
        self._send(message)

    def rotate_cookies(self) -> None:
        """Have it make cookies with a new key."""
        self._send(RotateCookies())

    def _started(self, pid: int) -> None:
        self._pid = pid

    def _not_started(self, failure: Failure) -> None:
        self._log.error(
            "game server {server} not started: {why}",
            server=self.server_id,
            why=failure.getErrorMessage(),
        )
        self._do(lambda now: self._life.exited(now))

    def _exited(self, how: Exit) -> None:
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
        self._do(lambda now: self._life.exited(now))

    def _do(self, step: Callable[[float], None]) -> None:
        """Let something happen to it, and act on what follows."""
        step(self._now())
        effects, self._facts.outbox = self._facts.outbox, []
        for effect in effects:
            match effect:
                case BindPort(port):
                    self._send(self._home.bind_order(self.server_id, port))
                case PortFree(port):
                    self._home.port_free(port)
                case PortSpoilt(port):
                    self._home.port_spoilt(port)
                case SayStop():
                    self._send(Stop())
                case Terminate():
                    self._supply.stop(self.server_id)
                case Kill():
                    self._supply.stop(self.server_id, kill=True)
                case CutLink():
                    self.cut()
                case Gone():
                    self._home.gone(self)
        self._home.changed()

    def _send(self, message: ToServer) -> None:
        # Nothing is written to a process that is known to be gone.
        if self._link is not None:
            self._link.send(message)

    def assign(self, port: int) -> None:
        """Let it bind a port."""
        self._do(lambda now: self._life.assign(port, now))

    # What it says.

    def received(self, message: AnyToNode) -> None:
        """
        It said something.

        :raises PeerError: which makes no sense now; it is ended.
        """
        try:
            self._hear(message)
        except PeerError:
            self._do(lambda now: self._life.overdue(now))
            raise

    def _hear(self, message: AnyToNode) -> None:
        match message:
            case Alive():
                self._unanswered, self.figures = 0, message.figures
                self.cookie_keys = message.cookie_keys
            case TokenKeysTaken(number):
                self._home.keys_taken(self.server_id, number)
            case Bound() | BindFailed():
                self._port_answered(message)
            case RoomOpened(match_id):
                if self._facts.port is not None:
                    placement = self._home.placement(self.server_id, self._facts.port)
                    self.rooms.opened(match_id, placement)
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
                self.rooms.ended(end)
                if self.rooms.is_used_up:
                    self._do(lambda now: self._life.leave(False, now))
                else:
                    self._home.changed()
            case Ready():
                raise PeerError("a game server names itself once")

    def _port_answered(self, answer: Bound | BindFailed) -> None:
        if self.stage == "leaving":
            return
        if self.stage != "binding" or answer.port != self._facts.port:
            raise PeerError(f"port {answer.port} was not asked for")
        if isinstance(answer, Bound):
            self.has_listened = True
            self._home.listening()
            self._do(lambda now: self._life.bound(now))
        else:
            self._log.info(
                "port {port} cannot be bound: {why}", port=answer.port, why=answer.why
            )
            self._do(lambda now: self._life.bind_failed(now))
