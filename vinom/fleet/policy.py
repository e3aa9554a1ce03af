"""How many game servers to start and stop, when to retry, and whose match is next."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from itertools import islice
from math import ceil, inf

import attrs
from attrs.validators import ge

from vinom.base.limits.buckets import network_of
from vinom.fleet.match import RunningMatch

#: A match that others passed this long ago comes before all others, seconds.
MOST_PASSED = 30.0
#: Waiting matches that are looked at for one place; there are hardly ever as many.
_MOST_LOOKED_AT = 1024


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
    :ivar begins_at: when to start others.
    """

    after: float = 0.05
    most: float = 0.5
    begins_at: float = attrs.field(default=-inf, init=False)
    _began: float = attrs.field(default=-inf, init=False)

    def taken(self, now: float) -> None:
        """A match was given a game server."""
        if now >= self.begins_at:
            self._began = now
        self.begins_at = min(now + self.after, self._began + self.most)


class WaitingMatches:
    """
    Matches in the order in which they were made.

    The next place goes to the match whose players' address has fewest matches already,
    so that one address does not keep others waiting; among equals to the oldest. Of
    several addresses the one with fewest counts.
    """

    def __init__(self) -> None:
        """Begin without matches."""
        self._waiting: OrderedDict[str, RunningMatch] = OrderedDict()
        # Those that a younger one has not passed; and when the others were.
        self._not_passed: OrderedDict[str, None] = OrderedDict()
        self._passed: OrderedDict[str, float] = OrderedDict()
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[RunningMatch]:
        return iter(self._waiting.values())

    def __contains__(self, match: RunningMatch) -> bool:
        return self._waiting.get(match.match_id) is match

    def add(self, match: RunningMatch) -> None:
        """Have a new match wait."""
        self._waiting[match.match_id] = match
        self._not_passed[match.match_id] = None

    def add_first(self, match: RunningMatch) -> None:
        """Have a match wait again before all others: its game server died."""
        self.add(match)
        self._waiting.move_to_end(match.match_id, last=False)
        self._not_passed.move_to_end(match.match_id, last=False)

    def remove(self, match: RunningMatch) -> None:
        """Forget a match that waits."""
        del self._waiting[match.match_id]
        self._not_passed.pop(match.match_id, None)
        self._passed.pop(match.match_id, None)

    def take(self, now: float) -> RunningMatch:
        """
        Take the match whose turn it is; it has a place until `over`.

        :param now: seconds on a clock that nobody sets.
        """
        match = self._next(now)
        first = next(iter(self._not_passed), None)
        self.remove(match)
        if first is not None and first != match.match_id:
            # In the order in which they were made it would have been its turn.
            del self._not_passed[first]
            self._passed[first] = now
        addresses = tuple({network_of(host) for host in match.hosts})
        self._addresses[match.match_id] = addresses
        self._counts.update(addresses)
        return match

    def over(self, match_id: str) -> None:
        """A match has no place any more."""
        for address in self._addresses.pop(match_id, ()):
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]

    def clear(self) -> list[RunningMatch]:
        """Take all of them, oldest first, without giving them places."""
        waiting = list(self._waiting.values())
        for match in waiting:
            self.remove(match)
        return waiting

    def _next(self, now: float) -> RunningMatch:
        for match_id, since in self._passed.items():
            if now >= since + MOST_PASSED:
                return self._waiting[match_id]
            break
        return min(islice(self._waiting.values(), _MOST_LOOKED_AT), key=self._share)

    def _share(self, match: RunningMatch) -> int:
        return min((self._counts[network_of(host)] for host in match.hosts), default=0)
