"""Tests of vinom.net.dtls.freed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vinom.net.dtls.freed import FreedMemory, return_freed_memory


class FreedMemoryTests(SynchronousTestCase):
    """When freed memory goes back to the system."""

    def test_a_few(self) -> None:
        """
        A few handshakes that led to nothing are not worth it.
        """
        freed = FreedMemory(least=3)
        for _ in range(2):
            freed.add(1.0)
        self.assertIsNone(freed.deadline())
        self.assertFalse(freed.is_due(100.0))

    def test_many(self) -> None:
        """
        Many are, at once; and then not more often than once per second.
        """
        freed = FreedMemory(least=3)
        for _ in range(5):
            freed.add(1.0)
        self.assertEqual(freed.deadline(), 1.0)
        self.assertTrue(freed.is_due(1.0))
        self.assertFalse(freed.is_due(1.0))
        for _ in range(3):
            freed.add(1.1)
        self.assertEqual(freed.deadline(), 2.0)
        self.assertFalse(freed.is_due(1.9))
        self.assertTrue(freed.is_due(2.0))
        self.assertIsNone(freed.deadline())

    def test_return(self) -> None:
        """
        It can be done anywhere, also where it does nothing.
        """
        return_freed_memory()
