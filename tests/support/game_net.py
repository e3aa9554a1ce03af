"""A game server and real players, joined by a network that lives on a clock."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import msgpack
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock

from tests.support.certificates import authority, leaf, signing_key
from tests.support.dtls import BEGINNING
from tests.support.games import Teller, Ticking
from vinom.base.model import MatchEnd, MatchPlan, SeatPlan, Ticket
from vinom.base.reactor.alarm import Alarm
from vinom.base.tokens import Claims, TokenSigner
from vinom.fleet.control.checkpoints import apply_change
from vinom.fleet.control.messages import (
    Bind,
    Kept,
    Kick,
    OpenRoom,
    RoomEnded,
    SeatChanged,
    ToNode,
)
from vinom.fleet.gameserver.lease import LEASE_SECONDS
from vinom.fleet.gameserver.matches import GameServerOptions
from vinom.fleet.gameserver.player_port import PortLimits
from vinom.fleet.gameserver.seats import ConnectionLimits, Runtime
from vinom.fleet.gameserver.server import GameServer, ProcessHooks
from vinom.game import Game
from vinom.net.dtls.bad_network import Conditioner, Conditions
from vinom.net.dtls.channel import Connected, Disconnected, Received
from vinom.net.dtls.client import ClientEvent, DtlsClient
from vinom.net.dtls.client_port import ClientPort
from vinom.net.packets.player import (
    EventArrived,
    Joined,
    MatchOver,
    PlayerEvent,
    PlayerLink,
    Rejected,
    StateArrived,
)
from vinom.net.packets.reliable import LinkState
from vinom.play.play import Recorded
from vinom.play.recording import Part

HOST, PORT = "192.0.2.7", 46000
REALM = "game.vinom"

#: Decides whether a datagram is lost, by its sender and its bytes.
Losing = Callable[[tuple[str, int], bytes], bool]


class MemoryUdp:
    """One UDP socket of a `BadReactor`."""

    def __init__(self, net: BadReactor, protocol: Any, address: tuple[str, int]):
        self.net, self.protocol, self.address = net, protocol, address
        self.peer: tuple[str, int] | None = None

    def connect(self, host: str, port: int) -> None:
        self.peer = (host, port)

    def write(self, datagram: bytes, address: tuple[str, int] | None = None) -> None:
        to = address or self.peer
        assert to is not None
        self.net.carry(self.address, bytes(datagram), to)

    def stopListening(self) -> None:
        if self.net.sockets.pop(self.address, None) is self:
            self.protocol.doStop()


class BadReactor(Clock):
    """
    A clock with UDP on it.

    :ivar worn: what its network does to datagrams.
    :ivar taken: ports that cannot be had.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.rightNow = BEGINNING
        self.worn = Conditioner(self, Conditions(delay=0.005), seed)
        self.losing: Losing = lambda sender, datagram: False
        self.sockets: dict[tuple[str, int], MemoryUdp] = {}
        self.taken: set[int] = set()
        self._next = 50000

    def listenUDP(self, port: int, protocol: Any, **_: Any) -> MemoryUdp:
        if port in self.taken:
            raise CannotListenError(HOST, port, OSError("in use"))
        self._next += 1
        address = (HOST, port) if port else ("192.0.2.1", self._next)
        socket = self.sockets[address] = MemoryUdp(self, protocol, address)
        protocol.makeConnection(socket)
        return socket

    def carry(
        self, sender: tuple[str, int], datagram: bytes, to: tuple[str, int]
    ) -> None:
        if not self.losing(sender, datagram):
            self.worn.outgoing(datagram, to, partial(self._arrive, sender))

    def _arrive(
        self, sender: tuple[str, int], datagram: bytes, to: tuple[str, int]
    ) -> None:
        if (receiver := self.sockets.get(to)) is not None:
            receiver.protocol.datagramReceived(datagram, sender)

    def run(self, seconds: float, step: float = 0.01) -> None:
        """Let time pass."""
        for _ in range(round(seconds / step)):
            self.advance(step)


class MemoryRecording:
    """What one match would have written down."""

    def __init__(self) -> None:
        self.recorded: list[Recorded] = []
        self.part: Part | None = None
        self.end: MatchEnd | None = None
        self.report: str | None = None
        self.held = b"all"

    @property
    def length(self) -> int:
        return len(self.recorded)

    taken = length

    @property
    def has_inputs(self) -> bool:
        return bool(self.recorded)

    def news(self, is_all: bool = False) -> bytes:
        return self.held if is_all else b""

    def record(self, recorded: Recorded) -> None:
        self.recorded.append(recorded)

    def close(self, end: MatchEnd, state: Any, report: str | None = None) -> str:
        self.end, self.report = end, report
        return "" if report is None else "/reports/m1"


