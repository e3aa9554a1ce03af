"""Calls of Redis: their deadlines, the breaker, leases, and what else is in Redis."""

from __future__ import annotations

import time
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.store.contract import ANN, BOB, CAT, entry, facts, plan
from tests.store.test_redis import RedisCase
from tests.support.logged import watch_events
from tests.support.redis_servers import (
    RedisServer,
    connected,
    make_client,
    redis_for,
    until,
)
from vinom.base.model import Estate, LobbyCounts, MatchEnd, Waiting
from vinom.errors import LeaseLost, StoreUnavailable
from vinom.store.redis.client import Breaker, RedisClient
from vinom.store.redis.lobby import RedisLobbyStore
from vinom.store.redis.nodes import RedisNodeStore, RedisOwnedStore
from vinom.store.redis.players import RedisOnlineStore
from vinom.tools.commands.child_node import free_port


def lobby(client: RedisClient) -> RedisLobbyStore:
    """Make a client's store of entries and matches."""
    return RedisLobbyStore(client, lambda: 1000.0)


class _Pipe(Protocol):
    """One end of a connection through `Keeper`."""

    other: _Pipe | None = None

    def __init__(self, keeper: Keeper, is_client: bool) -> None:
        self.keeper, self.is_client = keeper, is_client
        self.held: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        if self.other is None or (self.is_client and self.keeper.is_held):
            self.held.append(data)
        else:
            self.other.transport.write(data)

    def flush(self) -> None:
        """Pass on what was held."""
        held, self.held = self.held, []
        for data in held:
            self.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.keeper.open.discard(self)


class Keeper(Factory):
    """
    A network that loses nothing: it delivers what a client sent, whenever it can.

    A client that gives up does not end the connection to Redis.

    :ivar is_held: keep what clients send for now.
    """

    noisy = False

    def __init__(self, port: int) -> None:
        self._to = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        self.is_held = False
        self.open: set[_Pipe] = set()
        self.clients: list[_Pipe] = []

    async def listen(self) -> int:
        """Listen, and return the port."""
        self._port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
            self
        )
        return int(self._port.getHost().port)

    async def close(self) -> None:
        """Close everything."""
        await self._port.stopListening()
        for pipe in tuple(self.open):
            pipe.transport.abortConnection()
        await until(lambda: not self.open)

    def buildProtocol(self, addr: object) -> _Pipe:
        pipe = _Pipe(self, True)
        self.open.add(pipe)
        self.clients.append(pipe)
        there = _Pipe(self, False)
        there.other = pipe

        def connected(_: object) -> None:
            self.open.add(there)
            pipe.other = there
            pipe.flush()

        self._to.connect(Factory.forProtocol(lambda: there)).addCallback(connected)
        return pipe

    def deliver(self) -> None:
        """Pass on everything that was held."""
        self.is_held = False
        for pipe in self.clients:
            pipe.flush()


