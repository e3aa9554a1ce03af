"""What ``vinom doctor`` says of limits for strangers, and of proxies."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vinom.node.settings import Settings
from vinom.tools.doctor.machine import descriptor_reserve
from vinom.tools.doctor.trust import plain_ports, proxies

BEHIND = {"advertise": "play.example.org", "http": "tcp:8080:interface=127.0.0.1"}


class StrangerTests(SynchronousTestCase):
    def test_plain_ports(self) -> None:
        """
        An operator is warned of each port at which player keys or the admin token pass
        the network in plain text, and not where they do not.
        """

        def verdicts(**settings: Any) -> list[str]:
            found = plain_ports(
                Settings(guests="yes", admin_token_file=Path("token"), **settings)
            )
            return [f"{one.name} {one.verdict}" for one in found]

        outside: dict[str, Any] = {"interface": "0.0.0.0", "advertise": "a.example"}
        local = {"http": "tcp:8080:interface=127.0.0.1"}
        tls = {"admin": "ssl:8481:privateKey=k:certKey=c"}
        silenced = {"http": "8080", "allow_plaintext": True}
        for settings, verdict in (
            ({"http": "8080", "admin": "8481"}, "warning"),
            (silenced | {"admin": "tcp:8481:interface=127.0.0.1"}, "ok"),
            (local | tls, "ok"),
        ):
            found = [f"{name} encryption {verdict}" for name in ("http", "admin")]
            self.assertEqual(verdicts(**settings, **outside), found)
        self.assertEqual(verdicts(), [])

    def test_reserve(self) -> None:
        """
        A reserve of most of the descriptors is a warning.
        """
        self.assertEqual(descriptor_reserve(1024).verdict, "ok")
        self.assertEqual(descriptor_reserve(255).verdict, "warning")


class ProxyTests(SynchronousTestCase):
    def assert_found(self, verdict: str, seen: Any = (), **settings: Any) -> str:
        found = proxies(Settings(**{**BEHIND, **settings}), dict(seen))
        self.assertEqual(found.verdict, verdict, found)
        return f"{found.message} {found.remedy}"

    def test_forgotten(self) -> None:
        """
        A page that only this machine reaches, on a public node, stands behind a proxy:
        without the setting all its visitors are one address, or guests.
        """
        told = self.assert_found("warning")
        self.assertIn("set proxy", told)
        self.assertIn("256 connections", told)
        self.assertIn("guests", told)
        self.assert_found("warning", http="8080", interface="127.0.0.1")
        self.assert_found("ok", proxy=(ip_network("127.0.0.1"),))
        self.assert_found("ok", http="tcp:8080:interface=192.0.2.1")
        self.assert_found("ok", advertise="127.0.0.1")
        tls = {"http": "8443", "interface": "127.0.0.1", "http_tls": True}
        self.assert_found("ok", advertise="localhost", **tls)

    def test_seen_by_the_node(self) -> None:
        """
        A running node has seen headers of a proxy that is not configured, or a
        configured one that names nobody.
        """
        told = self.assert_found("warning", {"not_believed": 3})
        self.assertIn("3 connections", told)
        proxy = (ip_network("127.0.0.1"),)
        told = self.assert_found("warning", {"unnamed": 2}, proxy=proxy)
        self.assertIn("named nobody", told)
