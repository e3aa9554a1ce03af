"""When a busy port is looked at again."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vinom.net.dtls.port import PacedReader, Pacing


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


class SomePort:
    """Notes the calls that a reactor makes to its ports."""

    def __init__(self) -> None:
        self.is_reading = True
        self.looks = 0

    def doRead(self) -> None:
        self.looks += 1

    def startReading(self) -> None:
        self.is_reading = True

    def stopReading(self) -> None:
        self.is_reading = False


class PacedReaderTests(SynchronousTestCase):
    """`PacedReader` before a port that only counts."""

    def setUp(self) -> None:
        self.clock, self.port = Clock(), SomePort()
        self.pacing = Pacing(pause=0.003, is_paced=True)
        self.reader = PacedReader(self.clock, self.port, self.pacing)

    def test_pause(self) -> None:
        """
        What comes while a busy port sleeps is read when it wakes.
        """
        self.reader.turned(5, 0.001, 0.01)
        self.assertFalse(self.port.is_reading)
        self.clock.advance(0.003)
        self.assertEqual((self.port.looks, self.port.is_reading), (1, True))

    def test_sent_meanwhile(self) -> None:
        """
        A turn that only sends, during the sleep, changes nothing about it.
        """
        self.reader.turned(5, 0.001, 0.01)
        self.reader.turned(0, 0.001, 0.011)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.assertFalse(self.port.is_reading)

    def test_quiet(self) -> None:
        """
        A quiet port never sleeps.
        """
        self.pacing.is_paced = False
        self.reader.turned(5, 0.001, 0.01)
        self.assertTrue(self.port.is_reading)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """
        A port that closes while it sleeps is left alone.
        """
        self.reader.turned(5, 0.001, 0.01)
        self.reader.stop()
        self.clock.advance(1)
        self.assertEqual(self.port.looks, 0)
