"""From the queue to a seat in a running match, and to its end."""

from __future__ import annotations

from typing import Any

from msgspec import json
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.support.fleets import Hosted, MemoryFleet
from tests.support.live_rooms import kinds
from tests.support.lobbies import (
    REALM,
    Duel,
    Faulty,
    LobbyWorld,
    MemoryLine,
    Party,
    everybody,
    running,
    silent,
)
from vinom.base.messages.operators import OutsidePlayer, decode_start
from vinom.base.model import MatchEnd, MatchPlan, Placement, SeatPlan
from vinom.errors import Code, LeaseLost, NoCapacity, Refused, StoreUnavailable
from vinom.fleet.pool import NO_GAME_SERVER
from vinom.lobby.conversation.online import Online
from vinom.play.play import table_of
from vinom.store.memory.lobby import MemoryLobbyStore
from vinom.store.memory.players import MemoryPlayerStore


def last(line: MemoryLine) -> dict[str, Any]:
    """The data of the last thing sent."""
    return line.heard()[-1]["data"]


class SessionCase(SynchronousTestCase):
    """Shortcuts of the tests below."""

    def duel(
        self, world: LobbyWorld, *names: str
    ) -> tuple[list[MemoryLine], list[dict[str, Any]]]:
        """Queue two players and match them."""
        pairs = [world.queued(name, "duel") for name in names or ("ann", "bob")]
        world.clock.advance(0)
        return [line for line, _ in pairs], [welcome for _, welcome in pairs]

    def waiting(self, world: LobbyWorld) -> list[tuple[str, bool]]:
        return [(e.players[0].name, e.suspended) for e in everybody(world.lobby)]

    def result(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def plays(self, world: LobbyWorld, player_id: str) -> bool:
        """Is this player in a match, forming or running?"""
        return self.result(world.matches.where(player_id)).plan is not None

    def refusal(self, work: Any) -> Refused:
        return self.failureResultOf(Deferred.fromCoroutine(work), Refused).value


class DelayedTests(SessionCase):
    """A match for which no game server can be had."""

    def test_delayed(self) -> None:
        """
        Its players learn why they wait, also one who comes back meanwhile; then they
        are sent to it.
        """
        world = LobbyWorld()
        world.fleet.capacity = 0
        (ann, bob), (welcome, _) = self.duel(world)
        for line in (ann, bob):
            line.heard()
        (hosted,) = world.fleet.hosted
        world.clock.advance(3)
        hosted.watch.delayed(hosted.plan.match_id, NO_GAME_SERVER)
        why = Deferred.fromCoroutine(
            world.matchmaker.explain(welcome["player_id"])
        ).addCallback(lambda found: found["why"])
        self.assertEqual(self.successResultOf(why), NO_GAME_SERVER)
        for line in (ann, bob):
            (said,) = line.heard()
            self.assertEqual(said["data"]["state"], "matched")
            self.assertEqual(said["data"]["position"], 1)
            self.assertGreaterEqual(said["data"]["waited"], 3)
            self.assertEqual(said["data"]["problem"], NO_GAME_SERVER)
        again, said = world.back(welcome["player_key"])
        self.assertEqual(said[-1]["data"]["problem"], NO_GAME_SERVER)
        world.fleet.answer(0)
        self.assertEqual(kinds(again.heard()), ["match_found"])
        self.assertEqual(kinds(bob.heard()), ["match_found"])
        hosted.watch.delayed("unknown", NO_GAME_SERVER)
        hosted.watch.delayed(hosted.plan.match_id, NO_GAME_SERVER)
        self.assertEqual(bob.heard(), [])


class AdoptedTests(SessionCase):
    """A match of the node before this one."""

    def adopt(self, world: LobbyWorld) -> dict[str, Any]:
        """Ann says hello; she has been in a match since before. Returns who she is."""
        _, welcome = world.hello("ann")
        seats = (SeatPlan(welcome["player_id"], "ann"), SeatPlan("p2", "bob"))
        self.plan = MatchPlan("m1", "duel", seats, 1)
        self.place = Placement("s0", "127.0.0.1", 46000, "CERTIFICATE")
        world.fleet.hosted.append(Hosted(self.plan, [], world.matches, Deferred()))
        world.matches.adopt(self.plan, self.place, 5.0, ("192.0.2.1",))
        return welcome

    def test_goes_on(self) -> None:
        """
        Its players are brought back to it and play nothing else; operators see it, and
        its end is recorded and sent.
        """
        world = LobbyWorld()
        freed: list[str] = []
        world.matches.freed = freed.extend
        welcome = self.adopt(world)
        (facts,) = world.matches.describe()
        self.assertEqual((facts["match_id"], facts["state"]), ("m1", "placed"))
        self.assertTrue(self.plays(world, "p2"))
        _, said = world.back(welcome["player_key"])
        self.assertEqual(said[-1]["data"]["match_id"], "m1")
        world.matches.started("m1")
        self.assertEqual(world.matches.status()["playing"], 1)
        world.fleet.end(0)
        self.assertEqual(world.matches.describe(), [])
        end = self.result(world.matches.where("p2")).ended
        self.assertEqual((end.match_id, end.reason), ("m1", "finished"))
        self.assertFalse(self.plays(world, "p2"))
        # Their parties must learn it: nobody here knows how they came to be there.
        self.assertEqual(freed, [welcome["player_id"], "p2"])

    def test_claimed_later(self) -> None:
        """
        While it is not known whether another node has it, it is not this node's in the
        store; if it is another's, it is forgotten, and nobody is sent an end.
        """
        world = LobbyWorld()
        claims: list[Deferred[bool]] = [Deferred(), Deferred()]
        place = Placement("s0", "127.0.0.1", 46000, "CERTIFICATE")
        for number, claimed in enumerate(claims):
            seats = (SeatPlan(f"p{number}", "ann"), SeatPlan(f"q{number}", "bob"))
            plan = MatchPlan(f"m{number}", "duel", seats, 1)
            world.matches.adopt(plan, place, 5.0, ("192.0.2.1",), claimed=claimed)
        drained = world.matches.drain()
        self.assertFalse(self.plays(world, "p0"))
        claims[0].callback(True)
        claims[1].callback(False)
        world.matches.disown("m1")
        world.matches.disown("m1")
        self.assertTrue(self.plays(world, "p0"))
        self.assertFalse(self.plays(world, "p1"))
        self.assertEqual([one["match_id"] for one in world.matches.describe()], ["m0"])
        self.assertNoResult(drained)
        world.matches.disown("m0")
        self.successResultOf(drained)
        self.assertEqual(world.matches.status()["ended"], {})
        self.assertIsNone(self.result(world.matches.where("p0")).ended)

    def test_lease_ends_first(self) -> None:
        """
        If this node's lease ends before the match is its own in the store, another node
        may have it under the next lease, and it is not taken from that one.
        """
        world = LobbyWorld()
        asked: list[str] = []

        def adopt(_: object, plan: MatchPlan, __: Placement) -> Deferred[bool]:
            asked.append(plan.match_id)
            return fail(LeaseLost("over"))

        self.patch(MemoryLobbyStore, "adopt", adopt)
        self.adopt(world)
        world.clock.pump([1.0] * 2)
        self.assertEqual(asked, ["m1"] * 3)
        world.matches.disown("m1")
        world.clock.pump([1.0] * 5)
        self.assertEqual(asked, ["m1"] * 3)

    def test_who_left_is_free(self) -> None:
        """
        A player who left it while no node was there may queue again.
        """
        world = LobbyWorld()
        freed: list[str] = []
        world.matches.freed = freed.extend
        self.adopt(world)
        world.matches.seat_changed("m1", 1, "left")
        self.assertFalse(self.plays(world, "p2"))
        self.assertEqual(freed, ["p2"])

    def test_two_matches(self) -> None:
        """
        A player of two such matches is in the first one; the other one goes on.
        """
        world = LobbyWorld()
        self.adopt(world)
        seats = (SeatPlan("p2", "bob"), SeatPlan("p3", "cid"))
        world.matches.adopt(MatchPlan("m2", "duel", seats, 1), self.place, 6.0)
        for player_id, match_id in (("p2", "m1"), ("p3", "m2")):
            plan = self.result(world.matches.where(player_id)).plan
            self.assertEqual(plan.match_id, match_id)

    def test_over_elsewhere(self) -> None:
        """
        A match that others have ended meanwhile is closed.
        """
        world = LobbyWorld()
        self.patch(MemoryLobbyStore, "adopt", lambda *_: succeed(False))
        self.adopt(world)
        self.assertEqual(world.fleet.hosted[0].closed, ["lost"])


class MatchFoundTests(SessionCase):
    """What players are sent, and when."""

    def test_only_when_it_listens(self) -> None:
        """
        Players are sent a port when it is bound, not before, and their line closes.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=0))
        lines, welcomes = self.duel(world)
        for line in lines:
            said = line.heard()
            self.assertEqual(kinds(said), ["queue_status"])
            self.assertEqual(said[0]["data"]["state"], "matched")
        world.fleet.answer(0)
        for seat, (line, welcome) in enumerate(zip(lines, welcomes, strict=True)):
            found = last(line)
            self.assertTrue(line.is_closed)
            self.assertEqual((found["host"], found["port"]), ("127.0.0.1", 46000))
            self.assertEqual(found["seat"], seat)
            self.assertEqual(found["players"][seat]["player_id"], welcome["player_id"])

    def test_token_and_ticket(self) -> None:
        """
        The token proves exactly this player's seat; the server name has its ticket.
        """
        world = LobbyWorld()
        lines, welcomes = self.duel(world)
        now = world.clock.seconds()
        for seat, (line, welcome) in enumerate(zip(lines, welcomes, strict=True)):
            found = last(line)
            claims = world.verifier.verify(found["token"], now)
            self.assertEqual(claims.seat, seat)
            self.assertEqual(claims.player_id, welcome["player_id"])
            self.assertEqual(claims.match_id, found["match_id"])
            ticket = world.fleet.hosted[0].tickets[seat]
            self.assertEqual(found["server_name"], f"{ticket.label}.s0.{REALM}")
            self.assertEqual((ticket.seat, len(ticket.label)), (seat, 26))
            self.assertGreater(found["expires_at"], now)

    def test_long_wait_for_a_game_server(self) -> None:
        """
        A match that waited long for its place comes with fresh tickets.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=0))
        lines, _ = self.duel(world)
        world.clock.advance(500)
        world.fleet.answer(0)
        tickets = world.fleet.hosted[0].tickets[2:]
        for line, ticket in zip(lines, tickets, strict=True):
            found = last(line)
            self.assertTrue(found["server_name"].startswith(ticket.label))
            self.assertGreater(ticket.expires_at, world.clock.seconds())
            world.verifier.verify(found["token"], world.clock.seconds())

    def test_no_game_server_at_all(self) -> None:
        """
        Without a game server the players wait again at once, at their old places, and
        are matched again after a pause that grows.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=0))
        lines, _ = self.duel(world)
        pause = 1.0
        for index in range(3):
            world.fleet.hosted[index].answer.errback(NoCapacity("none"))
            for place, line in enumerate(lines, 1):
                status = last(line)
                self.assertEqual(status["state"], "waiting")
                self.assertEqual(status["position"], place)
                self.assertFalse(line.is_closed)
            world.clock.advance(pause - 0.1)
            self.assertEqual(len(world.fleet.hosted), index + 1)
            world.clock.advance(0.2)
            self.assertEqual(len(world.fleet.hosted), index + 2)
            pause *= 2

    def test_crash_at_the_start(self) -> None:
        """
        A game that fails before any player was sent its place is reported as crashed.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=0))
        lines, _ = self.duel(world)
        world.fleet.end(0, "crashed")
        world.fleet.hosted[0].answer.errback(NoCapacity("it crashed"))
        for line in lines:
            self.assertEqual(
                [m["data"].get("reason") for m in line.heard()], [None, "crashed"]
            )
        self.assertEqual(world.matches.status()["ended"], {"crashed": 1})


