"""When a busy port is looked at again."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vinom.net.dtls.port import Pacing


class PacingTests(SynchronousTestCase):
    """`Pacing` with turns at chosen times."""

    def setUp(self) -> None:
        self.pacing = Pacing(pause=0.002, window=0.05, busy=0.5, calm=0.2, most=96)
        self.now = 10.0

    def turns(
        self, count: int, every: float, share: float, datagrams: int = 1
    ) -> list[float]:
        """Take turns that fill a share of the time; returns the pauses after them."""
        pauses = []
        for _ in range(count):
            self.now += every
            pauses.append(self.pacing.turned(datagrams, share * every, self.now))
        return pauses

    def test_quiet(self) -> None:
        """
        A player on a server that has time is always answered at once.
        """
        self.assertEqual(set(self.turns(500, 0.0005, 0.4)), {0.0})

    def test_busy(self) -> None:
        """
        When turns take most of the time, each look brings several datagrams.
        """
        pauses = self.turns(500, 0.0005, 0.7)
        self.assertEqual((pauses[0], pauses[-1]), (0.0, 0.002))

    def test_pauses_help(self) -> None:
        """
        Pauses do not end just because they make turns cheaper.
        """
        self.turns(500, 0.0005, 0.7)
        self.assertEqual(set(self.turns(500, 0.002, 0.3)), {0.002})

    def test_over(self) -> None:
        """
        Soon after the last busy moment everybody is answered at once again.
        """
        self.turns(500, 0.0005, 0.7)
        self.assertEqual(self.turns(60, 0.002, 0.1)[-1], 0.0)

    def test_after_silence(self) -> None:
        """
        The first player after a busy time and a silence does not wait.
        """
        self.turns(500, 0.0005, 0.7)
        self.assertEqual(self.turns(1, 5.0, 0.0), [0.0])

    def test_flood(self) -> None:
        """
        What comes too fast for the operating system to keep is taken at once.
        """
        self.turns(500, 0.0005, 0.7)
        self.assertEqual(self.turns(1, 0.002, 0.5, 97), [0.0])
        self.assertEqual(self.turns(1, 0.002, 0.5, 50), [0.002])
