"""
How many game servers there should be, and when to try again.

The ring of ports that game servers share: every port is in one place, always.
"""

from __future__ import annotations

from collections import deque
from math import ceil, inf

import attrs
from attrs.validators import ge


@attrs.frozen
class PoolPolicy:
    """
    What the operator wants.

    :ivar warm: game servers that wait for a match.
    :ivar most: game servers at once, warm ones included.
    :ivar rooms_per_process: rooms that one hosts in its life.
    :ivar starting: that start at the same time; more would slow all of them.
    """

    warm: int = attrs.field(default=2, validator=ge(0))
    most: int = attrs.field(default=64, validator=ge(1))
    rooms_per_process: int = attrs.field(default=1, validator=ge(1))
    starting: int = attrs.field(default=8, validator=ge(1))


@attrs.frozen
class PoolCounts:
    """
    What there is.

    :ivar starting: game servers that do not answer yet.
    :ivar warm: that answer and have no port.
    :ivar total: of any kind whose process lives.
    :ivar waiting: matches for which no game server is at hand.
    :ivar ports: free ones.
    """

    starting: int
    warm: int
    total: int
    waiting: int
    ports: int


def to_start(policy: PoolPolicy, counts: PoolCounts) -> int:
    """How many game servers to start now."""
    return max(
        0,
        min(
            _wanted(policy, counts) - counts.starting - counts.warm,
            policy.most - counts.total,
            policy.starting - counts.starting,
        ),
    )


def to_stop(policy: PoolPolicy, counts: PoolCounts) -> int:
    """How many warm game servers to stop: those nobody waits for any more."""
    return max(0, counts.warm - _wanted(policy, counts))


def _wanted(policy: PoolPolicy, counts: PoolCounts) -> int:
    # Beyond the free ports they would only wait, in processes instead of a list.
    soon = min(ceil(counts.waiting / policy.rooms_per_process), counts.ports)
    return policy.warm + soon


@attrs.define(eq=False)
class StartPacing:
    """
    Do not start what just failed to start over and over. Times: seconds.

    :ivar least: wait after the first failure; it doubles with each.
    :ivar most: longest wait.
    """

    least: float = 1.0
    most: float = 15.0
    _wait: float = attrs.field(default=0.0, init=False)
    _not_before: float = attrs.field(default=-inf, init=False)

    def failed(self, now: float) -> None:
        """One died, or never came to life."""
        if now >= self._not_before:
            # Several that fail together are one failure.
            self._wait = min(max(self.least, self._wait * 2), self.most)
            self._not_before = now + self._wait

    def worked(self) -> None:
        """One came to life."""
        self._wait, self._not_before = 0.0, -inf

    def may_start(self, now: float) -> bool:
        """Is it time to try (again)?"""
        return now >= self._not_before


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
