"""
A whole match played in memory, before the first player connects.

Everything that a game server does for the first time is expensive: OpenSSL loads its
algorithms, Python specialises its bytecode, caches fill. The fork server does it once
for all its children, which then share that memory (decision 0005).

`rehearse` plays the match, with keys that are made for it and trusted nowhere.
`rehearse_reactor` uses a control link and a port on a reactor that is never installed,
because Twisted finds out at the first use of each class which interfaces it provides,
and caches that. No descriptor is left open, and nothing is in use when the first child
is forked.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, cast

from msgspec import Struct, msgpack
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol, connectionDone
from twisted.internet.task import Clock

from vinom.base.model import MatchPlan, SeatPlan, Ticket
from vinom.base.reactor.turns import TurnWatch
from vinom.base.tokens import Claims
from vinom.fleet.control.checkpoints import apply_change
from vinom.fleet.control.link import dial
from vinom.fleet.control.messages import (
    CONTROL_PROTOCOL,
    AnyToServer,
    Bind,
    Heartbeat,
    Kept,
    OpenRoom,
    Ready,
    Stop,
    ToNode,
    ToServer,
    decode_to_node,
    decode_to_server,
    encode,
)
from vinom.fleet.gameserver.seats import IGameReactor, Runtime
from vinom.fleet.gameserver.server import GameServer, ProcessHooks
from vinom.game import Game, Table
from vinom.net.dtls.channel import Connected, Received
from vinom.net.dtls.client import DtlsClient
from vinom.net.frames import FrameReader
from vinom.net.keys.authority import Authority
from vinom.net.packets.player import PlayerLink
from vinom.play.guard import Guard
from vinom.play.hosting.recordings import Recordings

#: After this it is given up, seconds; it takes milliseconds.
_TIMEOUT = 2.0


class _Echo(DatagramProtocol):
    """
    Sends a datagram to itself.

    :ivar received: how many arrived.
    """

    transport: IUDPTransport
    noisy = False
    received = 0

    def startProtocol(self) -> None:
        address = self.transport.getHost()
        self.transport.write(b"", (address.host, address.port))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received += 1


def rehearse_reactor(folder: Path) -> int:
    """
    Make a link, receive a heartbeat, bind a port.

    :param folder: for the link's socket, which stays there.
    :returns: how many messages and datagrams arrived.
    """
    if sys.platform != "linux":
        return 0
    from twisted.internet.epollreactor import EPollReactor

    # Made directly: the module's `install` must not be called here.
    reactor: Any = EPollReactor()
    turns = TurnWatch(time.monotonic)
    turns.start(reactor)
    received: list[AnyToServer] = []
    echo = _Echo()
    path = str(folder / "link")
    with socket.socket(socket.AF_UNIX) as node:
        node.bind(path)
        node.listen(1)

        def answer() -> None:
            connection, _ = node.accept()
            with connection:
                connection.send(encode(Heartbeat(1)))
                connection.recv(4096)

        def lost() -> None:
            reactor.callLater(0, reactor.stop)

        reactor.listenUDP(0, echo, interface="127.0.0.1")
        dial(
            UNIXClientEndpoint(reactor, path),
            reactor,
            Ready("rehearsal", os.getpid(), CONTROL_PROTOCOL),
            received.append,
            lost,
        ).addCallback(lambda _: answer())
        given_up = reactor.callLater(_TIMEOUT, reactor.stop)
        reactor.run(installSignalHandlers=False)
    if given_up.active():
        given_up.cancel()
    turns.stop()
    reactor.removeReader(reactor.waker)
    reactor.waker.connectionLost(connectionDone)
    reactor._poller.close()
    return len(received) + echo.received


_REALM = "rehearsal.invalid"
_SEATS = 2
_MATCH = "rehearsal"
#: Enough for Python to specialise the bytecode of everything that a match needs.
_ROUNDS, _STEP = 150, 0.02


class _Line(Struct, frozen=True):
    """A line that a player says: the action of this game."""

    word: str


class _Said(Struct, frozen=True):
    """How many lines were said: the state of this game."""

    lines: int


class _Play(Game[_Said, _Line]):
    """The game of the rehearsal: count the lines."""

    name = "rehearsal"
    actions = _Line
    seats = (1, _SEATS)

    def start(self, table: Table) -> _Said:
        return _Said(0)

    def act(self, s: _Said, seat: int, action: _Line, now: float) -> _Said:
        return _Said(s.lines + 1)

    def view(self, s: _Said, audience: Hashable) -> dict[str, int]:
        return {"lines": s.lines}


class _Stage(Clock):
    """
    A reactor with one port, and a simulated time and network.

    :ivar sent: datagrams that the port sent, each with its address.
    """

    def __init__(self, now: float) -> None:
        """
        Start the clock.

        :param now: the time, seconds since the Unix epoch.
        """
        super().__init__()
        self.rightNow = now
        self.protocol: Any = None
        self.sent: list[tuple[bytes, tuple[str, int]]] = []

    def listenUDP(self, port: int, protocol: Any, **_: Any) -> _Stage:
        self.protocol = protocol
        protocol.makeConnection(self)
        return self

    def write(self, datagram: bytes, address: tuple[str, int]) -> None:
        self.sent.append((datagram, address))

    def stopListening(self) -> Deferred[None]:
        self.protocol.doStop()
        return succeed(None)


class _Player:
    """A client that plays one seat."""

    def __init__(self, name: str, anchor: bytes, token: str, now: float) -> None:
        """
        Begin the handshake.

        :param name: the server name, with the ticket.
        :param anchor: the trust anchor, PEM.
        :param token: connect token for the seat.
        :param now: the time.
        """
        self._dtls = DtlsClient(name, anchor, now)
        self._token = token
        self._link: PlayerLink | None = None
        self._dtls.start(now)

    def play(self, now: float) -> list[bytes]:
        """Handle events, act, and return the datagrams to send."""
        for event in self._dtls.take_events():
            if isinstance(event, Connected):
                size = event.association.max_payload
                self._link = PlayerLink(size, token=self._token, now=now)
            elif isinstance(event, Received) and self._link is not None:
                self._link.receive(event.payload, now)
        link = self._link
        if link is not None:
            link.take_events()
            if link.phase == "joined":
                link.act(msgpack.encode(_Line("yes")), now)
            link.alarm(now)
            for packet in link.take_packets():
                self._dtls.send(packet)
        return self._dtls.take_datagrams()

    def receive(self, datagram: bytes, now: float) -> None:
        """Take a datagram."""
        self._dtls.receive(datagram, now)


def rehearse() -> dict[str, float]:
    """Play a match, from the port's first datagram to the end; returns its figures."""
    with tempfile.TemporaryDirectory(prefix="vinom-rehearsal-") as name:
        folder = Path(name)
        rehearse_reactor(folder)
        authority = Authority.open(folder / "state", _REALM, time.time)
        recordings = Recordings(folder / "recordings")
        recordings.sweep(time.time())
        return _play(authority, recordings, _Stage(time.time()))


