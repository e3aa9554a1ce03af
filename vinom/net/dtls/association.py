"""
The peers of a DTLS port: their state, their deadlines, and repeated goodbyes.

`Association` is one peer, `Handshakes` has those that are not finished, `Agenda` orders
all by their next deadline, and `Farewells` keeps each close_notify for a while, in case
it was lost. `FreedMemory` decides when memory goes back to the operating system: glibc
keeps what OpenSSL frees, 60 kB for each handshake, as long as something newer lies
behind it; after a flood of handshakes that would be for good.
"""

from __future__ import annotations

import ctypes
import heapq
from collections.abc import Callable, Iterator
from functools import lru_cache
from math import inf

import attrs

from vinom.base.limits.pressure import source_of
from vinom.base.model import Ticket
from vinom.net.dtls.admission import Address
from vinom.net.dtls.channel import DtlsChannel
from vinom.net.openssl import Memory


@attrs.define(eq=False)
class Association:
    """
    One peer's encrypted conversation with this port.

    Code that serves the peer may use the first six; the rest is the server's.

    :ivar address: the peer's host and port.
    :ivar ticket: the one it showed; ``None`` for a client without server name.
    :ivar owner: set by the code that serves this peer; this package does not use it.
    :ivar max_payload: longest payload of one record, bytes; 0 while it is not open.
    :ivar is_open: whether payloads can pass.
    :ivar is_proved: whether its peer has proved who it is (`DtlsServer.prove`); then
        it stays until another one at its address has done so, too.
    :ivar is_contested: whether there is a newer one at its address, in progress or
        not proved.
    :ivar channel: its OpenSSL connection.
    :ivar memory: the channel's, while it is open.
    :ivar random: the ClientHello's random, which identifies its copies.
    :ivar began: when the handshake began, seconds on the caller's clock.
    :ivar finished_at: when it was finished, on the same clock.
    :ivar received_at: when the last genuine record arrived, on the same clock.
    :ivar booked: time of its entry in the agenda.
    :ivar entry: that entry.
    :ivar is_over: whether it has ended.
    """

    address: Address
    ticket: Ticket | None
    owner: object = attrs.field(default=None, init=False, repr=False)
    max_payload: int = attrs.field(default=0, init=False)
    is_open: bool = attrs.field(default=False, init=False)
    is_proved: bool = attrs.field(default=False, init=False)
    is_contested: bool = attrs.field(default=False, init=False, repr=False)
    channel: DtlsChannel = attrs.field(kw_only=True, repr=False)
    memory: Memory = attrs.field(init=False, repr=False)
    random: bytes = attrs.field(kw_only=True, repr=False)
    began: float = attrs.field(kw_only=True, repr=False)
    finished_at: float = attrs.field(init=False, repr=False)
    received_at: float = attrs.field(init=False, repr=False)
    booked: float = attrs.field(default=inf, init=False, repr=False)
    entry: Entry | None = attrs.field(default=None, init=False, repr=False)
    is_over: bool = attrs.field(default=False, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.received_at = self.began

    def finish(self, now: float) -> None:
        """Open the association: the handshake is done."""
        self.is_open = True
        self.received_at = self.finished_at = now
        self.max_payload = self.channel.max_payload
        self.memory = self.channel.memory

    def end(self) -> bool:
        """
        Stop; a second call changes nothing (both ends may close at once).

        :returns: whether payloads could pass until now.
        """
        was_open, self.is_open, self.is_over = self.is_open, False, True
        self.max_payload = 0
        if self.entry is not None:
            # OpenSSL's memory is returned now, not when the entry is due.
            self.entry.association = None
            self.entry, self.booked = None, inf
        return was_open

    def due(self, idle: float, timeout: float) -> float | None:
        """When it is due next, if nothing is received until then."""
        if self.is_open:
            return self.received_at + idle
        if self.is_over:
            return None
        resend = self.channel.deadline()
        expiry = self.began + timeout
        return expiry if resend is None else min(resend, expiry)


class Handshakes:
    """
    Associations whose handshake is in progress, oldest first: one for each address.
    """

    def __init__(self, most: int, most_each: int) -> None:
        """
        Start empty.

        :param most: most of all addresses.
        :param most_each: most of one host (an IPv6 /64 counts as one).
        """
        self._most, self._most_each = most, most_each
        self._by_address: dict[Address, Association] = {}
        self._by_source: dict[str, dict[Address, None]] = {}

    def __len__(self) -> int:
        return len(self._by_address)

    def get(self, address: Address) -> Association | None:
        return self._by_address.get(address)

    def add(self, association: Association) -> Association | None:
        """
        Add a handshake of an address that has none.

        :returns: the one that must give way: the oldest of the same host, or of all.
        """
        address = association.address
        same = self._by_source.setdefault(source_of(address[0]), {})
        oldest: Association | None = None
        if len(same) >= self._most_each:
            oldest = self._by_address[next(iter(same))]
        elif len(self._by_address) >= self._most:
            oldest = next(iter(self._by_address.values()))
        if oldest is not None:
            self.remove(oldest)
        # Again, because the oldest may have been the last one of this host.
        self._by_source.setdefault(source_of(address[0]), {})[address] = None
        self._by_address[address] = association
        return oldest

    def remove(self, association: Association) -> None:
        """Remove a handshake that is over, or finished; others stay."""
        address = association.address
        if self._by_address.get(address) is association:
            del self._by_address[address]
            source = source_of(address[0])
            del self._by_source[source][address]
            if not self._by_source[source]:
                del self._by_source[source]


@attrs.define(eq=False)
class Entry:
    """
    A time in the agenda.

    :ivar due: seconds on the caller's clock.
    :ivar number: of two that are due at once, the older has the smaller one.
    :ivar association: ``None`` if the entry is not valid any more.
    """

    due: float
    number: int
    association: Association | None

    def __lt__(self, other: Entry) -> bool:
        return (self.due, self.number) < (other.due, other.number)


@attrs.define(eq=False)
class Agenda:
    """
    Associations ordered by their next deadline.

    There is one valid entry per association, never later than it is due. An entry
    that comes up early is put back, so a datagram costs nothing here. Times are
    seconds on the caller's clock.

    :ivar idle: silence after which an association ends, seconds.
    :ivar timeout: longest handshake, seconds.
    """

    idle: float
    timeout: float
    _heap: list[Entry] = attrs.field(factory=list, init=False)
    _entries: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._heap)

    def remember(self, association: Association) -> None:
        """Add *association*, or move it up if it is due earlier than before."""
        due = association.due(self.idle, self.timeout)
        # Not for each datagram of a handshake: the peer decides how many it sends.
        if due is not None and due < association.booked:
            if association.entry is not None:
                association.entry.association = None
            self._entries += 1
            entry = Entry(due, self._entries, association)
            association.booked, association.entry = due, entry
            heapq.heappush(self._heap, entry)

    def take_due(self, now: float) -> Iterator[Association]:
        """Yield what is due; the caller deals with each before it takes the next."""
        heap = self._heap
        while heap and heap[0].due <= now:
            association = heapq.heappop(heap).association
            if association is None:
                continue
            association.booked, association.entry = inf, None
            due = association.due(self.idle, self.timeout)
            if due is not None and due <= now:
                yield association
            self.remember(association)

    def deadline(self) -> float | None:
        """When the next association may be due; ``None`` if there is none."""
        heap = self._heap
        while heap and heap[0].association is None:
            heapq.heappop(heap)
        return heap[0].due if heap else None


