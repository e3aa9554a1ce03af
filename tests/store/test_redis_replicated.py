"""Checkpoints that count only when a replica of the Redis has them."""

from __future__ import annotations

import os
import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.live_rooms import GAMES, PlayerLine, RoomsWorld, kinds
from tests.support.lobbies import LobbyWorld
from tests.support.redis_servers import connected, redis_for, until
from vinom.base.model import NodeFacts
from vinom.base.reactor.turns import TurnEnd
from vinom.errors import StoreUnavailable
from vinom.lobby.conversation.conversation import Bounds
from vinom.play.hosting.keeping import Keeping
from vinom.rooms.round import RoomBounds
from vinom.store.redis.client import Access, Owner, RedisClient, Script
from vinom.store.redis.nodes import RedisNodeStore, RedisOwnedStore, ReplicatedSteps

_SCRIPT = Script("return 1", "digest")


class Line:
    """A connection whose answers come when the test says so, in order."""

    def __init__(self) -> None:
        self.has_replica = True
        self.is_available = self.running = False
        self.why = "gone"
        self.sent: list[tuple[str, Deferred[Any]]] = []
        self.said: list[str] = []
        self.watches: list[Any] = []

    def watch(self, watch: Any) -> None:
        self.watches.append(watch)

    def startService(self) -> None:
        self.running = True

    def change(self, is_available: bool) -> None:
        """Connect, or lose the connection with all that was asked."""
        self.is_available = is_available
        for watch in self.watches:
            watch(is_available)
        if not is_available:
            sent, self.sent = self.sent, []
            for _, asked in sent:
                asked.errback(StoreUnavailable(self.why))

    def _ask(self, what: str) -> Deferred[Any]:
        self.sent.append((what, Deferred()))
        self.said.append(what)
        return self.sent[-1][1]

    def run(self, script: Script, *args: str | bytes) -> Deferred[Any]:
        return self._ask(str(args[0]))

    def wait_for_replica(self) -> Deferred[int]:
        if not self.is_available:
            return fail(StoreUnavailable(self.why))
        return self._ask("WAIT")

    def answer(self, found: Any) -> None:
        """Answer what was asked first."""
        self.sent.pop(0)[1].callback(found)


