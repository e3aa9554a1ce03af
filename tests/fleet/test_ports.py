"""The ring of ports: each is in exactly one place, always."""

from __future__ import annotations

from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.model import Addresses
from vinom.fleet.port_ring import GamePorts, PortRing

SIZE = 5


class PortRingTests(SynchronousTestCase):
    """What game servers get."""

    def test_longest_rest_first(self):
        """
        A port that was just used is used again last, so that stray datagrams
        of an old match do not meet a new one.
        """
        ring = PortRing(46000, 46002)
        first = ring.take()
        ring.give_back(first)
        self.assertEqual([ring.take() for _ in range(4)], [46001, 46002, first, None])

    def test_quarantine(self):
        """
        A port that somebody else holds is left alone for a while.
        """
        ring = PortRing(46000, 46001, quarantine=30.0)
        ring.quarantine(ring.take(), now=100.0)
        ring.quarantine(ring.take(), now=101.0)
        self.assertEqual(ring.deadline(), 130.0)
        ring.alarm(129.9)
        self.assertIsNone(ring.take())
        ring.alarm(130.0)
        self.assertEqual([ring.take(), ring.take()], [46000, None])
        ring.alarm(131.0)
        self.assertEqual(ring.take(), 46001)
        self.assertEqual(ring.deadline(), inf)

    def test_in_use_at_the_start(self):
        """
        Ports of other programs are found before a match needs one, and used once these
        have ended: not before, though their quarantine is over.
        """
        others, now = {46001, 46002}, [0.0]
        ring = PortRing(46000, 46002, is_free=lambda port: port not in others)
        ports = GamePorts(ring, "::1", "host", lambda: now[0])
        self.assertEqual(ports.look(), [46001, 46002])
        others.remove(46002)
        now[0] = 30.0
        self.assertEqual(ports.counts(), Addresses(2, 0, 1))
        self.assertEqual([ring.take() for _ in range(3)], [46000, 46002, None])
        others.clear()
        now[0] = 60.0
        self.assertEqual(ports.counts(), Addresses(1, 2, 0))

    def test_set_aside(self):
        """
        The port of a game server that plays on for another node is tried again only
        later; one outside the ring was never this node's.
        """
        now = [0.0]
        ports = GamePorts(PortRing(46000, 46001), "::1", "host", lambda: now[0])
        ports.withhold("s1", 46000)
        ports.withhold("s2", 50000)
        for server_id in ("s1", "s2", "s3"):
            ports.set_aside(server_id)
        counts = ports.counts()
        self.assertEqual((counts.free, counts.bound, counts.quarantined), (1, 0, 1))
        now[0] = 60.0
        self.assertEqual(ports.counts().free, 2)

    def test_not_taken(self):
        """
        A port cannot come back twice, or from nowhere.
        """
        ring = PortRing(46000, 46001)
        port = ring.take()
        ring.give_back(port)
        for other in (port, 46001, 80):
            self.assertRaises(ValueError, ring.give_back, other)
            self.assertRaises(ValueError, ring.quarantine, other, 0.0)

    def test_no_range(self):
        """
        A range that is none is refused when the ring is made.
        """
        for first, last in ((0, 5), (5, 4), (65535, 65536)):
            self.assertRaises(ValueError, PortRing, first, last)

    def test_any_order(self):
        """
        With any events in any order, no port is lost or had twice.
        """
        run_state_machine_as_test(
            PortRingMachine,
            settings=settings(
                max_examples=60, stateful_step_count=30, deadline=None, database=None
            ),
        )


class PortRingMachine(RuleBasedStateMachine):
    """Any order of events; `free + bound + quarantined` is always all."""

    def __init__(self):
        super().__init__()
        self.ring = PortRing(46000, 46000 + SIZE - 1, quarantine=10.0)
        self.now = 0.0
        self.taken = []

    @rule()
    def take(self):
        port = self.ring.take()
        if port is not None:
            assert port not in self.taken
            self.taken.append(port)
        else:
            assert self.ring.counts(self.now).free == 0

    @precondition(lambda self: self.taken)
    @rule(which=st.integers(0, SIZE))
    def give_back(self, which):
        self.ring.give_back(self.taken.pop(which % len(self.taken)))

    @precondition(lambda self: self.taken)
    @rule(which=st.integers(0, SIZE))
    def quarantine(self, which):
        port = self.taken.pop(which % len(self.taken))
        self.ring.quarantine(port, self.now)

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds):
        self.now += seconds
        self.ring.alarm(self.now)
        assert self.ring.deadline() > self.now

    @invariant()
    def all_ports(self):
        counts = self.ring.counts(self.now)
        assert counts.bound == len(self.taken)
        assert counts.free + counts.bound + counts.quarantined == SIZE
