"""One peer of a port; when each wants attention; last words, in case they are lost."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from math import inf

import attrs

from vinom.dtls.admission import Address
from vinom.dtls.channel import Channel, Memory
from vinom.model import Ticket


@attrs.define(eq=False)
class Association:
    """
    One peer's encrypted conversation with this port.

    Those who serve the peer may read the first five; the rest is the server's.

    :ivar ticket: what it showed; ``None`` for a client without server name.
    :ivar owner: for whoever serves this peer; never looked at here.
    :ivar max_payload: longest payload of one record, bytes; 0 while it is not open.
    :ivar memory: the channel's, while it is open.
    :ivar is_open: payloads can pass.
    :ivar random: of the ClientHello, to know its copies by.
    :ivar began: when the handshake began, seconds on the caller's clock.
    :ivar heard: when the peer last proved to be there.
    :ivar booked: its place in the server's agenda; others there are stale.
    """

    address: Address
    ticket: Ticket | None
    owner: object = attrs.field(default=None, init=False, repr=False)
    max_payload: int = attrs.field(default=0, init=False)
    is_open: bool = attrs.field(default=False, init=False)
    channel: Channel = attrs.field(kw_only=True, repr=False)
    memory: Memory = attrs.field(init=False, repr=False)
    random: bytes = attrs.field(kw_only=True, repr=False)
    began: float = attrs.field(kw_only=True, repr=False)
    heard: float = attrs.field(init=False, repr=False)
    booked: float = attrs.field(default=inf, init=False, repr=False)
    is_over: bool = attrs.field(default=False, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.heard = self.began

    def finish(self) -> None:
        """The handshake is done, and the peer is who it should be."""
        self.is_open = True
        self.max_payload = self.channel.max_payload
        self.memory = self.channel.memory

    def end(self) -> bool:
        """
        Stop; both ends may want the end at once, and the second changes nothing.

        :return: whether payloads could pass until now.
        """
        was_open, self.is_open, self.is_over = self.is_open, False, True
        self.max_payload = 0
        return was_open

    def due(self, idle: float, timeout: float) -> float | None:
        """When it next wants attention, if nothing is heard until then."""
        if self.is_open:
            return self.heard + idle
        if self.is_over:
            return None
        resend = self.channel.deadline()
        expiry = self.began + timeout
        return expiry if resend is None else min(resend, expiry)


@attrs.define(eq=False)
class Agenda:
    """
    Remember everybody of whom something becomes due.

    There is one good entry per association, never later than it is due. What comes
    up early is put back, so that a datagram costs nothing here. Times are seconds
    on the caller's clock.

    :ivar idle: silence that ends an association.
    :ivar timeout: longest handshake.
    """

    idle: float
    timeout: float
    _heap: list[tuple[float, int, Association]] = attrs.field(factory=list, init=False)
    _entries: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._heap)

    def remember(self, association: Association) -> None:
        """It is new, or something of it may be due earlier than it was."""
        due = association.due(self.idle, self.timeout)
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
            due = association.due(self.idle, self.timeout)
            if due is not None and due <= now:
                yield association
            self.remember(association)

    def deadline(self) -> float | None:
        """When something is due, at the earliest."""
        heap = self._heap
        while heap and (heap[0][2].is_over or heap[0][0] != heap[0][2].booked):
            heapq.heappop(heap)
        return heap[0][0] if heap else None


@attrs.define
class _Farewell:
    datagrams: list[bytes]
    until: float
    again: float


class Farewells:
    """
    Keep each close_notify for a few seconds, for a peer that goes on talking.

    Times are seconds on the caller's clock.

    :param lifetime: how long they are kept.
    :param gap: least time between two copies to one address.
    :param limit: how many addresses; the oldest is forgotten first.
    """

    def __init__(
        self, lifetime: float = 5.0, gap: float = 0.1, limit: int = 1024
    ) -> None:
        self._lifetime, self._gap, self._limit = lifetime, gap, limit
        # In order of time, as every one of them lives equally long.
        self._kept: dict[Address, _Farewell] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, address: Address, datagrams: list[bytes], now: float) -> None:
        """Remember what was said to *address* last."""
        self.expire(now)
        self._kept.pop(address, None)
        if len(self._kept) >= self._limit:
            del self._kept[next(iter(self._kept))]
        self._kept[address] = _Farewell(datagrams, now + self._lifetime, now)

    def repeat(self, address: Address, now: float) -> list[bytes]:
        """The peer talks as if it had not heard: what to tell it again."""
        farewell = self._kept.get(address)
        if farewell is None or now >= farewell.until or now < farewell.again:
            return []
        farewell.again = now + self._gap
        return farewell.datagrams

    def forget(self, address: Address) -> None:
        """The peer has answered, or begins anew."""
        self._kept.pop(address, None)

    def expire(self, now: float) -> None:
        """Drop what is too old."""
        while self._kept:
            address, farewell = next(iter(self._kept.items()))
            if now < farewell.until:
                return
            del self._kept[address]

    def deadline(self) -> float | None:
        """When to call `expire`."""
        for farewell in self._kept.values():
            return farewell.until
        return None
