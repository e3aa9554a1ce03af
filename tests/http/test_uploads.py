"""How fast bodies must come."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vinom.http.uploads import Upload


class UploadTests(SynchronousTestCase):
    def test_each_byte_gives_time(self) -> None:
        """
        After the grace each byte gives as much time as it may take.
        """
        upload = Upload(100, 30, 1000.0)
        self.assertEqual(upload.deadline(), 1030.0)
        upload.received(250)
        self.assertEqual(upload.deadline(), 1032.5)

    def test_paused(self) -> None:
        """
        The time for which it is not read is not the client's; to pause twice is once.
        """
        upload = Upload(100, 30, 1000.0)
        upload.pause(1010.0)
        upload.pause(1015.0)
        upload.resume(1020.0)
        upload.resume(1025.0)
        self.assertEqual(upload.deadline(), 1040.0)

    def test_no_limit(self) -> None:
        """
        A rate of 0 is no limit.
        """
        self.assertEqual(Upload(0, 30, 1000.0).deadline(), float("inf"))
