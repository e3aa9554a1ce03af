"""What operators learn about the port that everybody finds."""

from __future__ import annotations

from ipaddress import ip_network

import attrs
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from vinom.node.build import is_plaintext
from vinom.node.settings import Settings


@attrs.frozen
class Port:
    """A port that listens somewhere."""

    where: object

    def getHost(self) -> object:
        return self.where


class PlainTextTests(SynchronousTestCase):
    """Which connections others could read."""

    def is_told(self, host: str, **settings: object) -> bool:
        made = Settings(**{"http": "8080", **settings})
        return is_plaintext(made, Port(IPv4Address("TCP", host, 8080)))

    def test_other_machines(self) -> None:
        """
        An operator who lets other machines in without TLS is warned of it.
        """
        self.assertTrue(self.is_told("0.0.0.0"))
        self.assertTrue(self.is_told("192.0.2.1"))
        self.assertTrue(self.is_told("192.0.2.1", http="tcp:8080:interface=192.0.2.1"))

    def test_nobody_reads_along(self) -> None:
        """
        Nothing is reported where nobody can read along, or somebody saw to it.
        """
        self.assertFalse(self.is_told("127.0.0.1"))
        self.assertFalse(self.is_told("0.0.0.0", http_tls=True))
        self.assertFalse(self.is_told("0.0.0.0", http="ssl:8080:privateKey=x"))
        self.assertFalse(self.is_told("0.0.0.0", proxy=(ip_network("10.0.0.1"),)))
        self.assertFalse(self.is_told("0.0.0.0", allow_plaintext=True))
        port = Port(UNIXAddress(b"/run/vinom.sock"))
        self.assertFalse(is_plaintext(Settings(http="unix:x"), port))
