"""When a busy port is looked at again."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vinom.rules.pacing import Pacing


class PacingTests(SynchronousTestCase):
    """`Pacing`, told of turns at chosen times."""

    def setUp(self) -> None:
        self.pacing = Pacing(pause=0.003, window=0.05, busy=40, calm=40, most=96)
        self.now = 10.0

    def turns(self, count: int, every: float, datagrams: int = 1) -> list[float]:
        """Take so many turns; gives the pauses after them."""
        pauses = []
        for _ in range(count):
            self.now += every
            pauses.append(self.pacing.turned(datagrams, self.now))
        return pauses

    def test_quiet(self) -> None:
        """
        A player among few is answered at once, always.
        """
        self.assertEqual(set(self.turns(500, 0.002)), {0.0})

    def test_busy(self) -> None:
        """
        When turns are many, each look brings several datagrams.
        """
        pauses = self.turns(500, 0.0005)
        self.assertEqual((pauses[0], pauses[-1]), (0.0, 0.003))

    def test_over(self) -> None:
        """
        Soon after the last busy moment everybody is answered at once again.
        """
        self.turns(500, 0.0005)
        self.assertEqual(self.turns(50, 0.003)[-1], 0.0)

    def test_after_silence(self) -> None:
        """
        Whoever comes first after a busy time and a silence does not wait.
        """
        self.turns(500, 0.0005)
        self.assertEqual(self.turns(1, 5.0), [0.0])

    def test_flood(self) -> None:
        """
        What comes too fast for the operating system to keep is taken at once.
        """
        self.turns(500, 0.0005)
        self.assertEqual(self.turns(1, 0.003, 97), [0.0])
        self.assertEqual(self.turns(1, 0.003, 50), [0.003])

    def test_turns_that_only_send(self) -> None:
        """
        A game that ticks by itself does not make its port pause.
        """
        self.assertEqual(set(self.turns(500, 0.0005, 0)), {0.0})
