"""When a server that owes an answer is doubted, and what a seat carries on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.packet_net import PacketNet
from vinom.net.dtls.bad_network import Conditions
from vinom.net.packets.player import FellSilent, SpokeAgain
from vinom.net.packets.quality import MOST_PATIENCE, PATIENCE, Watch
from vinom.net.packets.reliable import UnackedInputs


class WatchTests(SynchronousTestCase):
    def doubted_after(self, watch: Watch, now: float) -> float:
        """Let time pass without a packet; returns when the server is doubted."""
        while not watch.is_doubted:
            at = watch.deadline()
            now = max(now, at)
            watch.doubts(now)
            watch.probes(0.15, now)
        return now

    def test_nothing_is_due(self) -> None:
        """
        A server that owes nothing may be silent.
        """
        self.assertEqual(Watch().deadline(), float("inf"))

    def test_answer_is_overdue(self) -> None:
        """
        A server is doubted 400 ms after what has no answer; later questions change
        nothing.
        """
        watch = Watch()
        watch.asked(0.15, 10.0)
        watch.asked(0.15, 10.3)
        self.assertAlmostEqual(self.doubted_after(watch, 10.0), 10.0 + PATIENCE)

    def test_far_server(self) -> None:
        """
        A server far away has twice the time that an answer usually takes.
        """
        watch = Watch()
        watch.asked(0.8, 10.0)
        self.assertAlmostEqual(self.doubted_after(watch, 10.0), 11.6)

    def test_false_alarms(self) -> None:
        """
        Each false alarm doubles the time, up to 3 s.
        """
        watch, found = Watch(), []
        for _ in range(5):
            watch.asked(0.15, 10.0)
            found.append(self.doubted_after(watch, 10.0) - 10.0)
            self.assertTrue(watch.heard())
        for took, expected in zip(found, (0.4, 0.8, 1.6, MOST_PATIENCE), strict=False):
            self.assertAlmostEqual(took, expected)
        self.assertAlmostEqual(found[-1], MOST_PATIENCE)

    def test_held_up(self) -> None:
        """
        A player whose machine stood still reads what came before it doubts anybody.
        """
        watch = Watch()
        watch.asked(0.15, 10.0)
        self.assertFalse(watch.doubts(15.0))
        self.assertFalse(watch.heard())
        self.assertFalse(watch.doubts(15.0))
        self.assertEqual(watch.deadline(), float("inf"))

    def test_hint(self) -> None:
        """
        After a hint the server has a tenth of a second; more hints do not count.
        """
        watch = Watch()
        self.assertTrue(watch.hinted(0.15, 10.0))
        self.assertFalse(watch.hinted(0.15, 10.05))
        self.assertAlmostEqual(self.doubted_after(watch, 10.0), 10.1)


class LossTests(SynchronousTestCase):
    def test_silent_server(self) -> None:
        """
        A player whose server vanishes learns it within half a second of its next
        action, and that it is back.
        """
        net = PacketNet()
        net.join()
        net.losing = lambda who, number, packet: who == "server"
        net.player.act(b"go", net.clock.seconds())
        net.run(0.5)
        self.assertIn(FellSilent(), net.player_events)
        self.assertNotIn(SpokeAgain(), net.player_events)
        net.losing = lambda who, number, packet: False
        net.run(0.5)
        self.assertEqual(net.player_events[-1], SpokeAgain())

    def test_bad_network(self) -> None:
        """
        At a loss of a tenth in each direction, hardly anybody who acts doubts the
        server.
        """
        doubts = 0
        for seed in range(10):
            net = PacketNet(seed, Conditions(loss=0.1, delay=0.03, jitter=0.01))
            net.run(3.0)
            for number in range(200):
                net.player.act(b"go", net.clock.seconds())
                net.show(number + 1, b"v")
                net.run(0.1)
            doubts += sum(isinstance(e, FellSilent) for e in net.player_events)
        self.assertLessEqual(doubts, 2)


class UnackedInputsTests(SynchronousTestCase):
    @given(
        st.lists(st.sampled_from(["add", "ack", "welcome"]), max_size=30), st.randoms()
    )
    def test_any_order(self, steps: list[str], chance: object) -> None:
        """
        Whatever is added, acknowledged and taken up again, actions keep their order,
        and numbers that a server has are never used again.
        """
        waiting, sent, has = UnackedInputs(), 0, 0
        for step in steps:
            if step == "add":
                sent += 1
                self.assertEqual(waiting.add(b"%d" % sent), sent)
            else:
                has = chance.randint(has, sent)  # type: ignore[attr-defined]
                if step == "ack":
                    waiting.acknowledge(has)
                else:
                    waiting.continue_after(has)
            left = [int(action) for action in waiting]
            self.assertEqual(left, [*range(has + 1, sent + 1)])
            self.assertEqual((waiting.first, waiting.last), (has + 1, sent))

    def test_server_has_more(self) -> None:
        """
        If another program played the seat, numbers go on after its own.
        """
        waiting = UnackedInputs()
        waiting.add(b"a")
        waiting.continue_after(7)
        self.assertEqual((len(waiting), waiting.add(b"b")), (0, 8))

    def test_server_has_less(self) -> None:
        """
        A server that lacks what it acknowledged gets the rest under numbers that it
        waits for.
        """
        waiting = UnackedInputs()
        for action in (b"a", b"b", b"c"):
            waiting.add(action)
        waiting.acknowledge(2)
        waiting.continue_after(1)
        self.assertEqual((waiting.first, list(waiting)), (2, [b"c"]))
