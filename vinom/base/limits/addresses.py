"""
Limits of one address, and of the networks that it can move about in.

An address is itself, or an IPv6 /64, as `vinom.base.limits.buckets.network_of` has it.
Its site is its `vinom.base.limits.buckets.wide_network_of`: a /24, in IPv6 a /48. A
site may have `SITE_SHARE` times as much as an address.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from heapq import nlargest
from itertools import islice

import attrs

from vinom.base.limits.buckets import NetworkBuckets, NetworkCounts, wide_network_of

#: How many times the limit of one address its whole site has.
SITE_SHARE = 4
#: Networks whose token buckets are stored.
_MOST_STORED = 16_384


@attrs.define
class AddressBuckets:
    """
    Token buckets of addresses and of their sites; an event takes from both.

    :ivar rate: events per second of one address.
    :ivar burst: most events at once.
    """

    rate: float
    burst: float
    _buckets: NetworkBuckets = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._buckets = NetworkBuckets(self.rate, self.burst, _MOST_STORED, SITE_SHARE)

    def wait(self, host: str, now: float) -> float:
        """Return in how many seconds one more event may happen; 0 if it may now."""
        return self._buckets.wait(host, now)

    def take(self, host: str, now: float) -> bool:
        """May one more event happen? If not, nothing is taken."""
        return self._buckets.take(host, now)

    def owe(self, host: str, now: float, n: int) -> float:
        """*n* events happened; returns for how many seconds none should follow."""
        return self._buckets.owe(host, now, n)


@attrs.define
class AddressCounts:
    """
    Counts of addresses and of their sites, such as of rooms.

    Hosts without a name (``""``), as of matches that an operator's own matchmaker
    makes, are not limited.

    :ivar limit: highest count of one address.
    """

    limit: int
    _counts: NetworkCounts = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._counts = NetworkCounts(self.limit, SITE_SHARE * self.limit)

    def is_full(self, host: str) -> bool:
        """Is one more too many?"""
        return bool(host) and self._counts.is_full(host)

    def enter(self, host: str) -> bool:
        """Count one more; returns ``False`` and counts nothing if that is too many."""
        if self.is_full(host):
            return False
        if host:
            self._counts.add(host)
        return True

    def leave(self, host: str) -> None:
        """Count one less."""
        if host:
            self._counts.leave(host)

    def __len__(self) -> int:
        return len(self._counts)


@attrs.define
class Crowd:
    """
    Things that sites keep here, such as players, to find whose is given up first.

    That is the oldest of the site that keeps most: who floods loses its own.
    """

    # Ordered ones: the first of a plain dict takes long to find once many are gone.
    _sites: dict[str, OrderedDict[str, None]] = attrs.field(factory=dict, init=False)
    _site_of: dict[str, str] = attrs.field(factory=dict, init=False)
    # The sites that keep that many; and the highest of these numbers.
    _by_size: dict[int, OrderedDict[str, None]] = attrs.field(factory=dict, init=False)
    _largest: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._site_of)

    def __contains__(self, key: str) -> bool:
        return key in self._site_of

    def add(self, key: str, host: str) -> None:
        """Add something, or make it the newest of its site."""
        if key in self._site_of:
            self.discard(key)
        site = wide_network_of(host)
        keys = self._sites.setdefault(site, OrderedDict())
        self._move(site, len(keys), len(keys) + 1)
        keys[key] = None
        self._site_of[key] = site

    def discard(self, key: str) -> bool:
        """Remove something; ``False`` if it is not here."""
        site = self._site_of.pop(key, None)
        if site is None:
            return False
        keys = self._sites[site]
        self._move(site, len(keys), len(keys) - 1)
        del keys[key]
        if not keys:
            del self._sites[site]
        return True

    def first(self) -> str | None:
        """Find what is given up first; ``None`` if nothing is here."""
        for site in self._by_size.get(self._largest, ()):
            return next(iter(self._sites[site]))
        return None

    def firsts(self, most: int, most_sites: int) -> Iterator[str]:
        """
        List what is given up first: sites from the largest down, of each its oldest.

        What is listed may be spared meanwhile, but nothing added or discarded.

        :param most: of each site.
        :param most_sites: how many of these.
        """
        sizes = nlargest(most_sites, self._by_size)
        sites = (site for size in sizes for site in self._by_size[size])
        for site in islice(sites, most_sites):
            yield from tuple(islice(self._sites[site], most))

    def spare(self, key: str) -> None:
        """Make something the newest of its site."""
        self._sites[self._site_of[key]].move_to_end(key)

    def _move(self, site: str, before: int, after: int) -> None:
        if before:
            sites = self._by_size[before]
            del sites[site]
            if not sites:
                del self._by_size[before]
        if after:
            self._by_size.setdefault(after, OrderedDict())[site] = None
        # It changes by one at a time, so the next lower number is there.
        if after > self._largest or self._largest not in self._by_size:
            self._largest = after
