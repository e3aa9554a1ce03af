"""Links between two nodes in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock

from tests.support.gateways import MemoryTransport
from vinom.base.model import NodeFacts
from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.turns import TurnEnd
from vinom.errors import NoCapacity
from vinom.node.build import node_channels
from vinom.node.gateways import GatewayLinks
from vinom.node.links import NodeLinks
from vinom.node.settings import Settings
from vinom.store.memory.nodes import MemoryNodeStore


async def no_match(match_id: str, seat: int) -> bytes:
    """Admit nobody."""
    raise NoCapacity("there are no matches")


def channels(
    node_id: str, clock: Any, requests: Any, rooms: Any, admit: Any = no_match
) -> GatewayLinks:
    """Make what serves other nodes, as a node does."""
    parts: Any = SimpleNamespace(
        base=SimpleNamespace(
            reactor=clock,
            turns=TurnEnd(clock),
            stores=SimpleNamespace(node_id=node_id),
        ),
        lobby=SimpleNamespace(matches=SimpleNamespace(admit=admit)),
        requests=requests,
        rooms=rooms,
        lines=SimpleNamespace(errors=requests.errors),
        websockets=SimpleNamespace(direct=DirectReads()),
    )
    return node_channels(Settings(message_rate=100), parts)


class MemoryLinks(NodeLinks):
    """
    The links of node n2 to n1, which is the only other one.

    :ivar is_stuck: does nothing arrive for now?
    :ivar asking: the connection, at this node.
    :ivar answering: the same, at the other one.
    """

    asking: MemoryTransport
    answering: MemoryTransport

    def __init__(self, clock: Clock) -> None:
        directory = MemoryNodeStore(clock.seconds)
        directory.register(NodeFacts("n1", {"link": "192.0.2.1:1"}, "1"), 1e9)
        super().__init__(directory, self._to_memory, "n2", clock)
        self.clock, self.is_stuck = clock, False
        self.served: GatewayLinks

    def connect(self, served: GatewayLinks) -> None:
        """Have a link to what serves there."""
        self.served = served
        self._once("n1")
        self.carry()

    async def _to_memory(self, node_id: str, where: str, protocol: Any) -> None:
        self.answering = MemoryTransport(self.served.factory().buildProtocol(None))
        self.asking = MemoryTransport(protocol)

    def carry(self) -> None:
        """Let everything arrive."""
        is_moving = not self.is_stuck
        while is_moving:
            self.clock.advance(0)
            asked, answered = self.asking.take(), self.answering.take()
            self.answering.give(asked)
            self.asking.give(answered)
            is_moving = bool(asked or answered)

    def break_off(self) -> None:
        """Lose the link."""
        self.asking.lose()
        self.answering.lose()

    @property
    def asked(self) -> int:
        """How many channels are open here."""
        return sum(len(link.channels) for link in self._links.values())
