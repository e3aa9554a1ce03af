"""UDP ports of game servers on this machine: a ring in which no port is ever lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

import attrs

from vinom.base.model import Addresses, ServerAddress
from vinom.fleet.interfaces import IGameServer

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
    _is_free: Callable[[int], bool]
    _free: deque[int]
    _bound: set[int]
    _spoilt: dict[int, float]

    def __init__(
        self,
        first: int,
        last: int,
        quarantine: float = QUARANTINE_SECONDS,
        begin: float = 0.0,
        is_free: Callable[[int], bool] = lambda port: True,
    ) -> None:
        """
        :param first: lowest port.
        :param last: highest port, which is in the ring too.
        :param quarantine: seconds before a port that could not be bound is tried again.
        :param begin: where in the ring to begin, from 0 to below 1.
        :param is_free: tries whether a port can be bound.
        """
        if not 1 <= first <= last <= 65535:
            raise ValueError(f"{first}-{last} is not a range of ports")
        self.quarantine_seconds, self._is_free = quarantine, is_free
        self._free, self._bound, self._spoilt = deque(range(first, last + 1)), set(), {}
        self._free.rotate(-int(begin * len(self._free)))

    def counts(self, now: float) -> Addresses:
        """Count the ports; those whose quarantine is over are free."""
        if self._spoilt:
            self.alarm(now)
        return Addresses(len(self._free), len(self._bound), len(self._spoilt))

    def look(self, now: float) -> list[int]:
        """Set aside the free ports that other programs have, and return these."""
        taken = sorted(port for port in self._free if not self._is_free(port))
        for port in taken:
            self._free.remove(port)
            self._spoilt[port] = now + self.quarantine_seconds
        return taken

    def take(self) -> int | None:
        """Take a port for a game server to bind; ``None`` if there is none."""
        if not self._free:
            return None
        port = self._free.popleft()
        self._bound.add(port)
        return port

    def withhold(self, port: int) -> bool:
        """Take a port that a game server has bound; ``False`` if it is not free."""
        if port not in self._free:
            return False
        self._free.remove(port)
        self._bound.add(port)
        return True

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
        """Free the ports whose quarantine is over, unless they are still in use."""
        # Quarantines end in the order in which they began.
        while self.deadline() <= now:
            port = next(iter(self._spoilt))
            del self._spoilt[port]
            if self._is_free(port):
                self._free.append(port)
            else:
                self._spoilt[port] = now + self.quarantine_seconds

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
        # Of game servers that have ended, for those that take them over.
        self._kept: set[int] = set()

    def counts(self) -> Addresses:
        """Count the ports; those whose quarantine is over are free."""
        return self._ring.counts(self._now())

    def look(self) -> list[int]:
        """Find the ports that other programs have; they are not tried for a while."""
        return self._ring.look(self._now())

    async def reach(self, server: IGameServer) -> ServerAddress:
        """
        Give a game server a port once a match needs it; another one if that is taken.

        :returns: where players reach it, once it has bound the port.
        """
        while True:
            where = await server.wanted()
            if where is not None and where.port in self._kept:
                self._kept.remove(where.port)
                port: int | None = where.port
            else:
                port = self._ring.take()
            if port is None:
                continue
            self._taken[server.server_id] = port
            if await server.bind(self._interface, port):
                return ServerAddress(self.advertise, port)
            self._ring.quarantine(self._taken.pop(server.server_id), self._now())

    def withhold(self, server_id: str, port: int) -> None:
        """
        Note that a game server has a port that an earlier node gave it.

        Nothing is noted of a port outside the ring: nobody else would get it.
        """
        if self._ring.withhold(port):
            self._taken[server_id] = port

    def set_aside(self, server_id: str) -> None:
        """
        Keep others from its port for a while: it plays on for another node.

        After that its port is tried as any other one: it is free, or set aside again.
        """
        port = self._taken.pop(server_id, None)
        if port is not None:
            self._ring.quarantine(port, self._now())

    def give_back(self, server_id: str, is_kept: bool = False) -> None:
        """
        Free its port, if it has one: its process is gone.

        :param is_kept: nobody else gets it before `free`.
        """
        port = self._taken.pop(server_id, None)
        if port is None:
            return
        if is_kept:
            self._kept.add(port)
        else:
            self._ring.give_back(port)

    def free(self, where: ServerAddress) -> None:
        """Free a port that was kept, if it still is."""
        if where.port in self._kept:
            self._kept.remove(where.port)
            self._ring.give_back(where.port)


class RelayedPorts:
    """
    Give game servers no port: the node has one for all players, and relays.

    :ivar advertise: name or IP address that players connect to.
    :ivar port: where they do.
    """

    def __init__(self, advertise: str, port: int, most: int) -> None:
        """
        :param advertise: name or IP address that players connect to.
        :param port: where they do.
        :param most: most game servers that play at once.
        """
        self.advertise, self.port = advertise, port
        self._most = most
        self._reached: set[str] = set()

    def counts(self) -> Addresses:
        """Count those that play as if each had a port."""
        bound = len(self._reached)
        return Addresses(max(0, self._most - bound), bound, 0)

    def look(self) -> list[int]:
        """Find no port: none is bound but the node's."""
        return []

    async def reach(self, server: IGameServer) -> ServerAddress:
        """Wait until a match needs a game server, and it does without a port."""
        await server.wanted()
        self._reached.add(server.server_id)
        await server.bind("", 0)
        return ServerAddress(self.advertise, self.port)

    def withhold(self, server_id: str, port: int) -> None:
        """Note that a game server of an earlier node is there."""
        self._reached.add(server_id)

    def give_back(self, server_id: str, is_kept: bool = False) -> None:
        """Note that its process is gone."""
        self._reached.discard(server_id)

    def set_aside(self, server_id: str) -> None:
        """Do nothing: it has no port."""
        self._reached.discard(server_id)

    def free(self, where: ServerAddress) -> None:
        """Do nothing: no port was kept."""
