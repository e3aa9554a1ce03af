"""The fleet: places in order, ports that return, watchdogs, drain and stop."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.support.supply import FleetWorld, hosting, ticket
from vinom.base.model import Exit, MatchEnd, Placement
from vinom.errors import NoCapacity
from vinom.fleet.control.messages import (
    AddTicket,
    Alive,
    Bind,
    Bound,
    CloseRoom,
    Heartbeat,
    Kick,
    MatchStarted,
    OpenRoom,
    Ready,
    RoomEnded,
    RoundEnded,
    SeatChanged,
    Stop,
)


def _slow(**bounds: int) -> tuple[FleetWorld, Deferred[Placement]]:
    """Ask for a match in a fleet whose processes dial only when a test lets them."""
    world = FleetWorld(**bounds)
    world.supply.is_slow = True
    return world, world.place("m1")


class PlacingTests(SynchronousTestCase):
    """How a match finds its place."""

    def test_placed_when_bound(self):
        """
        Players are sent a port only after a game server has bound it.
        """
        world = FleetWorld(warm=1)
        world.supply.started[0].ignores.add(Bind)
        placed = world.place("m1")
        self.assertNoResult(placed)
        server = world.supply.started[0]
        bind = next(m for m in server.heard if isinstance(m, Bind))
        self.assertEqual(bind.certificate, b"LEAF OF " + server.server_id.encode())
        self.assertEqual(bind.token_keys, {"k1": b"PUBLIC"})
        server.say(Bound(bind.port))
        world.settle()
        self.assertEqual(
            self.successResultOf(placed),
            Placement(server.server_id, "play.example", bind.port, "ANCHOR"),
        )

    def test_no_warm_pool(self):
        """
        Without a warm game server one is started for the match.
        """
        world = FleetWorld(warm=0)
        self.assertEqual(world.supply.started, [])
        self.successResultOf(world.place("m1"))
        self.assertEqual(len(world.supply.alive), 1)

    def test_delayed(self):
        """
        A match for which no game server can be had is reported as delayed, once, and
        is the first to be played when there is one.
        """
        world = FleetWorld(warm=0)
        world.supply.refuses, world.supply.problem = True, "exceeded quota: games"
        first, second = world.place("m1"), world.place("m2")
        world.wait(5)
        self.assertNoResult(first)
        self.assertEqual(world.watch.told, [("delayed", "m1"), ("delayed", "m2")])
        world.supply.refuses, world.supply.problem = False, ""
        world.wait(60)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(
            [
                order.plan.match_id
                for one in world.supply.started
                for order in one.heard
                if isinstance(order, OpenRoom)
            ],
            ["m1", "m2"],
        )
        self.assertEqual(len(world.watch.told), 2)

    def test_all_are_in_use(self):
        """
        A match that waits for another to end is told so; the log says it once.
        """
        for given in ({"most": 1}, {"ports": 1}):
            world = FleetWorld(warm=0, **given)
            self.successResultOf(world.place("m1"))
            second, third = world.place("m2"), world.place("m3")
            with capturedLogs() as logged:
                world.wait(5)
            told = [one for one in world.watch.told if one[0] == "delayed"]
            self.assertEqual(told, [("delayed", "m2"), ("delayed", "m3")])
            self.assertIn("in use", world.watch.why)
            self.assertNoResult(second)
            self.assertNoResult(third)
            lines = [formatEvent(event) for event in logged]
            self.assertEqual(len([one for one in lines if "matches wait" in one]), 1)

    def test_delayed_again(self):
        """
        It is reported again if its game server dies before it began, and no other one
        can be had.
        """
        world = FleetWorld(warm=0)
        supply = world.supply
        supply.refuses, supply.problem = True, "exceeded quota: games"
        placed = world.place("m1")
        world.wait(5)
        supply.ignores.add(OpenRoom)
        supply.refuses, supply.problem = False, ""
        for _ in range(60):
            if supply.alive:
                break
            world.wait(1)
        (server,) = supply.alive
        self.assertIn(OpenRoom, [type(order) for order in server.heard])
        self.assertEqual(world.watch.told, [("delayed", "m1")])
        supply.refuses, supply.problem = True, "exceeded quota: games"
        server.exit(signal=9)
        world.wait(5)
        self.assertNoResult(placed)
        self.assertEqual(world.watch.told, [("delayed", "m1")] * 2)

    def test_delayed_and_its_report_fails(self):
        """
        If a report of one match cannot be handled, those of the others still are.
        """
        world = FleetWorld(warm=0)
        world.supply.refuses, world.supply.problem = True, "exceeded quota: games"
        delayed = world.watch.delayed

        def fail(match_id, why):
            delayed(match_id, why)
            if match_id == "m1":
                raise ZeroDivisionError

        self.patch(world.watch, "delayed", fail)
        world.place("m1")
        world.place("m2")
        world.wait(5)
        self.assertEqual(world.watch.told, [("delayed", "m1"), ("delayed", "m2")])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_log_of_an_end(self):
        """
        The log says how a game server ended, as far as anybody knows.
        """
        for how, words in (
            (Exit(7, 3), "(process 7) ended: status 3"),
            (Exit(7, None, 9), "(process 7) ended: signal 9"),
            (Exit(7), "(process 7) ended: its status is unknown"),
            (Exit(None), "ended: its status is unknown"),
        ):
            world = FleetWorld(warm=1)
            (fake,) = world.supply.started
            with capturedLogs() as logged:
                fake.server.ended(how)
            lines = [formatEvent(one) for one in logged]
            told = f"game server {fake.server.server_id} {words}"
            self.assertTrue(any(one.startswith(told) for one in lines), lines)

    def test_warm_pool_refills(self):
        """
        The next players find a warm game server again.
        """
        world = FleetWorld(warm=2)
        self.assertEqual(world.fleet.status().servers["warm"], 2)
        self.successResultOf(world.place("m1"))
        world.refill()
        self.assertEqual(world.fleet.status().servers["warm"], 2)
        self.assertEqual(world.fleet.status().servers["listening"], 1)

    def test_placed_before_the_pool_is_refilled(self):
        """
        Of matches that start at the same moment none waits while others are started in
        place of the game servers that they took; one without a game server does not
        wait for that either.
        """
        world = FleetWorld(warm=3, ports=9)
        for number in range(3):
            self.successResultOf(world.place(f"m{number}"))
        self.assertEqual(len(world.supply.started), 3)
        world.refill()
        self.assertEqual(world.fleet.status().servers["warm"], 3)
        for number in range(3, 7):
            world.place(f"m{number}")
        self.assertIn("m6", world.supply.hosting("m6").rooms)

    def test_pool_is_refilled_while_matches_come(self):
        """
        Matches that come one after the other all the time find warm game servers.
        """
        world = FleetWorld(warm=20, ports=60)
        for number in range(40):
            self.successResultOf(world.place(f"m{number}"))
            world.clock.advance(0.04)
            world.settle()
        self.assertGreater(world.fleet.status().servers["warm"], 5)

    def test_no_refill_after_the_end(self):
        """
        A fleet that stops while it waits to refill starts nothing any more.
        """
        world = FleetWorld(warm=2)
        self.successResultOf(world.place("m1"))
        world.fleet.stopService()
        world.settle()
        world.clock.advance(10.0)
        self.assertEqual(len(world.supply.started), 2)

    def test_wait_in_order(self):
        """
        When ports are used up matches wait, and start by themselves in order.
        """
        world = FleetWorld(ports=2)
        placed = [world.place(f"m{n}") for n in range(5)]
        for there in placed[:2]:
            self.successResultOf(there)
        self.assertEqual(world.fleet.status().waiting, 3)
        for n in range(3):
            self.assertNoResult(placed[n + 2])
            world.supply.hosting(f"m{n}").end_room()
            world.settle()
            self.successResultOf(placed[n + 2])
        self.assertEqual(world.counts(), (0, 2, 0))

    def test_cap(self):
        """
        There are never more game servers than the operator allows.
        """
        world = FleetWorld(ports=10, warm=2, most=3)
        placed = [world.place(f"m{n}") for n in range(5)]
        self.assertEqual(len(world.supply.alive), 3)
        for there in placed[:3]:
            self.successResultOf(there)
        self.assertNoResult(placed[3])
        world.supply.hosting("m1").end_room()
        world.settle()
        self.successResultOf(placed[3])
        self.assertNoResult(placed[4])
        world.supply.hosting("m0").end_room()
        world.settle()
        self.successResultOf(placed[4])

    def test_spoilt_port(self):
        """
        A port that somebody else holds costs a match nothing but another try;
        the port is tried again later.
        """
        world = FleetWorld(ports=3, warm=1)
        world.supply.taken_ports |= {46000, 46001}
        self.assertEqual(self.successResultOf(world.place("m1")).port, 46002)
        self.assertEqual(world.counts(), (0, 1, 2))
        world.supply.hosting("m1").say(SeatChanged("m1", 0, "joined"))
        waits = world.place("m2")
        self.assertNoResult(waits)
        world.supply.taken_ports -= {46000}
        world.wait(31)
        self.assertEqual(self.successResultOf(waits).port, 46000)

    def test_dense(self):
        """
        A game server that may host several matches gets them, but no more.
        """
        world = FleetWorld(rooms_per_process=2)
        placed = [self.successResultOf(world.place(f"m{n}")) for n in range(3)]
        self.assertEqual(placed[0].port, placed[1].port)
        self.assertNotEqual(placed[0].port, placed[2].port)

    def test_overloaded_is_spared(self):
        """
        Matches go to game servers that have not too much to do, be they younger or
        only warm; one that has time again gets matches again.
        """
        world = FleetWorld(rooms_per_process=3, warm=1)
        old = self.successResultOf(world.place("m1")).port
        world.refill()
        world.supply.hosting("m1").say(Alive(0, {"overloaded": 1.0}))
        new = self.successResultOf(world.place("m2")).port
        self.assertNotEqual(new, old)
        self.assertEqual(self.successResultOf(world.place("m3")).port, new)
        world.supply.hosting("m1").say(Alive(0, {"overloaded": 0.0}))
        self.assertEqual(self.successResultOf(world.place("m4")).port, old)

    def test_overloaded_is_better_than_nothing(self):
        """
        Without another game server a match is played on an overloaded one.
        """
        world = FleetWorld(rooms_per_process=2, warm=1, ports=1)
        old = self.successResultOf(world.place("m1")).port
        world.supply.hosting("m1").say(Alive(0, {"overloaded": 1.0}))
        self.assertEqual(self.successResultOf(world.place("m2")).port, old)

    def test_overloaded_may_be_asked(self):
        """
        A player who comes by way of the node can be sent away while the match's
        game server reports that it is overloaded.
        """
        world = FleetWorld(warm=1)
        for match_id in ("m1", "m2"):
            self.successResultOf(world.place(match_id))
        world.supply.hosting("m1").say(Alive(0, {"overloaded": 1.0}))
        found = [world.fleet.is_overloaded(m) for m in ("m1", "m2", "m3")]
        self.assertEqual(found, [True, False, False])
        world.supply.hosting("m1").say(Alive(0, {"overloaded": 0.0}))
        self.assertFalse(world.fleet.is_overloaded("m1"))

    def test_overloaded_while_another_binds(self):
        """
        A match waits the moment for a game server that is about to listen.
        """
        world = FleetWorld(rooms_per_process=2, warm=1)
        old = self.successResultOf(world.place("m1")).port
        world.refill()
        world.supply.hosting("m1").say(Alive(0, {"overloaded": 1.0}))
        warm = world.supply.started[1]
        warm.ignores.add(Bind)
        placed = world.place("m2")
        self.assertNoResult(placed)
        warm.say(Bound(port := old + 1))
        world.settle()
        self.assertEqual(self.successResultOf(placed).port, port)

    def test_withdrawn_while_waiting(self):
        """
        A match that is given up leaves its place to the next.
        """
        world = FleetWorld(ports=1)
        world.place("m1")
        second, third = world.place("m2"), world.place("m3")
        second.cancel()
        self.failureResultOf(second, CancelledError)
        world.supply.hosting("m1").end_room()
        world.settle()
        self.successResultOf(third)
        self.assertEqual(world.reasons(), {"m1": "finished"})

    def test_withdrawn_while_opening(self):
        """
        A match that is given up while its room opens is closed there.
        """
        world = FleetWorld(warm=1)
        world.supply.started[0].ignores.add(OpenRoom)
        placed = world.place("m1")
        placed.cancel()
        self.failureResultOf(placed, CancelledError)
        server = world.supply.started[0]
        server.rooms.append("m1")
        world.settle()
        self.assertIn(CloseRoom("m1", "ended"), server.heard)
        world.settle()
        self.assertEqual(world.reasons(), {})
        self.assertEqual(world.fleet.status().rooms, 0)
        self.assertEqual(world.counts(), (4, 0, 0))

    def test_refused_by_the_game(self):
        """
        A match that cannot even begin ends with the game server's reason.
        """
        world = FleetWorld(warm=1)
        world.supply.started[0].ignores.add(OpenRoom)
        placed = world.place("m1")
        world.supply.started[0].say(RoomEnded(MatchEnd("m1", "crashed")))
        world.settle()
        self.failureResultOf(placed, NoCapacity)
        self.assertEqual(world.reasons(), {"m1": "crashed"})

    def test_died_before_it_began(self):
        """
        A match whose game server dies under it at once gets another.
        """
        world = FleetWorld(warm=1)
        world.supply.started[0].ignores.add(OpenRoom)
        placed = world.place("m1")
        world.supply.started[0].exit(signal=9)
        world.settle()
        self.successResultOf(placed)
        self.assertEqual(world.reasons(), {})

    def test_dies_every_time(self):
        """
        A match that brings down every game server is given up.
        """
        world = FleetWorld(warm=1)
        world.supply.ignores.add(OpenRoom)
        world.supply.started[0].ignores.add(OpenRoom)
        placed = world.place("m1")
        for _ in range(3):
            server = next(s for s in world.supply.alive if s.port is not None)
            server.exit(signal=11)
            world.settle()
        self.failureResultOf(placed, NoCapacity)
        self.assertEqual(world.fleet.status().waiting, 0)

    def test_nobody_to_withdraw_from(self):
        """
        A match that waited too long and is withdrawn needs no game server.
        """
        world, placed = _slow(ports=4)
        placed.cancel()
        self.failureResultOf(placed, CancelledError)
        world.supply.started[0].dial()
        world.settle()
        self.assertEqual(world.supply.alive, [])


class MatchTests(SynchronousTestCase):
    """Reports about a match, and messages to it."""

    def test_told(self):
        """
        Reports about a match reach its starter once and in order.
        """
        world, server = hosting()
        for message in (
            SeatChanged("m1", 0, "joined"),
            MatchStarted("m1"),
            RoundEnded("m1", {"places": [[0]]}),
        ):
            server.say(message)
        server.end_room()
        world.settle()
        self.assertEqual(
            world.watch.told,
            [
                ("seat", "m1", 0, "joined"),
                ("started", "m1"),
                ("round", "m1", {"places": [[0]]}),
            ],
        )
        self.assertEqual(world.reasons(), {"m1": "finished"})
        self.assertEqual(world.counts(), (4, 0, 0))

    def test_watch_fails(self):
        """
        A mistake of ours in dealing with one match touches no other.
        """
        world = FleetWorld()
        world.watch.started = lambda match_id: 1 / 0
        world.place("m1")
        world.supply.hosting("m1").say(MatchStarted("m1"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        world.supply.hosting("m1").end_room()
        self.assertEqual(world.reasons(), {"m1": "finished"})

    def test_add_ticket(self):
        """
        A player who comes back is let in when its new ticket is known.
        """
        world, server = hosting()
        added = world.fleet.add_ticket(ticket("m1", 1, "b"))
        self.assertNoResult(added)
        world.settle()
        self.successResultOf(added)
        self.assertIn(AddTicket(ticket("m1", 1, "b")), server.heard)

    def test_add_ticket_fails(self):
        """
        A ticket for a match that is over, or is lost meanwhile, or whose game
        server is silent, fails instead of waiting forever.
        """
        world = FleetWorld()
        self.failureResultOf(world.fleet.add_ticket(ticket("m0", 0)), NoCapacity)
        world.place("m1")
        world.place("m2")
        world.supply.hosting("m1").ignores.add(AddTicket)
        world.supply.hosting("m2").ignores.add(AddTicket)
        lost = world.fleet.add_ticket(ticket("m1", 1, "b"))
        over = world.fleet.add_ticket(ticket("m2", 1, "c"))
        world.supply.hosting("m1").exit(signal=9)
        self.failureResultOf(lost, NoCapacity)
        world.supply.hosting("m2").end_room()
        self.failureResultOf(over, NoCapacity)
        world.place("m3")
        world.supply.hosting("m3").ignores.add(AddTicket)
        silent = world.fleet.add_ticket(ticket("m3", 1, "d"))
        world.wait(6)
        self.failureResultOf(silent, NoCapacity)

    def test_kick_and_close(self):
        """
        An operator can remove a player and end a match; what is over, is over.
        """
        world, server = hosting()
        world.fleet.kick("m1", 1)
        world.fleet.close_room("m1", "ended")
        world.settle()
        self.assertIn(Kick("m1", 1), server.heard)
        self.assertEqual(world.reasons(), {"m1": "ended"})
        world.fleet.kick("m1", 1)
        world.fleet.close_room("m1", "ended")


class WatchdogTests(SynchronousTestCase):
    """What hangs is ended, and its port returns."""

    def test_killed(self):
        """
        A killed game process loses its match and nothing else.
        """
        world = FleetWorld()
        world.place("m1")
        world.place("m2")
        world.supply.hosting("m1").exit(signal=9)
        self.assertEqual(world.reasons(), {"m1": "lost"})
        self.assertEqual(world.counts(), (3, 1, 0))
        self.assertEqual(world.fleet.status().rooms, 1)

    def test_last_words(self):
        """
        A match that ended is not lost because its process went at once: the
        link is read to its end before the match ends.
        """
        world, server = hosting()
        transport, server.transport = server.transport, None
        server.exit(0)
        self.assertEqual(world.counts(), (4, 0, 0))
        self.assertEqual(world.reasons(), {})
        server.transport = transport
        server.say(RoomEnded(MatchEnd("m1", "finished")))
        transport.lose()
        self.assertEqual(world.reasons(), {"m1": "finished"})
        self.assertEqual(world.fleet.status().servers["leaving"], 0)

    def test_link_that_stays(self):
        """
        A link that somehow outlives its process is cut.
        """
        world, server = hosting()
        server.transport, transport = None, server.transport
        server.exit(signal=9)
        self.assertEqual(world.reasons(), {})
        world.wait(3)
        self.assertTrue(transport.is_lost)
        self.assertEqual(world.reasons(), {"m1": "lost"})

    def test_hangs(self):
        """
        Three heartbeats without an answer end a game server, and its players
        learn it within five seconds.
        """
        world = FleetWorld()
        world.place("m1")
        world.wait(10)
        server = world.supply.hosting("m1")
        server.ignores.add(Heartbeat)
        world.wait(3)
        self.assertEqual(world.reasons(), {})
        world.wait(1)
        self.assertEqual(world.reasons(), {"m1": "lost"})
        self.assertEqual(world.counts(), (4, 0, 0))

    def test_hangs_unkillable(self):
        """
        The port of a process that does not die stays with it.
        """
        world = FleetWorld()
        world.place("m1")
        world.supply.is_stubborn = True
        server = world.supply.hosting("m1")
        server.ignores.add(Heartbeat)
        world.wait(15)
        self.assertGreater(world.supply.killed.count(server.server_id), 1)
        self.assertEqual(world.counts(), (3, 1, 0))
        server.exit(signal=9)
        self.assertEqual(world.counts(), (4, 0, 0))
        self.assertEqual(world.reasons(), {"m1": "lost"})

    def test_link_lost(self):
        """
        A game server that lets go of its link without a match is ended if it does not
        end.
        """
        world = FleetWorld(warm=1)
        (server,) = world.supply.started
        server.transport.lose()
        world.wait(6)
        self.assertFalse(server.is_alive)

    def test_nobody_comes(self):
        """
        A room that nobody came to, and that does not see it, is ended.
        """
        world, server = hosting()
        world.wait(16)
        self.assertIn(CloseRoom("m1", "void"), server.heard)
        self.assertEqual(world.reasons(), {"m1": "void"})

    def test_plays_too_long(self):
        """
        A match beyond its game's limit is closed; if that does not help, its
        process is ended.
        """
        world, server = hosting(longest=100.0)
        server.ignores.add(CloseRoom)
        server.say(SeatChanged("m1", 0, "joined"))
        world.wait(104)
        self.assertNotIn(CloseRoom("m1", "time_limit"), server.heard)
        world.wait(2)
        self.assertIn(CloseRoom("m1", "time_limit"), server.heard)
        self.assertTrue(server.is_alive)
        world.wait(5)
        self.assertFalse(server.is_alive)
        self.assertEqual(world.reasons(), {"m1": "time_limit"})
        self.assertEqual(world.counts(), (4, 0, 0))

    def test_does_not_answer(self):
        """
        A game server that does not answer for a match, or for a port, is ended, and
        the match gets another.
        """
        for ignored, seconds in ((OpenRoom, 11), (Bind, 6)):
            world = FleetWorld(warm=1)
            world.supply.started[0].ignores.add(ignored)
            placed = world.place("m1")
            world.wait(seconds)
            self.assertFalse(world.supply.started[0].is_alive)
            self.successResultOf(placed)

    def test_does_not_leave(self):
        """
        A game server that stays after its last match is ended.
        """
        world, server = hosting()
        server.say(RoomEnded(MatchEnd("m1", "finished")))
        world.wait(4)
        self.assertTrue(server.is_alive)
        self.assertEqual(world.counts(), (3, 1, 0))
        world.wait(2)
        self.assertFalse(server.is_alive)
        self.assertEqual(world.counts(), (4, 0, 0))

    def test_does_not_dial(self):
        """
        A process that sends nothing is ended, and another is tried.
        """
        world, placed = _slow()
        world.supply.is_slow = False
        world.wait(33)
        self.assertFalse(world.supply.started[0].is_alive)
        self.successResultOf(placed)

    def test_nonsense(self):
        """
        A game server that sends invalid messages is ended.
        """
        world = FleetWorld(warm=1)
        for nonsense in (Bound(46000), Ready("again", 1, 1)):
            server = world.supply.alive[0]
            server.say(nonsense)
            world.settle()
            self.assertFalse(server.is_alive)
            world.wait(40)
        self.assertEqual(world.fleet.status().servers["warm"], 1)


class StartingTests(SynchronousTestCase):
    """Which processes may be game servers, and what happens without one."""

    def test_stranger(self):
        """
        A link that names no game server of ours is closed.
        """
        world = FleetWorld(warm=1)
        server = world.supply.started[0]
        known, server.transport = server.transport, None
        server.server_id = "somebody"
        server.dial()
        world.settle()
        self.assertTrue(server.transport.is_lost)
        self.assertFalse(known.is_lost)

    def test_wrong_process(self):
        """
        A link of another process than the one we started is closed.
        """
        world, _ = _slow()
        server = world.supply.started[0]
        server.dial(pid=1)
        world.settle()
        self.assertTrue(server.transport.is_lost)
        server.dial()
        server.listen()
        world.settle()
        self.assertEqual(server.rooms, ["m1"])

    def test_twice(self):
        """
        A second link of the same game server is closed.
        """
        world = FleetWorld(warm=1)
        server = world.supply.started[0]
        first = server.transport
        server.dial()
        world.settle()
        self.assertTrue(server.transport.is_lost)
        self.assertFalse(first.is_lost)

    def test_other_protocol(self):
        """
        A game server of another version is ended.
        """
        world, _ = _slow()
        server = world.supply.started[0]
        server.dial(protocol=99)
        world.settle()
        self.assertFalse(server.is_alive)

    def test_none_to_be_had(self):
        """
        When the system refuses processes they are not asked for in a loop, and
        matches start when it gives some again.
        """
        world = FleetWorld()
        world.supply.refuses = True
        placed = world.place("m1")
        world.wait(60)
        self.assertLess(world.supply.refused, 10)
        world.supply.refuses = False
        world.wait(16)
        self.successResultOf(placed)

    def test_broken_program(self):
        """
        A program that dies at once is not started in a loop. Operators see why no game
        server comes up until one does; players who wait for one learn that they do.
        """
        world, _ = _slow()
        for _ in range(60):
            for server in world.supply.alive:
                server.exit(status=1)
            world.wait(1)
        self.assertLess(len(world.supply.started), 10)
        self.assertEqual(world.counts(), (4, 0, 0))
        status = world.fleet.status()
        self.assertIn("status 1", status.problem)
        self.assertTrue(status.is_stuck)
        self.assertEqual(world.watch.told, [("delayed", "m1")])
        world.supply.is_slow = False
        world.wait(60)
        status = world.fleet.status()
        self.assertEqual((status.problem, status.is_stuck), ("", False))

    def test_tries_again_by_itself(self):
        """
        A node to which nobody is sent, because none came up, finds out when one does;
        and ends that one, which nobody needs.
        """
        world, placed = _slow()
        for _ in range(20):
            for server in world.supply.alive:
                server.exit(status=1)
            world.wait(1)
        placed.cancel()
        self.failureResultOf(placed)
        self.assertTrue(world.fleet.status().is_stuck)
        world.supply.is_slow = False
        world.wait(60)
        self.assertEqual(world.fleet.status().problem, "")
        self.assertEqual(world.supply.alive, [])

    def test_all_ports_taken(self):
        """
        Operators see that other programs have all ports.
        """
        world = FleetWorld()
        world.supply.taken_ports = set(range(46000, 46010))
        world.place("m1")
        world.wait(3)
        status = world.fleet.status()
        self.assertIn("UDP ports", status.problem)
        self.assertTrue(status.is_stuck)
        self.assertEqual(world.watch.told, [("delayed", "m1")])


class EndingTests(SynchronousTestCase):
    """Drain and stop."""

    def test_drain(self):
        """
        A draining node takes no new match and finishes those that run.
        """
        world = FleetWorld(ports=1, warm=2)
        world.place("m1")
        waits = world.place("m2")
        drained = world.fleet.drain()
        world.settle()
        self.failureResultOf(waits, NoCapacity)
        self.failureResultOf(world.place("m3"), NoCapacity)
        self.assertEqual(len(world.supply.alive), 1)
        self.assertTrue(world.fleet.status().is_draining)
        self.assertNoResult(drained)
        world.supply.hosting("m1").end_room()
        world.settle()
        self.successResultOf(drained)
        self.successResultOf(world.fleet.drain())
        self.assertEqual(world.supply.alive, [])
        self.assertEqual(world.reasons(), {"m1": "finished"})

    def test_drain_while_starting(self):
        """
        A game server that still starts, and is not needed any more, is asked to
        end, not killed, and the log does not make a fuss of it.
        """
        world, placed = _slow()
        placed.addErrback(lambda _: None)
        (server,) = world.supply.alive
        with capturedLogs() as logged:
            self.successResultOf(world.fleet.drain())
            world.settle()
        self.assertEqual(world.supply.asked, [server.server_id])
        self.assertEqual(world.supply.killed, [])
        self.assertEqual(world.counts(), (4, 0, 0))
        self.assertEqual({event["log_level"] for event in logged}, {LogLevel.debug})

    def test_stop(self):
        """
        A node that stops lets game servers say goodbye and leaves nothing.
        """
        world = FleetWorld(ports=2, warm=1)
        world.place("m1")
        world.place("m2")
        waits = world.place("m3")
        stopped = world.fleet.stopService()
        self.failureResultOf(waits, NoCapacity)
        world.settle()
        self.successResultOf(stopped)
        self.assertTrue(world.supply.is_closed)
        self.assertEqual(world.reasons(), {"m1": "shutdown", "m2": "shutdown"})
        self.assertEqual(world.counts(), (2, 0, 0))
        self.assertEqual(world.fleet.status().servers["leaving"], 0)
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_stop_with_a_deaf_one(self):
        """
        A game server that ignores the request to end does not hold up the node.
        """
        world = FleetWorld()
        world.place("m1")
        world.supply.hosting("m1").ignores |= {Stop, Heartbeat}
        stopped = world.fleet.stopService()
        world.wait(2)
        self.assertNoResult(stopped)
        world.wait(1)
        self.successResultOf(stopped)
        self.assertEqual(world.reasons(), {"m1": "shutdown"})
        self.assertEqual(world.supply.alive, [])
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_figures(self):
        """
        Operators see what every game server is, does and counts.
        """
        world = FleetWorld()
        world.place("m1")
        world.wait(2)
        server = world.supply.hosting("m1")
        shown = world.fleet.status().game_servers[server.server_id]
        self.assertEqual(shown.figures, {"rooms": 1.0})
        self.assertEqual(
            (shown.stage, shown.pid, shown.port, shown.matches),
            ("listening", server.pid, server.port, ("m1",)),
        )

    def test_figures_of_the_gone(self):
        """
        What a game server counted is still counted when its process is gone,
        also what it said with its last words.
        """
        world = FleetWorld()
        world.place("m1")
        world.wait(2)
        server = world.supply.hosting("m1")
        self.assertEqual(world.fleet.totals(), {"rooms": 1.0})
        server.say(Alive(0, {"rooms": 1.0, "datagrams_in": 7.0}))
        server.exit(signal=9)
        world.wait(2)
        self.assertEqual(world.fleet.totals(), {"datagrams_in": 7.0})
