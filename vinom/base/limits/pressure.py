"""
Limits for strangers: a budget for each network, smaller under attack.

Many source addresses take no more memory than one: there is a fixed number of budgets
(shelves), and networks whose keyed hash is equal share one. So many forged sources
empty all shelves a little, instead of filling a table.
"""

from __future__ import annotations

import socket
from hashlib import blake2b
from math import inf

import attrs

_SHELVES = 1024
_MAPPED = bytes(10) + b"\xff\xff"
_IPV6_LOOPBACK = bytes(15) + b"\x01"


@attrs.frozen
class Rate:
    """
    A rate with a burst.

    :ivar a_second: events per second.
    :ivar at_once: most events at once.
    """

    a_second: float
    at_once: float


class Budgets:
    """
    A bucket of tries for each network, in memory of fixed size.

    Times are seconds on the caller's clock; a clock that steps back refills nothing.

    :ivar rate: of each network.
    """

    def __init__(self, rate: Rate, salt: bytes) -> None:
        """
        Start with full buckets.

        :param rate: of each network.
        :param salt: secret, so that an attacker cannot choose whose shelf to empty.
        """
        self.rate = rate
        self._salt = salt
        self._left = [inf] * _SHELVES
        self._since = [0.0] * _SHELVES

    def take(self, network: bytes, now: float) -> bool:
        """May this network do one more thing?"""
        shelf = self._shelf_of(network)
        rate = self.rate
        gained = max(0.0, now - self._since[shelf]) * rate.a_second
        # What was left under a larger rate is cut to this one's burst.
        left = min(rate.at_once, self._left[shelf] + gained)
        self._since[shelf] = now
        is_left = left >= 1
        self._left[shelf] = left - 1 if is_left else left
        return is_left

    def give_back(self, network: bytes) -> None:
        """Undo one `take` that returned ``True``."""
        self._left[self._shelf_of(network)] += 1

    def _shelf_of(self, network: bytes) -> int:
        digest = blake2b(network, digest_size=2, key=self._salt).digest()
        return int.from_bytes(digest) % _SHELVES


class Pressure:
    """
    Detect a flood, and its end.

    Datagrams that lead to no handshake within a second are junk. A flood begins as soon
    as a second has more of them than the threshold. It ends when for `RELIEF_AFTER` no
    second had more than half of that.

    :ivar is_high: whether there is a flood.
    :ivar rises: how many floods began.
    """

    #: How long there must be little junk before a flood is over, seconds.
    RELIEF_AFTER = 5.0

    def __init__(self, threshold: float) -> None:
        """
        Start without a flood.

        :param threshold: junk datagrams per second.
        """
        self.is_high = False
        self.rises = 0
        self._threshold = threshold
        self._count = 0
        self._since = -inf
        self._until = 0.0

    def add(self, count: int, now: float) -> None:
        """
        Count junk.

        :param count: datagrams; negative if some that were counted weren't junk.
        :param now: the time.
        """
        if not self._since <= now < self._since + 1.0:
            self._since, self._count = now, 0
        self._count += count
        if self._count > self._threshold:
            if not self.is_high:
                self.is_high = True
                self.rises += 1
            self._until = now + self.RELIEF_AFTER
        elif self.is_high and self._count > self._threshold / 2:
            self._until = now + self.RELIEF_AFTER

    def deadline(self) -> float | None:
        """When to call `alarm`."""
        return self._until if self.is_high else None

    def alarm(self, now: float) -> None:
        """End the flood if it is over."""
        # A clock that was set back must not prolong the flood.
        if now >= self._until or now < self._until - self.RELIEF_AFTER:
            self.is_high = False


def source_of(host: str) -> str:
    """
    Return the source that an address belongs to: limits count an IPv6 /64 as one.

    An IPv4-mapped IPv6 address is the same source as its IPv4 address.
    """
    if ":" not in host:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if packed[:12] == _MAPPED:
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return packed[:8].hex() + "/64"


def network_of(host: str) -> bytes:
    """
    Return the network that an address is in: a /24, in IPv6 a /48.

    These are the smallest networks that the internet routes to one owner, who can send
    from all of their addresses. Each loopback address counts as its own network.
    """
    if ":" not in host:
        if host.startswith("127."):
            return host.encode("ascii")
        return host.rpartition(".")[0].encode("ascii")
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if packed[:12] == _MAPPED:
        return network_of(socket.inet_ntop(socket.AF_INET, packed[12:]))
    return packed if packed == _IPV6_LOOPBACK else packed[:6]
