"""Who can be sent something, and who is."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.support.live_rooms import kinds
from tests.support.lobbies import Faulty, LobbyWorld, everybody, silent
from tests.support.online_store import Lines, MemoryOnlineStore
from vinom.base.messages.envelope import encode_push
from vinom.base.messages.lobby import MatchEnded, Pong, QueueStatus
from vinom.errors import Code, NoCapacity, Refused
from vinom.lobby.conversation.online import Reporting
from vinom.store.memory.lobby import MemoryLobbyStore
from vinom.store.memory.players import MemoryPlayerStore


class OnlineTests(SynchronousTestCase):
    """`Online`."""

    def test_several(self) -> None:
        """
        Each of several players is sent the same, and nobody else is.
        """
        world = LobbyWorld()
        said = [world.hello(name) for name in ("ann", "bob", "cat")]
        (ann, one), (bob, two), (cat, _) = said
        ids = [one["player_id"], two["player_id"]]
        world.online.send(ids, Pong())
        world.online.warn(ids, Refused(Code.DRAINING, "no"))
        for line in (ann, bob):
            self.assertEqual([m["type"] for m in line.heard()], ["pong", "error"])
        self.assertEqual(cat.heard(), [])

    def test_away(self) -> None:
        """
        A player who is away misses what is sent; the others get it all the same.
        """
        world = LobbyWorld()
        (ann, one), (bob, two) = world.hello("ann"), world.hello("bob")
        ann.hang_up()
        world.online.send(["nobody", one["player_id"], two["player_id"]], Pong())
        self.assertEqual(ann.heard(), [])
        self.assertEqual([m["type"] for m in bob.heard()], ["pong"])
        self.assertFalse(world.online.is_here(one["player_id"]))

    def test_reported_until_the_store_answers(self) -> None:
        """
        Lines that the store has lost are reported again until it answers, also if
        nobody notices that it does.
        """
        lines = Lines()
        world = LobbyWorld(lines=MemoryOnlineStore(lines, "n1"))
        _, said = world.hello("ann")
        clock = Clock()
        reporting = Reporting(world.online, clock)
        reporting.startService()
        lines.lines.clear()
        patched = self.patch(MemoryOnlineStore, "keep", silent)
        reporting.look()
        clock.pump([0.5] * 5)
        self.assertEqual(lines.lines, {})
        patched.restore()
        clock.pump([0.5] * 2)
        self.assertEqual(list(lines.lines), [said["player_id"]])
        reporting.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])


class TwoNodesTests(SynchronousTestCase):
    """Players of two nodes that share their stores."""

    def setUp(self) -> None:
        clock = Clock()
        lines = Lines(now=clock.seconds)
        clock.advance(1_000_000.0)
        now = clock.seconds
        shared = {
            "clock": clock,
            "players": MemoryPlayerStore(now),
            "store": MemoryLobbyStore(now),
        }
        self.lines, self.shared = lines, shared
        self.one, self.two = (
            LobbyWorld(seed, **self.parts(node_id))
            for seed, node_id in ((1, "n1"), (2, "n2"))
        )
        self.clock, self.store = clock, shared["store"]
        reporting = Reporting(self.one.online, self.clock)
        reporting.startService()
        self.addCleanup(reporting.stopService)

    def parts(self, node_id: str) -> dict[str, Any]:
        """What a node of this deployment is made of."""
        return {"lines": MemoryOnlineStore(self.lines, node_id), **self.shared}

    def test_matched_by_another_node(self) -> None:
        """
        Two players who queue at two nodes are both sent their match at once.
        """
        ann, _ = self.one.queued("ann", "duel")
        self.clock.advance(0)
        bob, _ = self.two.queued("bob", "duel")
        self.clock.advance(0)
        for line in (ann, bob):
            self.assertEqual(kinds(line.heard()), ["queue_status", "match_found"])

    def test_matched_during_a_hello(self) -> None:
        """
        A player who is matched during the hello is sent the match, not the old state.
        """
        _, said = self.one.queued("ann", "duel")
        self.shared["store"] = store = Faulty(self.store)
        store.late.add("of_player")
        ann = LobbyWorld(3, **self.parts("n3")).line()
        ann.ask("hello", protocol=1, player_key=said["player_key"])
        self.two.queued("bob", "duel")
        self.clock.advance(0)
        store.late.clear()
        store.go_on()
        self.assertEqual(ann.heard()[-1]["data"]["state"], "matched")

    def test_late_news_of_a_party(self) -> None:
        """
        Who left a party is not taken back there by what a node sent before that.
        """
        ann, _ = self.one.hello("ann")
        (made,) = ann.ask("create_party", open=True)
        late: list[Any] = []
        self.patch(
            MemoryOnlineStore, "send", lambda _, *sent: silent(late.append(sent))
        )
        self.two.hello("bob")[0].ask("join_party", party_id=made["data"]["party_id"])
        ann.ask("leave_party")
        self.assertIn(b"party_update", late[0][1])
        self.one.online.passed(*late[0])
        self.assertEqual(ann.heard(), [])

    def test_errors_travel(self) -> None:
        """
        A player of another node is sent what went wrong, as at one node.
        """
        ann, said = self.one.hello("ann")
        refusal = Refused(Code.DRAINING, "no", {"why": 1})
        self.two.online.warn([said["player_id"]], refusal)
        (error,) = ann.heard()
        self.assertEqual(
            error["error"], {"code": "draining", "message": "no", "details": {"why": 1}}
        )

    def test_second_hello(self) -> None:
        """
        A second hello at another node closes the first line with the reason, and the
        player keeps its place in the queue.
        """
        ann, said = self.one.queued("ann", "party")
        again, news = self.two.back(said["player_key"])
        (error,) = ann.heard()
        self.assertEqual(error["error"]["code"], "replaced")
        self.assertTrue(ann.is_closed)
        self.assertEqual([one["type"] for one in news], ["queue_status"])
        self.clock.advance(11)
        self.assertFalse(again.is_closed)
        (entry,) = everybody(self.store)
        self.assertFalse(entry.suspended)

    def test_back_at_another_node(self) -> None:
        """
        Who lost the line to one node and comes back to another one in time keeps the
        place, also when the first node's patience ends.
        """
        ann, said = self.one.queued("ann", "party")
        ann.hang_up()
        self.assertTrue(everybody(self.store)[0].suspended)
        self.clock.advance(5)
        self.two.back(said["player_key"])
        self.clock.advance(6)
        (entry,) = everybody(self.store)
        self.assertFalse(entry.suspended)

    def test_away_again(self) -> None:
        """
        Who is away again when the patience of the first node ends keeps the place: it
        counts from the second time.
        """
        ann, said = self.one.queued("ann", "party")
        ann.hang_up()
        self.clock.advance(5)
        line, _ = self.two.back(said["player_key"])
        self.clock.advance(4)
        line.hang_up()
        self.clock.advance(2)
        self.assertEqual(len(everybody(self.store)), 1)
        self.clock.advance(7.5)
        self.assertEqual(len(everybody(self.store)), 1)
        self.clock.advance(1)
        self.assertEqual(everybody(self.store), [])

    def test_stays_away(self) -> None:
        """
        Who stays away loses the place, whatever older line a failover has brought back.
        """
        for is_listed in (False, True):
            ann, said = self.one.queued("ann", "party")
            if is_listed:
                self.lines.lines[said["player_id"]] = ("n2", 0)
            ann.hang_up()
            self.clock.advance(11)
            self.assertEqual(everybody(self.store), [])

    def test_put_back_by_another_node(self) -> None:
        """
        When a match of players of two nodes gets no place, they wait again, none of
        them as if away.
        """
        self.two.fleet.capacity = 0
        ann, _ = self.one.queued("ann", "duel")
        self.clock.advance(0)
        bob, _ = self.two.queued("bob", "duel")
        self.clock.advance(0)
        self.assertEqual(kinds(ann.heard()), ["queue_status"])
        bob.ask("cancel")
        entries = everybody(self.store)
        self.assertEqual([entry.players[0].name for entry in entries], ["ann"])
        self.assertFalse(entries[0].suspended)
        self.assertEqual(kinds(ann.heard()), ["queue_status"])
        self.clock.advance(11)
        self.assertEqual(len(everybody(self.store)), 1)

    def test_slow_store(self) -> None:
        """
        A line that is replaced before its node knows its epoch is closed all the same.
        """
        ann, said = self.one.hello("ann")
        ann.hang_up()
        store = self.one.online.store
        slow: Deferred[int] = Deferred()
        self.patch(type(store), "enter", lambda self, _: slow)
        line = self.one.line()
        line.ask("hello", protocol=1, player_key=said["player_key"])
        self.one.online.replaced(said["player_id"], 7)
        self.assertFalse(line.is_closed)
        slow.callback(7)
        self.assertTrue(line.is_closed)
        self.assertEqual(line.heard()[-1]["error"]["code"], "replaced")

    def test_two_reports_at_once(self) -> None:
        """
        Of three lines of a player the newest stays, whichever report of the first node
        is answered first: with the second line at another node, or the third.
        """
        _, said = self.one.hello("ann")
        one, two = self.one, self.two
        for nodes in ((one, two, one), (one, one, two)):
            for order in ((0, 1), (1, 0)):
                store = Faulty(MemoryOnlineStore(self.lines, "n1"))
                store.late.add("enter")
                one.online.store = store
                lines = [node.line() for node in nodes]
                for line in lines:
                    line.ask("hello", protocol=1, player_key=said["player_key"])
                for number in order:
                    store.pending[number][1].callback(None)
                closed = [line.is_closed for line in lines]
                self.assertEqual(closed, [True, True, False], order)
                self.assertTrue(nodes[2].online.is_here(said["player_id"]))
                lines[2].hang_up()

    def test_lines_again(self) -> None:
        """
        Lines that the store has lost are recorded again; those that others have by now
        are closed.
        """
        (ann, one), (bob, two) = self.one.hello("ann"), self.one.hello("bob")
        lines = self.one.online.store.shared.lines
        lines.clear()
        self.two.online.store.shared.last = 100
        lines[two["player_id"]] = "n2", 100
        self.successResultOf(Deferred.fromCoroutine(self.one.online.report_all()))
        self.assertEqual(lines[one["player_id"]][0], "n1")
        self.assertEqual((ann.is_closed, bob.is_closed), (False, True))

    def test_forged_messages(self) -> None:
        """
        What no version of ours sends is skipped.
        """
        ann, said = self.one.hello("ann")
        who = [said["player_id"]]
        for message in (b"", b"{", b'{"type":"x","success":true}', b"[]", b"\xff"):
            self.one.online.passed(who, message)
        error = b'{"type":"error","success":false,"error":{"code":"?"}}'
        self.one.online.passed(who, error)
        self.one.online.passed(["nobody"], encode_push(Pong()))
        self.assertEqual(ann.heard(), [])

    def test_not_sent(self) -> None:
        """
        A player whom another node could not send a message is sent how it is when the
        store answers. The end of an older match does not make a waiting player idle.
        """
        ann, said = self.two.queued("ann", "party")
        self.clock.advance(0)
        who = [said["player_id"]]
        self.one.online.send(who, MatchEnded("older", "finished"))
        away = self.patch(MemoryOnlineStore, "send", silent)
        self.store.leave(*who)
        self.one.online.send(who, QueueStatus("idle"))
        ann.heard()
        away.restore()
        self.clock.advance(1.0)
        self.assertEqual([one["data"]["state"] for one in ann.heard()], ["idle"])

    def test_listed_where_nobody_listens(self) -> None:
        """
        A player who leaves is taken out of the queue even if a store that was rolled
        back lists the line at another node, which hears nobody for a moment.
        """
        ann, said = self.one.queued("ann", "party")
        shared = self.one.online.store.shared
        shared.lines[said["player_id"]] = "n2", 100
        deaf = shared.watches.pop("n2")
        ann.hang_up()
        shared.watches["n2"] = deaf
        self.clock.pump([1.0] * 40)
        self.assertEqual(everybody(self.store), [])

    def test_forgotten_in_one_order(self) -> None:
        """
        Lines that closed while the store was away are forgotten in the same order each
        time: what a seed of the fuzz finds it finds again.
        """
        lines = [self.one.hello(name)[0] for name in "abcdefgh"]
        away = self.patch(MemoryOnlineStore, "leave", silent)
        self.patch(self.one.requests, "player_lost", lambda _: None)
        for line in lines:
            line.hang_up()
        away.restore()
        self.clock.advance(1.0)
        left = list(self.lines.left)
        self.assertEqual((len(left), left), (8, sorted(left)))

    def test_left_without_a_store(self) -> None:
        """
        Who is disconnected while the store does not answer keeps the place as long as
        anybody else, and cannot be matched meanwhile.
        """
        ann, _ = self.one.queued("ann", "party")
        self.clock.advance(0)
        patches = [
            self.patch(store, step, silent)
            for store, step in (
                (MemoryOnlineStore, "leave"),
                (MemoryOnlineStore, "absence"),
                (MemoryLobbyStore, "of_player"),
            )
        ]
        ann.hang_up()
        self.clock.pump([0.5] * 10)
        for one in patches:
            one.restore()
        self.clock.pump([0.5] * 3)
        self.assertTrue(everybody(self.store)[0].suspended)
        # Nobody knows when exactly she left: she has at least as long as others.
        self.clock.pump([0.5] * 10)
        self.assertEqual(len(everybody(self.store)), 1)
        self.clock.pump([0.5] * 20)
        self.assertEqual(everybody(self.store), [])
        self.flushLoggedErrors()

    def two_asked_by_one(self) -> Any:
        """Ask the second node without a link."""

        async def ask(node_id: str, match_id: str, seat: int) -> bytes:
            assert node_id == "n2"
            return await self.two.matches.admit(match_id, seat)

        class Others:
            ask_way_in = staticmethod(ask)

        return Others()

    def test_rejoin_through_another_node(self) -> None:
        """
        A player of a match of another node gets a new way in with the next hello, or
        is told to wait if that node does not answer.
        """
        ann, said = self.one.queued("ann", "duel")
        self.clock.advance(0)
        self.two.queued("bob", "duel")
        self.clock.advance(0)
        first = ann.heard()[-1]["data"]
        self.patch(MemoryLobbyStore, "owner", lambda self, _: succeed("n2"))
        self.one.matches._others = self.two_asked_by_one()
        _, news = self.one.back(said["player_key"])
        found = news[0]["data"]
        self.assertEqual(found["match_id"], first["match_id"])
        self.assertEqual(found["seat"], first["seat"])
        self.assertNotEqual(found["token"], first["token"])

        async def refuse(*_: object) -> bytes:
            raise NoCapacity("it cannot be reached")

        self.one.matches._others.ask_way_in = refuse
        _, news = self.one.back(said["player_key"])
        self.assertEqual(news[0]["data"]["state"], "matched")