class DeadlineTests(RedisCase):
    """A call that timed out must not happen later."""

    async def fails(self, call: Any, kind: type[Exception] = StoreUnavailable) -> str:
        """Wait for a call's failure."""
        try:
            found = await call
        except kind as error:
            return str(error)
        raise AssertionError(f"it did not fail: {found!r}")

    async def test_late_commands_write_nothing(self) -> None:
        """
        Redis is stopped, a call times out, and Redis goes on: it executes the command,
        which writes nothing.
        """
        server = redis_for(self)
        keeper = Keeper(server.port)
        port = await keeper.listen()
        self.addCleanup(keeper.close)
        client = make_client(port, "vinom:1:late:", deadline=1.0)
        await connected(self, client)
        nodes, entries = RedisNodeStore(client), lobby(client)
        await nodes.register(facts("n1"), 60)
        # Redis knows the scripts: it would execute the late call.
        await entries.enqueue(entry(BOB, 1.0))
        await entries.leave("bob")
        before = sorted(server.command("KEYS", "*"))
        calls = self.executed(server)
        server.pause()
        why = await self.fails(entries.enqueue(entry(ANN, 1.0)))
        self.assertIn("in time", why)
        self.assertFalse(client.is_available)
        self.assertIn("in time", await self.fails(entries.enqueue(entry(BOB, 1.0))))
        server.wake()
        await until(lambda: client.is_available)
        # It was executed, after its deadline.
        self.assertGreater(self.executed(server), calls)
        self.assertEqual(sorted(server.command("KEYS", "*")), before)
        self.assertEqual((await entries.enqueue(entry(ANN, 1.0))).place, 1)

    async def test_a_busy_node(self) -> None:
        """
        A node that was busy for longer than the deadline takes an answer that came
        meanwhile, and does not give up the store.
        """
        server = redis_for(self)
        client = make_client(server.port, "vinom:1:busy:", deadline=1.0)
        await connected(self, client)
        await RedisNodeStore(client).register(facts("n1"), 60)
        entries = lobby(client)
        await entries.enqueue(entry(BOB, 1.0))

        def be_busy() -> None:
            server.wake()
            time.sleep(1.5)

        server.pause()
        added = entries.enqueue(entry(ANN, 1.0))
        # What comes from other threads is done right before what is due.
        reactor.callLater(0.05, reactor.callFromThread, be_busy)
        self.assertEqual((await added).place, 2)
        self.assertEqual(client.opened, 0)

    async def test_more_than_fits(self) -> None:
        """
        What Redis does not read yet is sent when it does, in the order of the calls.
        """
        server = redis_for(self)
        client = make_client(server.port, "vinom:1:full:", deadline=20)
        await connected(self, client)
        await RedisNodeStore(client).register(facts("n1"), 60)
        store = RedisOwnedStore(client)
        await store.put("room", 1, b"before", 10)
        server.pause()
        large = bytes(8 << 20)
        puts = [store.put("room", 1, large, 10)]
        # In later turns, while the first one waits for room.
        for data in (b"second", large, b"last"):
            await deferLater(reactor, 0.05)
            puts.append(store.put("room", 1, data, 10))
        server.wake()
        self.assertEqual([await put for put in puts], [True] * 4)
        self.assertEqual(
            server.command("HGET", "vinom:1:full:room:room", "data"), "last"
        )
        await store.put("room", 1, b"after", 10)

    def executed(self, server: RedisServer) -> int:
        """Count the scripts that a server has run."""
        info = server.command("INFO", "commandstats")
        for line in info.splitlines():
            if line.startswith(("cmdstat_evalsha:", "cmdstat_eval:")):
                self.assertIn("calls=", line)
        return sum(
            int(line.partition("calls=")[2].partition(",")[0])
            for line in info.splitlines()
            if line.startswith(("cmdstat_evalsha:", "cmdstat_eval:"))
        )

    async def test_held_up_commands_write_nothing(self) -> None:
        """
        A command that the network delivers late does nothing, and says so.
        """
        keeper = Keeper(self.server.port)
        port = await keeper.listen()
        self.addCleanup(keeper.close)
        client = make_client(port, self.client.prefix, "n1", deadline=1.0, beat=3600)
        await connected(self, client)
        client.owner.lease = self.client.owner.lease
        store = lobby(client)
        self.assertEqual((await store.enqueue(entry(ANN, 1.0))).place, 1)
        self.assertIsNotNone(await store.leave("ann"))
        self.assertEqual((await store.enqueue(entry(ANN, 1.0))).place, 1)
        keeper.is_held = True
        before = sorted(self.keys())
        await self.fails(store.leave("ann"))
        keeper.deliver()
        await until(lambda: client.is_available)
        self.assertEqual(sorted(self.keys()), before)
        self.assertEqual(client.outcomes["timeout"], 1)
        self.assertIsNotNone(await store.leave("ann"))

    async def test_redis_clock_is_not_ours(self) -> None:
        """
        A deadline is Redis' time, whatever clock the node has, and never too late.
        """
        for shift in (-1e6, 0.0, 1e6):
            client = make_client(
                self.server.port,
                self.client.prefix,
                "n1",
                monotonic=lambda shift=shift: time.monotonic() + shift,
            )
            client.startService()
            await until(lambda client=client: client.is_available)
            client.owner.lease = self.client.owner.lease
            self.assertIsNone(await lobby(client).leave("ann"))
            await client.stopService()

    async def test_scripts_are_loaded_again(self) -> None:
        """
        A Redis that forgot its scripts is given them.
        """
        store = lobby(self.client)
        await store.enqueue(entry(ANN, 1.0))
        self.server.command("SCRIPT", "FLUSH")
        self.assertIsNotNone(await store.leave("ann"))


