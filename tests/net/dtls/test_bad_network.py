"""A bad network: what it does, counted, and the filter that makes one."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vinom.net.dtls.admission import Address
from vinom.net.dtls.bad_network import Conditioner, Conditions, Path

HERE: Address = ("192.0.2.1", 4000)
BAD = Conditions(loss=0.2, duplicate=0.1, reorder=0.1, delay=0.1, jitter=0.05)
LOSSY = Conditions(loss=0.2, duplicate=0.1, delay=0.1, jitter=0.05)


def through(
    seed: int | str, conditions: Conditions = BAD, outward: bool = True
) -> list[tuple[float, bytes]]:
    """Send a hundred datagrams; returns what arrived and when."""
    clock, arrived = Clock(), list[tuple[float, bytes]]()
    network = Conditioner(clock, conditions, seed)

    def arrive(datagram: bytes, address: Address) -> None:
        assert address == HERE
        arrived.append((round(clock.seconds(), 6), datagram))

    for number in range(100):
        carry = network.outgoing if outward else network.incoming
        carry(b"%d" % number, HERE, arrive)
        clock.advance(0.01)
    clock.advance(network.longest_hold)
    assert clock.getDelayedCalls() == []
    assert network.lost == 100 - len({datagram for _, datagram in arrived})
    return arrived


class ConditionerTests(SynchronousTestCase):
    def test_same_seed_same_luck(self) -> None:
        """
        A run over a bad network can be had again, and another one too; what happens in
        one direction is independent of the other.
        """
        self.assertEqual(through(1), through(1))
        self.assertNotEqual(through(1), through(2))
        self.assertNotEqual(through(1), through(1, outward=False))

    def test_loses_doubles_and_reorders(self) -> None:
        """
        Some never arrive, some twice, and some are overtaken.
        """
        arrived = [int(datagram) for _, datagram in through(1)]
        self.assertLess(len(set(arrived)), 100)
        self.assertGreater(len(arrived), len(set(arrived)))
        self.assertNotEqual(arrived, sorted(arrived))

    def test_good_network_takes_no_time(self) -> None:
        """
        Without a delay a datagram is passed on within the same turn.
        """
        network = Conditioner(Clock(), Conditions(), 1)
        arrived: list[bytes] = []
        network.incoming(b"now", HERE, lambda datagram, _: arrived.append(datagram))
        self.assertEqual((arrived, network.longest_hold), ([b"now"], 0.0))


def ways(conditions: Conditions, count: int = 10_000) -> list[list[float]]:
    """The delays of this many datagrams."""
    path = Path(conditions, Random(1).random)
    return [path.delays() for _ in range(count)]


class ConditionsTests(SynchronousTestCase):
    def test_what_makes_no_sense(self) -> None:
        """
        A share above one, a time below zero, or a jitter that would bring
        datagrams before they were sent is refused by the name of its field.
        """
        for wrong in (
            {"loss": 1.1},
            {"loss": -0.1},
            {"duplicate": 20.0},
            {"reorder": float("nan")},
            {"delay": -1.0},
            {"delay": float("inf")},
            {"jitter": -0.1},
            {"jitter": float("nan")},
            {"delay": 0.1, "jitter": 0.2},
        ):
            with self.assertRaisesRegex(ValueError, list(wrong)[-1]):
                Conditions(**wrong)


class PathTests(SynchronousTestCase):
    def assert_about(self, value: float, wanted: float, off: float) -> None:
        self.assertTrue(abs(value - wanted) < off, (value, wanted))

    def test_shares(self) -> None:
        """
        About as many are lost and doubled as was asked for.
        """
        all_ways = ways(LOSSY)
        lost = sum(not way for way in all_ways)
        doubled = sum(len(way) == 2 for way in all_ways)
        self.assert_about(lost / 10_000, 0.2, 0.02)
        self.assert_about(doubled / (10_000 - lost), 0.1, 0.02)

    def test_delay_and_jitter(self) -> None:
        """
        Each copy takes the delay, give or take the jitter, and any of it.
        """
        delays = [delay for way in ways(LOSSY) for delay in way]
        self.assertTrue(all(0.05 <= delay <= 0.15 for delay in delays))
        self.assertLess(min(delays), 0.055)
        self.assertGreater(max(delays), 0.145)
        self.assert_about(sum(delays) / len(delays), 0.1, 0.002)

    def test_reorder(self) -> None:
        """
        A share of the datagrams is held back long enough to be overtaken.
        """
        bad = Conditions(reorder=0.25, delay=0.1)
        delays = [delay for way in ways(bad) for delay in way]
        self.assertEqual(set(delays), {0.1, 0.2})
        self.assert_about(delays.count(0.2) / 10_000, 0.25, 0.02)
        at_once = [way for (way,) in ways(Conditions(reorder=0.25))]
        self.assertEqual(set(at_once), {0.0, 0.05})

    def test_more_loss_loses_the_same_and_more(self) -> None:
        """
        A worse network differs in what is worse only.
        """
        some, more = ways(LOSSY), ways(Conditions(0.3, 0.1, 0.0, 0.1, 0.05))
        for less_bad, worse in zip(some, more, strict=True):
            self.assertIn(worse, (less_bad, []))

    @given(st.floats(0, 1), st.floats(0, 60), st.floats(0, 1), st.integers())
    def test_longest(
        self, reorder: float, delay: float, jitter: float, seed: int
    ) -> None:
        """
        Nothing arrives before it was sent, or later than was announced.
        """
        bad = Conditions(0.1, 0.5, reorder, delay, delay * jitter)
        path = Path(bad, Random(seed).random)
        for _ in range(20):
            for taken in path.delays():
                self.assertTrue(0 <= taken <= bad.longest, (taken, bad))
