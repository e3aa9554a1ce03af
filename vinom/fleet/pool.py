"""How many game servers to start and stop, and when to retry."""

from __future__ import annotations

from math import ceil, inf

import attrs
from attrs.validators import ge


@attrs.frozen
class PoolPolicy:
    """
    The operator's limits.

    :ivar warm: game servers that wait for a match.
    :ivar most: game servers at once, including warm ones.
    :ivar rooms_per_process: rooms that one hosts in its lifetime.
    :ivar starting: game servers starting at the same time; more would slow all of them.
    """

    warm: int = attrs.field(default=2, validator=ge(0))
    most: int = attrs.field(default=64, validator=ge(1))
    rooms_per_process: int = attrs.field(default=1, validator=ge(1))
    starting: int = attrs.field(default=8, validator=ge(1))


@attrs.frozen
class PoolCounts:
    """
    The present numbers.

    :ivar starting: game servers that have not dialed yet.
    :ivar warm: those that have dialed and have no address.
    :ivar total: all whose process lives.
    :ivar waiting: matches without a game server.
    :ivar addresses: free addresses.
    """

    starting: int
    warm: int
    total: int
    waiting: int
    addresses: int


def growth(policy: PoolPolicy, counts: PoolCounts) -> int:
    """
    Count the game servers to start now.

    :returns: if it is negative: how many warm ones to stop, which are no longer needed.
    """
    # More than the free addresses would only wait, as processes instead of requests.
    soon = min(ceil(counts.waiting / policy.rooms_per_process), counts.addresses)
    missing = policy.warm + soon - counts.warm
    if missing < 0:
        return missing
    return max(
        0,
        min(
            missing - counts.starting,
            policy.most - counts.total,
            policy.starting - counts.starting,
        ),
    )


@attrs.define(eq=False)
class StartPacing:
    """
    Wait longer after each failed start. Times: seconds.

    :ivar least: wait after the first failure; it doubles with each.
    :ivar most: longest wait.
    """

    least: float = 1.0
    most: float = 15.0
    _wait: float = attrs.field(default=0.0, init=False)
    _not_before: float = attrs.field(default=-inf, init=False)

    def failed(self, now: float) -> None:
        """One died, or did not start."""
        if now >= self._not_before:
            # Several failures at once count as one.
            self._wait = min(max(self.least, self._wait * 2), self.most)
            self._not_before = now + self._wait

    def worked(self) -> None:
        self._wait, self._not_before = 0.0, -inf

    @property
    def has_failed_again(self) -> bool:
        """Did another start fail after the first one?"""
        return self._wait > self.least

    def may_start(self, now: float) -> bool:
        """May the next one be started now?"""
        return now >= self._not_before


@attrs.define(eq=False)
class RefillPacing:
    """
    Let matches take their places before others are started in place of those taken.

    A start takes more of the processor than a placement, and those who have waited for
    a match would wait for it, too. Times: seconds.

    :ivar after: how long nothing is started after a match was given a game server.
    :ivar most: how long that may go on.
    """

    after: float = 0.05
    most: float = 0.5
    _began: float = attrs.field(default=-inf, init=False)
    _latest: float = attrs.field(default=-inf, init=False)

    def taken(self, now: float) -> None:
        """A match was given a game server."""
        if now >= self.begins_at:
            self._began = now
        self._latest = now

    @property
    def begins_at(self) -> float:
        """When to start others."""
        return min(self._latest + self.after, self._began + self.most)
