"""Prematches: matches that wait for the yes of every player."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.lobby.matchmaking.test_parties import PartyWorld, code, pushed
from tests.support.fleets import MemoryFleet
from tests.support.lobbies import Faulty, LobbyWorld, MemoryLine, everybody, silent
from tests.support.online_store import Lines, MemoryOnlineStore
from vinom.base.model import MatchEnd, MatchPlan, SeatPlan
from vinom.errors import NoCapacity
from vinom.lobby.matchmaking.prematch import pause_seconds
from vinom.store.memory.lobby import MemoryLobbyStore
from vinom.store.memory.players import MemoryPlayerStore


class AskingWorld(PartyWorld):
    """A lobby that gives players ten seconds to accept."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(accept_seconds=10.0, **parts)

    def queue(self, *names: str, game: str = "duel") -> list[MemoryLine]:
        """Queue some players, each alone; what was sent is taken."""
        for name in names:
            if name not in self.lines:
                self.enter(name)
            self.lines[name].ask("queue", game=game)
        self.clock.advance(0)
        return [self.lines[name] for name in names]

    def waiting(self) -> list[str]:
        return [entry.players[0].name for entry in everybody(self.lobby)]


def asked(**parts: Any) -> tuple[AskingWorld, MemoryLine, MemoryLine]:
    """Make a lobby that asks Ann and Bob whether they play."""
    world = AskingWorld(**parts)
    ann, bob = world.queue("ann", "bob")
    return world, ann, bob


