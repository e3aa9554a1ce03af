"""Fleets of several programs, and fleets whose players are connected to the node."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.supply import FleetWorld, ticket
from vinom.errors import NoCapacity
from vinom.fleet.control.messages import (
    AddTicket,
    Bind,
    CloseRoom,
    HandOver,
    Kept,
    Kick,
    OpenRoom,
    RelayWatch,
    RotateCookies,
)
from vinom.fleet.policy import RefillPacing
from vinom.fleet.port_ring import RelayedPorts


class SeveralProgramsTests(SynchronousTestCase):
    """Game servers of two programs."""

    def setUp(self) -> None:
        self.world = world = FleetWorld(warm=1, most=5, own=("pong",))
        self.places = {
            game: self.successResultOf(world.place(f"{game}-1", game))
            for game in ("maze", "pong")
        }

    def test_own_program(self) -> None:
        """
        A match is played by its game's program, and both share the ports.
        """
        for game, supply in self.world.supplies.items():
            self.assertEqual(
                self.places[game].server, supply.hosting(f"{game}-1").server_id
            )
        self.assertEqual(2, len({place.port for place in self.places.values()}))
        self.world.clock.advance(RefillPacing().after)
        self.world.settle()
        status = self.world.fleet.status()
        self.assertEqual(
            (2, 2, 2),
            (status.rooms, status.ports_bound, status.ports_free),
        )
        self.assertEqual((2, 2), (status.servers["listening"], status.servers["warm"]))
        self.assertEqual(4, len(status.game_servers))

    def test_ports_go_where_matches_wait(self) -> None:
        """
        A game server that waits with a port gives it up if all others are in use, and a
        match of another program waits for one.
        """
        world = FleetWorld(6, warm=3, most=9, own=("pong",))
        for number in range(6):
            world.place(f"maze-{number}", "maze")
        world.wait(2)
        self.assertEqual(world.fleet.status().waiting, 0)

    def test_orders(self) -> None:
        """
        What is ordered about a match reaches the game server that has it, and no other.
        """
        fleet = self.world.fleet
        fleet.kick("pong-1", 1)
        fleet.follow("pong-1", lambda message: None, True)
        fleet.pass_on(RelayWatch("pong-1", False))
        fleet.close_room("pong-1", "ended")
        self.world.settle()
        orders = {
            game: [
                order
                for one in supply.started
                for order in one.heard
                if isinstance(order, Kick | RelayWatch | CloseRoom)
            ]
            for game, supply in self.world.supplies.items()
        }
        self.assertEqual([], orders["maze"])
        self.assertEqual(
            [
                Kick("pong-1", 1),
                RelayWatch("pong-1", True, True),
                RelayWatch("pong-1", False),
                CloseRoom("pong-1", "ended"),
            ],
            orders["pong"],
        )
        self.assertFalse(fleet.is_overloaded("pong-1"))
        self.failureResultOf(fleet.add_ticket(ticket("nowhere", 0)), NoCapacity)

    def test_keys(self) -> None:
        """
        Keys change at the game servers of both programs.
        """
        self.assertEqual(2, self.world.fleet.rotate_cookies())
        self.world.settle()
        for supply in self.world.supplies.values():
            orders = [order for one in supply.started for order in one.heard]
            self.assertIn(RotateCookies(), orders)
        shared = self.world.fleet.share_token_keys()
        self.assertNoResult(shared)
        self.world.settle()
        self.successResultOf(shared)
        self.world.fleet.renew_certificates()

    def test_goes_on_with_its_tickets(self) -> None:
        """
        A player who is let in while a match has no game server is let in by the one
        that goes on with it, and operators are shown that it went on.
        """
        supply = self.world.supplies["pong"]
        server = supply.hosting("pong-1")
        server.say(Kept("pong-1", 1, 0, b"kept"))
        supply.is_slow = True
        for one in list(supply.alive):
            one.exit(signal=9)
        added = self.world.fleet.add_ticket(ticket("pong-1", 0, "b"))
        self.world.wait(1)
        self.assertNoResult(added)
        for one in supply.alive:
            one.dial()
        self.world.wait(1)
        self.successResultOf(added)
        orders = supply.hosting("pong-1").heard
        self.assertIn(AddTicket(ticket("pong-1", 0, "b")), orders)
        self.assertEqual(self.world.fleet.status().went_on["died"], 1)

    def test_moved_by_its_label(self) -> None:
        """
        A game server is moved by the name that its players know, too.
        """
        supply = self.world.supplies["pong"]
        supply.hosting("pong-1").say(Kept("pong-1", 1, 0, b"kept"))
        supply.hosting("pong-1").exit(signal=9)
        self.world.wait(1)
        server = supply.hosting("pong-1")
        server.say(Kept("pong-1", 2, 0, b"kept"))
        label = self.places["pong"].server
        self.assertNotEqual(server.server_id, label)
        self.world.fleet.move(label, lambda plan, data: "")
        self.world.settle()
        self.assertIn(HandOver(), server.heard)

    def test_problem(self) -> None:
        """
        Operators are shown why game servers of any program cannot be started.
        """
        self.assertEqual(self.world.fleet.status().problem, "")
        self.world.supplies["pong"].problem = "no program"
        self.assertEqual(self.world.fleet.status().problem, "no program")

    def test_drain(self) -> None:
        """
        A drain is over when no match of any program runs.
        """
        drained = self.world.fleet.drain()
        for game, supply in self.world.supplies.items():
            self.assertNoResult(drained)
            supply.hosting(f"{game}-1").end_room()
            self.world.settle()
        self.successResultOf(drained)
        self.assertTrue(self.world.fleet.is_draining)


class RelayedPortsTests(SynchronousTestCase):
    """Game servers without ports."""

    def test_no_port_and_no_secret(self) -> None:
        """
        A game server whose players are connected to the node is given no port, no
        certificate and no keys; as many as there are ports play at once.
        """
        world = FleetWorld(RelayedPorts("play.example", 46000, 2), warm=1, most=5)
        placed = [world.place(f"maze-{number}", "maze") for number in range(3)]
        for one in placed[:2]:
            place = self.successResultOf(one)
            self.assertEqual(("play.example", 46000), (place.address, place.port))
        self.assertNoResult(placed[2])
        binds = [
            order
            for server in world.supplies["maze"].started
            for order in server.heard
            if isinstance(order, Bind)
        ]
        self.assertEqual(2, len(binds))
        for bind in binds:
            self.assertEqual((0, b"", b"", {}), (bind.port, *_secrets(bind)))
        counts = world.ports.counts()
        self.assertEqual((0, 2, 0), (counts.free, counts.bound, counts.quarantined))
        world.supplies["maze"].hosting("maze-0").end_room()
        for _ in range(3):
            world.clock.advance(1)
            world.settle()
        self.successResultOf(placed[2])

    def test_goes_on(self) -> None:
        """
        A match whose players are connected to the node outlives its game server, which
        has no certificate that another one could take over.
        """
        world = FleetWorld(RelayedPorts("play.example", 46000, 2), warm=1, most=5)
        self.successResultOf(world.place("maze-0", "maze"))
        supply = world.supplies["maze"]
        supply.hosting("maze-0").say(Kept("maze-0", 1, 0, b"kept"))
        supply.hosting("maze-0").exit(signal=9)
        world.wait(2)
        self.assertEqual([end.reason for end in world.watch.ends], [])
        orders = supply.hosting("maze-0").heard
        (opened,) = [one for one in orders if isinstance(one, OpenRoom)]
        self.assertEqual((opened.checkpoint, opened.number), (b"kept", 1))
        self.assertEqual(world.ports.counts().bound, 1)


def _secrets(bind: Bind) -> tuple[bytes, bytes, dict[str, bytes]]:
    return bind.certificate, bind.key, bind.token_keys
