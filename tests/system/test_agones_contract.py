"""Game servers of Agones keep to the contract of every fleet."""

from __future__ import annotations

from typing import Any

from tests.fleet.contract import FleetContract
from tests.support.agones.cluster import OnAgones


class AgonesContractTests(FleetContract, OnAgones):
    """The contract of every fleet, with the real game server."""

    async def started(self, fleet: Any, server_id: str = "s1") -> Any:
        # Agones starts the next one when one was taken. Beside other tests that takes
        # longer than a fleet asks for one.
        await self.until(lambda: bool(self.agones.list("Ready")))
        return await super().started(fleet, server_id)
