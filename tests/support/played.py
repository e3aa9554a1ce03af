"""A player's whole side against a game server that does what the test sets."""

from __future__ import annotations

import random
from typing import Any

from msgspec import msgpack
from twisted.internet.interfaces import IReactorTime

from tests.support.certificates import authority, leaf
from tests.support.fleets import MemoryFleet
from tests.support.lobbies import Duel, LobbyWorld, Party
from tests.support.lobby_lines import LobbyEndpoint
from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.lobby import Hello, SeatName
from vinom.base.model import Placement, Ticket
from vinom.client.lobby import LobbyClient
from vinom.games.maze import Maze
from vinom.net.dtls.admission import Admission
from vinom.net.dtls.association import Association
from vinom.net.dtls.channel import Connected, Received
from vinom.net.dtls.port import DatagramPort
from vinom.net.dtls.server import DtlsServer
from vinom.net.packets.codec import state_tails
from vinom.net.packets.reliable import (
    Event,
    MessageStream,
    Over,
    Refusal,
    Round,
    Welcome,
    encode,
)
from vinom.net.packets.seat import ActionArrived, JoinAsked, Left, SeatLink

HOST = "127.0.0.1"
#: The setup of every game: a maze of one corridor.
CORRIDOR = {
    "rows": 1,
    "cols": 4,
    "walls": ["2aa8"],
    "starts": [[0, 0], [0, 3]],
    "ends_at": 300.0,
}


class MemoryUdp:
    """One UDP socket."""

    def __init__(self, net: MemoryReactor, protocol: Any, address: Any) -> None:
        self.net, self.protocol, self.address = net, protocol, address
        self.peer: Any = None

    def connect(self, host: str, port: int) -> None:
        self.peer = (host, port)

    def write(self, datagram: bytes, address: Any = None) -> None:
        self.net.carry(self, bytes(datagram), address or self.peer)

    def stopListening(self) -> None:
        if self.net.sockets.pop(self.address, None) is self:
            self.protocol.doStop()


class MemoryReactor:
    """
    The clock of a lobby world, with UDP on it.

    :ivar delay: time on the way, seconds.
    :ivar dead: ports whose datagrams vanish.
    :ivar deaf: ports to which datagrams vanish.
    :ivar eaten: datagrams that vanish.
    """

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.sockets: dict[Any, MemoryUdp] = {}
        self.delay = 0.0
        self.dead: set[int] = set()
        self.deaf: set[int] = set()
        self.eaten: set[bytes] = set()
        self._next = 50000

    def seconds(self) -> float:
        return float(self.clock.seconds())

    def callLater(self, *args: Any, **kwargs: Any) -> Any:
        return self.clock.callLater(*args, **kwargs)

    def listenUDP(self, port: int, protocol: Any, **_: Any) -> MemoryUdp:
        self._next += 1
        address = (HOST, port or self._next)
        socket = self.sockets[address] = MemoryUdp(self, protocol, address)
        protocol.makeConnection(socket)
        return socket

    def carry(self, sender: MemoryUdp, datagram: bytes, address: Any) -> None:
        lost = {address[1], sender.address[1]} & self.dead
        if not (lost or datagram in self.eaten) and address[1] not in self.deaf:
            self.callLater(self.delay, self._arrive, sender, datagram, address)

    def _arrive(self, sender: MemoryUdp, datagram: bytes, address: Any) -> None:
        receiver = self.sockets.get(address)
        if receiver is not None:
            receiver.protocol.datagramReceived(datagram, sender.address)
        elif sender.address in self.sockets and sender.peer is not None:
            sender.protocol.connectionRefused()