class SilenceTests(RedisCase):
    """Nobody waits for a store that does not answer."""

    async def test_the_first_connection(self) -> None:
        """
        Calls of a node that has just started wait until it is connected, or cannot be.
        """
        client = make_client(self.server.port, self.client.prefix)
        placing = lobby(client).places(["e"])
        client.startService()
        self.addCleanup(client.stopService)
        self.assertFalse(client.is_available)
        self.assertEqual(await placing, [0])
        nobody = make_client(free_port(), self.client.prefix)
        self.addCleanup(nobody.stopService)
        placing = lobby(nobody).places(["e"])
        nobody.startService()
        await self.assertFailure(placing, StoreUnavailable)
        await self.assertFailure(lobby(nobody).places(["e"]), StoreUnavailable)

    async def test_stopped_while_it_connects(self) -> None:
        """
        A node that stops while it dials its store leaves nothing that still dials.
        """
        client = make_client(self.server.port, self.client.prefix)
        client.startService()
        self.assertIsNone(client.stopService())

    async def test_calls_fail_at_once(self) -> None:
        """
        A Redis that is gone is noticed without any call, calls fail at once, and it is
        used again when it is back.
        """
        server = redis_for(self)
        seen: list[bool] = []
        client = make_client(server.port, "vinom:1:x:", deadline=1.0, beat=0.1)
        client.watch(seen.append)
        await connected(self, client)
        server.pause()
        await until(lambda: not client.is_available)
        with self.assertRaises(StoreUnavailable) as caught:
            await lobby(client).places(["e"])
        refusal = caught.exception.refusal()
        self.assertEqual(refusal.code, "store_unavailable")
        self.assertIn("retry_after", refusal.details)
        self.assertEqual(client.outcomes["open"], 1)
        server.wake()
        await until(lambda: client.is_available)
        self.assertEqual(seen, [True, False, True])
        server.kill()
        await until(lambda: not client.is_available)
        self.assertEqual(client.opened, 2)

    async def test_one_line(self) -> None:
        """
        The log has one line when the store goes, however it is away and however many
        calls fail, and one with their number when it is back.
        """
        server = redis_for(self)
        client = make_client(server.port, "vinom:1:log:", deadline=1.0, beat=0.1)
        await connected(self, client)
        events = watch_events(self)
        server.pause()
        await until(lambda: not client.is_available)
        for _ in range(20):
            with self.assertRaises(StoreUnavailable):
                await lobby(client).places(["e"])
        # It cannot be connected to for another reason by now.
        why = client.why
        server.kill()
        await until(lambda: client.why != why)
        redis_for(self, port=server.port)
        await until(lambda: client.is_available)
        lines = [one for one in events if "the store" in (one["log_format"] or "")]
        self.assertEqual(len(lines), 2, [one["log_format"] for one in lines])
        self.assertEqual(lines[1]["count"], 20)

    async def test_a_lost_connection(self) -> None:
        """
        A connection that Redis closes costs the calls on it, and no others.
        """
        store = lobby(self.client)
        self.server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await until(lambda: self.client.opened)
        await until(lambda: self.client.is_available)
        self.assertEqual(await store.places(["e-ann"]), [0])


class LeaseTests(RedisCase):
    """A node whose lease is over writes nothing."""

    async def test_stale_numbers(self) -> None:
        """
        The writes of a node with an old lease number are refused, and change nothing.
        """
        nodes, store = RedisNodeStore(self.client), lobby(self.client)
        await store.enqueue(entry(BOB, 1.0))
        old = self.client.owner.lease
        await nodes.register(facts("n1"), 60)
        new, self.client.owner.lease = self.client.owner.lease, old
        before = sorted(self.keys())
        for call in (
            lambda: store.enqueue(entry(ANN, 1.0)),
            lambda: store.leave("bob"),
            lambda: store.suspend("e-bob", True),
            lambda: store.suspend("e-bob", False),
            lambda: store.leave("bob", ready=True),
        ):
            await self.assertFailure(call(), LeaseLost)
        self.assertEqual(sorted(self.keys()), before)
        self.client.owner.lease = new
        self.assertIsNotNone(await store.leave("bob"))

    async def test_the_end_of_a_lease(self) -> None:
        """
        A lease that was not renewed is over by Redis' clock.
        """
        nodes, store = RedisNodeStore(self.client), lobby(self.client)
        await nodes.register(facts("n1"), 0.1)
        await deferLater(reactor, 0.15)
        await self.assertFailure(store.enqueue(entry(ANN, 1.0)), LeaseLost)
        await self.assertFailure(store.leave("nobody"), LeaseLost)

    async def test_another_node(self) -> None:
        """
        A match takes entries of every node, once.
        """
        other = await self.open_client("n2")
        await RedisNodeStore(other).register(facts("n2"), 60)
        here, there = lobby(self.client), lobby(other)
        await here.enqueue(entry(ANN, 1.0))
        await there.enqueue(entry(BOB, 2.0))
        both, found = ["e-ann", "e-bob"], []
        for number, one in enumerate((here, there) * 4):
            found.append(one.start(plan(f"m{number}", ANN, BOB), both))
        refusals = [(await one).refusal for one in found]
        self.assertEqual(refusals.count(""), 1)


