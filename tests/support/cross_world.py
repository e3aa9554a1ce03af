"""A lobby and a game server in memory, with players over UDP and on lines."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from msgspec import msgpack
from twisted.internet.defer import Deferred, succeed

from tests.support.game_net import GameNet, GamePlayer
from tests.support.games import Camps, Dismissing, Tale, Teller, Ticking
from tests.support.links import at_node, at_server, tell
from tests.support.live_rooms import PlayerLine
from tests.support.lobbies import LobbyWorld, MemoryLine
from vinom.base.model import MatchPlan, Placement, Ticket
from vinom.fleet.control.messages import (
    AddTicket,
    CloseRoom,
    FromRelayed,
    Kick,
    OpenRoom,
    RelayWatch,
    RoomEnded,
    ToNode,
    ToRelayed,
    ToServer,
)
from vinom.game import Game
from vinom.rooms.matches import Watching


class Packed(Teller):
    """Shows what cannot be written as JSON."""

    name = "packed"

    def view(self, s: Tale, audience: Hashable) -> Any:
        return {"packed": msgpack.Ext(5, b"x"), "lines": s.lines}


class CrossFleet:
    """
    One game server that hosts every match; each message takes a turn.

    :ivar sent: what it was sent.
    :ivar told: what it sent.
    :ivar is_behind: does the node not read?
    :ivar has_too_much: did it last report that new players should come later?
    :ivar delay: time on the way, seconds; change it while nothing is.
    """

    def __init__(self, net: GameNet) -> None:
        self.net = net
        self.sent: list[ToServer] = []
        self.told: list[ToNode] = []
        self.tickets: dict[tuple[str, int], Ticket] = {}
        self._watches: dict[str, Any] = {}
        self._relays: dict[str, Callable[[FromRelayed], None] | None] = {}
        self.is_behind, self.delay = False, 0.0
        self.has_too_much = False
        net.server.linked(self._hear, lambda: self.is_behind)

    def place(
        self,
        plan: MatchPlan,
        tickets: Sequence[Ticket],
        watch: Any,
        relay: Any = None,
        hosts: tuple[str, ...] = (),
    ) -> Deferred[Placement]:
        self._watches[plan.match_id], self._relays[plan.match_id] = watch, relay
        for ticket in tickets:
            self.tickets[plan.match_id, ticket.seat] = ticket
        self._send(OpenRoom(plan, tuple(tickets)))
        return succeed(Placement("s1", "192.0.2.7", 46000, "PEM"))

    def add_ticket(self, ticket: Ticket) -> Deferred[None]:
        self.tickets[ticket.match_id, ticket.seat] = ticket
        self._send(AddTicket(ticket))
        return succeed(None)

    def kick(self, match_id: str, seat: int) -> None:
        self._send(Kick(match_id, seat))

    def is_overloaded(self, match_id: str) -> bool:
        return self.has_too_much

    def close_room(self, match_id: str, reason: str) -> None:
        self._send(CloseRoom(match_id, reason))

    def pass_on(self, message: ToRelayed) -> None:
        self._send(message)

    def follow(self, match_id: str, relay: Any) -> None:
        self._relays[match_id] = relay
        self._send(RelayWatch(match_id, relay is not None))

    def _send(self, message: ToServer) -> None:
        self.sent.append(message)
        self.net.reactor.callLater(
            self.delay, self.net.server.received, at_server(message)
        )

    def _hear(self, message: ToNode) -> None:
        self.told.append(message)
        self.net.reactor.callLater(self.delay, self._heard, at_node(message))

    def _heard(self, message: Any) -> None:
        if isinstance(message, RoomEnded):
            self._watches[message.end.match_id].ended(message.end)
            return
        match_id = getattr(message, "match_id", "")
        tell(message, self._watches.get(match_id), self._relays.get(match_id))


class CrossWorld(LobbyWorld):
    """
    Everything between players and a game server.

    :ivar keys: player keys of those who were matched, by player.
    """

    def __init__(self, watching: Watching = "listed") -> None:
        games = {
            "teller": Teller(),
            "ticking": Ticking(),
            "packed": Packed(),
            "camps": Camps(),
            "dismissing": Dismissing(),
        }
        self.net, fleet = self.make_net(games)
        self.net.bind()
        super().__init__(
            clock=self.net.reactor,
            fleet=fleet,
            games=games,
            watching=watching,
        )
        self.keys: dict[str, str] = {}

    def make_net(self, games: Mapping[str, Game[Any, Any]]) -> tuple[GameNet, Any]:
        """Make the game server, and the fleet that it is of."""
        net = GameNet(games=games, rooms_limit=1000)
        return net, CrossFleet(net)

    def make_line(self, host: str, ends_at_match: bool) -> MemoryLine:
        return PlayerLine(host, ends_at_match)

    def run(self, seconds: float = 0.1) -> None:
        """Let time pass."""
        self.net.run(seconds)

    def matched(self, game: str = "teller") -> tuple[str, list[PlayerLine]]:
        """Two players find a match; returns it, and their lines by seat."""
        lines: list[Any] = []
        for name in ("ann", "bob"):
            line, welcome = self.hello(name, ends_at_match=False)
            self.keys[welcome["player_id"]] = welcome["player_key"]
            line.ask("queue", game=game)
            lines.append(line)
        self.run(6.0)
        found = [
            next(m["data"] for m in line.heard() if m["type"] == "match_found")
            for line in lines
        ]
        by_seat = dict(zip([told["seat"] for told in found], lines, strict=True))
        return found[0]["match_id"], [by_seat[seat] for seat in (0, 1)]

    def dial(self, match_id: str, seat: int) -> GamePlayer:
        """A seat's player comes over UDP."""
        match = self.matches.placed_match(match_id)
        assert match is not None
        player_id = match.plan.seats[seat].player_id
        token = self.net.token(seat, match_id, player_id)
        ticket = self.fleet.tickets[match_id, seat]
        player = GamePlayer(self.net, ticket.label, token)
        self.run(0.5)
        return player

    def enter(self, line: Any, match_id: str, game: str = "teller", **more: Any) -> Any:
        """Come into the match by way of the node; returns the answer."""
        line.heard()
        return line.ask("join_room", game=game, room_id=match_id, **more)[0]
