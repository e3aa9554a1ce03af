"""Rate limits and counts, per peer and per network."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from math import inf
from operator import itemgetter

import attrs

#: A time before any clock's start. Not infinity, because a rate may be 0.
_LONG_AGO = -1e300


@attrs.define
class TokenBucket:
    """
    Allow ``rate`` events per second, and ``burst`` of them at once.

    Times are seconds on the caller's clock; a clock that steps back refills nothing.

    :ivar rate: events per second.
    :ivar burst: most events at once.
    """

    rate: float
    burst: float
    _level: float = attrs.field(init=False)
    _counted: float = attrs.field(init=False, default=_LONG_AGO)

    def __attrs_post_init__(self) -> None:
        self._level = self.burst

    def take(self, now: float, n: float = 1) -> bool:
        """May *n* more events happen? If not, nothing is taken."""
        # `_refill` written out: the call would cost as much as the rest.
        level = self._level
        if now > self._counted:
            level += (now - self._counted) * self.rate
            if level > self.burst:
                level = self.burst
            self._counted = now
        if level < n:
            self._level = level
            return False
        self._level = level - n
        return True

    def owe(self, now: float, n: float) -> float:
        """*n* more events happened; returns in how many seconds that is paid."""
        self._refill(now)
        self._level -= n
        return max(0.0, -self._level / self.rate)

    def put_back(self, n: float = 1) -> None:
        """What was taken did not happen after all."""
        self._level = min(self.burst, self._level + n)

    def wait(self, now: float, n: float = 1) -> float:
        """Return in how many seconds *n* events may happen; 0 if they may now."""
        self._refill(now)
        missing = n - self._level
        if missing <= 0:
            return 0.0
        return missing / self.rate if self.rate > 0 else float("inf")

    def is_full(self, now: float) -> bool:
        """Is everything that was taken refilled?"""
        self._refill(now)
        return self._level >= self.burst

    def _refill(self, now: float) -> None:
        if now > self._counted:
            if self._level < self.burst:
                gained = (now - self._counted) * self.rate
                self._level = min(self.burst, self._level + gained)
            self._counted = now


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """
    Read an address without its mark or zone; ``None`` if it isn't one.

    ``::ffff:10.0.0.1`` is 10.0.0.1: a socket for both families shows that.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(4096)
def network_of(host: str) -> str:
    """
    Return the network that limits count as one peer.

    It is the address itself, or the /64 of an IPv6 address: somebody who has one
    address of it has them all. An IPv4-mapped IPv6 address is its IPv4 address.
    """
    address = address_of(host)
    if address is None:
        return host
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> 64 << 64)) + "/64"
    return str(address)


@lru_cache(4096)
def is_loopback(host: str) -> bool:
    """
    Is this an address of the machine itself, such as 127.0.0.1?

    One that a proxy stands in front of is not (see `vinom.net.lines.forwarded`): it has
    a mark behind a ``%``, as a zone of IPv6 has.
    """
    address = None if "%" in host else address_of(host)
    return address is not None and address.is_loopback


@lru_cache(4096)
def wide_network_of(host: str) -> str:
    """
    Return the network that one owner may have as a whole: a /24, in IPv6 a /48.

    Each loopback address counts as its own network.
    """
    address = address_of(host)
    if address is None:
        return host
    if address.is_loopback:
        return str(address)
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> 80 << 80)) + "/48"
    return str(address).rpartition(".")[0] + ".0/24"


