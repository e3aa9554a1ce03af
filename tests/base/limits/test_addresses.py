"""Limits of an address and of its network."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from vinom.base.limits.addresses import AddressBuckets, AddressCounts, Crowd
from vinom.base.limits.buckets import wide_network_of


class SiteTests(SynchronousTestCase):
    """Which network an address is of."""

    def test_sites(self) -> None:
        """
        A /24 or a /48 is one site; loopback addresses, and what is no address, are
        sites of their own.
        """
        for host, site in (
            ("203.0.113.7", "203.0.113.0/24"),
            ("::ffff:203.0.113.7", "203.0.113.0/24"),
            ("2001:db8:7:8::9", "2001:db8:7::/48"),
            ("fe80::1%eth0", "fe80::/48"),
            ("127.0.0.1", "127.0.0.1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("", ""),
            ("a.socket", "a.socket"),
        ):
            self.assertEqual(wide_network_of(host), site)


class AddressLimitTests(SynchronousTestCase):
    """What an address and its site may do."""

    def test_buckets(self) -> None:
        """
        An address has its burst, its site four times that, and a refusal takes nothing.
        """
        buckets = AddressBuckets(rate=1, burst=2)
        taken = [buckets.take(f"203.0.113.{n // 3}", 0.0) for n in range(24)]
        self.assertEqual(sum(taken), 8)
        self.assertTrue(buckets.take("192.0.2.1", 0.0))
        self.assertEqual(buckets.wait("203.0.113.0", 0.0), 1.0)
        self.assertEqual(buckets.wait("203.0.113.99", 0.0), 0.25)
        self.assertFalse(buckets.take("203.0.113.0", 0.5))
        self.assertTrue(buckets.take("203.0.113.9", 0.5))
        self.assertTrue(buckets.take("203.0.113.9", 0.5))

    def test_counts(self) -> None:
        """
        What is given back can be taken again, and nothing is left of those who left.
        """
        counts = AddressCounts(2)
        hosts = [f"2001:db8:7:{n // 3:x}::{n}" for n in range(24)]
        entered = [host for host in hosts if counts.enter(host)]
        self.assertEqual(len(entered), 8)
        self.assertTrue(counts.is_full("2001:db8:7:99::1"))
        self.assertFalse(counts.is_full("2001:db8:8::1"))
        counts.leave(entered[0])
        self.assertFalse(counts.is_full("2001:db8:7:99::1"))
        self.assertTrue(counts.is_full(entered[2]))
        for host in entered[1:]:
            counts.leave(host)
        self.assertEqual(len(counts), 0)
        self.assertTrue(all(counts.enter("") for _ in range(100)))


class CrowdTests(SynchronousTestCase):
    """Whose is given up first."""

    def test_oldest_of_the_largest(self) -> None:
        """
        The site that has most loses its oldest, until others have as many.
        """
        crowd = Crowd()
        crowd.add("ann", "192.0.2.1")
        for number in range(3):
            crowd.add(f"x{number}", f"203.0.113.{number}")
        crowd.add("bob", "198.51.100.1")
        crowd.spare("x0")
        lost = []
        while (key := crowd.first()) is not None:
            lost.append(key)
            crowd.discard(key)
        self.assertEqual(lost[:2], ["x1", "x2"])
        self.assertEqual(set(lost[2:]), {"ann", "bob", "x0"})

    def test_any_order(self) -> None:
        """
        Whatever comes and goes, what is found is of a largest site, and its oldest.
        """
        chance = random.Random(1)
        crowd, model = Crowd(), dict[str, str]()
        for _ in range(5000):
            key = f"k{chance.randrange(40)}"
            if chance.random() < 0.5:
                host = f"10.0.{chance.randrange(6)}.1"
                crowd.add(key, host)
                model.pop(key, None)
                model[key] = wide_network_of(host)
            else:
                self.assertEqual(crowd.discard(key), model.pop(key, None) is not None)
            self.assertEqual(len(crowd), len(model))
            found = crowd.first()
            if found is None:
                self.assertEqual(model, {})
                continue
            sites = list(model.values())
            site = model[found]
            self.assertEqual(sites.count(site), max(map(sites.count, sites)))
            self.assertEqual(next(k for k, s in model.items() if s == site), found)
