"""How much is too much: token buckets and counts, per peer and per network."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

import attrs

#: Before any clock began. Not infinity, because a rate may be 0.
_LONG_AGO = -1e300


@attrs.define
class TokenBucket:
    """
    Allow ``rate`` things a second, and ``burst`` of them at once.

    Times: seconds on the caller's clock; one that steps back refills nothing.
    """

    rate: float
    burst: float
    _level: float = attrs.field(init=False)
    _counted: float = attrs.field(init=False, default=_LONG_AGO)

    def __attrs_post_init__(self) -> None:
        self._level = self.burst

    def take(self, now: float, n: float = 1) -> bool:
        """May *n* more things happen? Nothing is taken when they may not."""
        # `_refill` once more: a call for each packet costs as much as the rest.
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

    def wait(self, now: float, n: float = 1) -> float:
        """In how many seconds may *n* things happen; 0 is now."""
        self._refill(now)
        missing = n - self._level
        if missing <= 0:
            return 0.0
        return missing / self.rate if self.rate > 0 else float("inf")

    def is_full(self, now: float) -> bool:
        """Has everything that was taken come back?"""
        self._refill(now)
        return self._level >= self.burst

    def _refill(self, now: float) -> None:
        if now > self._counted:
            if self._level < self.burst:
                gained = (now - self._counted) * self.rate
                self._level = min(self.burst, self._level + gained)
            self._counted = now


@lru_cache(4096)
def network_of(host: str) -> str:
    """
    Name the network that limits count as one peer.

    That is the address itself, or the /64 of an IPv6 address: whoever has one
    address of it has them all. An IPv4 address inside IPv6 is that IPv4 address.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> 64 << 64)) + "/64"


@lru_cache(4096)
def is_loopback(host: str) -> bool:
    """Does this address never leave the machine?"""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


@attrs.define
class NetworkCounts:
    """
    How many of a thing each network has at once.

    :ivar limit: most for one network.
    """

    limit: int
    _counts: dict[str, int] = attrs.field(factory=dict, init=False)

    def enter(self, host: str) -> bool:
        """Count one more; ``False``, and nothing counted, above the limit."""
        network = network_of(host)
        count = self._counts.get(network, 0)
        if count >= self.limit:
            return False
        self._counts[network] = count + 1
        return True

    def leave(self, host: str) -> None:
        """One that entered is gone."""
        network = network_of(host)
        count = self._counts.get(network, 0) - 1
        if count > 0:
            self._counts[network] = count
        else:
            self._counts.pop(network, None)

    def __len__(self) -> int:
        return len(self._counts)


@attrs.define
class NetworkBuckets:
    """
    A token bucket for each network, of which only the busy ones are kept.

    :ivar most: networks remembered; the one unseen for longest is forgotten.
    """

    rate: float
    burst: float
    most: int = 4096
    _buckets: OrderedDict[str, TokenBucket] = attrs.field(
        factory=OrderedDict, init=False
    )

    def take(self, host: str, now: float, n: float = 1) -> bool:
        """May this network do *n* more?"""
        return self._bucket(host, now).take(now, n)

    def wait(self, host: str, now: float, n: float = 1) -> float:
        """In how many seconds may it?"""
        return self._bucket(host, now).wait(now, n)

    def __len__(self) -> int:
        return len(self._buckets)

    def _bucket(self, host: str, now: float) -> TokenBucket:
        network = network_of(host)
        bucket = self._buckets.get(network)
        if bucket is None:
            oldest = next(iter(self._buckets.values()), None)
            if oldest is not None and (
                len(self._buckets) >= self.most or oldest.is_full(now)
            ):
                self._buckets.popitem(last=False)
            bucket = self._buckets[network] = TokenBucket(self.rate, self.burst)
        self._buckets.move_to_end(network)
        return bucket
