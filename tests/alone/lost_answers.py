"""
Real nodes and a real Redis, some of whose answers do not come, or whose last writes are
lost.
"""

from __future__ import annotations

import contextlib
from functools import partial
from itertools import count
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import (
    admin_of,
    shared_by_nodes,
    start_leased_node,
    start_node,
)
from tests.support.cut import CuttableWay
from tests.support.lines import Typed
from tests.support.losing import LosingWay
from tests.support.redis_servers import SAFE, RedisServer, redis_for, until
from vinom.base.messages.catalogue import PROTOCOL
from vinom.games.tictactoe import TicTacToe
from vinom.tools.commands.child_node import ChildNode

#: In which a node asks everything that it always asks, seconds.
_IDLE_SECONDS = 2.5
#: After which a message is taken to be lost, seconds: a step is repeated each second.
_PATIENCE = 5.0


async def hello(node: ChildNode, **who: str) -> Typed:
    """Say hello until the store answers."""
    at = HostnameEndpoint(reactor, node.host, node.port)
    while True:
        line = await connectProtocol(at, Typed())
        line.say("hello", protocol=PROTOCOL, **who)
        await until(lambda line=line: line.heard)
        if line.heard[0]["type"] == "welcome":
            return line
        await deferLater(reactor, 0.05)


class LostAnswersTests(TestCase):
    """Answers to node A are lost, or messages to it; node B has all of them."""

    timeout = 120

    async def setUp(self) -> None:
        self.server = redis_for(self)
        self.way = LosingWay(self.server.port)
        self.addCleanup(self.way.close)
        arguments = "--accept-seconds=60", "--guest-rate=100"
        arguments += shared_by_nodes(self, self.server.url)[1:]
        urls = (f"redis://127.0.0.1:{self.way.port}/0", self.server.url)
        self.a, self.b = await gatherResults(
            [
                Deferred.fromCoroutine(
                    start_leased_node(self, f"--store={url}", *arguments, "--warm=0")
                )
                for url in urls
            ]
        )
        self.numbers = count(1)

    def ask_node(self, node: ChildNode, page: str) -> dict[str, Any]:
        """Ask for what operators see."""
        found: dict[str, Any] = admin_of(node).get(page)
        return found

    async def learn(self) -> None:
        """Learn what node A always asks, whatever players do."""
        self.way.is_learning = True
        await deferLater(reactor, _IDLE_SECONDS)
        self.way.is_learning = False

    async def player(self, node: ChildNode) -> Typed:
        """A new player's line."""
        return await hello(node, name=f"p{next(self.numbers)}")

    async def answer(self, line: Typed, type: str, /, **data: Any) -> dict[str, Any]:
        """Ask, and find the answer, a refusal too."""
        number = next(self.numbers)
        line.say(type, number, **data)

        def found() -> list[dict[str, Any]]:
            return [one for one in line.heard if one.get("id") == number]

        await until(found)
        return found()[0]

    async def insist(self, line: Typed, type: str, /, **data: Any) -> None:
        """Ask until the store answers."""
        while True:
            said = await self.answer(line, type, **data)
            if said.get("error", {}).get("code") != "store_unavailable":
                return
            await deferLater(reactor, 0.05)

    async def queued(self, line: Typed) -> None:
        """Queue; what was lost before may have broken the connection."""
        await self.insist(line, "queue", game=TicTacToe.name)

    async def test_hello(self) -> None:
        """
        A player who leaves after a hello that failed keeps its place in the queue for a
        while, as any other, and cannot be matched meanwhile.
        """
        await self.learn()
        for number in count():
            ann = await self.player(self.a)
            await self.queued(ann)
            welcome = ann.heard[0]["data"]
            self.way.lose(number)
            again = await connectProtocol(
                HostnameEndpoint(reactor, self.a.host, self.a.port), Typed()
            )
            key = welcome["player_key"]
            await self.answer(again, "hello", protocol=PROTOCOL, player_key=key)
            for line in (ann, again):
                line.transport.loseConnection()
            if not self.way.is_met:
                break
            await until(partial(self.is_away, welcome["player_id"]))
        self.assertGreater(number, 3)

    def is_away(self, player_id: str) -> bool:
        """Does node B see that a player is gone, so that nobody is matched with it?"""
        found = self.ask_node(self.b, f"explain/{player_id}")
        return found["state"] == "suspended" and not found["connected"]

    async def test_decline(self) -> None:
        """
        Two who wait after somebody else has declined are asked about their match.
        """
        await self.learn()
        # The answer to the player comes after fewer.
        for number in range(8):
            ann, bob, cat = [await self.player(self.a) for _ in range(3)]
            for line in (ann, bob):
                asked = line.hear("prematch")
                await self.queued(line)
            await asked
            await self.queued(cat)
            both = [one.hear("prematch") for one in (ann, cat)]
            self.way.lose(number)
            await self.insist(bob, "decline")
            self.way.stop_losing()
            with contextlib.suppress(AssertionError):
                await until(
                    lambda both=both: all(one.called for one in both), _PATIENCE
                )
            self.assertTrue(all(one.called for one in both), f"{number}: not asked")
            for line in (ann, bob, cat):
                line.transport.loseConnection()

    async def test_cancel_for_a_party(self) -> None:
        """
        A party whose host has cancelled is not in the queue: its members may be ready.
        """
        await self.learn()
        for number in count():
            ann = await self.player(self.a)
            await self.insist(ann, "create_party")
            await self.queued(ann)
            self.way.lose(number)
            await self.insist(ann, "cancel")
            is_met = self.way.is_met
            self.way.stop_losing()
            for _ in range(10):
                said = await self.answer(ann, "ready_in_party", ready=True)
                if said["type"] == "party_update":
                    break
                await deferLater(reactor, _PATIENCE / 10)
            self.assertEqual(said["type"], "party_update", (number, said))
            ann.transport.loseConnection()
            if not is_met:
                break
        self.assertGreater(number, 1)

    async def test_messages_of_others_lost(self) -> None:
        """
        A player's older line ends when the player says hello at another node, if the
        older one's node hears nothing of others for a moment, too.
        """
        ann = await self.player(self.a)
        over = ann.hear("error")
        self.way.is_deaf = True
        self.server.command("CLIENT", "KILL", "TYPE", "pubsub")
        again = await connectProtocol(
            HostnameEndpoint(reactor, self.b.host, self.b.port), Typed()
        )
        key = ann.heard[0]["data"]["player_key"]
        await again.ask("hello", "welcome", protocol=PROTOCOL, player_key=key)
        self.way.is_deaf = False
        await until(lambda: over.called)
        self.assertEqual((await over)["code"], "replaced")


