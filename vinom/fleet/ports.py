"""The UDP ports of this machine, which its game servers share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

import attrs

from vinom.model import Addresses, ServerAddress
from vinom.ports import IGameServer

#: How long a port that somebody else holds is left alone, seconds.
QUARANTINE_SECONDS = 30.0


@attrs.define(eq=False, init=False)
class PortRing:
    """
    Give out ports, the one that rested longest first.

    So a stray datagram of an old match meets a new one as late as possible.
    ``free + bound + quarantined`` is the size of the ring, whatever happens.

    :param first: lowest port.
    :param last: highest port, which is in the ring too.
    :param quarantine: seconds after which a spoilt port is tried again.
    """

    quarantine_seconds: float
    _free: deque[int]
    _bound: set[int]
    _spoilt: dict[int, float]

    def __init__(
        self, first: int, last: int, quarantine: float = QUARANTINE_SECONDS
    ) -> None:
        if not 1 <= first <= last <= 65535:
            raise ValueError(f"{first}-{last} is not a range of ports")
        self.quarantine_seconds = quarantine
        self._free, self._bound, self._spoilt = deque(range(first, last + 1)), set(), {}

    @property
    def free(self) -> int:
        """How many can be taken now."""
        return len(self._free)

    @property
    def bound(self) -> int:
        """How many a game server has, or is about to bind."""
        return len(self._bound)

    @property
    def quarantined(self) -> int:
        """How many could not be bound lately."""
        return len(self._spoilt)

    def take(self) -> int | None:
        """Take a port for a game server to bind; ``None`` if there is none."""
        if not self._free:
            return None
        port = self._free.popleft()
        self._bound.add(port)
        return port

    def give_back(self, port: int) -> None:
        """
        Nobody has this port any more.

        :raises ValueError: it was not taken.
        """
        self._untake(port)
        self._free.append(port)

    def quarantine(self, port: int, now: float) -> None:
        """
        It could not be bound: somebody else has it.

        :raises ValueError: it was not taken.
        """
        self._untake(port)
        self._spoilt[port] = now + self.quarantine_seconds

    def deadline(self) -> float:
        """When a quarantine ends next; infinity if there is none."""
        return next(iter(self._spoilt.values()), inf)

    def alarm(self, now: float) -> None:
        """Let those be tried again whose quarantine is over."""
        # They end in the order in which they began.
        while self.deadline() <= now:
            port = next(iter(self._spoilt))
            del self._spoilt[port]
            self._free.append(port)

    def _untake(self, port: int) -> None:
        if port not in self._bound:
            raise ValueError(f"port {port} was not taken")
        self._bound.remove(port)


class GamePorts:
    """
    Give each game server of this machine an address: a port of one ring.

    :param ring: the ports.
    :param interface: IP address that game servers bind.
    :param advertise: name or IP address that players connect to.
    :param now: seconds on a clock that nobody sets, for quarantines.
    """

    def __init__(
        self,
        ring: PortRing,
        interface: str,
        advertise: str,
        now: Callable[[], float],
    ) -> None:
        self._ring, self._now = ring, now
        self._interface, self._advertise = interface, advertise
        self._taken: dict[str, int] = {}

    def counts(self) -> Addresses:
        """Count the ports; those whose quarantine is over are free."""
        ring = self._ring
        ring.alarm(self._now())
        return Addresses(ring.free, ring.bound, ring.quarantined)

    async def reach(self, server: IGameServer) -> ServerAddress:
        """
        Give a port to a game server once it is wanted; another if that is taken.

        :returns: where players reach it, when it has bound the port.
        """
        while True:
            await server.wanted()
            port = self._ring.take()
            if port is None:
                continue
            self._taken[server.server_id] = port
            if await server.bind(self._interface, port):
                return ServerAddress(self._advertise, port)
            self._ring.quarantine(self._taken.pop(server.server_id), self._now())

    def give_back(self, server_id: str) -> None:
        """Free its port, if it has one: its process is gone."""
        port = self._taken.pop(server_id, None)
        if port is not None:
            self._ring.give_back(port)