@attrs.define
class NetworkCounts:
    """
    Counts per network, such as of open connections.

    :ivar limit: highest count for one network: an address, in IPv6 a /64.
    :ivar wide_limit: highest count for one /24, or one IPv6 /48; where *limit* is
        higher, that one counts.
    :ivar total_limit: highest count for all together.
    :ivar total: of all together.
    """

    limit: int
    wide_limit: float = inf
    total_limit: float = inf
    total: int = attrs.field(default=0, init=False)
    _counts: dict[str, int] = attrs.field(factory=dict, init=False)
    _wide: dict[str, int] = attrs.field(factory=dict, init=False)

    def is_full(self, host: str) -> bool:
        """Is one more too many?"""
        return (
            self._counts.get(network_of(host), 0) >= self.limit
            or self._wide.get(wide_network_of(host), 0)
            >= max(self.limit, self.wide_limit)
            or self.total >= self.total_limit
        )

    def enter(self, host: str) -> bool:
        """Count one more; returns ``False`` and counts nothing if that is too many."""
        if self.is_full(host):
            return False
        self.add(host)
        return True

    def add(self, host: str) -> None:
        """Count one more that `is_full` has let in."""
        network, wide = network_of(host), wide_network_of(host)
        self._counts[network] = self._counts.get(network, 0) + 1
        self._wide[wide] = self._wide.get(wide, 0) + 1
        self.total += 1

    def leave(self, host: str) -> None:
        """Count one less."""
        self.total -= 1
        _decrease(self._counts, network_of(host))
        _decrease(self._wide, wide_network_of(host))

    def enter_unnamed(self) -> bool:
        """Count one more whose address is not known yet: all together limit it."""
        if self.total >= self.total_limit:
            return False
        self.total += 1
        return True

    def leave_unnamed(self) -> None:
        """Count one of these less."""
        self.total -= 1

    def count(self, host: str) -> int:
        return self._counts.get(network_of(host), 0)

    def largest(self) -> tuple[str, int]:
        """Find the /24, or IPv6 /48, with the highest count; it looks at all."""
        return max(self._wide.items(), key=itemgetter(1), default=("", 0))

    def __len__(self) -> int:
        return len(self._counts)


def _decrease(counts: dict[str, int], key: str) -> None:
    count = counts.get(key, 0) - 1
    if count > 0:
        counts[key] = count
    else:
        counts.pop(key, None)


@attrs.define
class NetworkBuckets:
    """
    A token bucket for each network; only those of busy ones are stored.

    :ivar rate: events per second of one network: an address, in IPv6 a /64.
    :ivar burst: most events at once.
    :ivar most: most networks stored; the least recently used is dropped.
    :ivar wide_share: how many times that rate and burst one /24, or one IPv6 /48, has;
        infinite: it has no limit.
    """

    rate: float
    burst: float
    most: int = 4096
    wide_share: float = inf
    _buckets: OrderedDict[str, TokenBucket] = attrs.field(
        factory=OrderedDict, init=False
    )
    _wide: OrderedDict[str, TokenBucket] = attrs.field(factory=OrderedDict, init=False)

    def take(self, host: str, now: float, n: float = 1) -> bool:
        """May *n* more events of this network happen? If not, nothing is taken."""
        bucket = self._bucket(host, now)
        if not bucket.take(now, n):
            return False
        if self.wide_share == inf or self._wide_bucket(host, now).take(now, n):
            return True
        bucket.put_back(n)
        return False

    def put_back(self, host: str, now: float) -> None:
        """What was taken of this network did not happen after all."""
        self._bucket(host, now).put_back()

    def owe(self, host: str, now: float, n: float) -> float:
        """*n* events of this network happened: in how many seconds is that paid?"""
        wait = self._bucket(host, now).owe(now, n)
        if self.wide_share == inf:
            return wait
        return max(wait, self._wide_bucket(host, now).owe(now, n))

    def wait(self, host: str, now: float, n: float = 1) -> float:
        """Return in how many seconds *n* events of this network may happen."""
        wait = self._bucket(host, now).wait(now, n)
        if self.wide_share == inf:
            return wait
        return max(wait, self._wide_bucket(host, now).wait(now, n))

    def __len__(self) -> int:
        return len(self._buckets)

    def _bucket(self, host: str, now: float) -> TokenBucket:
        return self._stored(self._buckets, network_of(host), 1, now)

    def _wide_bucket(self, host: str, now: float) -> TokenBucket:
        return self._stored(self._wide, wide_network_of(host), self.wide_share, now)

    def _stored(
        self,
        buckets: OrderedDict[str, TokenBucket],
        network: str,
        share: float,
        now: float,
    ) -> TokenBucket:
        bucket = buckets.get(network)
        if bucket is None:
            oldest = next(iter(buckets.values()), None)
            if oldest is not None and (
                len(buckets) >= self.most or oldest.is_full(now)
            ):
                buckets.popitem(last=False)
            bucket = TokenBucket(share * self.rate, share * self.burst)
            buckets[network] = bucket
        buckets.move_to_end(network)
        return bucket
