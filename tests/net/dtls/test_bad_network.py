"""The filter that makes a network bad."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vinom.net.dtls.admission import Address
from vinom.net.dtls.bad_network import Conditioner, Conditions

HERE: Address = ("192.0.2.1", 4000)
BAD = Conditions(loss=0.2, duplicate=0.1, reorder=0.1, delay=0.1, jitter=0.05)


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
        A run over a bad network can be had again, and another one too.
        """
        self.assertEqual(through(1), through(1))
        self.assertNotEqual(through(1), through(2))

    def test_directions_differ(self) -> None:
        """
        What happens in one direction is independent of the other.
        """
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
