"""
How much strangers may ask: a budget for each network, tighter under attack.

Who sends from many addresses gets no memory of ours for them: budgets stand on a
fixed number of shelves, and networks whose keyed hash is equal share one. So a
crowd of made-up sources empties all shelves a little instead of filling a table.
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
    So many a second, and so many at once.

    :ivar a_second: how many come back each second.
    """

    a_second: float
    at_once: float


class Budgets:
    """
    A bucket of tries for each network, in memory that never grows.

    Times are seconds on the caller's clock; one that steps back gives nothing.

    :param salt: secret, so that nobody can choose whose shelf it empties.
    """

    def __init__(self, rate: Rate, salt: bytes) -> None:
        self.rate = rate
        self._salt = salt
        self._left = [inf] * _SHELVES
        self._since = [0.0] * _SHELVES

    def take(self, network: bytes, now: float) -> bool:
        """May this network do one more thing?"""
        shelf = int.from_bytes(blake2b(network, digest_size=2, key=self._salt).digest())
        shelf %= _SHELVES
        rate = self.rate
        gained = max(0.0, now - self._since[shelf]) * rate.a_second
        # What was left under an easier rate is cut to this one's.
        left = min(rate.at_once, self._left[shelf] + gained)
        self._since[shelf] = now
        is_left = left >= 1
        self._left[shelf] = left - 1 if is_left else left
        return is_left


class Pressure:
    """
    Notice a flood, and its end.

    What led to no handshake within a second is junk. Above *threshold* of it we
    are pressed at once; not any more when for `RELIEF_AFTER` no second had half of it.

    :param threshold: things a second.
    :ivar is_high: we are pressed.
    :ivar rises: how often it rose.
    """

    #: How long a flood must be gone, seconds.
    RELIEF_AFTER = 5.0

    def __init__(self, threshold: float) -> None:
        self.is_high = False
        self.rises = 0
        self._threshold = threshold
        self._count = 0
        self._since = -inf
        self._until = 0.0

    def add(self, count: int, now: float) -> None:
        """
        So much came to nothing.

        :param count: negative if what was counted came to something after all.
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
        """Is it over?"""
        # A clock that was set back must not keep us pressed.
        if now >= self._until or now < self._until - self.RELIEF_AFTER:
            self.is_high = False


def source_of(host: str) -> str:
    """
    Name who is behind an address: limits count an IPv6 /64 as one.

    An IPv4 address in IPv6 clothes is the same source without them.
    """
    if ":" not in host:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if packed[:12] == _MAPPED:
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return packed[:8].hex() + "/64"


def network_of(host: str) -> bytes:
    """
    Name the network that an address is in: a /24, in IPv6 a /48.

    These are the smallest that the internet routes to somebody of their own, so
    that who holds one can send from all of it. On this machine each address is
    for itself.
    """
    if ":" not in host:
        if host.startswith("127."):
            return host.encode("ascii")
        return host.rpartition(".")[0].encode("ascii")
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if packed[:12] == _MAPPED:
        return network_of(socket.inet_ntop(socket.AF_INET, packed[12:]))
    return packed if packed == _IPV6_LOOPBACK else packed[:6]
