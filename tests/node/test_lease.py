"""A node's lease: kept while the node is alive, and given up at its end."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.model import NodeFacts
from vinom.errors import StoreUnavailable
from vinom.node.lease import OwnLease
from vinom.store.memory.nodes import MemoryNodeStore


class Moody(MemoryNodeStore):
    """A registry that may not answer."""

    silent: bool = False

    def renew(self, node: NodeFacts, lease: int, seconds: float) -> Deferred[bool]:
        if self.silent:
            return fail(StoreUnavailable("silent"))
        return MemoryNodeStore.renew(self, node, lease, seconds)

    def lose(self) -> None:
        self._leases.clear()
        self.epoch += "-next"


class LeaseTests(SynchronousTestCase):
    """What other nodes see of this one."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = Moody(self.clock.seconds)
        self.players = 0
        self.regained: list[int] = []
        self.over: list[float] = []
        self.lease = OwnLease(self.store, self.clock, self.clock.seconds)
        self.lease.watch = self
        self.lease.startService()

    def facts(self) -> NodeFacts:
        return NodeFacts("n1", {}, "1", self.players)

    def lease_granted(self) -> None:
        pass

    def lease_regained(self) -> None:
        self.regained.append(self.lease.number)

    def lease_over(self) -> None:
        self.over.append(self.clock.seconds())

    def nodes(self) -> list[NodeFacts]:
        return [lease.node for lease in self.successResultOf(self.store.nodes())]

    def test_renews(self) -> None:
        """
        A node keeps its lease for as long as it runs, and reports its load.
        """
        number = self.lease.number
        self.players = 7
        for _ in range(60):
            self.clock.advance(1.0)
            self.assertTrue(self.lease.is_current)
        self.assertEqual(self.lease.number, number)
        self.assertEqual(self.nodes(), [self.facts()])
        self.assertEqual((self.regained, self.over), ([], []))

    def test_goes_on_after_a_mistake(self) -> None:
        """
        A mistake of ours while a lease is renewed does not end it.
        """
        mistake = self.patch(self.store, "renew", lambda *_: fail(ValueError("ours")))
        self.clock.advance(2.0)
        mistake.restore()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        for _ in range(20):
            self.clock.advance(1.0)
            self.assertTrue(self.lease.is_current)

    def test_news_while_the_store_is_asked(self) -> None:
        """
        What a node has to report at once, as that it is about to stop, is reported at
        once also if an older report is on its way.
        """
        answers: list[Deferred[None]] = []

        def renew(node: NodeFacts, lease: int, seconds: float) -> Deferred[bool]:
            answers.append(Deferred())
            return answers[-1].addCallback(
                lambda _: MemoryNodeStore.renew(self.store, node, lease, seconds)
            )

        self.patch(self.store, "renew", renew)
        self.clock.advance(2.0)
        self.players = 7
        self.lease.beat()
        answers[0].callback(None)
        self.assertEqual(len(answers), 2)
        answers[1].callback(None)
        self.assertEqual(self.nodes()[0].players, 7)
        self.clock.advance(2.0)
        self.assertEqual(len(answers), 3)

    def test_silence(self) -> None:
        """
        Without the store the lease ends for this node not later than for others; later
        it gets a new one, with a larger number.
        """
        number = self.lease.number
        self.clock.advance(1.0)
        self.store.silent = True
        for _ in range(18):
            self.clock.advance(0.5)
            # It never believes in a lease that others see ended.
            listed = bool(self.nodes())
            self.assertFalse(self.lease.is_current and not listed)
        self.clock.advance(0.5)
        self.assertFalse(self.lease.is_current)
        self.store.silent = False
        with capturedLogs() as logged:
            self.lease.beat()
        self.assertIn(
            "silent for longer than 10 s", "\n".join(map(formatEvent, logged))
        )
        self.assertTrue(self.lease.is_current)
        self.assertGreater(self.lease.number, number)
        # What others did meanwhile is looked up once.
        self.assertEqual(self.regained, [self.lease.number])
        self.clock.advance(2.0)
        self.assertEqual(len(self.regained), 1)

    def test_end(self) -> None:
        """
        At the moment at which its lease ends, without the store, a node knows it; one
        that has stopped does not care.
        """
        self.clock.advance(1.0)
        self.store.silent = True
        self.clock.pump([0.5] * 17)
        self.assertEqual((self.lease.is_current, self.over), (True, []))
        self.clock.pump([0.5] * 10)
        self.assertEqual((self.lease.is_current, self.over), (False, [10.0]))
        self.store.silent = False
        self.clock.pump([0.5] * 4)
        self.assertTrue(self.lease.is_current)
        self.successResultOf(self.lease.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.over, [10.0])

    def test_slow_answer(self) -> None:
        """
        A lease counts from when its renewal was sent, not from when it was answered.
        """
        answer: Deferred[bool] = Deferred()
        self.store.renew = lambda *_: answer  # type: ignore[method-assign]
        self.clock.advance(2.0)
        self.clock.advance(9.0)
        answer.callback(True)
        self.assertTrue(self.lease.is_current)
        self.clock.advance(1.5)
        self.assertFalse(self.lease.is_current)

    def test_leaves(self) -> None:
        """
        A node that stops does not keep others waiting for the end of its lease.
        """
        self.successResultOf(self.lease.stopService())
        self.assertEqual(self.nodes(), [])
        self.assertFalse(self.lease.is_current)
        self.assertEqual(self.successResultOf(self.store.nodes(expired=True)), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_emptied(self) -> None:
        """
        A store that comes back empty is not believed when it does not know something,
        until all nodes had time to put back what it has lost.
        """
        self.clock.advance(1.0)
        self.assertTrue(self.lease.is_store_complete())
        self.lease.doubt()
        self.store.lose()
        self.clock.advance(0.5)
        self.assertFalse(self.lease.is_store_complete())
        with capturedLogs() as logged:
            self.lease.beat()
        told = "\n".join(map(formatEvent, logged))
        self.assertIn("the store has lost everything", told)
        # Nobody was silent.
        self.assertNotIn("silent for longer", told)
        self.assertEqual(self.regained, [self.lease.number])
        self.assertTrue(self.lease.has_emptied)
        self.assertFalse(self.lease.is_store_complete())
        # The connection is lost once more while others put back what they have.
        self.clock.advance(1.0)
        self.lease.doubt()
        self.lease.beat()
        self.assertFalse(self.lease.is_store_complete())
        self.clock.pump([0.5] * 9)
        self.assertTrue(self.lease.is_store_complete())

    def test_started_meanwhile(self) -> None:
        """
        A node that starts while others put back what a store has lost does not believe
        the store either; nor does one that was there first, when it finds out.
        """
        self.assertTrue(self.lease.is_store_complete())
        self.store.restoring = 3.0
        self.clock.advance(2.0)
        self.assertFalse(self.lease.is_store_complete())
        self.store.restoring = 1.0
        self.clock.advance(2.0)
        self.assertFalse(self.lease.is_store_complete())
        self.store.restoring = 0.0
        self.clock.advance(1.0)
        self.assertTrue(self.lease.is_store_complete())
        self.assertFalse(self.lease.has_emptied)

    def test_as_it_was(self) -> None:
        """
        One that still has everything is believed at once; also if the lease ended
        meanwhile.
        """
        self.lease.doubt()
        self.assertFalse(self.lease.is_store_complete())
        self.lease.beat()
        self.assertTrue(self.lease.is_store_complete())
        self.lease.doubt()
        self.store.silent = True
        self.clock.pump([1.0] * 11)
        self.assertFalse(self.lease.is_store_complete())
        self.store.silent = False
        self.lease.beat()
        self.assertEqual(self.regained, [self.lease.number])
        self.assertFalse(self.lease.has_emptied)
        self.assertTrue(self.lease.is_store_complete())
