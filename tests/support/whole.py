"""The whole main job in memory: a real lobby, game servers, DTLS and players."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed

from tests.support.certificates import authority, leaf
from tests.support.game_net import MemoryRecordings
from tests.support.lobbies import REALM, LobbyWorld
from tests.support.lobby_lines import LobbyEndpoint
from tests.support.played import HOST, MemoryReactor
from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.lobby import Hello
from vinom.base.model import MatchPlan, Placement, Ticket
from vinom.client.lobby import LobbyClient
from vinom.client.sdk import Client
from vinom.client.seat import Way
from vinom.errors import NoCapacity
from vinom.fleet.control.messages import (
    AddTicket,
    Bind,
    CloseRoom,
    FromRelayed,
    Kick,
    MatchStarted,
    OpenRoom,
    RelayEvent,
    RelayFailed,
    RelayRefusal,
    RelayState,
    RelayTaken,
    RelayWatch,
    RoomEnded,
    RoundEnded,
    SeatChanged,
    ToNode,
    ToRelayed,
)
from vinom.fleet.gameserver.seats import Runtime
from vinom.fleet.gameserver.server import GameServer
from vinom.fleet.interfaces import IMatchWatch
from vinom.game import Game
from vinom.net.dtls.port import IDatagramFilter


@attrs.define(eq=False)
class Playing:
    """
    One match's game server.

    :ivar relay: receives what players of the node are shown.
    :ivar changes: seats that players took and left.
    :ivar is_stopped: its process would be gone.
    """

    plan: MatchPlan
    watch: IMatchWatch
    server: GameServer
    relay: Callable[[FromRelayed], None] | None = None
    changes: list[tuple[int, str]] = attrs.field(factory=list)
    is_stopped: bool = False

    def tell(self, message: ToNode) -> None:
        """The node receives a message of this game server."""
        match message:
            case MatchStarted():
                self.watch.started(message.match_id)
            case SeatChanged():
                self.changes.append((message.seat, message.state))
                self.watch.seat_changed(message.match_id, message.seat, message.state)
            case RoundEnded():
                self.watch.round_ended(message.match_id, message.outcome)
            case RoomEnded():
                self.watch.ended(message.end)
            case (
                RelayState()
                | RelayEvent()
                | RelayRefusal()
                | RelayTaken()
                | RelayFailed()
            ):
                if self.relay is not None:
                    self.relay(message)


class WholeWorld:
    """
    A node, as many game servers as it takes, and players, on one clock.

    It is its own fleet: what `vinom.lobby.matches.service` asks of one.

    :param reactor: makes the network, given the clock.
    :ivar played: a game server for each match, in order.
    """

    def __init__(
        self,
        games: Mapping[str, Game[Any, Any]],
        seed: int = 1,
        reactor: Callable[[Any], MemoryReactor] = MemoryReactor,
    ) -> None:
        self.games, self.seed = games, seed
        self.lobby = LobbyWorld(seed, games=games, fleet=self, watching="listed")
        self.clock = self.lobby.clock
        self.endpoint = LobbyEndpoint(self.lobby)
        self.reactor: Any = reactor(self.clock)
        self.recordings = MemoryRecordings()
        self.played: list[Playing] = []

    def client(
        self,
        name: str,
        datagram_filter: IDatagramFilter | None = None,
        way: Way = "udp",
    ) -> Client:
        """A player who has not said hello."""
        lobby = LobbyClient(self.reactor, self.endpoint, Hello(PROTOCOL, name))
        return Client(self.reactor, lobby, datagram_filter, way)

    def run(self, until: Callable[[], bool], most: float) -> None:
        """Let time pass, from one event to the next, for *most* seconds at most."""
        clock, end = self.clock, self.clock.seconds() + most
        while not until():
            at = clock.calls[0].getTime() if clock.calls else end
            if at >= end:
                clock.advance(end - clock.seconds())
                return
            clock.advance(max(0.0, at - clock.seconds()))

    # The fleet.

    def place(
        self,
        plan: MatchPlan,
        tickets: Sequence[Ticket],
        watch: IMatchWatch,
        hosts: tuple[str, ...] = (),
    ) -> Deferred[Placement]:
        number = len(self.played)
        label, port = f"s{number}", 46000 + number
        server = GameServer(
            label,
            self.games,
            Runtime(
                self.reactor,
                self.reactor.seconds,
                random.Random(f"{self.seed} {label}").randbytes,
            ),
            self.recordings,
            lambda: setattr(playing, "is_stopped", True),
        )
        playing = Playing(plan, watch, server)
        self.played.append(playing)
        server.linked(playing.tell)
        certificate = leaf(f"{label}.{REALM}")
        server.received(
            Bind(
                interface=HOST,
                port=port,
                server=label,
                realm=REALM,
                certificate=certificate.certificate,
                key=certificate.key,
                token_keys=self.lobby.token_keys,
            )
        )
        server.received(OpenRoom(plan, tuple(tickets)))
        anchor = authority().anchor.decode()
        return succeed(Placement(label, HOST, port, anchor))

    def _of(self, match_id: str) -> Playing | None:
        found = (p for p in self.played if p.plan.match_id == match_id)
        return next((p for p in found if not p.is_stopped), None)

    def add_ticket(self, ticket: Ticket) -> Deferred[None]:
        if (playing := self._of(ticket.match_id)) is None:
            return fail(NoCapacity("its game server is gone"))
        playing.server.received(AddTicket(ticket))
        return succeed(None)

    def kick(self, match_id: str, seat: int) -> None:
        if (playing := self._of(match_id)) is not None:
            playing.server.received(Kick(match_id, seat))

    def pass_on(self, message: ToRelayed) -> None:
        if (playing := self._of(message.match_id)) is not None:
            self.clock.callLater(0, playing.server.received, message)

    def follow(self, match_id: str, relay: Any) -> None:
        if (playing := self._of(match_id)) is not None:
            playing.relay = relay
            self.pass_on(RelayWatch(match_id, relay is not None))

    def is_overloaded(self, match_id: str) -> bool:
        playing = self._of(match_id)
        return playing is not None and playing.server.measure()["overloaded"] > 0

    def close_room(self, match_id: str, reason: str) -> None:
        if (playing := self._of(match_id)) is not None:
            playing.server.received(CloseRoom(match_id, reason))