class ReplicatedTests(SynchronousTestCase):
    """When a step counts."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.turns = TurnEnd(self.clock)
        self.main, self.own = Line(), Line()
        self.steps = ReplicatedSteps(self.main, self.own, self.turns)  # type: ignore[arg-type]
        self.steps.running = True
        self.changes: list[bool] = []
        self.steps.watch(self.changes.append)

    def connect(self) -> None:
        """Connect the line of these steps."""
        self.own.running = True
        self.own.change(True)

    def test_no_replica(self) -> None:
        """
        Without a replica there is one connection, and no WAIT.
        """
        self.main.has_replica = False
        asked = self.steps.run(_SCRIPT, "a")
        self.clock.advance(0)
        self.main.answer(1)
        self.assertEqual(self.successResultOf(asked), 1)
        self.assertEqual((self.main.said, self.own.said), (["a"], []))
        self.assertFalse(self.own.running)

    def test_one_wait_for_a_turn(self) -> None:
        """
        Rooms of one turn share a WAIT, and none is answered before it.
        """
        self.connect()
        asked = [self.steps.run(_SCRIPT, name) for name in "abc"]
        self.clock.advance(0)
        self.assertEqual(self.own.said, ["a", "b", "c", "WAIT"])
        for found in (1, 0, 1):
            self.own.answer(found)
        self.assertNoResult(asked[0])
        self.own.answer(1)
        self.assertEqual([self.successResultOf(one) for one in asked], [1, 0, 1])
        self.assertEqual((self.own.sent, self.main.said), ([], []))

    def test_turns_while_one_waits(self) -> None:
        """
        What is stored while a WAIT is on its way needs the next one.
        """
        self.connect()
        first = self.steps.run(_SCRIPT, "a")
        self.clock.advance(0)
        later = [self.steps.run(_SCRIPT, name) for name in "bc"]
        self.clock.advance(0)
        self.assertEqual(self.own.said, ["a", "WAIT", "b", "c"])
        self.own.answer(1)
        self.own.answer(1)
        self.assertEqual(self.successResultOf(first), 1)
        self.own.answer(1)
        self.own.answer(1)
        self.assertNoResult(later[0])
        self.assertEqual(self.own.said[4:], ["WAIT"])
        self.own.answer(2)
        self.assertEqual([self.successResultOf(one) for one in later], [1, 1])
        self.assertEqual(self.own.said[5:], [])

    def test_no_answer(self) -> None:
        """
        Without the replica all fails, at once from then on, until it is back.
        """
        self.connect()
        asked = self.steps.run(_SCRIPT, "a")
        self.clock.advance(0)
        self.own.answer(1)
        self.own.answer(0)
        self.failureResultOf(asked, StoreUnavailable)
        self.assertEqual(self.changes, [False])
        self.failureResultOf(self.steps.run(_SCRIPT, "b"), StoreUnavailable)
        self.own.answer(0)
        self.assertEqual(self.own.said, ["a", "WAIT", "WAIT", "WAIT"])
        self.own.answer(1)
        self.assertEqual(self.changes, [False, True])
        asked = self.steps.run(_SCRIPT, "c")
        self.clock.advance(0)
        self.own.answer(1)
        self.own.answer(1)
        self.assertEqual(self.successResultOf(asked), 1)

    def test_lost_connection(self) -> None:
        """
        A WAIT on a new connection says nothing about what an older one wrote.
        """
        self.connect()
        asked = self.steps.run(_SCRIPT, "a")
        self.clock.advance(0)
        self.own.answer(1)
        self.own.change(False)
        self.failureResultOf(asked, StoreUnavailable)
        self.own.change(True)
        self.assertEqual(self.own.sent, [])
        self.assertEqual(self.changes, [False, True])

    def test_before_the_connection(self) -> None:
        """
        The first step makes the connection; its WAIT is sent when Redis has it.
        """
        asked = self.steps.run(_SCRIPT, "a")
        self.assertTrue(self.own.running)
        self.clock.advance(0)
        self.assertEqual(self.own.said, ["a"])
        self.connect()
        self.own.answer(1)
        self.assertNoResult(asked)
        self.own.answer(1)
        self.assertEqual(self.successResultOf(asked), 1)

    def test_refused_step(self) -> None:
        """
        A step that fails is reported at once.
        """
        self.connect()
        asked = self.steps.run(_SCRIPT, "a")
        self.own.sent.pop(0)[1].errback(StoreUnavailable("no"))
        self.failureResultOf(asked, StoreUnavailable)

    def test_order_of_a_room(self) -> None:
        """
        A room that closes while its checkpoint is on its way is removed after it.
        """
        self.connect()
        store = RedisOwnedStore(self.main, self.steps)  # type: ignore[arg-type]
        store.put("r1", 1, b"", 1.0, True)
        store.remove("r1", 1)
        store.remove("r2", 1)
        self.assertEqual((self.own.said, self.main.said), (["r1", "r1"], ["r2"]))
        store.put("r3", 1, b"", 1.0)
        self.assertEqual(self.main.said, ["r2", "r3"])


class RealReplicaTests(TestCase):
    """A room of an ``ahead`` game over a Redis that has a replica."""

    timeout = 120

    async def setUp(self) -> None:
        quick = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
        self.master = redis_for(self, *quick)
        self.replica = redis_for(
            self, *quick, "--replicaof", "127.0.0.1", str(self.master.port)
        )
        await until(lambda: self.replica.has_all_of(self.master), 60)
        self.port = self.master.port
        self.client, self.own = self.make_client("n1"), self.make_client("n1")
        self.own.owner = self.client.owner
        turns = TurnEnd(reactor)
        self.steps = ReplicatedSteps(self.client, self.own, turns)
        self.steps.startService()
        self.addCleanup(self.steps.stopService)
        await self.start(self.client, "n1")
        store = RedisOwnedStore(self.client, self.steps)
        self.world = World(store)
        self.steps.watch(self.replica_changed)
        self.ann, self.bob = [await self.join(name) for name in ("ann", "bob")]

    def replica_changed(self, is_available: bool) -> None:
        """Do as a node does."""
        rooms = self.world.rooms.ownership
        (rooms.store_again if is_available else rooms.store_away)()

    def make_client(self, node_id: str) -> RedisClient:
        """Make a client of the server that is the master by then."""

        async def dial(factory: Any) -> Any:
            endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.port)
            return await endpoint.connect(factory)

        return RedisClient(
            Access(dial, "vinom:1:replicated:"),
            Owner(node_id),
            reactor,
            time.monotonic,
            os.urandom,
            TurnEnd(reactor),
        )

    async def start(self, client: RedisClient, node_id: str) -> None:
        """Connect it, and get it a lease."""
        await connected(self, client)
        await RedisNodeStore(client).register(NodeFacts(node_id, {}, "1"), 60)

    async def join(self, name: str) -> PlayerLine:
        """Bring a player into the room."""
        line, _ = self.world.hello(name)
        line.say("join_room", game="pair", room_id="r1")
        await self.until(lambda: "join_room_result" in kinds(line.heard()))
        return line

    async def until(self, condition: Any) -> None:
        """Wait until *condition*, on both clocks."""

        def found() -> bool:
            self.world.turn()
            self.world.clock.advance(0.01)
            return bool(condition())

        await until(found)

    async def shows(self, line: PlayerLine, word: str) -> None:
        """Wait until a player is sent the state after a word."""
        await self.until(lambda: word in words(line.heard()))

    async def pass_time(self, seconds: float) -> None:
        """Let real time pass."""
        end = time.monotonic() + seconds
        await self.until(lambda: time.monotonic() > end)

    async def test_stopped_replica(self) -> None:
        """
        While the replica is stopped no state leaves, and players are sent that the room
        stands still; when it is back play goes on.
        """
        self.assertTrue(self.client.has_replica)
        self.ann.do(1, word="one")
        await self.shows(self.bob, "one")
        self.replica.pause()
        self.ann.do(2, word="two")
        await self.pass_time(2.0)
        said = self.bob.heard()
        self.assertEqual((words(said), kinds(said)), ([], ["room_paused"]))
        self.assertTrue(said[0]["data"]["is_paused"])
        # All else goes on: nothing of it needs the replica.
        self.assertTrue(self.client.is_available)
        self.replica.wake()
        await self.shows(self.bob, "two")
        self.ann.do(3, word="three")
        await self.shows(self.bob, "three")

    async def test_failover(self) -> None:
        """
        The master dies right after an action was answered, and its replica takes its
        place: the action is in the room that another node goes on with.
        """
        self.replica.pause()
        self.ann.do(1, word="one")
        await self.pass_time(0.3)
        is_shown = "one" in words(self.bob.heard())
        self.replica.wake()
        if not is_shown:
            await self.shows(self.bob, "one")
        self.master.kill()
        self.replica.command("REPLICAOF", "NO", "ONE")
        self.port = self.replica.port
        kept = self.replica.command("HGET", "vinom:1:replicated:room:r1", "data")
        self.assertIn("one", kept)
        # The node finds the new master, which has no replica; play goes on.
        await until(lambda: self.client.opened and self.client.is_available)
        self.assertFalse(self.client.has_replica)
        self.ann.do(2, word="two")
        await self.shows(self.bob, "two")


class World(RoomsWorld):
    """A node whose rooms are kept in a real Redis."""

    def __init__(self, store: RedisOwnedStore) -> None:
        clock = Clock()
        clock.advance(1_000_000.0)
        LobbyWorld.__init__(
            self,
            clock=clock,
            games={game.name: game() for game in GAMES},
            bounds=Bounds(rate=100.0, burst=1000.0),
            room_bounds=RoomBounds(),
            keeping=Keeping(store, clock, lambda: True),
        )


def words(said: list[dict[str, Any]]) -> list[str]:
    """Name the words of the states that were sent."""
    states = [m["data"]["view"] for m in said if m["type"] == "game_state"]
    return [view["last"] for view in states]
