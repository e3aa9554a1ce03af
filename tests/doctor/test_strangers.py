"""What ``vinom doctor`` says of limits for strangers, and of proxies."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vinom.doctor.strangers import (
    descriptor_reserve,
    host_names,
    plain_ports,
    proxies,
    stranger_limits,
)
from vinom.limits.origins import read_origin_rule
from vinom.node.build import own_hosts
from vinom.node.settings import Settings

BEHIND = {"advertise": "play.example.org", "http": "tcp:8080:interface=127.0.0.1"}


class StrangerTests(SynchronousTestCase):
    def test_limits(self) -> None:
        """
        Each limit for strangers has a line, with the numbers that count.
        """
        found = {
            one.name: one.told
            for one in stranger_limits(
                Settings(
                    connections_per_address=7,
                    connections_per_network=5,
                    max_connections=99,
                    admin_connections=8,
                    tls_hello_rate=3.0,
                    request_head_seconds=4.0,
                    request_body_seconds=6.0,
                    stranger_log_rate=2.0,
                )
            )
        }
        for name, words in {
            "connections": ("7 of one address", "7 of one network", "99 in all"),
            "admin connections": ("2 of one address", "4 of one network", "8 in all"),
            "tls handshakes": ("3 per second", "15 at once"),
            "http requests": ("4 s for the headers", "6 s for the body"),
            "log of strangers": ("2 lines per second", "40 at once"),
        }.items():
            for word in words:
                self.assertIn(word, found[name])

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
        self.assertEqual(
            verdicts(http="8080", admin="8481", **outside),
            ["http encryption warning", "admin encryption warning"],
        )
        self.assertEqual(
            verdicts(
                http="8080",
                admin="tcp:8481:interface=127.0.0.1",
                allow_plaintext=True,
                **outside,
            ),
            ["http encryption ok", "admin encryption ok"],
        )
        self.assertEqual(
            verdicts(
                http="tcp:8080:interface=127.0.0.1",
                admin="ssl:8481:privateKey=k:certKey=c",
                **outside,
            ),
            ["http encryption ok", "admin encryption ok"],
        )
        self.assertEqual(verdicts(), [])

    def test_reserve(self) -> None:
        """
        A reserve that is none, or as large as what is there, is a warning.
        """
        self.assertEqual(descriptor_reserve(128, 1024).verdict, "ok")
        self.assertEqual(descriptor_reserve(0, 1024).verdict, "warning")
        self.assertEqual(descriptor_reserve(600, 1024).verdict, "warning")

    def test_names(self) -> None:
        """
        The names that browsers may use are listed.
        """
        rule = read_origin_rule("*.example.com")
        settings = Settings(advertise="play.example.org", origin=(rule,))
        found = host_names(settings, own_hosts(settings))
        self.assertEqual(found.verdict, "ok")
        self.assertIn("localhost, play.example.org, *.example.com", found.told)
        settings = Settings(any_origin=True)
        self.assertEqual(host_names(settings, own_hosts(settings)).verdict, "warning")


class ProxyTests(SynchronousTestCase):
    def assert_found(self, verdict: str, seen: Any = (), **settings: Any) -> str:
        found = proxies(Settings(**{**BEHIND, **settings}), dict(seen))
        self.assertEqual(found.verdict, verdict, found)
        return f"{found.told} {found.remedy}"

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
