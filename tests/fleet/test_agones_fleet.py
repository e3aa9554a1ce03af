"""What holds for game servers of Agones, beside the contract of every fleet."""

from __future__ import annotations

import signal
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.fleet.contract import ContractServer
from tests.support.agones.cluster import STAND_IN, OnAgones
from tests.support.clusters import until
from vinom.errors import NoCapacity
from vinom.fleet.kubernetes.fleet import KubernetesFleet
from vinom.fleet.kubernetes.objects import MATCH, OWNER


class AgonesFleetTests(OnAgones):
    """What holds for Agones in addition."""

    async def setUp(self) -> None:
        await super().setUp()
        self.kubelet.images["vinom-gameserver"] = STAND_IN

    async def running(self, fleet: KubernetesFleet, server_id: str = "s1") -> Any:
        server = ContractServer(server_id)
        await until(lambda: self.agones.list("Ready"))
        reached = fleet.start(server)
        reached.addErrback(lambda f: f.trap(NoCapacity))
        await until(lambda: self.is_running(fleet, server_id))
        return reached, server

    async def test_what_an_allocation_says(self) -> None:
        """
        An operator sees which node has a game server and which match is played there,
        and counters of Agones count it.
        """
        fleet = self.make_fleet(
            counters={"rooms": {"action": "Increment", "amount": 1}},
            labels={"example.org/team": "blue"},
        )
        reached, server = await self.running(fleet)
        server.need()
        where = await reached
        (taken,) = self.agones.list("Allocated")
        labels, status = taken["metadata"]["labels"], taken["status"]
        self.assertEqual(labels[OWNER], "node-1")
        self.assertEqual(labels["example.org/team"], "blue")
        self.assertEqual(status["counters"]["rooms"]["count"], 1)
        self.assertEqual(
            (where.address, where.port), (status["address"], status["ports"][0]["port"])
        )
        fleet.plays("s1", ("m-1",))
        await until(
            lambda: (
                self.agones.list("Allocated")[0]["metadata"]["labels"].get(MATCH)
                == "m-1"
            )
        )

    async def test_nothing_is_ready(self) -> None:
        """
        When nothing is Ready, the operator reads what to raise.
        """
        fleet = self.make_fleet(fleet="blue")
        error = await self.assertFailure(fleet.start(ContractServer("s1")), NoCapacity)
        self.assertIn("raise the replicas of its Fleet", str(error))
        self.assertIn("raise the replicas", fleet.problem)

    async def test_contention_and_lost_answers(self) -> None:
        """
        An allocation that gets no answer is not made twice.
        """
        fleet = self.make_fleet()
        await until(lambda: self.agones.list("Ready"))
        self.agones.contends = 1
        self.server.disturb("create", "gameserverallocations", drops="after", times=1)
        await self.running(fleet)
        await deferLater(reactor, 0.1)
        self.assertEqual(len(self.agones.list("Allocated")), 1)

    async def test_released(self) -> None:
        """
        A game server that plays on for a later node is left alone, and adopted by it.
        """
        fleet = self.make_fleet()
        reached, server = await self.running(fleet)
        server.need()
        where = await reached
        handle, name = fleet.handle("s1"), fleet.pod_of("s1")
        fleet.release("s1")
        self.agones.change(name, metadata={"labels": {"touched": "yes"}})
        await fleet.close()
        later = self.make_fleet("node-2")
        again = ContractServer("s1")
        self.assertTrue(later.adopt(again, handle, where))
        self.assertEqual(later.addresses().bound, 1)
        await until(
            lambda: (
                self.agones.list("Allocated")[0]["metadata"]["labels"][OWNER]
                == "node-2"
            )
        )
        self.assertTrue(self.is_running(later, "s1"))
        later.stop("s1")
        await again.gone
        self.assertEqual(later.addresses().free, 3)

    async def test_two_for_one(self) -> None:
        """
        What a lost allocation has taken in addition does not stay allocated.
        """
        fleet = self.make_fleet()
        await self.running(fleet)
        await until(lambda: self.agones.list("Ready"))
        (kept,) = self.agones.list("Allocated")
        (other,) = self.agones.list("Ready")
        self.agones.change(
            other["metadata"]["name"],
            metadata={"labels": kept["metadata"]["labels"]},
            status={"state": "Allocated"},
        )
        await until(lambda: other["metadata"]["name"] not in self.agones.sdks)
        self.assertTrue(self.is_running(fleet, "s1"))

    async def test_hangs(self) -> None:
        """
        A game server that says nothing is ended by Agones, and that is seen here.
        """
        fleet = self.make_fleet()
        _, server = await self.running(fleet)
        name = fleet.pod_of("s1")
        health = {"periodSeconds": 1, "failureThreshold": 2}
        self.agones.change(name, spec={"health": health})
        self.kubelet.named(name).process.signalProcess(signal.SIGSTOP)
        await server.gone
        self.assertNotIn(name, str(self.agones.list()))

    async def test_rights(self) -> None:
        """
        The role gives a node what it uses, and no more.
        """
        fleet = self.make_fleet()
        _, server = await self.running(fleet)
        fleet.plays("s1", ("m-1",))
        await until(lambda: MATCH in str(self.agones.list()))
        # After a lost connection it looks for a game server that no list has.
        self.server.objects.forget_history()
        self.server.cut_watches()
        fleet.stop("s1", kill=True)
        await server.gone
        await fleet.close()
        access = self.server.access
        self.assertEqual(access.used, access.granted())