class ScriptedServer:
    """
    A game server for one seat of one match.

    :ivar is_welcoming: are seats given?
    :ivar actions: what the player did, decoded.
    :ivar joins: proofs that were shown: (is_resume, proof).
    """

    def __init__(self, reactor: MemoryReactor, label: str, port: int) -> None:
        self.reactor, self.label, self.port = reactor, label, port
        domain = f"{label}.game.vinom"
        entropy = random.Random(port).randbytes
        self.admission = Admission(domain, reactor.seconds(), entropy=entropy)
        self._dtls = DtlsServer(leaf(domain).served(), self.admission)
        self._port = DatagramPort(reactor, self._dtls, self._deliver)
        self._socket = reactor.listenUDP(port, self._port)
        self.link: SeatLink | None = None
        self._association: Association | None = None
        self._messages = MessageStream()
        self._epoch = 0
        self._game: tuple[str, str] = ("m", "maze")
        self.is_welcoming = True
        self.refusing: str | None = None
        self.retry_after = 0.0
        self.actions: list[Any] = []
        self.joins: list[tuple[bool, bytes]] = []
        self.has_left = False
        self.setup = msgpack.encode(CORRIDOR)
        self._last: tuple[int, Any] | None = None
        self._alarm()

    def die(self) -> None:
        """Vanish; the port answers with ICMP."""
        self.reactor.sockets.pop(self._socket.address)
        self._port.stopProtocol()
        self.link = None

    def hang_up(self) -> None:
        """Close the player's connection, without a word."""
        assert self._association is not None
        self._port.close(self._association)
        self._port.flush()

    def succeed(self, port: int | None = None) -> ScriptedServer:
        """Make the process that goes on with the match when this one has died."""
        heir = ScriptedServer(self.reactor, self.label, port or self.port)
        for name in ("actions", "joins", "_messages", "_epoch", "_game", "setup"):
            setattr(heir, name, getattr(self, name))
        for shown in self.admission._shown.values():
            heir.admission.add_ticket(shown.ticket)
        return heir

    # Calls of the test.

    def state(self, version: int, view: Any, applied: int = 0) -> None:
        now = self.reactor.seconds()
        tails = state_tails(version, version * 1000, 0, msgpack.encode(view))
        assert self.link is not None
        self.link.state(version, tails, applied, now)
        self._pump()

    def event(self, kind: str, data: Any) -> None:
        self.tell(Event(kind, data, 1))

    def refuse_action(self, number: int, reason: str) -> None:
        self.tell(Refusal(number, "rejected", reason, "no"))

    def end(self, reason: str, version: int, view_hash: str) -> None:
        outcome = {"round": 1, "places": [[0]], "scores": [1]}
        self.tell(Round(outcome, version, view_hash))
        self.tell(Over(reason, outcome, version, view_hash))

    def tell(self, message: Any) -> None:
        assert self.link is not None
        self._messages.add(encode(message))
        self.link.messages_added(self.reactor.seconds())
        self._pump()

    # What happens.

    def _deliver(self, events: list[Any]) -> None:
        now = self.reactor.seconds()
        for event in events:
            if isinstance(event, Connected):
                self._association = event.association
                self.link = SeatLink(event.association.max_payload, now)
            elif isinstance(event, Received) and event.association is self._association:
                assert self.link is not None
                for what in self.link.receive(event.payload, now):
                    self._happen(what, now)
        self._pump()

    def _happen(self, what: Any, now: float) -> None:
        assert self.link is not None
        if isinstance(what, JoinAsked):
            self.joins.append((what.is_resume, what.proof))
            if self.refusing is not None:
                self.link.refuse(self.refusing, "no", now, self.retry_after)
            elif self.is_welcoming:
                self._epoch += 1
                self._messages.acknowledge(what.last_message)
                welcome = Welcome(
                    0,
                    self._epoch,
                    bytes([self._epoch]) * 16,
                    *self._game,
                    (SeatName(0, "ann", "p1"),),
                    0,
                    len(self.actions),
                    self._messages.first,
                    self.setup,
                )
                self.link.welcome(welcome, self._messages, now)
        elif isinstance(what, ActionArrived):
            self.actions.append(msgpack.decode(what.data))
        elif isinstance(what, Left):
            self.has_left = True

    def _pump(self) -> None:
        if self.link is None or self._association is None:
            return
        for packet in self.link.take_packets():
            self._port.send(self._association, packet)

    def _alarm(self) -> None:
        if self.link is not None:
            self.link.alarm(self.reactor.seconds())
            self._pump()
        self.reactor.callLater(0.05, self._alarm)


class ScriptedFleet(MemoryFleet):
    """Places every match on a `ScriptedServer`."""

    world: PlayedWorld

    def answer(self, index: int) -> None:
        hosted = self.hosted[index]
        server = self.world.open_server()
        for ticket in hosted.tickets:
            server.admission.add_ticket(ticket)
        hosted.answer.callback(
            Placement(f"s{server.port}", HOST, server.port, authority().anchor.decode())
        )

    def add_ticket(self, ticket: Ticket) -> Any:
        for server in self.world.servers:
            server.admission.add_ticket(ticket)
        return super().add_ticket(ticket)


class PlayedWorld:
    """A lobby, game servers and players on one clock."""

    def __init__(self) -> None:
        fleet = ScriptedFleet()
        fleet.world = self
        games = {"duel": Duel(), "party": Party(), "maze": Maze()}
        self.lobby = LobbyWorld(fleet=fleet, games=games)
        self.fleet, self.clock = fleet, self.lobby.clock
        self.endpoint = LobbyEndpoint(self.lobby)
        self.reactor: Any = MemoryReactor(self.clock)
        self.servers: list[ScriptedServer] = []

    def open_server(self) -> ScriptedServer:
        port = 46000 + len(self.servers)
        self.servers.append(ScriptedServer(self.reactor, f"s{port}", port))
        return self.servers[-1]

    def player(self, name: str) -> LobbyClient:
        clock: IReactorTime = self.reactor
        return LobbyClient(clock, self.endpoint, Hello(PROTOCOL, name), timeout=5.0)

    def pass_time(self, seconds: float = 0.0) -> None:
        """Let time pass in small steps; at least what is due now happens."""
        self.clock.pump([0.0] * 30 + [0.02] * round(seconds / 0.02))
