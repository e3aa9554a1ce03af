"""A game server without a port, and a node in memory that relays to it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from tests.support.certificates import authority, leaf, signing_key
from tests.support.game_net import HOST, PORT, REALM, GameNet
from tests.support.links import at_node, at_server, tell
from vinom.base.model import (
    Issued,
    MatchEnd,
    MatchPlan,
    Placement,
    ServerAddress,
    Ticket,
)
from vinom.base.reactor.turns import TurnEnd
from vinom.fleet.control.messages import (
    Bind,
    CloseRoom,
    FromRelayed,
    OpenRoom,
    RelayWatch,
    RoomEnded,
    RoomOpened,
    SeatChanged,
    ToNode,
    ToRelayed,
    ToServer,
)
from vinom.fleet.gameserver.player_port import PortLimits
from vinom.fleet.gameserver.seats import Runtime
from vinom.fleet.interfaces import IMatchWatch
from vinom.fleet.relay.service import RelaySettings, UdpRelay


class MemoryIssuer:
    """
    Signs with the tests' authority.

    :ivar keys: of connect tokens.
    """

    def __init__(self) -> None:
        self.keys = {"k1": signing_key()[1]}
        self.anchor = authority().anchor

    def issue(self, server: str) -> Issued:
        return leaf(f"{server}.{REALM}")

    def token_keys(self) -> dict[str, bytes]:
        return self.keys


class Watch:
    """Writes down what a match reports."""

    def __init__(self) -> None:
        self.states: list[tuple[int, str]] = []
        self.rounds: list[dict[str, Any]] = []
        self.ends: list[MatchEnd] = []
        self.starts = 0

    def delayed(self, match_id: str, why: str) -> None:
        pass

    def started(self, match_id: str) -> None:
        self.starts += 1

    def seat_changed(self, match_id: str, seat: int, state: str) -> None:
        self.states.append((seat, state))

    def round_ended(self, match_id: str, outcome: dict[str, Any]) -> None:
        self.rounds.append(outcome)

    def ended(self, end: MatchEnd) -> None:
        self.ends.append(end)


class OneServerFleet:
    """
    A fleet of one game server; each message takes a turn.

    :ivar sent: what it was sent.
    :ivar delay: time on the way, seconds; change it while nothing is.
    """

    def __init__(self, net: GameNet) -> None:
        self.sent: list[ToServer] = []
        self.delay = 0.0
        self.has_too_much = False
        self._net = net
        self._watches: dict[str, IMatchWatch] = {}
        self._placed: dict[str, Deferred[Placement]] = {}
        self._relays: dict[str, Callable[[FromRelayed], None] | None] = {}
        net.server.linked(self._hear)

    def place(
        self,
        plan: MatchPlan,
        tickets: Sequence[Ticket],
        watch: IMatchWatch,
        relay: Callable[[FromRelayed], None] | None = None,
        hosts: tuple[str, ...] = (),
    ) -> Deferred[Placement]:
        self._watches[plan.match_id], self._relays[plan.match_id] = watch, relay
        self.send(OpenRoom(plan, tuple(tickets)))
        placed: Deferred[Placement] = Deferred()
        self._placed[plan.match_id] = placed
        return placed

    def close_room(self, match_id: str, reason: str) -> None:
        self.send(CloseRoom(match_id, reason))

    def is_overloaded(self, match_id: str) -> bool:
        return self.has_too_much

    def pass_on(self, message: ToRelayed) -> None:
        self.send(message)

    def follow(
        self,
        match_id: str,
        relay: Callable[[FromRelayed], None] | None,
        packed: bool = False,
    ) -> None:
        self._relays[match_id] = relay
        self.send(RelayWatch(match_id, relay is not None, packed))

    def send(self, message: ToServer) -> None:
        self.sent.append(message)
        net = self._net
        net.reactor.callLater(self.delay, net.server.received, at_server(message))

    def end(self, end: MatchEnd) -> None:
        """Its process dies: nothing that it sent is on its way any more."""
        self._watches[end.match_id].ended(end)
        del self._watches[end.match_id]
        self._relays[end.match_id] = None

    def tell(self, message: FromRelayed) -> None:
        """Pass on what the game server has never sent."""
        relay = self._relays[message.match_id]
        assert relay is not None
        relay(message)

    def report(self, message: SeatChanged) -> None:
        """Report about a match what the game server has never reported."""
        tell(message, self._watches[message.match_id], None)

    def _hear(self, message: ToNode) -> None:
        self._net.told.append(message)
        self._net.reactor.callLater(self.delay, self._heard, at_node(message))

    def _heard(self, message: Any) -> None:
        if isinstance(message, RoomEnded):
            if message.end.match_id in self._watches:
                self.end(message.end)
        elif isinstance(message, RoomOpened):
            if message.match_id not in self._watches:
                return
            placed = self._placed.pop(message.match_id)
            placed.callback(Placement("g1", HOST, PORT, "PEM"))
        else:
            match_id = getattr(message, "match_id", "")
            if match_id in self._watches:
                watch, relay = self._watches[match_id], self._relays.get(match_id)
                tell(message, watch, relay)


class RelayNet(GameNet):
    """
    A game server, and the node's relay with its players.

    :ivar relay: the relay.
    :ivar issuer: of its certificate.
    :ivar watches: of the matches, by id.
    :ivar places: where they are played, by id.
    """

    def __init__(self, seed: int = 0, **more: Any) -> None:
        limits = more.pop("limits", None)
        super().__init__(seed, **more)
        self.issuer, self.fleet = MemoryIssuer(), OneServerFleet(self)
        self.turns = TurnEnd(self.reactor)
        where = ServerAddress(HOST, PORT)
        settings = RelaySettings(REALM, HOST, PORT, where)
        if limits is not None:
            settings = RelaySettings(REALM, HOST, PORT, where, PortLimits(limits))
        self.relay = UdpRelay(
            self.fleet,
            self.issuer,
            self.server.matches.games,
            Runtime(
                self.reactor, self.reactor.seconds, random.Random(seed + 1).randbytes
            ),
            self.turns,
            settings,
        )
        self.name = self.relay.label
        self.watches: dict[str, Watch] = {}
        self.places: dict[str, Placement] = {}

    def bind(self, port: int = PORT) -> None:
        """Have the relay listen, and the game server do without a port."""
        self.is_bound = True
        self.relay.listen()
        self.server.received(Bind("", 0, "g1", REALM, b"", b"", {}))
        self.run(0.02)

    def place(self, plan: MatchPlan, tickets: Sequence[Ticket]) -> None:
        """Have the match played."""
        placed = self.relay.place(plan, tickets, self.watch(plan.match_id))
        placed.addCallback(
            lambda place: self.places.__setitem__(plan.match_id, place)
        ).addErrback(lambda failure: None)
        self.run(0.05)

    def watch(self, match_id: str) -> Watch:
        """Make what writes down what a match reports."""
        made = self.watches[match_id] = Watch()
        return made

    def kick(self, match_id: str, seat: int) -> None:
        """Remove a player."""
        self.relay.kick(match_id, seat)

    @property
    def associations(self) -> int:
        """How many connections there are."""
        port = self.relay.players.port
        return 0 if port is None else len(port.dtls.associations)

    @property
    def port(self) -> Any:
        """The port that players connect to."""
        assert self.relay.players.port is not None
        return self.relay.players.port.datagrams

    @property
    def is_left(self) -> bool:
        """Is anything left of the players?"""
        return self.associations > 0 or bool(self.relay.rooms)

    @property
    def unseated(self) -> int:
        """How many connections have no seat."""
        port = self.relay.players.port
        return 0 if port is None else len(port.reception)