class EstateTests(RedisCase):
    """What a node that is gone has left."""

    async def setUp(self) -> None:
        await RedisCase.setUp(self)
        self.other = await self.open_client("n2")
        await RedisNodeStore(self.other).register(facts("n2"), 60)
        self.estates = lobby(self.other)

    async def test_matches(self) -> None:
        """
        The matches of one node are listed until they are over, a few at a time.
        """
        here, there = (lobby(client) for client in (self.client, self.other))
        await here.start(plan("m1", ANN))
        await here.start(plan("m2", BOB))
        await there.start(plan("m3", CAT))
        found = await self.estates.matches_of("n1", 10)
        self.assertEqual({one.plan.match_id for one in found}, {"m1", "m2"})
        self.assertEqual(len(await self.estates.matches_of("n1", 1)), 1)
        # A node that lives, or has come back, goes on with its matches.
        self.assertFalse(await there.end(MatchEnd("m1", "lost"), 1060.0))
        await RedisNodeStore(self.client).leave("n1", self.client.owner.lease)
        for match_id in ("m1", "m2"):
            self.assertTrue(await there.end(MatchEnd(match_id, "lost"), 1060.0))
        self.assertEqual(await self.estates.matches_of("n1", 10), [])
        self.assertIsNone((await here.of_player("ann")).plan)
        self.assertIsNotNone((await here.of_player("cat")).plan)

    async def test_leaving_something(self) -> None:
        """
        A node that stops before its matches are recorded as over leaves them to others.
        """
        here = RedisNodeStore(self.client)
        matches = lobby(self.other)
        await lobby(self.client).start(plan("m1", ANN))
        lease = self.client.owner.lease
        self.assertTrue(await here.leave("n1", lease))
        there = RedisNodeStore(self.other)
        expired = [one.node.node_id for one in await there.nodes(expired=True)]
        self.assertEqual(expired, ["n1"])
        await matches.end(MatchEnd("m1", "lost"), 1060.0)
        self.assertTrue(await there.leave("n1", lease))
        self.assertEqual(await there.nodes(expired=True), [])

    async def test_entries(self) -> None:
        """
        Waiting players whose lines went to a node that is gone cannot be matched, and
        lose their places unless they come back through another node.
        """
        here, there = lobby(self.client), lobby(self.other)
        for player, since in ((ANN, 1.0), (BOB, 2.0), (CAT, 3.0)):
            await here.enqueue(entry(player, since))
        # Cat came to the other node before anybody noticed.
        self.assertTrue(await there.suspend("e-cat", False))
        # Nothing is taken from a node that lives.
        self.assertIsNone(await self.estates.abandon("n1", 1, 1.0))
        await RedisNodeStore(self.client).leave("n1", self.client.owner.lease)
        found = [await self.estates.abandon("n1", 1, 1.0) for _ in range(2)]
        self.assertEqual(
            sorted(one for left in found for one in left.players), ["ann", "bob"]
        )
        self.assertIsNone(await self.estates.abandon("n1", 10, 1.0))
        self.assertEqual(await there.waiting("maze", b"{}"), Waiting(3, 1, 3.0))
        self.assertTrue(await there.suspend("e-bob", False))
        await deferLater(reactor, 1.1)
        self.assertEqual(await there.waiting("maze", b"{}"), Waiting(2, 2, 2.0))
        self.assertIsNone((await there.of_player("ann")).entry)
        self.assertEqual(await there.places(["e-ann", "e-bob", "e-cat"]), [0, 1, 2])
        self.assertEqual(await there.counts(), LobbyCounts({"maze": 2}, 0, 2.0))
        # They belong to the other node now.
        owned = self.server.command("SMEMBERS", f"{self.client.prefix}entries-of:n2")
        self.assertLessEqual({"e-bob", "e-cat"}, set(owned))

    async def test_a_player_who_was_away_before(self) -> None:
        """
        When the node dies at which a player was last, another one waits for the player.
        """
        lines = RedisOnlineStore(self.client), RedisOnlineStore(self.other)
        there = lobby(self.other)
        for player in (ANN, BOB):
            await there.enqueue(entry(player, 1.0))
            await lines[0].enter(player.player_id)
            await lines[0].leave(player.player_id)
        await lines[1].enter("bob")
        await RedisNodeStore(self.client).leave("n1", self.client.owner.lease)
        # The second is for a lost answer.
        left = [await self.estates.abandon(one, 10, 1.0) for one in ("n1", "", "n1")]
        self.assertEqual(left, [Estate([], ["ann"]), Estate([], ["ann"]), None])

    async def test_absence_after_a_stop(self) -> None:
        """
        When Redis was stopped for longer than a lease, nobody is away because the node
        with the line could not renew it; only from the moment at which it is given up.
        """
        here, there = RedisOnlineStore(self.client), RedisOnlineStore(self.other)
        nodes = RedisNodeStore(self.client)
        await here.enter("ann")
        self.assertTrue(await nodes.leave("n1", self.client.owner.lease))
        await deferLater(reactor, 0.1)
        self.assertEqual(await there.absence("ann"), 1e-6)
        await nodes.register(facts("n1"), 60)
        self.assertEqual(await there.absence("ann"), 0)
        await nodes.leave("n1", self.client.owner.lease)
        self.assertEqual((await self.estates.abandon("n1", 10, 1.0)).players, ["ann"])
        await deferLater(reactor, 0.1)
        self.assertGreater(await there.absence("ann"), 0.05)

    async def test_entries_of_players_elsewhere(self) -> None:
        """
        Players whose place was in the hands of a node that is gone, but who are
        connected to another one, are matched as before; of a party whose members are
        not all there, nobody is.
        """
        here, there = lobby(self.client), lobby(self.other)
        lines = RedisOnlineStore(self.client), RedisOnlineStore(self.other)
        await here.enqueue(entry(ANN, 1.0))
        await here.enqueue(attrs.evolve(entry(BOB, 2.0), players=(BOB, CAT)))
        for player in (ANN, BOB):
            await lines[1].enter(player.player_id)
        await lines[0].enter(CAT.player_id)
        await RedisNodeStore(self.client).leave("n1", self.client.owner.lease)
        left = await self.estates.abandon("n1", 10, 1.0)
        self.assertEqual(set(left.players), {"ann", "bob", "cat"})
        self.assertEqual(await there.waiting("maze", b"{}"), Waiting(3, 1, 1.0))
        await lines[1].enter(CAT.player_id)
        self.assertTrue(await there.suspend("e-bob", False))
        await deferLater(reactor, 1.1)
        self.assertEqual(await there.waiting("maze", b"{}"), Waiting(3, 3, 1.0))


