"""Players who count in `tests.support.roll_call`, and what they must have seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from tests.support.redis_servers import until
from vinom.base.reactor.alarm import Timer
from vinom.client.match import Match
from vinom.client.sdk import Client, connect
from vinom.tools.commands.child_node import ChildNode
from vinom.tools.promises.witness import Witness

#: Between two actions of a player, seconds.
_PACE = 0.06


class Counter:
    """A player who counts, and writes down what it sees."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.match: Match = None  # type: ignore[assignment]
        self.witness: Witness = None  # type: ignore[assignment]
        self.said = 0
        self.next = Timer(reactor)  # type: ignore[arg-type]  # a module, for mypy

    async def sit(self) -> None:
        """Queue, and take the seat."""
        match = self.match = await self.client.queue("rollcall")
        self.witness = Witness(match.match_id, match.names[match.seat], match.seat)
        match.observe(self.witness)

    def count(self) -> None:
        """Say the next number, now and again and again."""
        if self.match.is_over:
            return
        if self.match.act({"type": "count", "n": self.said + 1}):
            self.said += 1
        self.next.start(_PACE, self.count)

    @property
    def heard(self) -> int:
        """How many of our numbers the game has."""
        view = self.match.view
        found: int = 0 if view is None else view["count"][self.match.seat]
        return found


async def begin_counting(clients: Sequence[Client]) -> list[Counter]:
    """Have four players meet in a match, and count."""
    players = [Counter(client) for client in clients]
    await gatherResults([Deferred.fromCoroutine(player.sit()) for player in players])
    await until(lambda: all(player.match.view for player in players))
    for player in players:
        player.count()
    await until(lambda: all(player.heard > 3 for player in players))
    return players


async def players_of(case: TestCase, node: ChildNode, **how: Any) -> list[Counter]:
    """Have four players come to a node, meet in a match, and count."""
    clients = []
    for number in range(4):
        client = await connect(
            reactor,  # type: ignore[arg-type]  # a module, for mypy
            node.host,
            node.port,
            name=f"p{number}",
            **how,
        )
        case.addCleanup(client.close)
        clients.append(client)
    return await begin_counting(clients)


async def stop_counting(case: TestCase, players: Sequence[Counter]) -> None:
    """Stop counting: nothing is missing, and nothing that was sent went back."""
    for player in players:
        player.next.cancel()
    await until(lambda: all(one.heard == one.said for one in players))
    for player in players:
        view = player.match.view
        case.assertEqual(view["wrong"], [0, 0, 0, 0])
        case.assertEqual(view["last"][player.match.seat], player.said)
        case.assertEqual(player.witness.broken, [])
