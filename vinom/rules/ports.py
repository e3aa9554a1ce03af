"""The ring of ports that game servers share: every port is in one place, always."""

from __future__ import annotations

from collections import deque
from math import inf

import attrs

#: How long a port that somebody else holds is left alone, seconds.
QUARANTINE_SECONDS = 30.0


@attrs.define(eq=False, init=False)
class PortRing:
    """
    Give out ports, the one that rested longest first.

    A stray datagram of an old match so meets a new one as late as can be.
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