class AskTests(SynchronousTestCase):
    """What players are asked, and what their answers do."""

    def test_all_accept(self) -> None:
        """
        All are asked, see who has accepted, and play once everybody has.
        """
        world, ann, bob = asked()
        (found,) = pushed(ann, "prematch")
        self.assertEqual([who["name"] for who in found["players"]], ["ann", "bob"])
        self.assertEqual((found["seconds"], found["game"]), (10.0, "duel"))
        self.assertEqual(found["until"], world.clock.seconds() + 10)
        self.assertEqual(pushed(bob, "prematch")[0]["id"], found["id"])
        (said,) = ann.ask("accept", prematch_id=found["id"])
        self.assertEqual(
            (said["type"], said["data"]["state"]), ("prematch_update", "open")
        )
        (update,) = pushed(bob, "prematch_update")
        self.assertEqual(update["accepted"], [world.ids["ann"]])
        self.assertEqual(world.fleet.hosted, [])
        said = bob.ask("accept")
        self.assertEqual(said[-1]["data"]["state"], "accepted")
        world.clock.advance(0)
        for line in (ann, bob):
            self.assertIn("match_found", [m["type"] for m in line.heard()])
        self.assertEqual(len(world.fleet.hosted), 1)
        world.clock.advance(100)
        self.assertEqual(len(world.fleet.hosted), 1)

    def test_one_declines(self) -> None:
        """
        Who declines leaves the queue for a while; the others are at the front again,
        with their waiting time.
        """
        world = AskingWorld()
        world.clock.advance(0)
        (ann,) = world.queue("ann")
        world.clock.advance(3)
        (bob,) = world.queue("bob")
        world.queue("cat")
        (found,) = pushed(ann, "prematch")
        ann.ask("accept")
        ann.heard()
        bob.heard()
        idle, said = bob.ask("decline")
        self.assertEqual(
            (idle["type"], idle["data"]["state"]), ("queue_status", "idle")
        )
        self.assertEqual(said["data"]["state"], "dissolved")
        self.assertEqual(said["data"]["retry_after"], 5.0)
        heard = ann.heard()
        self.assertEqual(heard[0]["data"]["state"], "dissolved")
        self.assertEqual(heard[0]["data"]["retry_after"], 0.0)
        status = heard[1]["data"]
        self.assertEqual((status["state"], status["position"]), ("waiting", 1))
        self.assertEqual(status["waited"], 3.0)
        error = bob.ask("queue", game="duel")[0]["error"]
        self.assertEqual(error["code"], "not_now")
        self.assertEqual(error["details"]["retry_after"], 5.0)
        world.clock.advance(0)
        (again,) = pushed(ann, "prematch")
        self.assertNotEqual(again["id"], found["id"])
        self.assertEqual([who["name"] for who in again["players"]], ["ann", "cat"])
        self.assertEqual(
            code(ann.ask("accept", prematch_id=found["id"])), "no_such_prematch"
        )
        world.clock.advance(5)
        self.assertEqual(bob.ask("queue", game="duel")[0]["type"], "queue_status")

    def test_silence(self) -> None:
        """
        Who does not answer in time leaves the queue as if it had declined.
        """
        world, ann, bob = asked()
        ann.ask("accept")
        world.clock.advance(9.9)
        self.assertEqual(world.waiting(), [])
        bob.heard()
        world.clock.advance(0.2)
        self.assertEqual(world.waiting(), ["ann"])
        said = bob.heard()
        self.assertEqual([m["data"]["state"] for m in said], ["dissolved", "idle"])
        self.assertEqual(said[0]["data"]["retry_after"], 5.0)
        self.assertEqual(code(bob.ask("accept")), "no_such_prematch")

    def test_silence_without_a_store(self) -> None:
        """
        Who could not answer because storage did not is asked again, and may queue; also
        if that is noticed only at the end.
        """
        for is_noticed in (True, False):
            world = AskingWorld()
            world.queue("ann", "bob")
            world.lines["ann"].ask("accept")
            patches = [
                self.patch(MemoryLobbyStore, step, silent)
                for step in ("answer", "expire")
            ]
            if is_noticed:
                world.matchmaker.prematches.disturbed()
                refused = code(world.lines["bob"].ask("accept"))
                self.assertEqual(refused, "store_unavailable")
                patches.pop(0).restore()
            world.clock.pump([0.1] * 105)
            for one in patches:
                one.restore()
            world.lines["bob"].heard()
            world.clock.pump([0.1] * 11)
            said = [m["type"] for m in world.lines["bob"].heard()]
            self.assertEqual(said, ["prematch_update", "queue_status", "prematch"])
            self.assertEqual(world.matchmaker.prematches.results["silent"], 0)
            (answer,) = world.lines["bob"].ask("accept")
            self.assertEqual(answer["data"]["state"], "open")
            self.flushLoggedErrors()

    def test_answers_that_nobody_read(self) -> None:
        """
        If the node was busy when the time ended, answers that arrived before count.
        """
        world, ann, bob = asked()
        ann.ask("accept")
        world.clock.advance(12)
        self.assertEqual(bob.ask("accept")[-1]["data"]["state"], "accepted")
        world.clock.advance(0)
        self.assertEqual(world.lines["ann"].heard()[-1]["type"], "match_found")

    def test_the_last_answer_s_node_dies(self) -> None:
        """
        All said yes, and the node that took the last answer died before it made the
        match: the node that asked makes it.
        """
        world, ann, bob = asked()
        ann.ask("accept")
        (found,) = pushed(bob, "prematch")
        world.lobby.answer(found["id"], world.ids["bob"], True)
        world.clock.advance(10)
        for line in (ann, bob):
            self.assertEqual(line.heard()[-1]["type"], "match_found")

    def test_the_asking_node_is_gone(self) -> None:
        """
        A node that sends a player again what it is asked ends that in time: the node
        that asked may be gone, or not know of it after a failover.
        """
        world = AskingWorld()
        lines = world.queue("ann", "bob")
        world.matchmaker.prematches.stop()
        world.requests.look_again()
        world.clock.pump([1.0] * 12)
        for line in lines:
            self.assertEqual(pushed(line, "prematch_update")[-1]["state"], "dissolved")

    def test_pauses_grow(self) -> None:
        """
        Each further decline doubles the pause, up to five minutes; a quarter of an hour
        without one ends that.
        """
        self.assertEqual(
            [pause_seconds(count) for count in (0, 1, 2, 3, 6, 7, 1000)],
            [0, 5, 10, 20, 160, 300, 300],
        )
        world = AskingWorld()
        for pause in (5, 10, 20):
            world.queue("ann", "bob")
            (said,) = world.lines["bob"].ask("decline")[-1:]
            self.assertEqual(said["data"]["retry_after"], pause)
            world.lines["ann"].ask("cancel")
            world.clock.advance(pause)
        world.clock.advance(901)
        # Their lines were idle for too long.
        world.come_back("ann")
        world.come_back("bob")
        world.queue("ann", "bob")
        (said,) = world.lines["bob"].ask("decline")[-1:]
        self.assertEqual(said["data"]["retry_after"], 5)

    def test_guests_of_one_address(self) -> None:
        """
        Guests of one address who decline, or say nothing, one after the other, soon
        have to pause, whatever names they take: others then get their match. A network
        has four times as many tries.
        """
        for hosts, most in (
            (["203.0.113.7"], 5),
            ([f"203.0.113.{number}" for number in range(200)], 17),
            ([f"2001:db8:1:{number}::7" for number in range(200)], 17),
        ):
            world = AskingWorld(guests="yes")
            world.enter("ann", host="198.51.100.7")
            world.queue("ann")
            spoilt = refused = 0
            for number in range(30):
                host = hosts[number % len(hosts)]
                (eve,) = world.enter(f"eve{number}", host=host)
                said = eve.ask("queue", game="duel")
                if "error" in said[0]:
                    self.assertEqual(code(said), "not_now")
                    refused += 1
                    continue
                world.clock.advance(0)
                world.lines["ann"].ask("accept")
                if number % 2:
                    eve.ask("decline")
                else:
                    world.clock.advance(10.1)
                spoilt += 1
            self.assertLess(spoilt, 2 * most)
            self.assertEqual(refused, 30 - spoilt)
            world.enter("bob", host="192.0.2.7")
            world.queue("bob")
            for name in ("ann", "bob"):
                world.lines[name].ask("accept")
            world.clock.advance(0)
            self.assertEqual(len(world.fleet.hosted), 1)

    def test_answers_twice(self) -> None:
        """
        A player cannot take back an answer, or answer for a stranger's match.
        """
        world = AskingWorld()
        ann, _ = world.queue("ann", "bob")
        (cat,) = world.enter("cat")
        (found,) = pushed(ann, "prematch")
        ann.ask("accept")
        self.assertEqual(ann.ask("accept")[0]["data"]["state"], "open")
        self.assertEqual(code(ann.ask("decline")), "not_now")
        self.assertEqual(
            code(cat.ask("accept", prematch_id=found["id"])), "no_such_prematch"
        )

    def test_cancel(self) -> None:
        """
        Who cancels instead of answering declines, also after accepting.
        """
        world, ann, bob = asked()
        bob.ask("accept")
        (said,) = bob.ask("cancel")[-1:]
        self.assertEqual(said["data"]["state"], "idle")
        self.assertEqual(world.waiting(), ["ann"])
        self.assertEqual(code(bob.ask("queue", game="duel")), "not_now")
        self.assertIn("dissolved", [m["data"].get("state") for m in ann.heard()])

    def test_cancel_while_it_ends(self) -> None:
        """
        Who cancels in the moment in which another one declines, or the time to accept
        ends, is out of the queue, and not refused because of a match that never comes.
        """
        for seconds in (0.0, 10.1):
            store = Faulty()
            world, ann, bob = asked(store=store)
            declines = partial(bob.ask, "decline")
            silence = partial(world.clock.advance, seconds)
            store.before["leave"] = silence if seconds else declines
            (said,) = ann.ask("cancel")[-1:]
            self.assertEqual(said["data"]["state"], "idle", said)
            self.assertEqual(world.waiting(), [])

    def test_asked_before_the_answer(self) -> None:
        """
        Who is asked before storage has answered that it waits is not sent a place then.
        """
        store, clock = Faulty(), LobbyWorld().clock
        lines = MemoryOnlineStore(Lines(now=clock.seconds), "n1")
        world = AskingWorld(store=store, lines=lines, clock=clock)
        world.queue("ann")
        (bob,) = world.enter("bob")
        store.before["enqueue"] = lambda: store.held.add("of_player")
        self.assertEqual(bob.ask("queue", game="duel"), [])
        world.clock.advance(0)
        self.assertEqual(len(pushed(bob, "prematch")), 1)
        store.go_on()
        (status,) = pushed(bob, "queue_status")
        self.assertEqual((status["state"], status["position"]), ("waiting", None))

    def test_away_and_back(self) -> None:
        """
        A player whose line closes finds the question on its next one, and answers.
        """
        world, ann, bob = asked()
        bob.hang_up()
        ann.ask("accept")
        world.clock.advance(4)
        news = world.come_back("bob")
        self.assertEqual([m["type"] for m in news], ["queue_status", "prematch"])
        self.assertEqual(news[1]["data"]["seconds"], 6.0)
        self.assertEqual(news[1]["data"]["accepted"], [world.ids["ann"]])
        world.lines["bob"].ask("accept")
        world.clock.advance(0)
        self.assertEqual(len(world.fleet.hosted), 1)

    def test_acceptor_goes_away(self) -> None:
        """
        A player who accepted, and lost its line, is suspended at its old place when
        another declines, and leaves the queue if it does not come back.
        """
        world, ann, bob = asked()
        ann.ask("accept")
        ann.hang_up()
        world.clock.advance(5)
        bob.ask("decline")
        self.assertTrue(everybody(world.lobby)[0].suspended)
        world.clock.advance(5.1)
        self.assertEqual(world.waiting(), [])

    def test_queues_go_on(self) -> None:
        """
        While some are asked others are matched, and nobody asked can queue twice.
        """
        world = AskingWorld()
        ann, _ = world.queue("ann", "bob")
        cat, _ = world.queue("cat", "dan")
        self.assertEqual(len(pushed(cat, "prematch")), 1)
        self.assertEqual(code(ann.ask("queue", game="party")), "already_queued")

    def test_spawn_fails(self) -> None:
        """
        Without a game server everybody is at the front again at once, nobody has to
        pause, and all are asked again.
        """
        world, ann, bob = asked(fleet=MemoryFleet(capacity=0))
        ann.ask("accept")
        bob.ask("accept")
        world.queue("cat")
        world.fleet.hosted[0].answer.errback(NoCapacity("none"))
        self.assertEqual(world.waiting(), ["ann", "bob", "cat"])
        world.clock.advance(1.1)
        self.assertEqual(len(pushed(ann, "prematch")), 1)

    def test_drain(self) -> None:
        """
        A node that drains asks nobody any more.
        """
        world, ann, bob = asked()
        ann.ask("accept")
        self.successResultOf(world.requests.drain())
        self.assertEqual(world.waiting(), [])
        for line in (ann, bob):
            self.assertIn(
                "idle", [m["data"].get("state") for m in line.heard() if m["success"]]
            )
        self.assertEqual(code(bob.ask("accept")), "no_such_prematch")

    def test_move(self) -> None:
        """
        A node whose players go to other nodes asks nobody any more: they wait again.
        """
        world, ann, bob = asked()
        ann.ask("accept")
        self.successResultOf(Deferred.fromCoroutine(world.requests.move()))
        self.assertTrue(ann.is_closed and bob.is_closed)
        self.assertEqual(len(world.matchmaker.prematches), 0)
        found = everybody(world.lobby)
        self.assertEqual([one.players[0].name for one in found], ["ann", "bob"])

    def test_outside_matchmaker(self) -> None:
        """
        A player whom an outside matchmaker put in a match leaves its prematch, without
        a pause.
        """
        world = AskingWorld()
        world.queue("ann", "bob")
        seat = SeatPlan(world.ids["bob"], "bob")
        plan = MatchPlan("elsewhere", "duel", (seat,), 1)
        left = self.successResultOf(world.lobby.start(plan)).left
        world.matchmaker.taken_out(left, [world.ids["bob"]])
        self.assertEqual(world.waiting(), ["ann"])
        self.assertEqual(
            pushed(world.lines["ann"], "prematch_update")[-1]["state"], "dissolved"
        )
        world.lobby.end(MatchEnd("elsewhere", "finished"), 0.0)
        self.assertEqual(
            world.lines["bob"].ask("queue", game="duel")[-1]["type"], "queue_status"
        )

    def test_explain(self) -> None:
        """
        An operator sees that a player is asked, and how many have accepted.
        """
        world = AskingWorld()
        ann, _ = world.queue("ann", "bob")
        ann.ask("accept")
        facts = self.successResultOf(
            Deferred.fromCoroutine(world.matchmaker.explain(world.ids["bob"]))
        )
        self.assertEqual((facts["state"], facts["accepted"]), ("prematch", False))
        self.assertIn("1 of 2 players have accepted", facts["why"])

    def test_stop(self) -> None:
        """
        A stopped matchmaker leaves no timer behind.
        """
        world, ann, bob = asked()
        ann.ask("accept")
        bob.ask("accept")
        world.queue("cat", "dan")
        world.requests.stopService()
        world.matchmaker.stopService()
        world.parties.stopService()
        self.assertEqual(world.clock.getDelayedCalls(), [])


