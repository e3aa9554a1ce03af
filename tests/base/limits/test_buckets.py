"""Token buckets and counts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.limits.buckets import (
    NetworkBuckets,
    NetworkCounts,
    TokenBucket,
    is_loopback,
    network_of,
)


class TokenBucketTests(SynchronousTestCase):
    """One peer."""

    def test_burst_then_rate(self) -> None:
        """
        A burst passes at once, and then only the rate.
        """
        bucket = TokenBucket(rate=2.0, burst=3.0)
        self.assertEqual([bucket.take(0.0) for _ in range(4)], [True] * 3 + [False])
        self.assertEqual(bucket.wait(0.0), 0.5)
        self.assertFalse(bucket.take(0.4))
        self.assertTrue(bucket.take(0.5))
        self.assertFalse(bucket.take(0.5))

    def test_never_above_the_burst(self) -> None:
        """
        Long silence earns no more than one burst.
        """
        bucket = TokenBucket(rate=100.0, burst=2.0)
        self.assertTrue(bucket.take(0.0, 2))
        self.assertTrue(bucket.take(1e6, 2))
        self.assertFalse(bucket.take(1e6))
        self.assertFalse(bucket.is_full(1e6))
        self.assertTrue(bucket.is_full(2e6))

    def test_clock_steps_back(self) -> None:
        """
        A clock that is set back locks nobody out and gives nothing away.
        """
        bucket = TokenBucket(rate=1.0, burst=1.0)
        self.assertTrue(bucket.take(100.0))
        self.assertFalse(bucket.take(50.0))
        self.assertTrue(bucket.take(101.0))

    def test_put_back(self) -> None:
        """
        What did not happen after all costs nothing, and gives nothing either.
        """
        bucket = TokenBucket(1, 2)
        self.assertTrue(bucket.take(0.0, 2))
        bucket.put_back()
        self.assertTrue(bucket.take(0.0))
        self.assertFalse(bucket.take(0.0))
        bucket.put_back(5)
        self.assertTrue(bucket.take(0.0, 2))
        self.assertFalse(bucket.take(0.0))

    def test_no_rate(self) -> None:
        """
        Without a rate the burst is all there is.
        """
        bucket = TokenBucket(rate=0.0, burst=1.0)
        self.assertTrue(bucket.take(0.0))
        self.assertEqual(bucket.wait(1e9), float("inf"))

    @settings(max_examples=200, deadline=None)
    @given(some.lists(some.floats(0, 5), max_size=60), some.floats(0.1, 10))
    def test_never_too_many(self, gaps: list[float], rate: float) -> None:
        """
        However takes are spread, no more pass than the burst and the rate allow.
        """
        bucket, now, passed = TokenBucket(rate, 5.0), 0.0, 0
        for gap in gaps:
            now += gap
            passed += bucket.take(now)
        self.assertLessEqual(passed, 5.0 + now * rate + 1e-6)


class NetworkTests(SynchronousTestCase):
    """Whom limits count as one."""

    def test_networks(self) -> None:
        """
        An IPv6 /64 is one peer, IPv4 inside IPv6 is IPv4, and ports do not count.
        """
        self.assertEqual(network_of("192.0.2.7"), "192.0.2.7")
        self.assertEqual(network_of("::ffff:192.0.2.7"), "192.0.2.7")
        self.assertEqual(network_of("2001:db8:0:1::5"), network_of("2001:db8:0:1:9::"))
        self.assertNotEqual(network_of("2001:db8:0:1::"), network_of("2001:db8:0:2::"))
        self.assertEqual(network_of("fe80::1%eth0"), network_of("fe80::2"))
        self.assertEqual(network_of("unix"), "unix")

    def test_loopback(self) -> None:
        """
        Only this machine is this machine.
        """
        for host in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
            self.assertTrue(is_loopback(host), host)
        for host in ("192.0.2.1", "::2", "::ffff:192.0.2.1", "localhost", ""):
            self.assertFalse(is_loopback(host), host)

    def test_counts(self) -> None:
        """
        A network has its limit, gets a place back, and leaves nothing behind.
        """
        counts = NetworkCounts(2)
        self.assertTrue(counts.enter("2001:db8::1"))
        self.assertTrue(counts.enter("2001:db8::2"))
        self.assertFalse(counts.enter("2001:db8::3"))
        self.assertTrue(counts.enter("192.0.2.1"))
        counts.leave("2001:db8::1")
        self.assertTrue(counts.enter("2001:db8::3"))
        for host in ("2001:db8::2", "2001:db8::3", "192.0.2.1"):
            counts.leave(host)
        self.assertEqual(len(counts), 0)

    def test_buckets_forget(self) -> None:
        """
        A million addresses cost the memory of a few, and the busy ones stay.
        """
        buckets = NetworkBuckets(rate=1.0, burst=2.0, most=3)
        for number in range(50):
            self.assertTrue(buckets.take(f"192.0.2.{number}", 0.0))
        self.assertLessEqual(len(buckets), 3)
        buckets.take("192.0.2.49", 0.0)
        self.assertFalse(buckets.take("192.0.2.49", 0.0))
        self.assertEqual(buckets.wait("192.0.2.49", 0.0), 1.0)
