"""The matches that wait for a game server, and whose turn it is."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from itertools import islice

from vinom.base.limits.buckets import network_of
from vinom.fleet.hosted import MatchRequest

#: A match that others passed this long ago comes before all others, seconds.
MOST_PASSED = 30.0
#: Waiting matches that are looked at for one place; there are hardly ever as many.
_MOST_LOOKED_AT = 1024


class WaitingMatches:
    """
    Matches in the order in which they were made.

    The next place goes to the match whose players' address has fewest matches already,
    so that one address does not keep others waiting; among equals to the oldest. Of
    several addresses the one with fewest counts.
    """

    def __init__(self) -> None:
        """Begin without matches."""
        self._waiting: OrderedDict[str, MatchRequest] = OrderedDict()
        # Those that a younger one has not passed; and when the others were.
        self._not_passed: OrderedDict[str, None] = OrderedDict()
        self._passed: OrderedDict[str, float] = OrderedDict()
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[MatchRequest]:
        return iter(self._waiting.values())

    def __contains__(self, request: MatchRequest) -> bool:
        return self._waiting.get(request.match_id) is request

    def add(self, request: MatchRequest) -> None:
        """Have a new match wait."""
        self._waiting[request.match_id] = request
        self._not_passed[request.match_id] = None

    def add_first(self, request: MatchRequest) -> None:
        """Have a match wait again before all others: its game server died."""
        self.add(request)
        self._waiting.move_to_end(request.match_id, last=False)
        self._not_passed.move_to_end(request.match_id, last=False)

    def remove(self, request: MatchRequest) -> None:
        """Forget a match that waits."""
        del self._waiting[request.match_id]
        self._not_passed.pop(request.match_id, None)
        self._passed.pop(request.match_id, None)

    def take(self, now: float) -> MatchRequest:
        """
        Take the match whose turn it is; it has a place until `over`.

        :param now: seconds on a clock that nobody sets.
        """
        request = self._next(now)
        first = next(iter(self._not_passed), None)
        self.remove(request)
        if first is not None and first != request.match_id:
            # In the order in which they were made it would have been its turn.
            del self._not_passed[first]
            self._passed[first] = now
        addresses = tuple({network_of(host) for host in request.hosts})
        self._addresses[request.match_id] = addresses
        self._counts.update(addresses)
        return request

    def over(self, match_id: str) -> None:
        """A match has no place any more."""
        for address in self._addresses.pop(match_id, ()):
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]

    def clear(self) -> list[MatchRequest]:
        """Take all of them, oldest first, without giving them places."""
        waiting = list(self._waiting.values())
        for request in waiting:
            self.remove(request)
        return waiting

    def _next(self, now: float) -> MatchRequest:
        for match_id, since in self._passed.items():
            if now >= since + MOST_PASSED:
                return self._waiting[match_id]
            break
        return min(islice(self._waiting.values(), _MOST_LOOKED_AT), key=self._share)

    def _share(self, request: MatchRequest) -> int:
        return min(
            (self._counts[network_of(host)] for host in request.hosts), default=0
        )
