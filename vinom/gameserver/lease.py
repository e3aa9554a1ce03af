"""
How long a game server may play without having its node's word that it still counts.

When a node has not had a word from a game server for the whole of a lease, it has the
matches played elsewhere. So the time runs from the last word that surely arrived there,
and not from when this process sees that its link is lost: it may have been stopped in
between, with old heartbeats waiting in its link, and inputs in its port.
"""

from __future__ import annotations

from math import inf
from typing import Final

#: How long a game server may play on after its last word to its node, seconds.
LEASE_SECONDS: Final = 45.0
#: A node sends at most so many heartbeats without an answer, one per second.
MOST_UNANSWERED: Final = 3
#: The shortest lease, seconds: the newest word that surely arrived is up to 4 seconds
#: old when the next heartbeat comes, and heartbeats may be late.
SHORTEST_LEASE: Final = 6.0


class Lease:
    """
    Times are seconds on a clock that never goes back.

    :ivar length: of the lease, seconds.
    :ivar until: when it is over; infinity before there is a node.
    """

    def __init__(self, length: float = LEASE_SECONDS) -> None:
        """
        Begin without a node.

        :param length: of the lease, seconds.
        """
        self.length, self.until = length, inf
        # When the latest heartbeats were answered.
        self._answered: dict[int, float] = {}
        # When what it plays was reported to the node that has its link.
        self._reported = -inf

    def linked(self, now: float) -> None:
        """This process is about to report to a node, perhaps to another one."""
        self._answered.clear()
        self._reported = now
        if self.until == inf:
            # Not at the first heartbeat: it may be stopped before that comes.
            self.until = now + self.length

    def adopted(self, now: float) -> None:
        """A node has answered that report; one that refuses it must renew nothing."""
        if self.until < inf and not self.is_over(now):
            self.until = max(self.until, self._reported + self.length)

    def beat(self, number: int, now: float) -> None:
        """
        Answer a heartbeat.

        It says nothing about now, because it may have waited here. But it would not
        have been sent if an answer of ours, some heartbeats ago, had not arrived.
        """
        self._answered[number] = now
        at = self._answered.pop(number - MOST_UNANSWERED, None)
        if at is not None and not self.is_over(now):
            self.until = max(self.until, at + self.length)

    def is_over(self, now: float) -> bool:
        """Must nothing be sent any more?"""
        return now >= self.until
