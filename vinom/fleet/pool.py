"""How many game servers there should be, and when to try again."""

from __future__ import annotations

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
    :ivar warm: that answer and have no address.
    :ivar total: of any kind whose process lives.
    :ivar waiting: matches for which no game server is at hand.
    :ivar addresses: free ones.
    """

    starting: int
    warm: int
    total: int
    waiting: int
    addresses: int


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
    # Beyond the free addresses they would only wait, in processes instead of a list.
    soon = min(ceil(counts.waiting / policy.rooms_per_process), counts.addresses)
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
