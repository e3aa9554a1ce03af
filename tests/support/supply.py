"""Game servers without processes: real control links, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.python.log import err
from zope.interface import implementer

from vinom.base.model import (
    Addresses,
    Exit,
    Issued,
    MatchEnd,
    MatchPlan,
    Placement,
    SeatPlan,
    ServerAddress,
    Ticket,
)
from vinom.errors import Misconfigured, NoCapacity
from vinom.fleet.control.link import ControlServer
from vinom.fleet.control.messages import (
    CONTROL_PROTOCOL,
    AddTicket,
    Alive,
    Bind,
    BindFailed,
    Bound,
    CloseRoom,
    Heartbeat,
    OpenRoom,
    Playing,
    Ready,
    RoomEnded,
    RoomOpened,
    Stop,
    TicketAdded,
    TokenKeys,
    TokenKeysTaken,
    ToNode,
    ToServer,
    decode_to_server,
    encode,
)
from vinom.fleet.fleet import Fleet
from vinom.fleet.interfaces import IFleet, IGameServer, IMatchWatch
from vinom.fleet.match import RoomTimeouts
from vinom.fleet.policy import PoolPolicy, RefillPacing
from vinom.fleet.pool import PoolMeans
from vinom.fleet.port_ring import GamePorts, PortRing, RelayedPorts
from vinom.fleet.records import MatchRecord, ServerRecord
from vinom.fleet.server import FleetSettings, Program
from vinom.net.frames import FrameReader


class MemoryTransport(StringTransport):
    """A transport whose connection can be lost, some time after it is aborted."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, self.protocol, self.is_lost = clock, None, False

    def loseConnection(self) -> None:
        self.clock.callLater(0, self.lose)

    def abortConnection(self) -> None:
        self.clock.callLater(0, self.lose)

    def lose(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            self.protocol.connectionLost(Failure(ConnectionDone()))


@attrs.define(eq=False)
class FakeGameServer:
    """
    One process and its link; obeys messages unless a test sets otherwise.

    :ivar heard: everything the node sent.
    :ivar ignores: kinds of messages that it does not answer.
    """

    supply: MemorySupply
    server: IGameServer
    server_id: str
    pid: int
    reached: Deferred[ServerAddress] | None = None
    transport: MemoryTransport | None = None
    heard: list[ToServer] = attrs.field(factory=list)
    ignores: set[type] = attrs.field(factory=set)
    rooms: list[str] = attrs.field(factory=list)
    port: int | None = None
    token_keys: dict[str, bytes] = attrs.field(factory=dict)
    is_alive: bool = True
    hosted: int = 0
    frames: FrameReader = attrs.field(factory=FrameReader)

    def dial(
        self,
        protocol: int = CONTROL_PROTOCOL,
        pid: int | None = None,
        matches: tuple[Playing, ...] = (),
    ) -> None:
        """Open the link."""
        self.transport = MemoryTransport(self.supply.clock)
        link = self.supply.factory.buildProtocol(None)
        self.transport.protocol = link
        link.makeConnection(self.transport)
        self.say(Ready(self.server_id, pid or self.pid, protocol, matches=matches))

    def dial_again(self) -> None:
        """Open another link, and report what is played."""
        playing = tuple(Playing(one, match_plan(one)) for one in self.rooms)
        self.dial(matches=playing)

    def say(self, message: ToNode) -> None:
        """Send the node a message."""
        if not self.transport.is_lost:
            self.transport.protocol.dataReceived(encode(message))

    def listen(self) -> bool:
        """Take what the node sent, and obey; was there anything?"""
        if self.transport is None:
            return False
        self.frames.receive(self.transport.value())
        self.transport.clear()
        was_told = False
        while (frame := self.frames.next_frame()) is not None:
            was_told = True
            message = decode_to_server(frame)
            self.heard.append(message)
            if self.is_alive and type(message) not in self.ignores:
                self.obey(message)
        return was_told

    def obey(self, message: ToServer) -> None:
        match message:
            case Bind():
                if message.port in self.supply.taken_ports:
                    self.say(BindFailed(message.port, "address in use"))
                else:
                    if message.port:
                        self.supply.taken_ports.add(message.port)
                    self.port = message.port
                    self.say(Bound(message.port))
            case OpenRoom():
                self.rooms.append(message.plan.match_id)
                self.say(RoomOpened(message.plan.match_id))
            case AddTicket():
                self.say(TicketAdded(message.ticket.label))
            case CloseRoom() if message.match_id in self.rooms:
                self.end_room(message.match_id, message.reason)
            case Heartbeat():
                self.say(Alive(message.number, {"rooms": float(len(self.rooms))}))
            case TokenKeys():
                self.token_keys = message.keys
                self.say(TokenKeysTaken(message.number))
            case Stop():
                for match_id in tuple(self.rooms):
                    self.say(RoomEnded(MatchEnd(match_id, "shutdown")))
                self.exit(0)

    def end_room(self, match_id: str | None = None, reason: str = "finished") -> None:
        """A match is over; a server that hosted all it may exits."""
        match_id = match_id or self.rooms[0]
        self.rooms.remove(match_id)
        self.hosted += 1
        self.say(RoomEnded(MatchEnd(match_id, reason)))
        if self.hosted == self.supply.rooms_per_process:
            self.exit(0)

    def exit(self, status: int | None = None, signal: int | None = None) -> None:
        """The process ends, and its link with it."""
        if not self.is_alive:
            return
        self.is_alive = False
        self.supply.taken_ports.discard(self.port)
        if self.transport is not None:
            self.transport.lose()
        self.supply.ports.give_back(self.server.server_id, self.server.keeps_address)
        self.server.ended(Exit(self.pid, status, signal))
        if self.reached is not None:
            reached, self.reached = self.reached, None
            reached.errback(NoCapacity("its process ended"))


@implementer(IFleet)
@attrs.define(eq=False)
class MemorySupply:
    """
    An `IFleet` whose processes are objects.

    :ivar refuses: no process can be had.
    :ivar is_slow: processes dial only when a test lets them.
    :ivar is_stubborn: a kill has no effect.
    :ivar asked: who got a signal that asks to end.
    :ivar taken_ports: ports that cannot be bound.
    """

    clock: Clock
    ports: GamePorts | RelayedPorts
    factory: ControlServer | None = None
    rooms_per_process: int = 1
    started: list[FakeGameServer] = attrs.field(factory=list)
    killed: list[str] = attrs.field(factory=list)
    asked: list[str] = attrs.field(factory=list)
    taken_ports: set[int] = attrs.field(factory=set)
    refuses: bool = False
    problem: str = ""
    refused: int = 0
    is_slow: bool = False
    is_stubborn: bool = False
    is_closed: bool = False
    called: list[str] = attrs.field(factory=list)
    played: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    ignores: set[type] = attrs.field(factory=set)

    def start(self, server: IGameServer) -> Deferred[ServerAddress]:
        if any(other.server_id == server.server_id for other in self.alive):
            raise ValueError(f"game server {server.server_id} was started already")
        if self.refuses or self.is_closed:
            self.refused += 1
            return fail(NoCapacity("no processes today"))
        pid = 1000 + len(self.started)
        fake = FakeGameServer(
            self, server, server.server_id, pid, ignores=set(self.ignores)
        )
        self.started.append(fake)
        if not self.is_slow:
            self.clock.callLater(0, fake.dial)

        def give_up(_: object) -> None:
            fake.reached = None
            fake.exit(signal=9)

        def reach(where: ServerAddress) -> None:
            if fake.reached is not None:
                reached, fake.reached = fake.reached, None
                reached.callback(where)

        def not_reached(failure: Failure) -> None:
            # As `vinom.fleet.local.fleet` does, now: not when the failure is collected.
            if failure.check(CancelledError) is None:
                err(failure)

        fake.reached = reached = Deferred(give_up)
        reaching = Deferred.fromCoroutine(self.ports.reach(server)).addCallback(reach)
        reaching.addErrback(not_reached)
        return reached

    def admits(self, server_id: str, pid: int, proof: bytes = b"") -> bool:
        return any(s.server_id == server_id and s.pid == pid for s in self.alive)

    def welcome(self, server_id: str) -> bytes:
        return b""

    def plays(self, server_id: str, match_ids: tuple[str, ...]) -> None:
        self.played[server_id] = tuple(match_ids)

    def handle(self, server_id: str) -> str:
        found = [str(s.pid) for s in self.alive if s.server_id == server_id]
        return found[0] if found else ""

    def mailbox(self, server_id: str) -> tuple[int, ...]:
        return ()

    def adopt(self, server: IGameServer, handle: str, where: ServerAddress) -> bool:
        for fake in self.alive:
            if str(fake.pid) == handle and fake.server_id == server.server_id:
                fake.supply, fake.server = self, server
                self.ports.withhold(server.server_id, where.port)
                return True
        return False

    def call(self, server_id: str) -> None:
        self.called.append(server_id)

    def release(self, server_id: str) -> None:
        self.started = [s for s in self.started if s.server_id != server_id]

    @property
    def addresses(self) -> Callable[[], Addresses]:
        return self.ports.counts

    def free(self, where: ServerAddress) -> None:
        self.ports.free(where)

    def stop(self, server_id: str, kill: bool = False) -> None:
        (self.killed if kill else self.asked).append(server_id)
        for server in self.started:
            if server.server_id == server_id and not self.is_stubborn:
                server.exit(signal=9 if kill else 15)

    def close(self) -> Deferred[None]:
        self.is_closed = True
        for server in self.started:
            server.exit(signal=15)
        return succeed(None)

    @property
    def alive(self) -> list[FakeGameServer]:
        """Those whose process runs."""
        return [server for server in self.started if server.is_alive]

    def hosting(self, match_id: str) -> FakeGameServer:
        """The game server that has this match."""
        return next(s for s in self.alive if match_id in s.rooms)


class FakeIssuer:
    """Issues nothing of worth."""

    def __init__(self) -> None:
        self.anchor, self.keys = b"ANCHOR", {"k1": b"PUBLIC"}
        self.issued: list[str] = []
        self.has_expired = False

    def issue(self, server: str) -> Issued:
        if self.has_expired:
            raise Misconfigured("the authority has expired")
        self.issued.append(server)
        return Issued(b"LEAF OF " + server.encode(), b"KEY")

    def token_keys(self) -> dict[str, bytes]:
        return self.keys


@implementer(IMatchWatch)
class RecordingWatch:
    """Remembers what it was sent."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.ends: list[MatchEnd] = []
        self.resumptions: list[Placement] = []

    def delayed(self, match_id: str, why: str) -> None:
        self.told.append(("delayed", match_id))
        self.why = why

    def started(self, match_id: str) -> None:
        self.told.append(("started", match_id))

    def seat_changed(self, match_id: str, seat: int, state: str) -> None:
        self.told.append(("seat", match_id, seat, state))

    def resumed(self, match_id: str, placement: Placement) -> None:
        self.resumptions.append(placement)

    def round_ended(self, match_id: str, outcome: dict[str, object]) -> None:
        self.told.append(("round", match_id, outcome))

    def ended(self, end: MatchEnd) -> None:
        self.ends.append(end)


def game_ports(clock: Clock, ports: int) -> GamePorts:
    """Addresses from port 46000 on."""
    ring = PortRing(46000, 46000 + ports - 1)
    return GamePorts(ring, "127.0.0.1", "play.example", clock.seconds)


class MemoryRecords:
    """
    What a node has written down.

    :ivar written: by game server.
    :ivar is_in_doubt: another node may have them.
    :ivar asked: who waits to know it.
    """

    def __init__(self) -> None:
        self.written: dict[str, ServerRecord] = {}
        self.is_in_doubt = False
        self.asked: dict[str, list[Deferred[bool]]] = {}

    def record(self, plan: MatchPlan, hosts: tuple[str, ...]) -> MatchRecord:
        return MatchRecord(plan, 1.0, hosts)

    def write(self, record: ServerRecord) -> None:
        self.written[record.server_id] = record

    def forget(self, server_id: str) -> None:
        self.written.pop(server_id, None)

    def is_ours(self, server_id: str) -> bool:
        return not self.is_in_doubt

    def settled(self, server_id: str) -> Deferred[bool]:
        settled: Deferred[bool] = Deferred()
        self.asked.setdefault(server_id, []).append(settled)
        return settled


class MemoryFiles:
    """
    Files of matches that are none.

    :ivar taken: called with what of a recording its process may not have written.
    """

    def __init__(self) -> None:
        self.taken: Callable[[tuple[int, bytes]], None] = lambda _: None
        self.appended: list[tuple[str, int, int, bytes, bool]] = []

    def lend(self, match_id: str, part: int = 1) -> tuple[int, ...]:
        return ()

    def append(
        self, match_id: str, part: int, at: int, data: bytes, is_report: bool = False
    ) -> None:
        self.appended.append((match_id, part, at, data, is_report))

    def take_back(
        self,
        match_id: str,
        is_over: bool = True,
        part: int = 1,
        last: tuple[int, bytes] = (0, b""),
    ) -> None:
        self.taken(last)


class FleetWorld:
    """
    A `Fleet`, its game servers, and the time.

    :param own: games that have a program of their own.
    """

    def __init__(
        self,
        ports: int | RelayedPorts = 4,
        warm: int = 0,
        most: int = 50,
        rooms_per_process: int = 1,
        longest: float = 100.0,
        seed: int = 7,
        stored: frozenset[str] = frozenset(),
        own: tuple[str, ...] = (),
    ) -> None:
        self.clock, self.records = Clock(), MemoryRecords()
        self.files, self.issuer = MemoryFiles(), FakeIssuer()
        self.ports = game_ports(self.clock, ports) if isinstance(ports, int) else ports
        self.supplies = {
            name: MemorySupply(
                self.clock, self.ports, rooms_per_process=rooms_per_process
            )
            for name in ("maze", *own)
        }
        self.supply = self.supplies["maze"]
        settings = FleetSettings(
            "game.vinom",
            PoolPolicy(warm, most, rooms_per_process),
            has_udp=isinstance(ports, int),
        )
        self.fleet = Fleet(
            PoolMeans(
                self.issuer,
                self.clock,
                self.clock.seconds,
                Random(seed).randbytes,
                RoomTimeouts(dict.fromkeys(self.supplies, longest), stored=stored),
                lambda plan, data: "",
            ),
            Program(self.supply, settings, self.files, self.records),
            {name: Program(self.supplies[name], settings) for name in own},
        )
        for supply in self.supplies.values():
            supply.factory = ControlServer(self.clock, self.fleet.arrived)
        self.watch = RecordingWatch()
        self.fleet.startService()
        self.settle()

    def settle(self) -> None:
        """Let everything happen that takes no time."""
        is_due = True
        while is_due:
            self.clock.advance(0)
            started = [one for each in self.supplies.values() for one in each.started]
            told = [server.listen() for server in started]
            due = [c for c in self.clock.calls if c.time <= self.clock.rightNow]
            is_due = any(told) or bool(due)

    def wait(self, seconds: int) -> None:
        """Let time pass, a second at a time."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.settle()

    def after(self, dead: FleetWorld) -> list[bool]:
        """
        Be the node after one that was killed.

        :returns: for each game server that it has written down, whether it is there.
        """
        self.supply.started += dead.supply.started
        for fake in self.supply.started:
            if fake.transport is not None:
                # Nobody is there to see the end of the link.
                fake.transport.is_lost = True
        self.records.written = dict(dead.records.written)
        return [
            self.fleet.continuity.adopt(record, self.watch)
            for record in tuple(self.records.written.values())
        ]

    def refill(self) -> None:
        """Let the fleet start others in place of those that were just taken."""
        self.clock.advance(RefillPacing().after)
        self.settle()

    def place(self, match_id: str, game: str = "maze") -> Deferred[Placement]:
        """Ask for a game server."""
        plan = attrs.evolve(match_plan(match_id), game=game)
        placed = self.fleet.place(plan, [ticket(match_id, 0)], self.watch)
        self.settle()
        return placed

    def host(self, match_id: str) -> FakeGameServer:
        """Ask for a game server, and return it."""
        self.place(match_id)
        return self.supply.hosting(match_id)

    def counts(self) -> tuple[int, int, int]:
        """Ports free, bound and quarantined."""
        status = self.fleet.status()
        return status.ports_free, status.ports_bound, status.ports_quarantined

    def reasons(self) -> dict[str, str]:
        """Why matches ended; fails if one ended twice."""
        ids = [end.match_id for end in self.watch.ends]
        assert len(ids) == len(set(ids)), f"ended twice: {ids}"
        return {end.match_id: end.reason for end in self.watch.ends}


def hosting(**options: Any) -> tuple[FleetWorld, FakeGameServer]:
    """Make a fleet, one game server of which has the match m1."""
    world = FleetWorld(**options)
    return world, world.host("m1")


def match_plan(match_id: str) -> MatchPlan:
    """A match of two."""
    return MatchPlan(
        match_id, "maze", (SeatPlan("p1", "Ann"), SeatPlan("p2", "Bob")), 1
    )


def ticket(match_id: str, seat: int, letter: str = "a") -> Ticket:
    """A ticket that lets somebody in."""
    return Ticket(letter * 26, match_id, seat, 1e9)
