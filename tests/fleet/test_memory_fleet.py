"""The fleet that tests use keeps to the contract of every fleet."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tests.fleet.contract import FleetContract
from tests.support.supply import MemorySupply, game_ports


class MemorySupplyTests(FleetContract, TestCase):
    """What holds for objects here holds for processes in tests.system.test_fleet."""

    def make_fleet(self) -> MemorySupply:
        self.clock = Clock()
        return MemorySupply(self.clock, game_ports(self.clock, 3), is_slow=True)

    def is_running(self, fleet: MemorySupply, server_id: str) -> bool:
        return any(server.server_id == server_id for server in fleet.alive)

    def kill(self, fleet: MemorySupply, server_id: str) -> None:
        next(s for s in fleet.alive if s.server_id == server_id).exit(signal=9)

    async def until(self, is_so: Callable[[], bool]) -> None:
        self.clock.advance(0)
        self.assertTrue(is_so())
