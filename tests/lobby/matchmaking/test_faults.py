"""
Nodes that act on the same players while answers of the store get lost or are late, a
failover loses what was written last, and nodes die, or sleep for a while.

Of the lives 30 are tried, or as many as ``VINOM_RACES`` says in the environment; with
a real Redis a sixth of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.failing_nodes import FailingNode, FailingNodes, LinePlayer
from tests.support.redis_races import Found, Line, WaitingClient
from tests.support.redis_servers import new_prefix, shared_server
from vinom.store.redis.lobby import RedisLobbyStore
from vinom.store.redis.nodes import RedisNodeStore
from vinom.store.redis.players import RedisOnlineStore

COUNT = int(os.environ.get("VINOM_RACES", "30"))


class FailingNodesWithRedis(FailingNodes):
    """The same with a real Redis."""

    def __init__(self, seed: int, count: int, line: Line) -> None:
        self._line, self._prefix = line, new_prefix()
        self._lines: dict[str, RedisOnlineStore] = {}
        super().__init__(seed, count)

    def open_store(self) -> None:
        self.store = Found(self._line, self._prefix)

    def expire(self) -> None:
        """Redis does it, in real time."""

    def make_stores(self, node: FailingNode) -> tuple[Any, Any, Any]:
        now = self.clock.seconds
        client: Any = WaitingClient(self._line, node.node_id, self._prefix, now)
        client.published, client.deaf = self._pass_on, self._deaf
        lines = self._lines[node.node_id] = RedisOnlineStore(client)
        return RedisLobbyStore(client, now), lines, RedisNodeStore(client)

    def _deaf(self) -> list[str]:
        return [node.node_id for node in self.nodes if node.gate.is_deaf]

    def _pass_on(self) -> None:
        for node_id, lines in self._lines.items():
            while message := self._line.ask("LPOP", f"{self._prefix}to:{node_id}"):
                lines.heard(message)

    def _keys(self) -> list[Any]:
        return list(self._line.ask("KEYS", f"{self._prefix}*"))

    def snapshot(self) -> Any:
        return {key: self._line.ask("DUMP", key) for key in self._keys()}

    def lose_writes(self, kept: Any) -> None:
        self.forget()
        for key, value in kept.items():
            self._line.ask("RESTORE", key, "86400000", value)

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        for key in self._keys():
            if self._line.ask("PTTL", key) < 0:
                yield f"{key!r} lives for ever"

    def forget(self) -> None:
        """Remove everything."""
        for key in self._keys():
            self._line.ask("DEL", key)


class FaultTests(SynchronousTestCase):
    """What must never happen, whatever fails."""

    def test_any_faults(self) -> None:
        """
        Whatever fails, nobody is in two matches, waits while it plays, or is stranded;
        everybody has been sent how it is; and nothing stays of those who leave.
        """
        for seed in range(COUNT):
            self.live(FailingNodes(seed, (2, 4)[seed % 2]), seed)

    def test_any_faults_with_redis(self) -> None:
        """
        The same with a real Redis; and no key of it lives for ever.
        """
        line = Line(shared_server())
        self.addCleanup(line.close)
        for seed in range(max(1, COUNT // 6)):
            world = FailingNodesWithRedis(seed, (2, 4)[seed % 2], line)
            self.live(world, seed)
            world.forget()

    def live(self, world: FailingNodes, seed: int) -> None:
        """Have eight players do what they like while things fail; then all is quiet."""
        chance, kept, world.is_calm = world.chance, world.snapshot(), False
        for step in range(60):
            self.do_something(world, chance.choice(world.everybody))
            world.let_some(chance.choice((2, 8, 32)))
            world.end_closed()
            if step % 10 == 5:
                kept = world.snapshot()
            if step % 20 == 8 and chance.random() < 0.5:
                world.fail_over(kept)
            if step % 20 == 18:
                self.disturb(world, chance.choice(world.awake() or world.running()))
            if world.accepting in world.awake() and chance.random() < 0.05:
                # Perhaps with the last answer of a prematch.
                world.kill(world.accepting)
            world.accepting = None
            for node in world.running():
                if not node.gate.is_awake and chance.random() < 0.1:
                    world.go_on(node)
        world.settle()
        self.assertEqual(list(world.problems()), [], seed)
        world.leave_all()
        self.assertEqual(list(world.remains()), [], seed)

    def disturb(self, world: FailingNodes, node: FailingNode) -> None:
        """Kill a node, or stop it, perhaps for longer than its lease."""
        match world.chance.choice(("kill", "stop", "stop for long", "")):
            case "kill":
                world.kill(node)
            case "stop":
                node.gate.is_awake = False
            case "stop for long":
                node.gate.is_awake = False
                world.pass_time(world.chance.choice((2.0, 6.0, 9.0)))

    def do_something(self, world: FailingNodes, player: LinePlayer) -> None:
        """Have a player ask for something, or time pass."""
        chance, node = world.chance, world.chance.choice(world.running())
        other = chance.choice(world.everybody)
        games, named = ("duel", "duel", "squad"), {"player_id": other.id or "x"}
        steps = [
            *[lambda: player.ask("queue", game=chance.choice(games))] * 8,
            *[lambda: player.ask("accept")] * (16 if player.is_asked else 1),
            lambda: player.ask("decline"),
            lambda: player.ask("cancel"),
            lambda: player.ask("create_party", open=True),
            lambda: player.ask("join_party", party_id=other.party[0] or "none"),
            lambda: player.ask("leave_party"),
            lambda: player.ask("kick_from_party", **named),
            lambda: player.ask("promote_in_party", **named),
            world.end_match,
            player.hang_up,
            *[lambda: player.connect(node)] * 2,
            lambda: world.set_deaf(node, not node.gate.is_deaf),
            *[lambda: world.pass_time(chance.choice((0.25, 1.0, 3.0)))] * 3,
        ]
        if player.has_failed or (not player.is_connected and chance.random() < 0.5):
            player.connect(node)
        else:
            chance.choice(steps)()