class LeaseTests(SessionCase):
    """A node that was silent for longer than its lease."""

    def test_ended_by_others(self) -> None:
        """
        A match that other nodes have reported lost goes on for nobody; others go on.
        """
        world = LobbyWorld()
        self.duel(world)
        self.duel(world, "cat", "dan")
        lost, kept = world.fleet.hosted
        world.matches.assert_owned()
        self.assertEqual((lost.closed, kept.closed), ([], []))
        end = MatchEnd(lost.plan.match_id, "lost")
        self.successResultOf(world.lobby.end(end, world.clock.seconds() + 60))
        away = self.patch(MemoryLobbyStore, "of_player", silent)
        world.matches.assert_owned()
        world.clock.advance(0.5)
        away.restore()
        world.clock.advance(0.5)
        self.assertEqual((lost.closed, kept.closed), (["lost"], []))

    def test_ended_while_it_forms(self) -> None:
        """
        One that has no game server yet gets none; its players wait again, and are sent
        that, too, by a node that buried the one which made it.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=0))
        lines, _ = self.duel(world)
        plan = world.fleet.hosted[0].plan
        end = MatchEnd(plan.match_id, "lost", seats=plan.seats)
        (left,) = self.successResultOf(world.lobby.matches_of("", 9))
        expires_at = world.clock.seconds() + 60
        self.successResultOf(world.lobby.end(end, expires_at, left.entry_ids))
        for report in (
            lambda: world.matches.lost_elsewhere(end),
            world.matches.assert_owned,
        ):
            report()
            self.assertEqual([last(line)["state"] for line in lines], ["waiting"] * 2)
        self.assertEqual(world.matches.status()["ended"], {"lost": 1})
        self.assertEqual(world.matches.status()["forming"], 0)


class ComingBackTests(SessionCase):
    """Players who say hello while they have a match."""

    def test_running(self) -> None:
        """
        A player whose match runs is sent its seat again, with new secrets.
        """
        world = LobbyWorld()
        lines, welcomes = self.duel(world)
        first = last(lines[0])
        line, news = world.back(welcomes[0]["player_key"])
        self.assertEqual(kinds(news), ["match_found"])
        again = news[0]["data"]
        self.assertTrue(line.is_closed)
        for same in ("match_id", "seat", "host", "port", "players"):
            self.assertEqual(again[same], first[same])
        self.assertNotEqual(again["token"], first["token"])
        self.assertNotEqual(again["server_name"], first["server_name"])
        ticket = world.fleet.hosted[0].tickets[-1]
        self.assertTrue(again["server_name"].startswith(ticket.label))

    def test_forming(self) -> None:
        """
        A player who comes back before its match has a place misses nothing.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=0))
        lines, welcomes = self.duel(world)
        lines[0].hang_up()
        world.clock.advance(5)
        line, news = world.back(welcomes[0]["player_key"])
        self.assertEqual(news[0]["data"]["state"], "matched")
        world.fleet.answer(0)
        self.assertEqual(kinds(line.heard()), ["match_found"])

    def test_cannot_queue(self) -> None:
        """
        A player with a match cannot queue for another.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=0))
        lines, _ = self.duel(world)
        lines[0].heard()
        said = lines[0].ask("queue", game="party")
        self.assertEqual(said[0]["error"]["code"], "already_in_match")

    def test_game_server_is_gone(self) -> None:
        """
        When the game server just died, the player waits for the news on its line.
        """
        world = LobbyWorld()
        _, welcomes = self.duel(world)
        world.fleet.is_answering = False
        line, news = world.back(welcomes[0]["player_key"])
        self.assertEqual(news[0]["data"]["state"], "matched")
        world.fleet.end(0, "lost")
        said = line.heard()
        self.assertEqual(kinds(said), ["match_ended"])
        self.assertEqual(said[0]["data"]["reason"], "lost")

    def test_ended_elsewhere(self) -> None:
        """
        A player who waits for the address of a match learns its end before being idle.
        """
        world = LobbyWorld()
        _, welcomes = self.duel(world)
        world.fleet.is_answering = False
        line, _ = world.back(welcomes[0]["player_key"])
        end = MatchEnd(world.fleet.hosted[0].plan.match_id, "lost")
        self.successResultOf(world.lobby.end(end, world.clock.seconds() + 60.0))
        world.requests.look_again([welcomes[0]["player_id"]])
        self.assertEqual(kinds(line.heard()), ["match_ended", "queue_status"])

    def test_over(self) -> None:
        """
        A player whose match is gone learns how it ended, and may queue again.
        """
        world = LobbyWorld()
        _, welcomes = self.duel(world)
        outcome = {"round": 1, "places": [[1], [0]], "scores": [3, 9]}
        world.fleet.end(0, "finished", outcome=outcome, present=(0, 1))
        line, news = world.back(welcomes[0]["player_key"])
        self.assertEqual(kinds(news), ["match_ended"])
        self.assertEqual(news[0]["data"]["outcome"], outcome)
        self.assertEqual(kinds(line.ask("queue", game="duel")), ["queue_status"])
        world.clock.advance(601)
        _, news = world.back(welcomes[1]["player_key"])
        self.assertEqual(news, [])

    def test_left_for_good(self) -> None:
        """
        A player who left a match may play another while the first goes on.
        """
        world = LobbyWorld()
        _, welcomes = self.duel(world)
        match_id = world.fleet.hosted[0].plan.match_id
        world.matches.started(match_id)
        world.matches.seat_changed(match_id, 0, "joined")
        world.matches.seat_changed(match_id, 0, "left")
        line, news = world.back(welcomes[0]["player_key"])
        self.assertEqual(news, [])
        line.ask("queue", game="duel")
        world.queued("cat", "duel")
        world.clock.advance(0)
        self.assertEqual(len(world.fleet.hosted), 2)
        world.fleet.end(0)
        _, news = world.back(welcomes[0]["player_key"])
        self.assertEqual(kinds(news), ["match_found"])

    def test_late_news_of_a_past_match(self) -> None:
        """
        Reports about a match that is over change nothing.
        """
        world = LobbyWorld()
        self.duel(world)
        match_id = world.fleet.hosted[0].plan.match_id
        world.fleet.end(0)
        world.fleet.end(0, "lost")
        world.matches.seat_changed(match_id, 0, "left")
        world.matches.started(match_id)
        world.matches.round_ended(match_id, {})
        self.assertEqual(world.matches.status()["ended"], {"finished": 1})


class VoidTests(SessionCase):
    """Matches to which too few came."""

    def test_present_go_to_the_front(self) -> None:
        """
        A player who came to a void match is first in the queue, with the old wait.
        """
        world = LobbyWorld()
        _, welcomes = self.duel(world)
        world.clock.advance(10)
        world.queued("cat", "party")
        other, _ = world.hello("dan")
        world.fleet.end(0, "void", present=(0,))
        self.assertEqual(self.waiting(world), [("ann", True), ("cat", False)])
        world.clock.advance(3)
        other.ask("queue", game="duel")
        world.clock.advance(0)
        self.assertEqual(len(world.fleet.hosted), 1)
        line, news = world.back(welcomes[0]["player_key"])
        self.assertEqual(news[0]["data"]["position"], 1)
        self.assertEqual(news[0]["data"]["waited"], 13.0)
        world.clock.advance(0)
        self.assertIn("match_found", kinds(line.heard()))
        plan = world.fleet.hosted[1].plan
        self.assertEqual([s.name for s in plan.seats], ["ann", "dan"])

    def test_absent_hear_of_it(self) -> None:
        """
        A player who did not come is not queued, and is sent that the match was void.
        """
        world = LobbyWorld()
        _, welcomes = self.duel(world)
        world.fleet.end(0, "void", present=(0,))
        _, news = world.back(welcomes[1]["player_key"])
        self.assertEqual(news[0]["data"]["reason"], "void")
        self.assertEqual(self.waiting(world), [("ann", True)])

    def test_present_but_silent(self) -> None:
        """
        A player who came, but sends no hello within 10 s, is out of the queue.
        """
        world = LobbyWorld()
        _, welcomes = self.duel(world)
        world.fleet.end(0, "void", present=(0, 1))
        world.clock.advance(10.1)
        self.assertEqual(self.waiting(world), [])
        _, news = world.back(welcomes[0]["player_key"])
        self.assertEqual(news[0]["data"]["reason"], "void")


class GivingUpTests(SessionCase):
    """Players who leave while their match waits for a place."""

    def test_cancel(self) -> None:
        """
        One who cancels is free at once; the other waits again from the front.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=0))
        lines, _ = self.duel(world)
        for line in lines:
            line.heard()
        said = lines[1].ask("cancel")
        self.assertEqual(said[0]["data"]["state"], "idle")
        self.assertTrue(world.fleet.hosted[0].is_withdrawn)
        status = last(lines[0])
        self.assertEqual((status["state"], status["position"]), ("waiting", 1))
        self.assertEqual(self.waiting(world), [("ann", False)])
        self.assertEqual(len(said), 1)

    def test_too_late(self) -> None:
        """
        A match that is ready cannot be cancelled.
        """
        world = LobbyWorld()
        pairs = [world.hello(name, ends_at_match=False) for name in ("ann", "bob")]
        for line, _ in pairs:
            line.ask("queue", game="duel")
        world.clock.advance(0)
        line = pairs[0][0]
        line.heard()
        said = line.ask("cancel")
        self.assertEqual(said[0]["error"]["code"], "already_in_match")

    def test_disconnect(self) -> None:
        """
        One who is away for 10 s gives up its match; the other waits again.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=0))
        lines, welcomes = self.duel(world)
        lines[0].hang_up()
        world.clock.advance(9.9)
        self.assertFalse(world.fleet.hosted[0].is_withdrawn)
        world.clock.advance(0.2)
        self.assertTrue(world.fleet.hosted[0].is_withdrawn)
        self.assertEqual(self.waiting(world), [("bob", False)])
        _, news = world.back(welcomes[0]["player_key"])
        self.assertEqual(news[0]["data"]["reason"], "void")

    def test_others_come_first(self) -> None:
        """
        Matches that wait do not keep new ones from being made, each in order.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=0))
        self.duel(world, "a", "b")
        self.duel(world, "c", "d")
        names = [[s.name for s in h.plan.seats] for h in world.fleet.hosted]
        self.assertEqual(names, [["a", "b"], ["c", "d"]])