def _play(
    authority: Authority, recordings: Recordings, stage: _Stage
) -> dict[str, float]:
    now = stage.seconds()
    number, checkpoint = 0, b""

    def to_node(message: ToNode) -> None:
        nonlocal number, checkpoint
        taken = decode_to_node(_through(message))
        if isinstance(taken, Kept):
            number, data = taken.number, taken.data
            checkpoint = apply_change(checkpoint, data) if taken.base else data

    server = _make_server(stage, recordings, to_node)
    issued = authority.issue("s1")
    keys = authority.token_keys()
    plan = MatchPlan(
        _MATCH,
        _Play.name,
        tuple(SeatPlan(f"p{seat}", f"player {seat}") for seat in range(_SEATS)),
        seed=1,
    )
    tickets = tuple(
        Ticket("abcdefgh"[seat] * 26, _MATCH, seat, now + 60) for seat in range(_SEATS)
    )
    bind = Bind("127.0.0.1", 1, "s1", _REALM, issued.certificate, issued.key, keys)
    for message in (
        bind,
        OpenRoom(plan, tickets),
        Heartbeat(1),
    ):
        server.received(_to_server(message))
    players = {
        ("127.0.0.1", 2 + ticket.seat): _Player(
            f"{ticket.label}.s1.{_REALM}",
            authority.anchor,
            authority.signer.sign(_claims(ticket)),
            now,
        )
        for ticket in tickets
    }
    for _ in range(_ROUNDS):
        now = stage.seconds()
        for address, player in players.items():
            for datagram in player.play(now):
                stage.protocol.datagramReceived(datagram, address)
        stage.advance(_STEP)
        sent, stage.sent = stage.sent, []
        for datagram, address in sent:
            players[address].receive(datagram, now)
    figures = server.measure()
    # Another one goes on with it.
    again = _Stage(stage.seconds())
    successor = _make_server(again, recordings, lambda _: None)
    order = OpenRoom(plan, tickets, False, (), checkpoint, number, 2)
    for message in (bind, order):
        successor.received(_to_server(message))
    figures["rooms_gone_on"] = float(len(successor.rooms))
    for one, its in ((server, stage), (successor, again)):
        one.received(_to_server(Stop()))
        its.advance(_STEP)
        # Long enough for everything that it still waits for.
        its.pump([1.0] * 5)
    return figures


def _make_server(
    stage: _Stage, recordings: Recordings, send: Callable[[ToNode], None]
) -> GameServer:
    guard = Guard(stage.seconds, time.thread_time, lambda _: None, lambda _: None)
    server = GameServer(
        "rehearsal",
        {_Play.name: _Play()},
        Runtime(cast(IGameReactor, stage), stage.seconds, os.urandom),
        recordings,
        lambda: None,
        process=ProcessHooks(guard=guard),
    )
    server.linked(send)
    return server


def _claims(ticket: Ticket) -> Claims:
    return Claims(
        realm=_REALM,
        match_id=_MATCH,
        player_id=f"p{ticket.seat}",
        seat=ticket.seat,
        expires_at=ticket.expires_at,
        token_id=ticket.label,
    )


def _to_server(message: ToServer) -> Any:
    """Pass a message through the control link's frames."""
    return decode_to_server(_through(message))


def _through(message: ToServer | ToNode) -> bytes:
    frames = FrameReader()
    frames.receive(encode(message))
    frame = frames.next_frame()
    assert frame is not None
    return frame
