"""When each association of a port wants attention."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from math import inf

import attrs

from vinom.wire.dtls_association import Association


@attrs.define(eq=False)
class Agenda:
    """
    Remember everybody of whom something becomes due.

    There is one good entry per association, never later than it is due. What comes
    up early is put back, so that a datagram costs nothing here. Times are seconds
    on the caller's clock.

    :ivar idle: silence that ends an association.
    :ivar patience: longest handshake.
    """

    idle: float
    patience: float
    _heap: list[tuple[float, int, Association]] = attrs.field(factory=list, init=False)
    _entries: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._heap)

    def remember(self, association: Association) -> None:
        """It is new, or something of it may be due earlier than it was."""
        due = association.due(self.idle, self.patience)
        # Not for each datagram of a handshake: a peer decides how many come.
        if due is not None and due < association.booked:
            association.booked = due
            self._entries += 1
            heapq.heappush(self._heap, (due, self._entries, association))

    def take_due(self, now: float) -> Iterator[Association]:
        """Hand out what is due; each is to be attended to before the next."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, association = heapq.heappop(heap)
            if at != association.booked:
                continue
            association.booked = inf
            due = association.due(self.idle, self.patience)
            if due is not None and due <= now:
                yield association
            self.remember(association)

    def deadline(self) -> float | None:
        """When something is due, at the earliest."""
        heap = self._heap
        while heap and (heap[0][2].is_over or heap[0][0] != heap[0][2].booked):
            heapq.heappop(heap)
        return heap[0][0] if heap else None