class LostWritesTests(TestCase):
    """A node, and a Redis whose last writes its replica, the next master, has not."""

    timeout = 60

    async def setUp(self) -> None:
        # With 1, as Vinom demands, a test would have one second to lose writes in.
        self.master = RedisServer(*SAFE, "--min-replicas-max-lag", "10")
        self.link = CuttableWay(self.master.port)
        here = "--replicaof", "127.0.0.1", str(self.link.port)
        self.replica = RedisServer(*SAFE, *here)
        # An address that goes with the master.
        self.way = CuttableWay(self.master.port)
        for one in (self.master.kill, self.replica.kill):
            self.addCleanup(one)
        for way in (self.link, self.way):
            self.addCleanup(way.close)
        await self.is_replicated()
        store = f"redis://127.0.0.1:{self.way.port}/0"
        self.node = await start_node(self, *shared_by_nodes(self, store), "--warm=1")
        self.admin = admin_of(self.node)
        await until(lambda: self.admin.get("status")["store"]["lease"])

    async def is_replicated(self) -> None:
        """Wait until the replica has everything."""
        await until(lambda: self.replica.has_all_of(self.master))

    async def fail_over(self) -> None:
        """The master dies, and its replica takes its place."""
        self.master.kill()
        self.replica.command("REPLICAOF", "NO", "ONE")
        self.replica.command("CONFIG", "SET", "min-replicas-to-write", "0")
        self.way.to_port = self.replica.port

    async def matched(self, *lines: Typed) -> None:
        """Have players wait for each other, until both are sent their match."""
        found = gatherResults([line.hear("match_found") for line in lines])
        for line in lines:
            line.say("queue", game=TicTacToe.name)
        await found

    async def test_end_of_a_match(self) -> None:
        """
        A player whose match is over may queue, though the store has lost its end.
        """
        ann, bob = (
            await hello(self.node, name="ann"),
            await hello(self.node, name="bob"),
        )
        await self.matched(ann, bob)
        (match,) = self.admin.get("matches")["matches"]
        await self.is_replicated()
        self.link.hold()
        self.admin.post(f"matches/{match['match_id']}/end")
        await until(lambda: not self.admin.get("matches")["matches"])
        await self.fail_over()
        again = await hello(self.node, player_key=ann.heard[0]["data"]["player_key"])
        said: dict[str, Any] = {}
        for number in range(10):
            # The node may take a while to find out.
            again.say("queue", number, game=TicTacToe.name)
            await until(lambda number=number: again.heard[-1].get("id") == number)
            said = again.heard[-1]
            if said["type"] != "error":
                break
            await deferLater(reactor, _PATIENCE / 10)
        self.assertEqual(said["type"], "queue_status", said)

    async def test_start_of_a_match(self) -> None:
        """
        Nobody is matched with a player who is in a match, though the store has lost
        that it is.
        """
        ann, bob = (
            await hello(self.node, name="ann"),
            await hello(self.node, name="bob"),
        )
        await ann.ask("queue", "queue_status", game=TicTacToe.name)
        await self.is_replicated()
        self.link.hold()
        found = gatherResults([line.hear("match_found") for line in (ann, bob)])
        bob.say("queue", game=TicTacToe.name)
        await found
        await self.fail_over()
        cat = await hello(self.node, name="cat")
        is_matched = cat.hear("match_found")
        await cat.ask("queue", "queue_status", game=TicTacToe.name)
        with contextlib.suppress(AssertionError):
            await until(lambda: is_matched.called, _PATIENCE)
        self.assertFalse(is_matched.called)
