"""A game server whose node may have had its matches played elsewhere is silent."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from tests.support.game_net import HOST, PORT, GameNet
from vinom.fleet.control.messages import Draining, Heartbeat
from vinom.fleet.gameserver.lease import LEASE_SECONDS, SHORTEST_LEASE, Lease


class LeaseTests(SynchronousTestCase):
    """Times of the last word that surely arrived."""

    def test_without_a_node(self) -> None:
        """
        Nothing runs out before there was a node; then it does, even if the node never
        asks.
        """
        lease = Lease()
        self.assertEqual(lease.until, inf)
        lease.linked(5.0)
        self.assertEqual(lease.until, 5.0 + LEASE_SECONDS)

    def test_renewed(self) -> None:
        """
        A node that goes on asking has had the answers of three heartbeats ago.
        """
        lease = Lease()
        lease.linked(0.0)
        for number in range(1, 11):
            lease.beat(number, float(number))
        self.assertEqual(lease.until, 7.0 + LEASE_SECONDS)

    def test_shortest(self) -> None:
        """
        The shortest lease that a node accepts never ends while its heartbeats come,
        also if they are a second late now and then.
        """
        lease = Lease(SHORTEST_LEASE)
        lease.linked(0.5)
        for number in range(1, 100):
            now = number + (1.0 if number % 5 == 0 else 0.0)
            self.assertFalse(lease.is_over(now), number)
            lease.beat(number, now)

    def test_old_heartbeats(self) -> None:
        """
        Heartbeats that waited while the process was stopped do not renew it.
        """
        lease = Lease()
        lease.linked(0.0)
        for number in range(1, 11):
            lease.beat(number, float(number))
        for number in (11, 12, 13):
            lease.beat(number, 50.0)
        self.assertTrue(lease.is_over(10.0 + LEASE_SECONDS))
        for number in (14, 15, 16, 17, 18):
            lease.beat(number, 60.0)
        self.assertTrue(lease.is_over(60.0))

    def test_linked_again(self) -> None:
        """
        A node that it reports to in time, and that goes on with its matches, renews it;
        later none does.
        """
        lease = Lease()
        lease.linked(0.0)
        lease.beat(1, 0.0)
        lease.linked(40.0)
        lease.adopted(41.0)
        self.assertEqual(lease.until, 40.0 + LEASE_SECONDS)
        lease.linked(90.0)
        lease.adopted(90.0)
        self.assertTrue(lease.is_over(90.0))

    def test_refused(self) -> None:
        """
        A node that knows nothing of it renews nothing, however often it is dialed:
        the node that had its matches counts from the last word.
        """
        lease = Lease()
        lease.linked(0.0)
        lease.beat(1, 0.0)
        for now in range(1, int(LEASE_SECONDS)):
            lease.linked(float(now))
        self.assertTrue(lease.is_over(LEASE_SECONDS))


class SilenceTests(SynchronousTestCase):
    """What leaves a process."""

    def beat(self, net: GameNet, seconds: int) -> None:
        """Let time pass with a node that asks."""
        for _ in range(seconds):
            self.beats = getattr(self, "beats", 0) + 1
            net.server.received(Heartbeat(self.beats))
            net.run(1.0)

    def test_plays_on(self) -> None:
        """
        As long as its node asks it plays on, and for most of a lease after that.
        """
        net = GameNet()
        players = net.begin()
        self.beat(net, 10)
        for _ in range(4):
            players[0].say("still there?")
            players[1].say("yes")
            net.run(10.0)
        players[0].say("still here")
        net.run(0.3)
        self.assertIn("still here", players[1].lines[-1])
        self.assertEqual(net.stopped, 0)

    def test_stopped_and_continued(self) -> None:
        """
        A process that was stopped for longer than its lease sends nothing when it goes
        on, though inputs and heartbeats wait for it; it ends.
        """
        net = GameNet()
        players = net.begin()
        self.beat(net, 5)
        sent: list[bytes] = []
        carry = net.reactor.carry

        def watch(
            sender: tuple[str, int], datagram: bytes, to: tuple[str, int]
        ) -> None:
            if sender == (HOST, PORT):
                sent.append(datagram)
            else:
                carry(sender, datagram, to)

        self.patch(net.reactor, "carry", watch)
        players[0].say("too late")
        net.reactor.rightNow += LEASE_SECONDS
        for number in range(3):
            net.server.received(Heartbeat(self.beats + 1 + number))
        net.run(1.0)
        players[1].say("no answer")
        net.run(1.0)
        self.assertEqual(sent, [])
        self.assertEqual(net.stopped, 1)
        self.assertEqual(net.ends, [])

    def test_waits_for_a_match(self) -> None:
        """
        One without a match whose node was silent for a lease takes none: it says so,
        and ends, for its players would hear nothing from it.
        """
        net = GameNet()
        net.bind()
        self.beat(net, 5)
        net.reactor.rightNow += LEASE_SECONDS
        net.open()
        net.run(0.1)
        self.assertIn(Draining(), net.told)
        self.assertEqual(net.stopped, 1)