class MemoryRecordings:
    """Recordings by match."""

    stopped = 0

    def __init__(self) -> None:
        self.matches: dict[str, MemoryRecording] = {}

    def open(
        self,
        plan: MatchPlan,
        game: Game[Any, Any],
        opened_at: float,
        files: tuple[int, ...] = (),
        part: Part | None = None,
    ) -> MemoryRecording:
        recording = self.matches[plan.match_id] = MemoryRecording()
        recording.part = part
        return recording

    def claim(self, inode: int) -> int | None:
        """Find a file for checkpoints: here its number is that of its descriptor."""
        try:
            name = os.readlink(f"/proc/self/fd/{inode}")
        except OSError:
            return None
        return os.dup(inode) if "vinom-unsent" in name else None

    def sweep(self, now: float) -> int:
        return 0

    def flush(self) -> None:
        for recording in self.matches.values():
            recording.held = b""


class GamePlayer:
    """One seat's player, from the socket up, that never comes back by itself."""

    def __init__(
        self,
        net: GameNet,
        label: str,
        token: str | None = None,
        resume: bytes | None = None,
        link_state: LinkState | None = None,
    ) -> None:
        # What the seat's links share, as those of a real client do.
        self.link_state = link_state or LinkState()
        self.events: list[PlayerEvent] = []
        self.lost: list[str] = []
        self.link: PlayerLink | None = None
        self.is_silent = False
        self._clock = net.reactor
        self._proof = {"token": token, "resume": resume}
        client = DtlsClient(
            f"{label}.{net.name}.{REALM}", authority().anchor, net.reactor.seconds()
        )
        self._port = ClientPort(
            net.reactor,
            client,
            HOST,
            PORT,
            self._arrived,
            lambda: self.lost.append("refused"),
        )
        self._alarm = Alarm(
            net.reactor,
            lambda: None if self.link is None else self.link.deadline(),
            self._ring,
        )
        net.reactor.listenUDP(0, self._port)

    def _arrived(self, events: list[ClientEvent]) -> None:
        now = self._clock.seconds()
        for event in events:
            if isinstance(event, Connected):
                self.link = PlayerLink(
                    event.association.max_payload,
                    now=now,
                    link_state=self.link_state,
                    **self._proof,  # type: ignore[arg-type]  # one of them
                )
            elif isinstance(event, Received) and self.link is not None:
                self.link.receive(event.payload, now)
            elif isinstance(event, Disconnected):
                self.lost.append(event.reason)
        self._pump()

    def _ring(self) -> None:
        assert self.link is not None
        self.link.alarm(self._clock.seconds())
        self._pump()
        self._port.flush()

    def _pump(self) -> None:
        if self.link is None:
            return
        self.events += self.link.take_events()
        if self.lost:
            return
        for packet in self.link.take_packets():
            if not self.is_silent:
                self._port.send(packet)
        self._alarm.arm()

    def send_raw(self, action: bytes) -> int:
        """Send any action."""
        assert self.link is not None
        number = self.link.act(action, self._clock.seconds())
        self._pump()
        self._port.flush()
        return number

    def send_packet(self, packet: bytes) -> None:
        """Send what no link sends."""
        self._port.send(packet)
        self._port.flush()

    def leave(self) -> None:
        """Give the seat up."""
        assert self.link is not None
        self.link.leave(self._clock.seconds())
        self._pump()
        self.close()

    def close(self) -> None:
        """Say close_notify."""
        self._alarm.stop()
        self._port.close()

    def act(self, action: Any) -> int:
        """Send an action, as it would be decoded."""
        return self.send_raw(msgpack.encode(action))

    def say(self, word: str) -> int:
        """Send one of the `Teller`'s words."""
        return self.act({"type": "say", "word": word})

    def of(self, kind: type) -> list[Any]:
        """What of one kind has arrived."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def seen(self) -> StateArrived:
        """The last state."""
        state = self.of(StateArrived)[-1]
        assert isinstance(state, StateArrived)
        return state

    @property
    def lines(self) -> list[str]:
        """What the `Teller` has written down, as seen here."""
        lines: list[str] = msgpack.decode(self.seen.view)["lines"]
        return lines

    @property
    def resume(self) -> bytes:
        """The resume token."""
        resume = self.of(Joined)[-1].resume
        assert isinstance(resume, bytes)
        return resume

    @property
    def over(self) -> list[MatchOver]:
        """The end, as it was sent."""
        return self.of(MatchOver)

    @property
    def kinds(self) -> list[str]:
        """Kinds of the events that arrived."""
        return [event.kind for event in self.of(EventArrived)]

    @property
    def rejections(self) -> list[str]:
        """Codes of the rejections."""
        return [event.code for event in self.of(Rejected)]


class GameNet:
    """
    A game server whose node is the test.

    :ivar name: of its certificate, inside the realm.
    """

    name = "s1"
    is_bound = False

    def __init__(
        self,
        seed: int = 0,
        games: Mapping[str, Game[Any, Any]] | None = None,
        rooms_limit: int = 1,
        limits: ConnectionLimits | None = None,
        join_timeout: float = 10.0,
        lease: float = LEASE_SECONDS,
        outlives: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.reactor = BadReactor(seed)
        self.told: list[ToNode] = []
        self.stopped = 0
        self.recordings = MemoryRecordings()
        self.server = GameServer(
            "g1",
            games or {"teller": Teller(), "ticking": Ticking()},
            Runtime(self.reactor, self.reactor.seconds, random.Random(seed).randbytes),
            self.recordings,
            self._stop,
            GameServerOptions(
                rooms_limit,
                PortLimits(limits or ConnectionLimits()),
                join_timeout,
                lease=lease,
            ),
            ProcessHooks(outlives=outlives),
        )
        self.server.linked(self.told.append)
        self.signer = TokenSigner("k1", signing_key()[0])
        self._tokens = 0

    def _stop(self) -> None:
        self.stopped += 1

    def bind(self, port: int = PORT) -> None:
        """Give it a port."""
        self.is_bound = True
        certificate = leaf(f"s1.{REALM}")
        self.server.received(
            Bind(
                interface=HOST,
                port=port,
                server="s1",
                realm=REALM,
                certificate=certificate.certificate,
                key=certificate.key,
                token_keys={"k1": signing_key()[1]},
            )
        )

    def kick(self, match_id: str, seat: int) -> None:
        """Remove a player."""
        self.server.received(Kick(match_id, seat))

    @property
    def associations(self) -> int:
        """How many connections there are."""
        assert self.server.port is not None
        return len(self.server.port.dtls.associations)

    @property
    def port(self) -> Any:
        """The port that players connect to."""
        assert self.server.port is not None
        return self.server.port.datagrams

    @property
    def is_left(self) -> bool:
        """Is anything left of the players, or of the port?"""
        return (HOST, PORT) in self.reactor.sockets

    @property
    def unseated(self) -> int:
        """How many connections have no seat."""
        return 0 if self.server.port is None else len(self.server.port.reception)

    def open(
        self,
        match_id: str = "m1",
        seats: int = 2,
        game: str = "teller",
        checkpoint: bytes = b"",
        number: int = 0,
        forgotten: int = 0,
    ) -> MatchPlan:
        """Open a room, with a ticket for each seat, or go on with a match."""
        if not self.is_bound:
            self.bind()
        plan = self.plan(match_id, seats, game)
        tickets = tuple(self.ticket(match_id, seat) for seat in range(seats))
        if checkpoint:
            order = OpenRoom(plan, tickets, False, (), checkpoint, number, 2, forgotten)
            self.server.received(order)
        else:
            self.place(plan, tickets)
        return plan

    def plan(
        self, match_id: str = "m1", seats: int = 2, game: str = "teller"
    ) -> MatchPlan:
        """Describe a match."""
        return MatchPlan(
            match_id,
            game,
            tuple(SeatPlan(f"p{seat}", f"name {seat}") for seat in range(seats)),
            seed=7,
        )

    def place(self, plan: MatchPlan, tickets: Sequence[Ticket]) -> None:
        """Have the match played."""
        self.server.received(OpenRoom(plan, tuple(tickets)))

    def label(self, match_id: str, seat: int) -> str:
        """The label of a seat's first ticket."""
        letters = "".join("abcdefghij"[int(d)] for d in match_id if d.isdigit())
        return f"{letters}{'abcdefghij'[seat]}".ljust(26, "z")

    def ticket(self, match_id: str, seat: int) -> Ticket:
        """A seat's ticket."""
        return Ticket(self.label(match_id, seat), match_id, seat, BEGINNING + 120)

    def token(
        self,
        seat: int,
        match_id: str = "m1",
        player_id: str | None = None,
        lifetime: float = 120.0,
        token_id: str | None = None,
    ) -> str:
        """A new token."""
        self._tokens += 1
        return self.signer.sign(
            Claims(
                realm=REALM,
                match_id=match_id,
                player_id=player_id or f"p{seat}",
                seat=seat,
                expires_at=BEGINNING + lifetime,
                token_id=token_id or f"t{self._tokens}",
            )
        )

    def player(
        self, seat: int, match_id: str = "m1", token: str | None = None
    ) -> GamePlayer:
        """Dial for a seat."""
        proof = token or self.token(seat, match_id)
        return GamePlayer(self, self.label(match_id, seat), proof)

    def resumed(self, seat: int, resume: bytes, match_id: str = "m1") -> GamePlayer:
        """Dial for a seat with a resume token."""
        return GamePlayer(self, self.label(match_id, seat), resume=resume)

    def begin(self, seats: int = 2, game: str = "teller") -> list[GamePlayer]:
        """A running match with everybody there."""
        self.open(seats=seats, game=game)
        players = [self.player(seat) for seat in range(seats)]
        self.run(0.5)
        return players

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.reactor.run(seconds)

    @property
    def checkpoint(self) -> tuple[bytes, int]:
        """The newest checkpoint that the node has, and its number."""
        data, number = b"", 0
        for message in self.of(Kept):
            data = apply_change(data, message.data) if message.base else message.data
            number = message.number
        return data, number

    def of(self, kind: type) -> list[Any]:
        """What the node was sent of one kind."""
        return [message for message in self.told if isinstance(message, kind)]

    @property
    def seat_changes(self) -> list[tuple[int, str]]:
        """Changes of seats."""
        return [(told.seat, told.state) for told in self.of(SeatChanged)]

    @property
    def ends(self) -> list[MatchEnd]:
        """How rooms ended."""
        return [told.end for told in self.of(RoomEnded)]
