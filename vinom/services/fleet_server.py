"""One game server as its node sees it: its process, its link and its rooms."""

from __future__ import annotations

from collections.abc import Callable
from signal import SIGTERM
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.errors import PeerError
from vinom.interfaces import IFleet
from vinom.model import Exit, Placement
from vinom.rules.server_life import (
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
from vinom.services.fleet_rooms import HostedRooms, RoomPatience
from vinom.services.fleet_settings import ServerStatus
from vinom.wire.control import (
    Alive,
    AnyToNode,
    Bind,
    BindFailed,
    Bound,
    CookieKeyTold,
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
    TokenKeys,
    TokenKeysTaken,
    ToServer,
)

#: Heartbeats without an answer after which a game server hangs.
MISSED_HEARTBEATS = 3


class Link(Protocol):
    """A way to talk to a game server: `vinom.net.control.ControlLink`."""

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
