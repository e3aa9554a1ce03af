"""UDP ports of game servers on this machine: a ring in which no port is ever lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

import attrs

from vinom.model import Addresses, ServerAddress
from vinom.ports import IGameServer

#: How long a port that another program holds is not tried again, seconds.
QUARANTINE_SECONDS = 30.0


@attrs.define(eq=False, init=False)
class PortRing:
    """
    Hand out ports, the one that was free longest first.

    This makes it unlikely that a stray datagram of an old match reaches a new one.
    ``free + bound + quarantined`` is always the size of the ring.
    """

    quarantine_seconds: float
    _free: deque[int]
    _bound: set[int]
    _spoilt: dict[int, float]

    def __init__(
        self, first: int, last: int, quarantine: float = QUARANTINE_SECONDS
    ) -> None:
        """
        :param first: lowest port.
        :param last: highest port, which is in the ring too.
        :param quarantine: seconds before a port that could not be bound is tried again.
        """
        if not 1 <= first <= last <= 65535:
            raise ValueError(f"{first}-{last} is not a range of ports")
        self.quarantine_seconds = quarantine
        self._free, self._bound, self._spoilt = deque(range(first, last + 1)), set(), {}

    def counts(self, now: float) -> Addresses:
        """Count the ports; those whose quarantine is over are free."""
        if self._spoilt:
            self.alarm(now)
        return Addresses(len(self._free), len(self._bound), len(self._spoilt))

    def take(self) -> int | None:
        """Take a port for a game server to bind; ``None`` if there is none."""
        if not self._free:
            return None
        port = self._free.popleft()
        self._bound.add(port)
        return port

    def give_back(self, port: int) -> None:
        """
        Put a port back that is free again.

        :raises ValueError: the port was not taken.
        """
        self._untake(port)
        self._free.append(port)

    def quarantine(self, port: int, now: float) -> None:
        """
        Set a port aside that could not be bound: another program has it.

        :raises ValueError: the port was not taken.
        """
        self._untake(port)
        self._spoilt[port] = now + self.quarantine_seconds

    def deadline(self) -> float:
        """Find when the next quarantine ends; infinity if there is none."""
        return next(iter(self._spoilt.values()), inf)

    def alarm(self, now: float) -> None:
        """Free the ports whose quarantine is over."""
        # Quarantines end in the order in which they began.
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
    Give each game server of this machine a port of one ring.

    :ivar advertise: as given.
    """

    def __init__(
        self,
        ring: PortRing,
        interface: str,
        advertise: str,
        now: Callable[[], float],
    ) -> None:
        """
        :param ring: the ports.
        :param interface: IP address that game servers bind.
        :param advertise: name or IP address that players connect to.
        :param now: seconds on a clock that nobody sets, for quarantines.
        """
        self._ring, self._now = ring, now
        self._interface, self.advertise = interface, advertise
        self._taken: dict[str, int] = {}

    def counts(self) -> Addresses:
        """Count the ports; those whose quarantine is over are free."""
        return self._ring.counts(self._now())

    async def reach(self, server: IGameServer) -> ServerAddress:
        """
        Give a game server a port once a match needs it; another one if that is taken.

        :returns: where players reach it, once it has bound the port.
        """
        while True:
            await server.wanted()
            port = self._ring.take()
            if port is None:
                continue
            self._taken[server.server_id] = port
            if await server.bind(self._interface, port):
                return ServerAddress(self.advertise, port)
            self._ring.quarantine(self._taken.pop(server.server_id), self._now())

    def give_back(self, server_id: str) -> None:
        """Free its port, if it has one: its process is gone."""
        port = self._taken.pop(server_id, None)
        if port is not None:
            self._ring.give_back(port)
