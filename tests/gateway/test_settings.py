"""The settings of a gateway."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vinom.base.settings.values import LONGEST_SOCKET_PATH, Endpoint, SocketPath


class SocketPathTests(SynchronousTestCase):
    """Paths of UNIX sockets."""

    def test_longest(self) -> None:
        """A path that just fits is taken; one that the kernel would refuse is not."""
        path = "/" + "x" * (LONGEST_SOCKET_PATH - 1)
        self.assertEqual(SocketPath().read(path), Path(path))
        error = self.assertRaises(ValueError, SocketPath().read, path + "x")
        self.assertIn("at most 107 bytes", str(error))


class EndpointTests(SynchronousTestCase):
    """Where a gateway, or a node, listens."""

    def test_address_first(self) -> None:
        """
        Where others write the address first, the right endpoint is shown.
        """
        for wrong, right in (
            ("tcp:127.0.0.1:4500", "tcp:4500:interface=127.0.0.1"),
            ("tcp:localhost:80", "tcp:80:interface=localhost"),
        ):
            error = self.assertRaises(ValueError, Endpoint().read, wrong)
            self.assertEqual(
                str(error), f"must have the port first: {right}, not {wrong}"
            )
        for good in (
            "4500",
            "tcp:4500",
            "tcp:4500:interface=127.0.0.1",
            "tcp:port=4500:interface=127.0.0.1",
            "ssl:443:privateKey=/k.pem:certKey=/c.pem",
            "systemd:domain=INET:index=0",
        ):
            self.assertEqual(Endpoint().read(good), good)
