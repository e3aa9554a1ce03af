"""Matches whose game server died, and that go on at another one."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.supply import FakeGameServer, FleetWorld, hosting, ticket
from vinom.base.model import MatchEnd
from vinom.errors import NoCapacity, Refused
from vinom.fleet.control.checkpoints import change_between
from vinom.fleet.control.messages import (
    AddTicket,
    Bind,
    CloseRoom,
    Draining,
    HandOver,
    Heartbeat,
    Kept,
    Kick,
    OpenRoom,
    RoomEnded,
    SeatChanged,
)
from vinom.fleet.match import MOST_IN_VAIN, MOST_RESUMED


def last(server: FakeGameServer, kind: type) -> object:
    """The latest message of a kind that it was sent."""
    return [message for message in server.heard if isinstance(message, kind)][-1]


def kept() -> tuple[FleetWorld, FakeGameServer]:
    """Make a fleet, one game server of which has sent what it keeps of its match."""
    world, server = hosting()
    server.say(Kept("m1", 1, 0, b"kept"))
    return world, server


class GoingOnTests(SynchronousTestCase):
    """What the next game server gets."""

    def test_goes_on(self) -> None:
        """
        A match goes on from its newest checkpoint, under the name, certificate and
        port that its players know, with all tickets that they were given.
        """
        world = FleetWorld()
        first = world.host("m1")
        world.fleet.add_ticket(ticket("m1", 1, "b"))
        world.settle()
        old = b"x" * 900
        new = old[:500] + b"y" + old[501:]
        first.say(Kept("m1", 1, 0, old))
        first.say(Kept("m1", 2, 1, change_between(old, new)))
        first.say(SeatChanged("m1", 0, "joined"))
        first.exit(signal=9)
        self.assertEqual(world.counts(), (3, 1, 0))
        world.wait(1)
        second = world.supply.hosting("m1")
        self.assertEqual(world.reasons(), {})
        before, after = last(first, Bind), last(second, Bind)
        self.assertEqual(before, after)
        order = last(second, OpenRoom)
        self.assertEqual((order.checkpoint, order.number, order.part), (new, 2, 2))
        self.assertEqual([one.label[0] for one in order.tickets], ["a", "b"])
        self.assertEqual(world.fleet.status().rooms, 1)
        self.assertEqual(world.counts(), (3, 1, 0))
        (resumed,) = world.watch.resumptions
        self.assertEqual(resumed.server, before.server)
        second.end_room("m1")
        world.wait(1)
        self.assertEqual(world.reasons(), {"m1": "finished"})
        self.assertEqual(world.counts(), (4, 0, 0))

    def test_last_words(self) -> None:
        """
        What a game server sent before it died is read first: a checkpoint that came
        late is used, and a match that ended is over.
        """
        world = FleetWorld(rooms_per_process=2)
        world.place("m1")
        world.place("m2")
        server = world.supply.hosting("m1")
        self.assertIs(server, world.supply.hosting("m2"))
        server.say(Kept("m1", 1, 0, b"early"))
        server.say(Kept("m2", 1, 0, b"early"))
        transport, server.transport = server.transport, None
        server.exit(signal=9)
        world.wait(1)
        server.transport = transport
        server.say(Kept("m1", 2, 0, b"late"))
        server.say(RoomEnded(MatchEnd("m2", "finished")))
        transport.lose()
        world.wait(1)
        self.assertEqual(world.reasons(), {"m2": "finished"})
        order = last(world.supply.hosting("m1"), OpenRoom)
        self.assertEqual(order.checkpoint, b"late")

    def test_hung(self) -> None:
        """
        A game server that hangs is killed within four seconds; its match goes on, and
        not before its process is gone.
        """
        world = FleetWorld()
        world.place("m1")
        world.wait(5)
        world.supply.is_stubborn = True
        server = world.supply.hosting("m1")
        server.say(Kept("m1", 1, 0, b"kept"))
        server.ignores.add(Heartbeat)
        world.wait(4)
        self.assertIn(server.server_id, world.supply.killed)
        world.wait(10)
        self.assertEqual([server], [s for s in world.supply.alive if s.rooms])
        world.supply.is_stubborn = False
        server.exit(signal=9)
        world.wait(1)
        self.assertEqual(last(world.supply.hosting("m1"), OpenRoom).number, 1)

    def test_port_is_withheld(self) -> None:
        """
        Nobody else gets the port of a match that goes on, even if no other is free.
        """
        world, server = hosting(ports=1)
        server.say(Kept("m1", 1, 0, b"kept"))
        world.supply.is_slow = True
        server.exit(signal=9)
        world.place("m2")
        world.wait(1)
        self.assertEqual(world.counts(), (0, 1, 0))
        world.supply.is_slow = False
        for one in world.supply.alive:
            one.dial()
        world.wait(1)
        self.assertEqual(world.supply.hosting("m1").port, server.port)
        self.assertEqual([], [s for s in world.supply.alive if "m2" in s.rooms])

    def test_port_is_taken(self) -> None:
        """
        If another program has taken the port, the match goes on at another one.
        """
        world, server = kept()
        server.exit(signal=9)
        world.supply.taken_ports.add(server.port)
        world.wait(1)
        self.assertNotEqual(world.supply.hosting("m1").port, server.port)
        self.assertEqual(world.counts(), (2, 1, 1))

    def test_successor_dies(self) -> None:
        """
        A game server that dies before it has taken a match over does not lose it.
        """
        world, server = kept()
        world.supply.ignores.add(Bind)
        server.exit(signal=9)
        world.wait(1)
        (second,) = (one for one in world.supply.alive if one.heard)
        world.supply.ignores.clear()
        second.exit(signal=9)
        world.wait(2)
        third = world.supply.hosting("m1")
        self.assertEqual(last(third, OpenRoom).checkpoint, b"kept")
        self.assertEqual(third.port, server.port)

    def test_orders_to_the_dead(self) -> None:
        """
        A player whom an operator removed, and a match that was ended, are removed and
        ended although their game server died before it read that.
        """
        world = FleetWorld(rooms_per_process=2)
        world.place("m1")
        world.place("m2")
        server = world.supply.hosting("m1")
        server.ignores |= {Kick, CloseRoom}
        for match_id in ("m1", "m2"):
            server.say(Kept(match_id, 1, 0, b"kept"))
        world.fleet.kick("m1", 1)
        world.fleet.close_room("m2", "ended")
        world.settle()
        server.exit(signal=9)
        world.wait(1)
        successor = world.supply.hosting("m1")
        self.assertIn(Kick("m1", 1), successor.heard)
        self.assertEqual(world.reasons(), {"m2": "ended"})

    def test_no_successor(self) -> None:
        """
        If no game server can be started, a match is lost after a while, with a reason:
        its players are free. Its port is, too.
        """
        world, server = kept()
        world.supply.refuses = True
        server.exit(signal=9)
        world.wait(60)
        self.assertEqual((world.reasons(), world.counts()), ({}, (3, 1, 0)))
        world.wait(60)
        self.assertEqual((world.reasons(), world.counts()), ({"m1": "lost"}, (4, 0, 0)))
        self.assertIn("no game process", world.watch.ends[0].why)
        self.failureResultOf(world.fleet.add_ticket(ticket("m1", 0, "c")), NoCapacity)

    def test_no_checkpoint(self) -> None:
        """
        A match that keeps none any more is lost, and its port is free again.
        """
        world, server = kept()
        server.say(Kept("m1", 2, 0, b""))
        server.exit(signal=9)
        self.assertEqual(world.reasons(), {"m1": "lost"})
        self.assertIn("keeps no checkpoints", world.watch.ends[0].why)
        self.assertEqual(world.counts(), (4, 0, 0))

    def test_dies_on_its_state(self) -> None:
        """
        A match whose processes die without going on is lost, with the reason.
        """
        world = FleetWorld()
        world.place("m1")
        world.supply.hosting("m1").say(Kept("m1", 1, 0, b"kept"))
        number = 1
        for _ in range(MOST_IN_VAIN + 1):
            self.assertEqual(world.reasons(), {})
            # The two players come back, and one of them does it again.
            for _ in range(5):
                number += 1
                kept = Kept("m1", number, 0, b"kept", version=number)
                world.supply.hosting("m1").say(kept)
            world.supply.hosting("m1").exit(signal=11)
            world.wait(1)
        self.assertEqual(world.reasons(), {"m1": "lost"})
        self.assertIn("one right after the other", world.watch.ends[0].why)
        self.assertEqual(world.counts(), (4, 0, 0))

    def test_unlucky(self) -> None:
        """
        One whose processes die often goes on if something is played in between, or if
        some time passes.
        """
        for moves, seconds in ((30, 0), (0, 6)):
            world = FleetWorld()
            world.place("m1")
            number = 0
            for _ in range(MOST_IN_VAIN + 2):
                for _ in range(5):
                    number += 1
                    version = number * (1 + moves)
                    kept = Kept("m1", number, 0, b"kept", version=version)
                    world.supply.hosting("m1").say(kept)
                world.wait(seconds)
                world.supply.hosting("m1").exit(signal=9)
                world.wait(1)
                self.assertEqual(world.reasons(), {})

    def test_dies_too_often(self) -> None:
        """
        So is one that goes on each time, but not for long.
        """
        world = FleetWorld()
        world.place("m1")
        number = 0
        for _ in range(MOST_RESUMED + 1):
            self.assertEqual(world.reasons(), {})
            for _ in range(5):
                number += 1
                kept = Kept("m1", number, 0, b"kept", version=100 * number)
                world.supply.hosting("m1").say(kept)
            world.supply.hosting("m1").exit(signal=11)
            world.wait(1)
        self.assertEqual(world.reasons(), {"m1": "lost"})

    def test_wrong_checkpoint(self) -> None:
        """
        A game server whose checkpoints do not follow each other is killed; its match
        goes on from the last that did.
        """
        for wrong in (
            Kept("m1", 3, 0, b"ahead"),
            Kept("m1", 1, 0, b"again"),
            Kept("m1", 2, 3, b"unknown base"),
            Kept("m1", 2, 1, b"short"),
            Kept("m1", 2, 1, b"\xff" * 16),
        ):
            world, server = kept()
            server.say(wrong)
            world.wait(2)
            self.assertFalse(server.is_alive)
            order = last(world.supply.hosting("m1"), OpenRoom)
            self.assertEqual((order.checkpoint, order.number), (b"kept", 1))

    def test_node_stops(self) -> None:
        """
        A match that waits for another game server ends with its node.
        """
        world, server = kept()
        world.supply.is_slow = True
        server.exit(signal=9)
        world.wait(1)
        world.fleet.stopService()
        self.assertEqual(world.reasons(), {"m1": "shutdown"})

    def test_ordered_meanwhile(self) -> None:
        """
        What an operator orders while a match has no game server is done by the next.
        """
        world, server = kept()
        server.exit(signal=9)
        world.fleet.kick("m1", 1)
        world.fleet.close_room("m1", "ended")
        world.wait(1)
        self.assertEqual(world.reasons(), {"m1": "ended"})
        (second,) = (one for one in world.supply.started if one is not server)
        self.assertIn(Kick("m1", 1), second.heard)

    def test_drained_after_it(self) -> None:
        """
        A fleet is not drained while a match waits to go on.
        """
        world, server = kept()
        drained = world.fleet.drain()
        server.exit(signal=9)
        self.assertNoResult(drained)
        world.wait(2)
        world.supply.hosting("m1").end_room("m1")
        world.wait(1)
        self.successResultOf(drained)


class MovingTests(SynchronousTestCase):
    """An operator moves the matches of a game server."""

    def world(self, rooms_per_process: int = 1) -> FleetWorld:
        """A match with a checkpoint."""
        world = FleetWorld(warm=1, rooms_per_process=rooms_per_process)
        world.place("m1")
        world.supply.hosting("m1").say(Kept("m1", 1, 0, b"kept"))
        return world

    def test_moved(self) -> None:
        """
        It is asked to hand its matches over; when it is gone another one goes on, and a
        player who asks meanwhile is admitted there.
        """
        world = self.world()
        first = world.supply.hosting("m1")
        world.fleet.move(first.server_id, lambda plan, data: "")
        world.settle()
        self.assertIn(HandOver(), first.heard)
        admitted = world.fleet.add_ticket(ticket("m1", 1, "c"))
        self.assertNoResult(admitted)
        first.say(Kept("m1", 2, 0, b"last"))
        first.exit(0)
        world.settle()
        second = world.supply.hosting("m1")
        self.assertEqual(last(second, OpenRoom).checkpoint, b"last")
        self.assertIsNone(self.successResultOf(admitted))
        self.assertEqual(last(second, AddTicket).ticket.label[0], "c")
        self.assertEqual(second.port, first.port)
        self.assertEqual(world.reasons(), {})

    def test_asked_to_end_from_outside(self) -> None:
        """
        A game server whose machine is drained hands its matches over, and another one
        goes on.
        """
        world = self.world()
        first = world.supply.hosting("m1")
        first.say(Draining())
        world.settle()
        self.assertIn(HandOver(), first.heard)
        first.say(Kept("m1", 2, 0, b"last"))
        first.exit(0)
        world.wait(1)
        second = world.supply.hosting("m1")
        self.assertEqual(last(second, OpenRoom).checkpoint, b"last")
        self.assertEqual(
            (world.reasons(), world.fleet.status().went_on["moved"]), ({}, 1)
        )

    def test_cannot_be_handed_over(self) -> None:
        """
        A match that no other game server could go on with is played on as long as there
        is time.
        """
        world = self.world()
        world.place("m2")
        other = world.supply.hosting("m2")
        other.say(Draining())
        world.wait(1)
        self.assertNotIn(HandOver(), other.heard)
        other.end_room("m2")
        world.settle()
        self.assertEqual(world.reasons(), {"m2": "finished"})

    def test_one_of_two_cannot_be_handed_over(self) -> None:
        """
        A match without a checkpoint does not keep the others of its game server from
        going on: they are handed over when it is over.
        """
        world, server = self.two_matches()
        server.say(Draining())
        world.wait(1)
        self.assertNotIn(HandOver(), server.heard)
        server.end_room("m2")
        world.settle()
        self.assertIn(HandOver(), server.heard)
        self.goes_on(world, server, "finished")

    def test_time_to_drain_is_over(self) -> None:
        """
        If it is not over in time it ends, and the others go on.
        """
        world, server = self.two_matches()
        server.say(Draining())
        world.wait(1)
        server.say(Draining(True))
        world.settle()
        self.assertEqual(world.reasons(), {"m2": "shutdown"})
        self.assertIn(HandOver(), server.heard)
        self.goes_on(world, server, "shutdown")

    def goes_on(self, world: FleetWorld, server: FakeGameServer, reason: str) -> None:
        """Have the first go on from its last checkpoint, after the second's end."""
        server.say(Kept("m1", 2, 0, b"last"))
        server.exit(0)
        world.wait(1)
        self.assertEqual(last(world.supply.hosting("m1"), OpenRoom).checkpoint, b"last")
        self.assertEqual(world.reasons(), {"m2": reason})

    def two_matches(self) -> tuple[FleetWorld, FakeGameServer]:
        """Have two matches at one game server; the second has no checkpoint."""
        world = self.world(rooms_per_process=2)
        world.place("m2")
        server = world.supply.hosting("m1")
        self.assertIs(world.supply.hosting("m2"), server)
        return world, server

    def test_as_often_as_one_likes(self) -> None:
        """
        Moving on purpose is no failure, however often it is done.
        """
        world = self.world()
        for number in range(2, 3 * MOST_RESUMED):
            server = world.supply.hosting("m1")
            world.fleet.move(server.server_id, lambda plan, data: "")
            server.say(Kept("m1", number, 0, b"last"))
            server.exit(0)
            world.wait(1)
            self.assertEqual(world.reasons(), {})

    def test_not_moved(self) -> None:
        """
        Nothing happens to a match that nobody here could read, that has no checkpoint,
        or to a game server that does not exist or has no match; the operator is told.
        """
        world = self.world()
        server = world.supply.hosting("m1")
        world.place("m2")
        other = world.supply.hosting("m2")
        idle = next(one for one in world.supply.alive if not one.rooms)
        for server_id, why in (
            (server.server_id, "match m1: too new"),
            (other.server_id, "match m2 has no checkpoint"),
            (idle.server_id, "it is warm"),
            ("nobody", "no game server is called 'nobody'"),
        ):
            with self.assertRaisesRegex(Refused, why):
                world.fleet.move(server_id, lambda plan, data: "too new")
        world.wait(5)
        self.assertNotIn(HandOver(), server.heard)
        self.assertTrue(server.is_alive)

    def test_does_not_hand_over(self) -> None:
        """
        One that does not end is killed, and the match goes on from what it sent.
        """
        world = self.world()
        server = world.supply.hosting("m1")
        world.fleet.move(server.server_id, lambda plan, data: "")
        with self.assertRaisesRegex(Refused, "it is leaving"):
            world.fleet.move(server.server_id, lambda plan, data: "")
        world.wait(7)
        self.assertFalse(server.is_alive)
        self.assertEqual(last(world.supply.hosting("m1"), OpenRoom).checkpoint, b"kept")

    def test_over_meanwhile(self) -> None:
        """
        Who waits to be admitted to a match that ends instead is not left waiting.
        """
        world = self.world()
        server = world.supply.hosting("m1")
        world.fleet.move(server.server_id, lambda plan, data: "")
        admitted = world.fleet.add_ticket(ticket("m1", 1, "c"))
        server.say(RoomEnded(MatchEnd("m1", "finished")))
        server.exit(0)
        world.wait(6)
        self.failureResultOf(admitted, NoCapacity)
        self.assertEqual(world.reasons(), {"m1": "finished"})
