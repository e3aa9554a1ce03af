"""Which node has a game server that outlives its node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.store.contract import facts
from tests.support.supply import match_plan
from vinom.base.model import ServerAddress
from vinom.errors import StoreUnavailable
from vinom.fleet.records import ServerRecord, ServerRecords
from vinom.node.claims import Claims
from vinom.store.memory.nodes import MemoryNodeStore, MemoryOwnedStore, Things

LEASE = 10.0


@attrs.define
class Door:
    """A store that may not answer, and that notes what it is asked."""

    store: MemoryOwnedStore
    is_away: bool = False
    loses: str = ""
    asked: list[str] = attrs.field(factory=list)
    # If it is slow: answers on their way.
    slow: list[Deferred[Any]] | None = None

    def __getattr__(self, name: str) -> Any:
        def ask(*args: Any, **named: Any) -> Deferred[Any]:
            self.asked.append(name)
            if self.is_away:
                return fail(StoreUnavailable("away"))
            found: Deferred[Any] = getattr(self.store, name)(*args, **named)
            if self.loses and (name, args[0]) == ("claim", self.loses):
                self.loses = ""
                return fail(StoreUnavailable("the answer is lost"))
            if self.slow is not None:
                found.pause()
                self.slow.append(found)
            return found

        return ask


class Node:
    """One node: its files, its lease, and what it knows of game servers."""

    def __init__(self, world: ClaimsTests, node_id: str, folder: str = "") -> None:
        self.world, self.node_id, self.number = world, node_id, 0
        self.files = ServerRecords(world.root / (folder or node_id), lambda: 1.0)
        self.door = Door(
            MemoryOwnedStore(
                world.nodes, node_id, lambda: self.number, world.servers, "server"
            )
        )
        store: Any = self.door
        self.claims = Claims(
            self.files,
            store,
            self,
            node_id,
            f"recordings of {node_id}",
            world.clock,
            world.file_decides,
        )
        self.taken: list[str] = []
        self.claims.taken = self.taken.append

    @property
    def is_current(self) -> bool:
        return self.world.nodes.is_current(self.node_id, self.number)

    def register(self) -> None:
        """Get a lease."""
        found = self.world.nodes.register(facts(self.node_id), LEASE)
        self.number = self.world.successResultOf(found)
        self.claims.check_owned()

    def record(self, server_id: str = "s1") -> ServerRecord:
        match = self.files.record(match_plan("m1"), ())
        where = ServerAddress("play.example", 46000)
        return ServerRecord(server_id, server_id, "17 b 4", where, "ANCHOR", (match,))

    def left(self, node_id: str) -> list[str]:
        """Take over what a node has left."""
        found = Deferred.fromCoroutine(self.claims.left(node_id, _yes))
        records = self.world.successResultOf(found)
        return [one.server_id for one in records]


def _yes(record: ServerRecord) -> Deferred[bool]:
    return succeed(True)


def _no(record: ServerRecord) -> Deferred[bool]:
    return succeed(False)


class ClaimsTests(SynchronousTestCase):
    """`Claims` of several nodes, with one store and one time."""

    file_decides = True

    def setUp(self) -> None:
        self.clock, self.root = Clock(), Path(self.mktemp())
        self.nodes = MemoryNodeStore(self.clock.seconds)
        self.servers = Things(self.clock.seconds)
        self.first = self.node("n1")
        self.second = self.node("n2")

    def node(self, node_id: str, folder: str = "") -> Node:
        node = Node(self, node_id, folder)
        node.register()
        return node

    def die(self) -> None:
        """The first node is silent for longer than its lease."""
        self.clock.advance(LEASE)
        self.second.register()

    def test_written(self) -> None:
        """
        What another node must know is in the store before the order to open a match
        is sent, and the node may link to its game server; when that has no match it
        is forgotten.
        """
        self.assertFalse(self.first.claims.is_ours("s1"))
        self.first.claims.write(self.first.record())
        self.assertTrue(self.first.claims.is_ours("s1"))
        self.assertIn("s1", self.servers)
        self.assertTrue(self.first.files.has("s1"))
        self.first.claims.forget("s1")
        self.first.claims.forget("s1")
        self.assertEqual((self.servers, self.first.files.read()), ({}, []))
        self.assertFalse(self.first.claims.is_ours("s1"))

    def test_claimed_once(self) -> None:
        """
        When a node is dead, of two others that see it one goes on with its game
        server, and knows where its files are.
        """
        self.first.claims.write(self.first.record())
        third = self.node("n3")
        self.assertEqual(self.second.left("n1"), [])
        self.clock.advance(LEASE)
        for one in (self.second, third):
            one.register()
        self.assertEqual([self.second.left("n1"), third.left("n1")], [["s1"], []])
        self.assertTrue(self.second.claims.is_ours("s1"))
        record = self.second.claims._claims["s1"].record
        assert record is not None
        self.assertEqual(record.folder, str(self.first.files.folder.absolute()))
        self.assertEqual(record.recordings, "recordings of n1")

    def test_node_that_slept(self) -> None:
        """
        A node that was silent for too long links to no game server before it knows
        that it still has it; one that another node has taken it leaves alone, for
        ever.
        """
        for server_id in ("s1", "s2"):
            self.first.claims.write(self.first.record(server_id))
        self.die()
        self.assertFalse(self.first.claims.is_ours("s1"))
        self.assertEqual(self.second.left("n1"), ["s1", "s2"])
        self.second.claims.forget("s2")
        self.first.register()
        self.assertEqual(self.first.taken, ["s1", "s2"])
        self.assertFalse(self.first.claims.is_ours("s1"))
        self.assertEqual(self.first.files.read(), [])
        self.assertTrue(self.second.claims.is_ours("s1"))

    def test_nobody_came(self) -> None:
        """
        If nobody has taken its game servers meanwhile, it goes on with them.
        """
        self.first.claims.write(self.first.record())
        self.die()
        self.first.register()
        self.assertEqual(self.first.taken, [])
        self.assertTrue(self.first.claims.is_ours("s1"))

    def test_started_again(self) -> None:
        """
        A node that is started again in the place of one that was killed, also twice,
        need not wait for the end of a lease: nobody else gets the game server.
        """
        self.first.claims.write(self.first.record())
        for node_id in ("n1b", "n1c"):
            again = self.node(node_id, "n1")
            (record,) = again.files.read()
            again.claims.found(record)
            self.assertTrue(self.successResultOf(again.claims.settled("s1")))
            self.assertTrue(again.claims.is_ours("s1"))
        self.die()
        self.assertEqual(self.second.left("n1"), [])
        self.assertTrue(again.files.has("s1"))

    def test_started_again_too_late(self) -> None:
        """
        If another node was first, that one has it; the node that was started again
        does nothing to it.
        """
        self.first.claims.write(self.first.record())
        self.die()
        again = self.node("n1b", "n1")
        (record,) = again.files.read()
        self.assertEqual(self.second.left("n1"), ["s1"])
        again.claims.found(record)
        self.assertFalse(self.successResultOf(again.claims.settled("s1")))
        self.assertEqual((again.taken, again.files.read()), (["s1"], []))
        self.clock.advance(60)
        self.assertFalse(again.claims.is_ours("s1"))

    def test_before_the_first_lease(self) -> None:
        """
        A node that starts asks as soon as it has a lease.
        """
        self.first.claims.write(self.first.record())
        again = Node(self, "n1b", "n1")
        (record,) = again.files.read()
        again.claims.found(record)
        settled = again.claims.settled("s1")
        self.assertNoResult(settled)
        self.assertFalse(again.claims.is_ours("s1"))
        again.register()
        self.assertTrue(self.successResultOf(settled))

    def test_store_is_away_at_the_start(self) -> None:
        """
        If the store does not answer, the file decides after a while: a node that had
        taken the game server would have removed it. When the store answers, it is this
        node's there, too.
        """
        for server_id in ("s1", "s2"):
            self.first.claims.write(self.first.record(server_id))
        again = self.node("n1b", "n1")
        again.door.is_away = True
        for record in again.files.read():
            again.claims.found(record)
        self.assertFalse(again.claims.is_ours("s1"))
        again.files.forget("s2")
        self.clock.pump([1.0] * 5)
        self.assertTrue(again.claims.is_ours("s1"))
        self.assertFalse(again.claims.is_ours("s2"))
        self.assertEqual(again.taken, ["s2"])
        again.door.is_away = False
        self.clock.advance(1.0)
        self.assertTrue(again.claims.is_ours("s1"))
        self.assertEqual(self.servers["s1"].node_id, "n1b")

    def test_file_that_others_cannot_remove(self) -> None:
        """
        Where another machine may have the game server by now, no time without the store
        makes it this node's, and none makes it another's.
        """
        self.first.claims.write(self.first.record())
        self.file_decides = False
        again = self.node("n1b", "n1")
        again.door.is_away = True
        (record,) = again.files.read()
        again.claims.found(record)
        self.clock.pump([1.0] * 30)
        self.assertFalse(again.claims.is_ours("s1"))
        self.assertEqual(again.taken, [])
        again.door.is_away = False
        again.register()
        self.clock.advance(1.0)
        self.assertTrue(again.claims.is_ours("s1"))

    def test_store_is_away(self) -> None:
        """
        What the store has missed is written when it answers: the newest only.
        """
        self.first.door.is_away = True
        self.first.claims.write(self.first.record())
        self.first.claims.write(replace(self.first.record(), label="newest"))
        self.first.claims.write(self.first.record("s2"))
        self.first.claims.forget("s2")
        self.clock.advance(1.0)
        self.first.door.is_away = False
        self.clock.advance(1.0)
        self.assertIn(b"newest", self.servers["s1"].data)
        self.assertEqual(list(self.servers), ["s1"])
        self.first.door.asked.clear()
        self.clock.advance(5.0)
        self.assertEqual(self.first.door.asked, [])

    def test_store_was_lost(self) -> None:
        """
        A store that has lost everything gets it again with the next lease.
        """
        self.first.claims.write(self.first.record())
        self.servers.clear()
        self.first.register()
        self.assertIn("s1", self.servers)
        again = self.node("n1b", "n1")
        self.servers.clear()
        again.claims.found(again.files.read()[0])
        self.assertTrue(self.successResultOf(again.claims.settled("s1")))
        self.assertEqual(self.servers["s1"].node_id, "n1b")

    def test_offered(self) -> None:
        """
        A node that stops offers its game servers: another one has them at once, and it
        learns that; one that nobody takes stays, and may end there.
        """
        for server_id in ("s1", "s2"):
            self.first.claims.write(self.first.record(server_id))
        self.assertEqual(self.second.left(""), [])
        self.first.claims.offer()
        self.assertFalse(self.first.claims.is_ours("s1"))
        self.assertEqual(self.first.left(""), [])
        self.first.claims.forget("s2")
        self.first.claims.offer()
        self.assertEqual(self.first.taken, [])
        self.assertEqual(self.second.left(""), ["s1"])
        # A match of it has ended meanwhile.
        self.first.claims.write(self.first.record())
        self.assertEqual(self.first.taken, ["s1"])
        self.assertEqual(self.first.files.read(), [])

    def cut_off(self, *server_ids: str) -> None:
        """Lose the answer about s2 while the second node takes game servers over."""
        for server_id in server_ids:
            self.first.claims.write(self.first.record(server_id))
        self.die()
        self.second.door.loses = "s2"
        cut = Deferred.fromCoroutine(self.second.claims.left("n1", _yes))
        self.failureResultOf(cut, StoreUnavailable)

    def test_answer_is_lost(self) -> None:
        """
        If the connection to the store breaks while a node takes game servers over, it
        goes on with all of them when the store is back: with those that it had already
        taken, and with the one of which it does not know.
        """
        self.cut_off("s1", "s2", "s3")
        self.assertEqual(sorted(self.second.left("")), ["s1", "s2", "s3"])
        self.assertEqual(self.second.left(""), [])
        self.assertTrue(self.second.claims.is_ours("s2"))

    def test_lease_lost_between(self) -> None:
        """
        If its own lease ended before it was back, it goes on only with what nobody else
        has taken meanwhile.
        """
        self.cut_off("s1", "s2")
        self.clock.advance(LEASE)
        third = self.node("n3")
        self.assertEqual(sorted(third.left("n2")), ["s1", "s2"])
        self.second.register()
        self.assertEqual(self.second.left(""), [])

    def test_answer_after_the_next_lease(self) -> None:
        """
        A game server that died while the store was away is forgotten, whatever comes
        first when the store is back: the node's new lease, or the answer to what the
        node had asked under its old one. Until then its matches neither go on nor end.
        """
        self.first.claims.write(self.first.record())
        self.first.door.is_away = True
        self.clock.advance(LEASE)
        known: list[bool] = []
        self.first.claims.settled("s1").addCallback(known.append)
        self.first.claims.forget("s1")
        self.first.door.is_away = False
        self.first.door.slow = slow = []
        self.clock.advance(1.0)
        self.first.door.slow = None
        (answer,) = slow
        self.first.register()
        answer.unpause()
        for _ in range(60):
            self.clock.advance(1.0)
            self.nodes.renew(facts("n1"), self.first.number, LEASE)
        self.assertEqual(known, [True])

    def test_offered_before_it_is_written(self) -> None:
        """
        A node that is stopped while the store is away offers all its game servers when
        the store is back: also one that was not written yet, with what is known then.
        """
        self.first.door.is_away = True
        self.first.claims.write(self.first.record())
        self.first.claims.offer()
        self.first.claims.write(replace(self.first.record(), label="newest"))
        self.first.door.is_away = False
        self.clock.advance(1.0)
        self.assertEqual(self.first.taken, [])
        self.assertEqual(self.second.left(""), ["s1"])
        record = self.second.claims._claims["s1"].record
        assert record is not None
        self.assertEqual(record.label, "newest")

    def test_ended_in_doubt(self) -> None:
        """
        A game server ends while its node has no lease: the node waits for the answer of
        the store before it goes on with its matches, and does not if another node had
        taken it.
        """
        for server_id in ("s1", "s2"):
            self.first.claims.write(self.first.record(server_id))
        self.die()
        self.successResultOf(self.second.door.claim("s2"))
        settled = [self.first.claims.settled(one) for one in ("s1", "s2")]
        for server_id in ("s1", "s2"):
            self.first.claims.forget(server_id)
            self.assertNoResult(settled[int(server_id == "s2")])
        self.first.register()
        self.assertEqual([self.successResultOf(one) for one in settled], [True, False])
        self.assertEqual(self.first.taken, ["s2"])

    def test_out_of_reach(self) -> None:
        """
        A game server that this node cannot go on with is left to others: of another
        build, of a game that is not here, and what makes no sense.
        """
        self.first.claims.write(self.first.record())
        (data,) = [one.data for one in self.servers.values()]
        foreign = data.replace(b'"protocol":', b'"protocol":9')
        for number, bad in enumerate(
            (foreign, b"{", data.replace(b'"s1"', b'"../s1"'))
        ):
            self.successResultOf(self.first.door.put(f"bad{number}", 1, bad))
        self.die()
        found = Deferred.fromCoroutine(self.second.claims.left("n1", _no))
        self.assertEqual(self.successResultOf(found), [])
        self.assertEqual({one.node_id for one in self.servers.values()}, {"n1"})
        self.assertEqual(self.second.left("n1"), ["s1"])
        self.assertEqual(len(self.flushLoggedErrors()), 0)
