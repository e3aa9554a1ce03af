"""
What a process does that has too much to do: it refuses newcomers while it is overloaded
(`Overload`), and has a budget for each network of strangers, smaller under attack.

Many source addresses take no more memory than one: there is a fixed number of budgets
(shelves), and networks whose keyed hash is equal share one. So many forged sources
empty all shelves a little, instead of filling a table.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from hashlib import blake2b
from math import exp, inf

import attrs

from vinom.errors import Code, Refused

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


#: When a refused newcomer may try again, seconds. Clients add a random delay of up to
#: half of it, so that they do not all come at once.
RETRY_AFTER = 2.0


def busy() -> Refused:
    """Make the refusal for a newcomer; its details say when to try again."""
    return Refused(
        Code.BUSY,
        f"this server is overloaded; try again in {RETRY_AFTER:g} s",
        {"retry_after": RETRY_AFTER},
    )


@attrs.define
class Overload:
    """
    Judge by how long the reactor's turns take, averaged over the last second.

    Times are seconds on a clock that never goes back. The average is over time: long
    turns weigh as much as they last, and time without turns counts as turns of no
    length. So one slow call isn't an overload; a second of slow turns is.

    :ivar bound: average above which there is an overload. Players see each state later
        by about this time.
    :ivar relief: average below which the overload is over.
    :ivar short: turns shorter than this need not be counted.
    :ivar changed: called with the new judgement when it changes.
    :ivar average: length of the last second's turns.
    """

    bound: float = 0.05
    relief: float = 0.02
    short: float = 0.002
    changed: Callable[[bool], None] | None = None
    average: float = attrs.field(default=0.0, init=False)
    _ended: float = attrs.field(default=0.0, init=False)
    _is_high: bool = attrs.field(default=False, init=False)

    def turned(self, took: float, now: float) -> None:
        """Count a turn that *took* this long and ended *now*."""
        # `_rest` and `_judge` written out: this runs for each turn.
        rest = now - took - self._ended
        average = self.average
        if rest > 0.0:
            average *= exp(-rest)
        self.average = average = average + (1.0 - exp(-took)) * (took - average)
        self._ended = now
        if average > self.bound:
            if not self._is_high:
                self._judge()
        elif average < self.relief and self._is_high:
            self._judge()

    def is_high(self, now: float) -> bool:
        self._rest(now)
        self._judge()
        return self._is_high

    def _rest(self, until: float) -> None:
        """Count the time without turns *until* this moment."""
        if until > self._ended:
            self.average *= exp(self._ended - until)
            self._ended = until

    def _judge(self) -> None:
        was_high = self._is_high
        if self.average > self.bound:
            self._is_high = True
        elif self.average < self.relief:
            self._is_high = False
        if self._is_high is not was_high and self.changed is not None:
            self.changed(self._is_high)
