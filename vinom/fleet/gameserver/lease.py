"""
How long a game server may go on without proof that its node still counts on it.

If a node has received nothing from a game server for the length of a lease, it has the
matches played elsewhere. So the time runs from the last message that is proven to have
arrived at the node, and not from when this process notices that its link is lost: it
may have been stopped in between, with old heartbeats waiting in its link, and inputs in
its port.
"""

from __future__ import annotations

from math import inf
from typing import Final

#: How long a game server may go on after its last message to its node, seconds.
LEASE_SECONDS: Final = 45.0
#: A node sends at most this many heartbeats without an answer, one per second.
MOST_UNANSWERED: Final = 3
#: The shortest lease, seconds: the newest message proven to have arrived is up to 4
#: seconds old when the next heartbeat comes, and heartbeats may be late.
SHORTEST_LEASE: Final = 6.0


class Lease:
    """
    A lease. Times are seconds on a monotonic clock.

    :ivar length: length of the lease, seconds.
    :ivar until: when it is over; infinity before there is a node.
    """

    def __init__(self, length: float = LEASE_SECONDS) -> None:
        """
        Begin without a node.

        :param length: length of the lease, seconds.
        """
        self.length, self.until = length, inf
        # When the latest heartbeats were answered.
        self._answered: dict[int, float] = {}
        # When its matches were reported to the node that has its link.
        self._reported = -inf

    def linked(self, now: float) -> None:
        """Note that this process is about to report to a node, perhaps another one."""
        self._answered.clear()
        self._reported = now
        if self.until == inf:
            # Not at the first heartbeat: the process may be stopped before it comes.
            self.until = now + self.length

    def adopted(self, now: float) -> None:
        """Note that the node has accepted that report; a refusal must renew nothing."""
        if self.until < inf and not self.is_over(now):
            self.until = max(self.until, self._reported + self.length)

    def beat(self, number: int, now: float) -> None:
        """
        Answer a heartbeat.

        It proves nothing about the present, because it may have waited here. But it
        was only sent because our answer some heartbeats ago has arrived.
        """
        self._answered[number] = now
        at = self._answered.pop(number - MOST_UNANSWERED, None)
        if at is not None and not self.is_over(now):
            self.until = max(self.until, at + self.length)

    def is_over(self, now: float) -> bool:
        """Is the lease over, so that nothing may be sent any more?"""
        return now >= self.until