class LayoutTests(RedisCase):
    """What is in Redis beside our keys."""

    async def test_expired_entries_do_not_count(self) -> None:
        """
        An entry whose lifetime is over leaves places and counts.
        """
        store = lobby(self.client)
        await store.enqueue(entry(ANN, 1.0))
        await store.enqueue(entry(BOB, 2.0))
        for key in ("entry:e-ann", "entry-of:ann"):
            self.server.command("DEL", f"{self.client.prefix}{key}")
        self.assertEqual((await store.counts()).players, {"maze": 1})
        waiting = await store.waiting("maze", b"{}")
        self.assertEqual((waiting.players, waiting.since), (1, 2.0))
        self.assertEqual(await store.places(["e-bob"]), [1])
        self.server.command("DEL", f"{self.client.prefix}entry:e-bob")
        self.assertEqual(await store.counts(), LobbyCounts({}, 0, None))
        self.assertEqual(await store.waiting("maze", b"{}"), Waiting())
        left = {key.removeprefix(self.client.prefix) for key in self.keys()}
        self.assertFalse([key for key in left if key.startswith("queue")], left)


class BreakerTests(SynchronousTestCase):
    """When a node tries again."""

    def test_back_off(self) -> None:
        """
        Tries are further and further apart, never above the limit, and begin anew.
        """
        breaker = Breaker(lambda count: bytes(count))
        self.assertFalse(breaker.is_closed)
        delays = [breaker.open() for _ in range(6)]
        self.assertEqual(delays, [0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
        breaker.close()
        self.assertTrue(breaker.is_closed)
        self.assertEqual(breaker.open(), 0.1)

    def test_jitter(self) -> None:
        """
        Nodes that lost the store at one moment come back at different ones.
        """
        latest = Breaker(lambda count: b"\xff" * count)
        self.assertAlmostEqual(latest.open(), 0.05, places=4)
