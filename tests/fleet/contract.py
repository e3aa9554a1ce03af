"""What every fleet does; mixed into one TestCase per kind of fleet."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from zope.interface import implementer

from vinom.base.model import Exit, ServerAddress
from vinom.errors import NoCapacity
from vinom.fleet.interfaces import IGameServer


@implementer(IGameServer)
class ContractServer:
    """
    A game server as a fleet sees it; the test decides when it is needed.

    :ivar binds: what it was to bind, in order.
    :ivar refuses: how many of the next ports it cannot have.
    :ivar exits: how it ended; one entry, if the fleet keeps to the contract.
    :ivar gone: fires when it ended.
    :ivar keeps_address: is its address kept when it ends?
    :ivar successor_of: the address that it takes over.
    :ivar silence: how long ago it was last heard.
    """

    keeps_address = False
    successor_of: ServerAddress | None = None
    silence = 0.0

    def __init__(self, server_id: str) -> None:
        self.server_id = server_id
        self.binds: list[tuple[str, int]] = []
        self.refuses = 0
        self.exits: list[Exit] = []
        self.gone: Deferred[None] = Deferred()
        self._is_needed = False
        self._wanted: Deferred[ServerAddress | None] | None = None

    def need(self) -> None:
        """A match needs it."""
        if self._wanted is None:
            self._is_needed = True
        else:
            wanted, self._wanted = self._wanted, None
            wanted.callback(self.successor_of)

    def wanted(self) -> Deferred[ServerAddress | None]:
        if self._is_needed:
            self._is_needed = False
            return succeed(self.successor_of)
        self._wanted = Deferred()
        return self._wanted

    def silent_for(self) -> float:
        return self.silence

    def bind(self, interface: str, port: int) -> Deferred[bool]:
        self.binds.append((interface, port))
        if self.refuses:
            self.refuses -= 1
            return succeed(False)
        return succeed(True)

    def ended(self, how: Exit) -> None:
        self.exits.append(how)
        if len(self.exits) == 1:
            self.gone.callback(None)


class FleetContract:
    """
    `vinom.fleet.interfaces.IFleet`.

    ``make_fleet`` gives a fleet with three addresses whose processes stay until they
    are ended; ``is_running`` and ``kill`` look at, and end, one of them from outside;
    ``until`` waits for something that will happen soon.
    """

    async def started(self, fleet: Any, server_id: str = "s1") -> Any:
        """Start one whose process runs; its address, and the game server."""
        server = ContractServer(server_id)
        reached = fleet.start(server)
        await self.until(lambda: self.is_running(fleet, server_id))
        return reached, server

    async def reached(self, fleet: Any, server_id: str = "s1") -> Any:
        """Start one that players can reach."""
        reached, server = await self.started(fleet, server_id)
        server.need()
        return await reached, server

    async def test_reached_when_it_is_needed(self) -> None:
        """
        A game server takes no address while no match needs it; then players are sent
        it only after it has bound its port.
        """
        fleet = self.make_fleet()
        reached, server = await self.started(fleet)
        self.assertNoResult(reached)
        self.assertEqual(server.binds, [])
        self.assertEqual(fleet.addresses().free, 3)
        server.need()
        where = await reached
        self.assertIsInstance(where, ServerAddress)
        self.assertEqual(len(server.binds), 1)
        counts = fleet.addresses()
        self.assertEqual((counts.free, counts.bound, counts.quarantined), (2, 1, 0))

    async def test_addresses_differ(self) -> None:
        """
        Players of one game server never reach another one.
        """
        fleet = self.make_fleet()
        found = [(await self.reached(fleet, f"s{n}"))[0] for n in range(3)]
        self.assertEqual(len(set(found)), 3)
        self.assertEqual(fleet.addresses().free, 0)

    async def test_port_that_cannot_be_had(self) -> None:
        """
        When a port is taken by somebody else, the next match that needs the game
        server finds it at another address, and no address is lost.
        """
        fleet = self.make_fleet()
        reached, server = await self.started(fleet)
        server.refuses = 1
        server.need()
        await self.until(lambda: len(server.binds) == 1)
        self.assertNoResult(reached)
        counts = fleet.addresses()
        self.assertEqual((counts.free, counts.bound, counts.quarantined), (2, 0, 1))
        server.need()
        await reached
        self.assertNotEqual(server.binds[0], server.binds[1])
        counts = fleet.addresses()
        self.assertEqual((counts.free, counts.bound, counts.quarantined), (1, 1, 1))

    async def test_death(self) -> None:
        """
        A process that dies is reported once, and its address is free by then.
        """
        fleet = self.make_fleet()
        _, server = await self.reached(fleet)
        free = []
        server.gone.addCallback(lambda _: free.append(fleet.addresses().free))
        self.kill(fleet, "s1")
        await server.gone
        await fleet.close()
        self.assertEqual(free, [3])
        self.assertEqual(len(server.exits), 1)

    async def test_death_before_anybody_needs_it(self) -> None:
        """
        Nobody waits for the address of a process that died.
        """
        fleet = self.make_fleet()
        reached, server = await self.started(fleet)
        self.kill(fleet, "s1")
        await self.assertFailure(reached, NoCapacity)
        self.assertEqual(len(server.exits), 1)
        self.assertEqual(fleet.addresses().free, 3)

    async def test_stop(self) -> None:
        """
        A game server is asked to end, or made to; one that is unknown is ignored.
        """
        fleet = self.make_fleet()
        for server_id, kill in (("s1", False), ("s2", True)):
            _, server = await self.reached(fleet, server_id)
            fleet.stop("s9", kill)
            fleet.stop(server_id, kill)
            await server.gone
            self.assertFalse(self.is_running(fleet, server_id))
            fleet.stop(server_id, kill)

    async def test_cancelled(self) -> None:
        """
        A game server that is not waited for any more ends.
        """
        fleet = self.make_fleet()
        reached, server = await self.started(fleet)
        reached.cancel()
        await self.assertFailure(reached, CancelledError)
        await server.gone
        self.assertFalse(self.is_running(fleet, "s1"))

    async def test_one_of_a_name(self) -> None:
        """
        Two game servers never have one name at a time; a name can come back.
        """
        fleet = self.make_fleet()
        _, server = await self.reached(fleet)
        self.assertRaises(ValueError, fleet.start, ContractServer("s1"))
        self.kill(fleet, "s1")
        await server.gone
        await self.reached(fleet)

    async def test_strangers_are_not_admitted(self) -> None:
        """
        A process that claims the name of no running game server is not let in.
        """
        fleet = self.make_fleet()
        _, server = await self.reached(fleet)
        self.assertFalse(fleet.admits("s9", 1))
        self.kill(fleet, "s1")
        await server.gone
        self.assertFalse(fleet.admits("s1", 1))

    async def test_close(self) -> None:
        """
        A fleet that is closed has ended every game server, and starts no more.
        """
        fleet = self.make_fleet()
        _, playing = await self.reached(fleet, "s1")
        reached, warm = await self.started(fleet, "s2")
        failed = self.assertFailure(reached, NoCapacity)
        await fleet.close()
        await failed
        for server in (playing, warm):
            self.assertEqual(len(server.exits), 1)
            self.assertFalse(self.is_running(fleet, server.server_id))
        late = ContractServer("s3")
        await self.assertFailure(fleet.start(late), NoCapacity)
        self.assertEqual(late.exits, [])
        self.assertEqual(fleet.addresses().free, 3)
