"""How much many nodes ask of their store, by rule: calls and bytes of the ports."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from benchmarks.figures import Figure, Size
from benchmarks.machine import Failed
from tests.support.lobbies import REALM, Duel
from vinom.base.model import MatchEnd, MatchPlan, Placement, Player, Rating, Ticket
from vinom.lobby.conversation.online import Online
from vinom.lobby.matches.match import JoinTickets
from vinom.lobby.matches.service import Matches
from vinom.lobby.matchmaking.matchmaker import Matchmaker
from vinom.lobby.matchmaking.queues import Queues, read_tables
from vinom.lobby.matchmaking.ratings import Ratings
from vinom.store.memory.lobby import MemoryLobbyStore
from vinom.store.memory.players import MemoryRatingStore

PLAYERS, NODES = 1_000_000, 64
#: Players who come per second, and the seconds between two turns of all nodes.
_RATE, _TURN = 2000, 0.005
#: Calls of a store for each matched player.
_BAR = 12.0
_TABLES = {
    "first": {"game": "duel"},
    "ranked": {"game": "duel", "rule": "rating"},
}


class Counted:
    """A store, whose calls are counted by name, with the bytes that they carry."""

    def __init__(self, store: Any, calls: Counter[str], sizes: Counter[str]) -> None:
        self._store, self._calls, self._sizes = store, calls, sizes

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def call(*given: Any, **named: Any) -> Any:
            answer = method(*given, **named)
            result = answer.result if isinstance(answer, Deferred) else answer
            size = len(msgspec.msgpack.encode([given, named, result]))
            self._calls[name] += 1
            self._sizes[name] += size
            return answer

        setattr(self, name, call)
        return call


class Everywhere(Online):
    """All players are connected, to some node; nobody reads what they are sent."""

    is_shared = True

    def is_here(self, player_id: str) -> bool:
        """Every one is."""
        return True

    async def away(self, player_ids: Iterable[str]) -> Sequence[str]:
        """Nobody is."""
        return ()


@attrs.define
class InstantFleet:
    """Its game servers answer at once, and their matches last one turn."""

    clock: Clock
    players: int = 0
    hosted: set[str] = attrs.field(factory=set)

    def place(
        self,
        plan: MatchPlan,
        tickets: Sequence[Ticket],
        watch: Any,
        hosts: tuple[str, ...] = (),
    ) -> Deferred[Placement]:
        """Host a match, and end it."""
        self.players += len(plan.seats)
        for seat in plan.seats:
            if seat.player_id in self.hosted:
                raise Failed(f"{seat.player_id} is in two matches")
            self.hosted.add(seat.player_id)
        self.clock.callLater(0, watch.ended, MatchEnd(plan.match_id, "finished"))
        return succeed(Placement("s", "127.0.0.1", 46000, "CERTIFICATE"))

    def close_room(self, match_id: str, reason: str) -> None:
        """It is over already."""


class _NoSigner:
    def sign(self, claims: Any) -> str:
        """Nobody joins these matches."""
        return "t" * 200


def nodes(size: Size, folder: Path, say: Callable[[str], None]) -> list[Figure]:
    """Calls and bytes of the storage ports by rule: 1,000,000 players, 64 nodes."""
    players = size.count(PLAYERS)
    figures = []
    for queue in _TABLES:
        say(f"nodes, {queue}: {players} players over {NODES} nodes")
        calls, sizes, matched = play(queue, players)
        total = sum(calls.values())
        figures.append(
            Figure(
                f"store calls per matched player: {queue}",
                "calls",
                (total / matched,),
                _BAR,
                detail={
                    "players": players,
                    "matched": matched,
                    **{name: round(n / matched, 3) for name, n in calls.items()},
                },
            )
        )
        figures.append(
            Figure(
                f"bytes to and from the stores per matched player: {queue}",
                "bytes",
                (sum(sizes.values()) / matched,),
                detail={name: round(n / matched) for name, n in sizes.items()},
            )
        )
    return figures


def play(queue: str, players: int) -> tuple[Counter[str], Counter[str], int]:
    """Let players come to random nodes; returns calls, bytes, and players matched."""
    chance, clock = random.Random(13), Clock()
    clock.advance(1_000_000.0)
    calls: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    ratings_store = MemoryRatingStore(clock.seconds, 2 * players)
    lobby, ratings = (
        Counted(store, calls, sizes)
        for store in (MemoryLobbyStore(clock.seconds), ratings_store)
    )
    fleet = InstantFleet(clock)
    games = {"duel": Duel()}
    queues = Queues(games, read_tables(_TABLES))
    ways = JoinTickets(REALM, _NoSigner(), chance.randbytes, clock.seconds)
    online: Any = Everywhere()
    makers = []
    for _ in range(NODES):
        service = Matches(
            fleet,  # type: ignore[arg-type]
            lobby,
            online,
            games,
            ways,
            clock,
            memory_seconds=1.0,
            per_address=10**9,
        )
        makers.append(
            Matchmaker(
                lobby,
                service,
                online,
                games,
                clock,
                chance.randbytes,
                queues=queues,
                ratings=Ratings(ratings, clock),
            )
        )
    chosen = queues.named[queue]
    come = 0
    while come < players:
        for _ in range(min(players - come, max(1, int(_RATE * _TURN)))):
            player = Player(f"p{come:07}", "somebody")
            rating = Rating(chance.gauss(25.0, 25.0 / 3), 3.0, 20)
            ratings_store.rate(
                "duel",
                player.player_id,
                1,
                {player.player_id: Rating()},
                {player.player_id: rating},
                {player.player_id: clock.seconds() + 1000.0},
            )
            come += 1
            maker = chance.choice(makers)
            joining = maker.join(player, None, b"{}", b"{}", "", queue=chosen.name)
            Deferred.fromCoroutine(joining)
        clock.advance(_TURN)
    for _ in range(700):
        clock.advance(0.1)
    for maker in makers:
        maker.stopService()
    return calls, sizes, fleet.players
