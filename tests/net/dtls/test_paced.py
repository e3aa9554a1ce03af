"""A port that sleeps between looks while it is busy."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vinom.net.dtls.port import PacedReader, Pacing


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