class OperatorTests(SessionCase):
    """What operators do and see."""

    def test_players_by_game(self) -> None:
        """
        Players count for their game while they are connected to a match.
        """
        world = LobbyWorld()
        self.duel(world)
        match_id = world.fleet.hosted[0].plan.match_id
        self.assertEqual(world.matches.players(), {})
        for seat, state in ((0, "joined"), (1, "joined"), (0, "dropped")):
            world.matches.seat_changed(match_id, seat, state)
        self.assertEqual(world.matches.players(), {"duel": 1})
        world.matches.seat_changed(match_id, 0, "returned")
        self.assertEqual(world.matches.players(), {"duel": 2})

    def test_kick(self) -> None:
        """
        A kicked player is out of its match and may queue; the match goes on.
        """
        world = LobbyWorld()
        _, welcomes = self.duel(world)
        match_id = world.fleet.hosted[0].plan.match_id
        self.result(world.matches.kick(match_id, welcomes[1]["player_id"]))
        self.assertEqual(world.fleet.hosted[0].kicked, [1])
        line, news = world.back(welcomes[1]["player_key"])
        self.assertEqual(news, [])
        self.assertEqual(kinds(line.ask("queue", game="duel")), ["queue_status"])
        again = self.refusal(world.matches.kick(match_id, welcomes[1]["player_id"]))
        self.assertEqual(again.code, Code.NO_SUCH_PLAYER)
        nobody = self.refusal(world.matches.kick("none", "x"))
        self.assertEqual(nobody.code, Code.NO_SUCH_MATCH)

    def test_kick_from_a_forming_match(self) -> None:
        """
        A player kicked before the match has a place is informed; the other waits again.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=0))
        lines, welcomes = self.duel(world)
        match_id = world.fleet.hosted[0].plan.match_id
        self.result(world.matches.kick(match_id, welcomes[0]["player_id"]))
        self.assertEqual(last(lines[0])["reason"], "kicked")
        self.assertEqual(self.waiting(world), [("bob", False)])

    def test_end(self) -> None:
        """
        An operator ends a match, running or forming.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=1))
        self.duel(world)
        lines, _ = self.duel(world, "cat", "dan")
        running, forming = (h.plan.match_id for h in world.fleet.hosted)
        self.result(world.matches.end(running))
        self.assertEqual(world.fleet.hosted[0].closed, ["ended"])
        self.result(world.matches.end(forming))
        self.assertEqual(last(lines[0])["reason"], "ended")
        self.assertEqual(self.waiting(world), [])
        self.assertEqual(
            self.refusal(world.matches.end(forming)).code, Code.NO_SUCH_MATCH
        )

    def test_list(self) -> None:
        """
        Every match is listed with its address and its players' seats.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=1))
        self.duel(world)
        self.duel(world, "cat", "dan")
        match_id = world.fleet.hosted[0].plan.match_id
        world.matches.started(match_id)
        world.matches.seat_changed(match_id, 1, "joined")
        running, forming = world.matches.describe()
        self.assertEqual((running["state"], running["port"]), ("playing", 46000))
        self.assertEqual(
            [(p["name"], p["state"]) for p in running["players"]],
            [("ann", "absent"), ("bob", "joined")],
        )
        self.assertEqual((forming["state"], forming["port"]), ("forming", None))
        self.assertEqual(world.matches.status()["forming"], 1)

    def test_drain(self) -> None:
        """
        A node that drains starts nothing, informs waiting players, and is done when
        the last match is over.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=1))
        self.duel(world)
        forming, _ = self.duel(world, "cat", "dan")
        waits, _ = world.queued("eve", "party")
        drained = world.requests.drain()
        self.assertNoResult(drained)
        self.assertEqual(last(forming[0])["reason"], "shutdown")
        said = waits.heard()
        self.assertEqual(said[0]["error"]["code"], "draining")
        self.assertEqual(said[1]["data"]["state"], "idle")
        self.assertEqual(self.waiting(world), [])
        said = waits.ask("queue", game="party")
        self.assertEqual(said[0]["error"]["code"], "draining")
        again = world.requests.drain()
        world.fleet.end(0, "void", present=(0, 1))
        self.successResultOf(drained)
        self.successResultOf(again)
        self.assertEqual(self.waiting(world), [])

    def test_move(self) -> None:
        """
        A node whose players go to other nodes drops nobody: who waits goes on waiting,
        and so does who waited for a game server; running matches are played to the end.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=1))
        self.duel(world)
        forming, _ = self.duel(world, "cat", "dan")
        waits, _ = world.queued("eve", "party")
        moved = Deferred.fromCoroutine(world.requests.move())
        self.assertNoResult(moved)
        for line in (forming[0], waits):
            said = line.heard()
            self.assertEqual(said[-1]["error"]["code"], "unavailable", said)
            self.assertTrue(line.is_closed)
            self.assertNotIn("idle", [m.get("data", {}).get("state") for m in said])
        waiting = {entry.players[0].name for entry in everybody(world.lobby)}
        self.assertEqual(waiting, {"cat", "dan", "eve"})
        world.fleet.end(0, "finished", present=(0, 1))
        self.successResultOf(moved)

    def test_drain_of_an_idle_node(self) -> None:
        """
        A node without matches is drained at once.
        """
        self.successResultOf(LobbyWorld().requests.drain())


class Teams(Party):
    """A game of two teams."""

    name = "teams"
    teams = 2


class WhoPlayedTests(SessionCase):
    """Who played, in the news that a match is over."""

    def test_end(self) -> None:
        """
        The end of a match names its players: at once, and after the next hello.
        """
        world = LobbyWorld()
        lines, welcomes = self.duel(world)
        lines[0], _ = world.back(welcomes[0]["player_key"])
        world.fleet.end(0, "finished")
        world.clock.advance(0)
        expected = [
            {"seat": seat, "name": w["name"], "player_id": w["player_id"]}
            for seat, w in enumerate(welcomes)
        ]
        # A found match had closed the line, so the news comes after the next hello.
        lines[0], news = world.back(welcomes[0]["player_key"])
        self.assertEqual(news[0]["data"]["players"], expected)
        _, news = world.back(welcomes[1]["player_key"])
        self.assertEqual(kinds(news), ["match_ended"])
        self.assertEqual(news[0]["data"]["players"], expected)


class OutsideTests(SessionCase):
    """Matches that somebody else made."""

    def start(self, world: LobbyWorld, *players: OutsidePlayer, **facts: Any) -> Any:
        return Deferred.fromCoroutine(
            world.outside.start(facts.pop("game", "duel"), players, **facts)
        )

    def test_start(self) -> None:
        """
        The tokens come back when a game server listens, one for each player.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=0))
        asked = self.start(
            world,
            OutsidePlayer("Ann", "ann"),
            OutsidePlayer("Bob"),
            options=b'{"size":3}',
        )
        self.assertNoResult(asked)
        world.fleet.answer(0)
        started = self.successResultOf(asked)
        self.assertEqual(world.fleet.hosted[0].plan.options, b'{"size":3}')
        self.assertEqual(started.seats[0].player_id, "ann")
        for number, seat in enumerate(started.seats):
            claims = world.verifier.verify(
                seat.match_found.token, world.clock.seconds()
            )
            self.assertEqual((claims.seat, claims.player_id), (number, seat.player_id))
        _, news = world.back(started.seats[1].player_key)
        self.assertEqual(kinds(news), ["match_found"])

    def test_teams_and_claims(self) -> None:
        """
        The matchmaker chooses teams, and vouches for claims that only the game learns.
        """
        world = LobbyWorld(games={"teams": Teams()})
        players = decode_start(
            b'{"game":"teams","players":[{"name":"Ann","player_id":"ann","team":1,'
            b'"claims":{"rank":7}},{"name":"Bob","team":1},{"name":"Cat"}]}'
        ).players
        started = self.successResultOf(self.start(world, *players, game="teams"))
        plan = world.fleet.hosted[0].plan
        self.assertEqual([seat.team for seat in plan.seats], [1, 1, None])
        seats = table_of(plan, world.games["teams"]).seats
        self.assertEqual([seat.team for seat in seats], [1, 1, 0])
        self.assertEqual(seats[0].player_id, "ann")
        self.assertEqual(dict(seats[0].claims), {"rank": 7})
        found = started.seats[1].match_found
        self.assertEqual([seat.team for seat in found.players], [1, 1, None])
        self.assertNotIn(b"rank", json.encode(found))

    def test_dealt_teams(self) -> None:
        """
        If the matchmaker chooses no team, players are dealt to them in turn.
        """
        world = LobbyWorld(games={"teams": Teams()})
        players = [OutsidePlayer(name) for name in ("Ann", "Bob", "Cat")]
        self.successResultOf(self.start(world, *players, game="teams"))
        plan = world.fleet.hosted[0].plan
        self.assertEqual([seat.team for seat in plan.seats], [0, 1, 0])

    def test_bad_teams_and_claims(self) -> None:
        """
        A team that does not exist, or claims that are too long, name their field.
        """
        world = LobbyWorld(games={"teams": Teams(), "duel": Duel()})
        bob = OutsidePlayer("Bob")
        for game, wrong, field, words in (
            ("teams", {"team": 2}, "players[0].team", "has teams 0 to 1"),
            ("teams", {"team": -1}, "players[0].team", "team -1 does not exist"),
            ("duel", {"team": 0}, "players[0].team", "duel has no teams"),
            ("duel", {"claims": {"a": "x" * 1020}}, "players[0].claims", "1028 bytes"),
        ):
            asked = self.start(world, OutsidePlayer("Ann", **wrong), bob, game=game)
            refusal = self.failureResultOf(asked, Refused).value
            self.assertEqual(refusal.code, Code.BAD_FIELD)
            self.assertEqual(refusal.details["field"], field)
            self.assertIn(words, refusal.message)

    def test_a_queued_player(self) -> None:
        """
        A player for whom somebody else found a match does not wait any more.
        """
        world = LobbyWorld()
        line, welcome = world.queued("ann", "party")
        player = OutsidePlayer("Ann", welcome["player_id"])
        self.successResultOf(self.start(world, player, OutsidePlayer("Bob")))
        self.assertEqual(kinds(line.heard()), ["match_found"])
        self.assertEqual(self.waiting(world), [])

    def test_a_player_in_a_match(self) -> None:
        """
        Nobody is put in two matches, by whomever; the matchmaker learns who plays.
        """
        world = LobbyWorld()
        player = OutsidePlayer("Ann", "ann")
        self.successResultOf(self.start(world, player, OutsidePlayer("Bob")))
        refused = self.start(world, player, OutsidePlayer("Cat"))
        refusal = self.failureResultOf(refused, Refused).value
        self.assertEqual(refusal.code, Code.ALREADY_IN_MATCH)
        self.assertEqual(refusal.details, {"player_ids": ["ann"]})

    def test_refused(self) -> None:
        """
        A request that cannot be is refused by the field at fault.
        """
        world = LobbyWorld()
        ann, bob = OutsidePlayer("Ann", "ann"), OutsidePlayer("Bob", "bob")
        for players, facts, field in (
            ((ann, bob), {"game": "chess"}, "game"),
            ((ann,), {}, "players"),
            ((ann, ann), {}, "players"),
            ((ann, bob), {"options": b'{"no":1}'}, "options.no"),
        ):
            refused = self.start(world, *players, **facts)
            refusal = self.failureResultOf(refused, Refused).value
            self.assertEqual(refusal.details["field"], field)
        self.assertEqual(world.fleet.hosted, [])

    def test_given_up(self) -> None:
        """
        When the asker hangs up before there is a place, the match is withdrawn.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=0))
        asked = self.start(world, OutsidePlayer("Ann", "ann"), OutsidePlayer("Bob"))
        asked.addErrback(lambda _: None)
        asked.cancel()
        self.assertTrue(world.fleet.hosted[0].is_withdrawn)
        self.assertEqual(world.matches.describe(), [])
        self.assertFalse(self.plays(world, "ann"))

    def test_no_game_server(self) -> None:
        """
        Without a game server the matchmaker gets a refusal.
        """
        world = LobbyWorld(fleet=MemoryFleet(capacity=0))
        asked = self.start(world, OutsidePlayer("Ann"), OutsidePlayer("Bob"))
        world.fleet.hosted[0].answer.errback(NoCapacity("none"))
        refusal = self.failureResultOf(asked, Refused).value
        self.assertEqual(refusal.code, Code.UNAVAILABLE)


class StoreTests(SessionCase):
    """Storage that is away at a bad moment."""

    def test_end_is_recorded_later(self) -> None:
        """
        A player is not stuck in a match whose end could not be recorded at once.
        """
        store = Faulty()
        world = LobbyWorld(store=store)
        _, welcomes = self.duel(world)
        store.failures["end"] = 3
        world.fleet.end(0)
        self.assertTrue(self.plays(world, welcomes[0]["player_id"]))
        world.clock.pump([1.0] * 3)
        _, news = world.back(welcomes[0]["player_key"])
        self.assertEqual(kinds(news), ["match_ended"])

    def test_given_up_while_the_end_is_recorded(self) -> None:
        """
        Players of a match without a place are free although its matchmaker hung up
        while the store did not answer.
        """
        store = Faulty()
        world = LobbyWorld(store=store, fleet=MemoryFleet(capacity=0))
        seats = (OutsidePlayer("Ann", "ann"), OutsidePlayer("Bob"))
        asked = Deferred.fromCoroutine(world.outside.start("duel", seats))
        asked.addErrback(lambda _: None)
        store.failures["end"] = 2
        world.fleet.hosted[0].answer.errback(NoCapacity("none"))
        asked.cancel()
        world.clock.pump([1.0] * 3)
        self.assertEqual(world.matches.describe(), [])
        self.assertFalse(self.plays(world, "ann"))


class LosingStore(Faulty):
    """A store that loses everything, and that others write to."""

    def lose(self) -> None:
        """Come back empty."""
        for kept in (self.state.running, self.state.match_of, self.state.ends):
            kept.clear()


class LosingPlayers(MemoryPlayerStore):
    """Players of such a store."""

    failures = unanswered = 0

    def keys_of(self, player_ids: Any) -> Any:
        if self.unanswered:
            self.unanswered -= 1
            return fail(StoreUnavailable("no answer"))
        return super().keys_of(player_ids)

    def put_back(self, *player: Any) -> Any:
        if self.failures:
            self.failures -= 1
            return fail(StoreUnavailable("no answer"))
        return super().put_back(*player)

    def lose(self) -> None:
        """Come back empty."""
        for key_hash in tuple(self._players):
            self._expiry.drop(key_hash)
            self._forget(key_hash)


class EmptiedStoreTests(SessionCase):
    """Storage that comes back empty while matches are played."""

    def setUp(self) -> None:
        self.clock = LobbyWorld().clock
        now = self.clock.seconds
        self.store = LosingStore(MemoryLobbyStore(now))
        self.players = LosingPlayers(now)
        self.world = LobbyWorld(
            clock=self.clock, store=self.store, players=self.players
        )

    def lose(self) -> None:
        """The store loses everything, and the node does not know that yet."""
        self.store.lose()
        self.players.lose()
        self.world.is_store_complete = False

    def found(self) -> None:
        """The node finds out that the store has lost everything."""
        self.world.matches.assert_owned()

    def news(self, welcome: dict[str, Any]) -> list[str]:
        """Come back; returns what the player is sent."""
        line = self.world.line()
        said = line.ask("hello", protocol=1, player_key=welcome["player_key"])
        if not line.is_closed:
            line.hang_up()
        return [one.get("error", {}).get("code", one["type"]) for one in said]

    def match_of(self, welcome: dict[str, Any]) -> str:
        """Which match the store finds for a player; empty without one."""
        plan = self.successResultOf(self.store.of_player(welcome["player_id"])).plan
        return "" if plan is None else str(plan.match_id)

    def test_running(self) -> None:
        """
        Who comes back to a match is sent there, and not that there is none; until the
        node has put everything back, that the store is not available.
        """
        _, welcomes = self.duel(self.world)
        self.lose()
        self.assertEqual(self.news(welcomes[0]), ["store_unavailable"])
        self.found()
        for is_complete in (False, True):
            self.world.is_store_complete = is_complete
            for welcome in welcomes:
                self.assertEqual(self.news(welcome), ["welcome", "match_found"])

    def test_known_to_the_node(self) -> None:
        """
        A node knows its own matches, whatever the store has; of the others it says
        nothing while other nodes may have to put theirs back.
        """
        _, welcomes = self.duel(self.world)
        _, other = self.world.hello("cat")
        self.store.lose()
        self.world.is_store_complete = False
        self.assertEqual(self.news(welcomes[0]), ["welcome", "match_found"])
        self.assertEqual(self.news(other), ["store_unavailable"])
        self.world.is_store_complete = True
        self.assertEqual(self.news(other), ["welcome"])

    def test_ends_meanwhile(self) -> None:
        """
        A match that ends before it is put back is over: its players learn how it ended.
        """
        _, welcomes = self.duel(self.world)
        self.lose()
        self.store.failures["restore"] = 2
        self.found()
        self.world.fleet.end(0)
        self.assertEqual(self.news(welcomes[0]), ["store_unavailable"])
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.world.matches.describe(), [])
        self.assertEqual(self.world.matches._of_players, {})
        for welcome in welcomes:
            self.assertEqual(self.news(welcome), ["welcome", "match_ended"])
            self.assertEqual(self.match_of(welcome), "")

    def test_away_half_way(self) -> None:
        """
        The store goes away once more while a match is put back: its players' keys come
        back all the same.
        """
        _, welcomes = self.duel(self.world)
        self.lose()
        self.players.failures = 1
        self.found()
        self.clock.pump([1.0] * 2)
        self.world.is_store_complete = True
        for welcome in welcomes:
            self.assertEqual(self.news(welcome), ["welcome", "match_found"])

    def test_connected_elsewhere(self) -> None:
        """
        Players who are connected to other nodes are known again, too; also if the store
        did not answer when this node wanted to know their keys.
        """
        self.patch(Online, "key_of", lambda _, player_id: None)
        self.players.unanswered = 2
        _, welcomes = self.duel(self.world)
        self.clock.pump([1.0] * 2)
        self.lose()
        self.found()
        self.world.is_store_complete = True
        for welcome in welcomes:
            self.assertEqual(self.news(welcome), ["welcome", "match_found"])

    def test_who_left(self) -> None:
        """
        A player who left the match for good is not brought back to it.
        """
        _, (ann, bob) = self.duel(self.world)
        (hosted,) = self.world.fleet.hosted
        seat = [one.player_id for one in hosted.plan.seats].index(ann["player_id"])
        hosted.watch.seat_changed(hosted.plan.match_id, seat, "left")
        self.lose()
        self.found()
        self.assertEqual(self.match_of(ann), "")
        self.assertEqual(self.match_of(bob), hosted.plan.match_id)

    def test_left_meanwhile(self) -> None:
        """
        Nor is one who leaves while it is being put back.
        """
        _, (ann, bob) = self.duel(self.world)
        (hosted,) = self.world.fleet.hosted
        seat = [one.player_id for one in hosted.plan.seats].index(ann["player_id"])
        answer: Deferred[None] = Deferred()
        put_back = self.store.restore

        def restore(*match: Any) -> Deferred[bool]:
            return answer.addCallback(lambda _: put_back(*match))

        self.patch(self.store, "restore", restore)
        self.lose()
        self.found()
        hosted.watch.seat_changed(hosted.plan.match_id, seat, "left")
        answer.callback(None)
        self.assertEqual(self.match_of(ann), "")
        self.assertEqual(self.match_of(bob), hosted.plan.match_id)

    def test_ends_while_it_is_put_back(self) -> None:
        """
        A match that ends while it is being put back does not stay in the store.
        """
        _, welcomes = self.duel(self.world)
        answers: list[Deferred[None]] = []
        put_back = self.store.restore

        def restore(*match: Any) -> Deferred[bool]:
            answers.append(Deferred())
            return answers[-1].addCallback(lambda _: put_back(*match))

        self.patch(self.store, "restore", restore)
        self.lose()
        self.found()
        self.world.fleet.end(0)
        # In an order that the store does not promise.
        for answer in reversed(answers):
            answer.callback(None)
        self.world.is_store_complete = True
        self.assertEqual(running(self.store), [])
        for welcome in welcomes:
            self.assertEqual(self.news(welcome), ["welcome", "match_ended"])

    def test_another_match(self) -> None:
        """
        A player who has got another match since then stays in that one.
        """
        _, (ann, bob) = self.duel(self.world)
        (hosted,) = self.world.fleet.hosted
        self.lose()
        # Another node has it.
        self.patch(MemoryLobbyStore, "matches_of", lambda *_: succeed(()))
        newer = MatchPlan("m2", "duel", (SeatPlan(bob["player_id"], "bob"),), 1)
        self.assertFalse(self.successResultOf(self.store.start(newer)).refusal)
        self.found()
        self.assertEqual(self.match_of(bob), "m2")
        self.assertEqual(self.match_of(ann), hosted.plan.match_id)
        self.world.fleet.end(0)
        self.assertEqual(self.match_of(bob), "m2")

    def test_ended_by_others(self) -> None:
        """
        A match that another node has ended is not brought back: it ends here, too.
        """
        _, welcomes = self.duel(self.world)
        (hosted,) = self.world.fleet.hosted
        self.lose()
        ids = [one.player_id for one in hosted.plan.seats]
        self.store.restore(hosted.plan, None, ids)
        self.store.end(MatchEnd(hosted.plan.match_id, "lost"), self.clock.seconds() + 9)
        self.found()
        self.assertEqual(hosted.closed, ["lost"])
        self.assertEqual([self.match_of(one) for one in welcomes], ["", ""])

    def test_another_node_has_it(self) -> None:
        """
        A match that another node goes on with is left alone.
        """
        self.duel(self.world)
        (hosted,) = self.world.fleet.hosted
        self.patch(self.store, "restore", lambda *_: succeed(False))
        self.patch(self.store, "owner", lambda _: succeed("n2"))
        self.lose()
        self.found()
        self.assertEqual(hosted.closed, [])

    def test_forming(self) -> None:
        """
        A match for which a game server is still being sought begins all the same.
        """
        self.world.fleet.capacity = 0
        lines, welcomes = self.duel(self.world)
        for line in lines:
            line.heard()
        self.lose()
        self.found()
        self.world.fleet.answer(0)
        for line, welcome in zip(lines, welcomes, strict=True):
            self.assertEqual(kinds(line.heard())[-1:], ["match_found"])
            self.assertEqual(self.news(welcome), ["welcome", "match_found"])

    def test_connected(self) -> None:
        """
        Who is connected, without a match, can come back, too: as who they were.
        """
        pairs = [self.world.hello(name) for name in ("cat", "dan")]
        self.lose()
        self.players.failures = 1
        self.world.requests.store_emptied()
        self.clock.pump([1.0] * 2)
        self.world.is_store_complete = True
        for line, welcome in pairs:
            line.hang_up()
            again = self.world.line()
            said = again.ask("hello", protocol=1, player_key=welcome["player_key"])
            self.assertEqual(said[0]["data"]["player_id"], welcome["player_id"])

    def test_made_outside(self) -> None:
        """
        Players of an outside matchmaker, who have said no hello, come back, too.
        """
        seats = (OutsidePlayer("Ann", "ann"), OutsidePlayer("Bob"))
        started = self.result(self.world.outside.start("duel", seats))
        self.lose()
        self.found()
        for seat in started.seats:
            said = self.news({"player_key": seat.player_key})
            self.assertEqual(said, ["welcome", "match_found"])