@attrs.define
class _Farewell:
    datagrams: list[bytes]
    until: float
    again: float


class Farewells:
    """
    Keep each close_notify for a few seconds, for a peer that keeps sending.

    Times are seconds on the caller's clock.
    """

    def __init__(
        self, lifetime: float = 5.0, gap: float = 0.1, limit: int = 1024
    ) -> None:
        """
        Start empty.

        :param lifetime: how long each is kept, seconds.
        :param gap: least time between two copies to one address, seconds.
        :param limit: most addresses; the oldest is dropped first.
        """
        self._lifetime, self._gap, self._limit = lifetime, gap, limit
        # In order of time, because all are kept equally long.
        self._kept: dict[Address, _Farewell] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, address: Address, datagrams: list[bytes], now: float) -> None:
        """Keep the last *datagrams* sent to *address*."""
        self.expire(now)
        self._kept.pop(address, None)
        if len(self._kept) >= self._limit:
            del self._kept[next(iter(self._kept))]
        self._kept[address] = _Farewell(datagrams, now + self._lifetime, now)

    def repeat(self, address: Address, now: float) -> list[bytes]:
        """Return what to send again to a peer that keeps sending; perhaps nothing."""
        farewell = self._kept.get(address)
        if farewell is None or now >= farewell.until or now < farewell.again:
            return []
        farewell.again = now + self._gap
        return farewell.datagrams

    def has(self, address: Address, now: float) -> bool:
        """Is there a goodbye for *address* that may have to be repeated?"""
        farewell = self._kept.get(address)
        return farewell is not None and now < farewell.until

    def forget(self, address: Address) -> None:
        """Drop what is kept for *address*: the peer has answered, or begins again."""
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


@lru_cache(maxsize=1)
def _trimmer() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        # Not glibc.
        return None
    return trim


def return_freed_memory() -> None:
    """Return what was freed to the operating system; does nothing without glibc."""
    trim = _trimmer()
    if trim is not None:
        trim(0)


@attrs.define
class FreedMemory:
    """
    Decide when to return freed memory: as soon as some handshakes were given up.

    Times are seconds on the caller's clock.

    :ivar least: handshakes.
    :ivar pause: least time between two returns, seconds.
    """

    least: int = 16
    pause: float = 1.0
    _count: int = attrs.field(default=0, init=False)
    _at: float | None = attrs.field(default=None, init=False)
    _next: float = attrs.field(default=-inf, init=False)

    def add(self, now: float) -> None:
        """Count a handshake that led to nothing, and was freed."""
        self._count += 1
        if self._count >= self.least and self._at is None:
            self._at = max(now, self._next)

    def deadline(self) -> float | None:
        """When to call `is_due`."""
        return self._at

    def is_due(self, now: float) -> bool:
        """Is it time to return memory? If so, begin to count again."""
        if self._at is None or now < self._at:
            return False
        self._count, self._at, self._next = 0, None, now + self.pause
        return True