class SkewedClocksTests(SynchronousTestCase):
    """Two nodes, the second of whose clocks is ahead."""

    def setUp(self) -> None:
        self.clocks = Clock(), Clock()
        self.clocks[0].advance(1_000_000.0)
        self.clocks[1].advance(1_000_003.0)
        now = self.clocks[0].seconds
        self.lines, self.players = Lines(now=now), MemoryPlayerStore(now)
        self.store = Faulty(MemoryLobbyStore(now))
        self.one, self.two = (self.make(number) for number in (0, 1))

    def make(self, number: int) -> LobbyWorld:
        return LobbyWorld(
            number,
            clock=self.clocks[number % 2],
            lines=MemoryOnlineStore(self.lines, f"n{number}"),
            store=self.store,
            players=self.players,
            accept_seconds=10.0,
        )

    def test_nodes_that_are_gone(self) -> None:
        """
        Nobody is to blame for a silence if all nodes were gone when the time ended; who
        comes back is sent that it waits, though the store's answer is lost.
        """
        self.two.queued("bob", "duel")
        _, said = self.one.queued("ann", "duel")
        self.clocks[0].advance(0.0)
        for node in (self.one, self.two):
            node.matchmaker.stopService()
        self.clocks[0].advance(20.0)
        again, news = self.make(2).back(said["player_key"])
        self.assertEqual([one["type"] for one in news], ["queue_status", "prematch"])
        self.store.lost["expire"] = 1
        self.clocks[0].pump([1.0, 1.0])
        self.assertEqual(pushed(again, "queue_status")[-1]["state"], "waiting")
        self.assertEqual(len(self.store.state.entries), 2)

    def test_decline_at_the_other_node(self) -> None:
        """
        A player who still has time to answer waits again if somebody declines at a node
        in whose clock the time is over.
        """
        bob, _ = self.two.queued("bob", "duel")
        ann, _ = self.one.queued("ann", "duel")
        for clock in self.clocks:
            clock.pump([0.0, 7.5])
        self.assertTrue(pushed(ann, "prematch"))
        bob.ask("decline")
        self.assertEqual(pushed(ann, "queue_status")[-1]["state"], "waiting")
        (waits,) = everybody(self.store)
        self.assertEqual(waits.players[0].name, "ann")


