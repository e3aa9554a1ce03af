"""The settings of a gateway."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vinom.settings.values import LONGEST_SOCKET_PATH, SocketPath


class SocketPathTests(SynchronousTestCase):
    """Paths of UNIX sockets."""

    def test_too_long(self) -> None:
        """A path that the kernel would refuse is refused when it is read."""
        path = "/" + "x" * LONGEST_SOCKET_PATH
        error = self.assertRaises(ValueError, SocketPath().read, path)
        self.assertIn("at most 107 bytes", str(error))

    def test_longest(self) -> None:
        """A path that just fits is taken."""
        path = "/" + "x" * (LONGEST_SOCKET_PATH - 1)
        self.assertEqual(SocketPath().read(path), Path(path))