class PartyPrematchTests(SynchronousTestCase):
    """Parties that are asked."""

    def test_every_member_answers(self) -> None:
        """
        Each member answers; one no takes the whole party out of the queue, and the
        decliner alone has to pause.
        """
        world = AskingWorld()
        world.form("ann", "bob")
        world.lines["ann"].ask("queue", game="squad")
        world.queue("cat", "dan", game="squad")
        self.assertEqual(world.party("ann")["state"], "prematch")
        for name in ("ann", "cat", "dan"):
            world.lines[name].ask("accept")
        world.lines["bob"].ask("decline")
        self.assertEqual(world.waiting(), ["cat", "dan"])
        heard = world.lines["ann"].heard()
        self.assertEqual(
            [m["data"]["retry_after"] for m in heard if m["type"] == "prematch_update"][
                -1
            ],
            0.0,
        )
        party = [m["data"]["party"] for m in heard if m["type"] == "party_update"][-1]
        self.assertEqual((party["state"], len(party["members"])), ("idle", 2))
        error = world.lines["ann"].ask("queue", game="squad")[-1]["error"]
        self.assertEqual(error["details"]["player_id"], world.ids["bob"])

    def test_all_accept(self) -> None:
        """
        A party that accepts plays, and is idle with the same members afterwards.
        """
        world = AskingWorld()
        world.form("ann", "bob")
        ann, bob = world.lines["ann"], world.lines["bob"]
        ann.ask("queue", game="duel")
        world.clock.advance(0)
        ann.ask("accept")
        bob.ask("accept")
        world.clock.advance(0)
        self.assertEqual(world.party("bob")["state"], "in_game")
        world.fleet.end(0, "finished")
        party = world.party("ann")
        self.assertEqual((party["state"], len(party["members"])), ("idle", 2))

    def test_leave_while_asked(self) -> None:
        """
        A member who leaves the party has declined for it.
        """
        world = AskingWorld()
        world.form("ann", "bob")
        world.lines["ann"].ask("queue", game="squad")
        cat, _ = world.queue("cat", "dan", game="squad")
        cat.ask("accept")
        world.lines["bob"].ask("leave_party")
        self.assertEqual(world.waiting(), ["cat", "dan"])
        party = world.party("ann")
        self.assertEqual((party["state"], len(party["members"])), ("idle", 1))
