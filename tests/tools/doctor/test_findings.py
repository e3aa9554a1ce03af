"""What ``vinom doctor`` makes of what it saw."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import attrs
from cryptography.x509 import Certificate, load_pem_x509_certificate
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import authority
from vinom.node.settings import Settings
from vinom.tools.doctor import machine
from vinom.tools.doctor.findings import Finding, Subject, count_verdicts, summary
from vinom.tools.doctor.machine import (
    clock,
    descriptors,
    descriptors_needed,
    disk,
    examine_game_servers,
    receive_buffer,
    state_directory,
)
from vinom.tools.doctor.network import Reach, probed_sizes, public_host, reachability
from vinom.tools.doctor.ports import Owner, Tried, control_socket, game_ports, listening
from vinom.tools.doctor.trust import covers, examine_pair, judge_certificate

DAY = 86400.0
FREE = Tried()
NODE = Tried("EADDRINUSE", Owner(7, "twistd", is_ours=True))
DNS = Tried("EADDRINUSE", Owner(9, "dnsmasq"))


class DoctorCase(SynchronousTestCase):
    def assert_found(self, found: Finding, verdict: str, *words: str) -> None:
        """It is that bad, and its sentences have these words."""
        self.assertEqual(found.verdict, verdict, found)
        for word in words:
            self.assertIn(word, f"{found.message} -> {found.remedy}")


class FindingTests(DoctorCase):
    def test_what_is_not_ok_has_a_remedy(self) -> None:
        """
        Each problem is reported with a remedy.
        """
        for verdict, remedy in (("warning", None), ("failure", None), ("ok", "x")):
            with self.assertRaises(ValueError):
                Finding("a", verdict, "b", remedy)

    def test_summary(self) -> None:
        """
        The last line counts; one is not "1 warnings".
        """
        a = Subject("a")
        found = [a.ok("b"), a.warning("b", "c"), a.not_checked("b", "c")]
        self.assertEqual(summary(found), "1 ok, 1 warning, 0 failures, 1 not checked")
        self.assertEqual(count_verdicts([a.failure("b", "c")])["failure"], 1)


class PortTests(DoctorCase):
    def test_lobby_port(self) -> None:
        """
        A taken port is named with its owner; the node's own is fine.
        """
        for tried, verdict, word in (
            (FREE, "ok", "is free"),
            (NODE, "ok", "running node"),
            (DNS, "failure", "dnsmasq (process 9)"),
            (Tried("EADDRINUSE"), "failure", "run this as root"),
            (Tried("EACCES"), "failure", "CAP_NET_BIND_SERVICE"),
            (Tried("EADDRNOTAVAIL"), "failure", "set interface"),
            (Tried("EMFILE"), "failure", "EMFILE"),
        ):
            found = listening("lobby", "127.0.0.1:4600", "port", tried)
            self.assert_found(found, verdict, word)

    def judge(self, *tried: Tried, **more: Any) -> list[Finding]:
        asked: dict[str, Any] = {"ephemeral": (), "reserved": (), "is_public": False}
        return [*game_ports(dict(enumerate(tried, 10)), **(asked | more))]

    def test_game_ports(self) -> None:
        """
        Taken ports are counted and named; a range without a free port fails.
        """
        (found,) = self.judge(FREE, NODE, FREE)
        self.assert_found(found, "ok", "2 of 3 are free, 1 used by the running node")
        (found,) = self.judge(FREE, DNS, DNS, Tried("EADDRINUSE"), DNS)
        self.assert_found(
            found,
            "warning",
            "UDP 10-14",
            "1 of 5",
            "4 not",
            "11-12 by dnsmasq (process 9)",
            "13 by a process that this user cannot see",
        )
        (found,) = self.judge(DNS, FREE, DNS)
        self.assert_found(found, "warning", "2 of 10-12 by dnsmasq")
        (found,) = self.judge(DNS, DNS)
        self.assert_found(found, "failure", "none of them")
        (found,) = self.judge(Tried("EACCES"), Tried("EACCES"))
        self.assert_found(found, "failure", "set ports to ports from 1024")

    def test_many_owners(self) -> None:
        """
        A hundred owners do not fill the screen.
        """
        tried = [Tried("EADDRINUSE", Owner(n, "x")) for n in range(100)]
        (found,) = self.judge(*tried, FREE)
        self.assertIn("and 96 more", found.message)

    def test_ports_of_everybody(self) -> None:
        """
        A public node's ports should be reserved: the kernel gives them to others.
        """
        ephemeral = {"ephemeral": range(11, 21), "is_public": True}
        _, found = self.judge(FREE, FREE, FREE, **ephemeral)
        self.assert_found(found, "warning", "2 of", "ip_local_reserved_ports=10-12")
        reserved = frozenset({11, 12})
        self.assertEqual(
            len(self.judge(FREE, FREE, FREE, **ephemeral, reserved=reserved)), 1
        )
        self.assertEqual(len(self.judge(FREE, FREE, ephemeral=range(1, 99))), 1)

    def test_any_range(self) -> None:
        """
        Whichever ports are taken, there is one finding, and it fails only if nothing is
        left to play on.
        """
        each = (FREE, NODE, DNS, Tried("EADDRINUSE"), Tried("EACCES"))
        for tried in (one for n in (1, 2, 3) for one in product(each, repeat=n)):
            (found,) = self.judge(*tried)
            usable = sum(one.problem is None or one.is_ours for one in tried)
            worst = "warning" if usable else "failure"
            verdict = "ok" if usable == len(tried) else worst
            self.assertEqual(found.verdict, verdict, tried)

    def test_control_socket(self) -> None:
        """
        A socket's path has a longest length, and one owner.
        """
        for path, is_answered, ours, verdict, words in (
            ("/a", False, False, "ok", "free"),
            ("/a", True, True, "ok", "running node"),
            ("/a", True, False, "failure", "/a"),
            ("/aaaaaaaaa", False, False, "failure", "shorter state_dir"),
        ):
            found = control_socket(path, 9, is_answered, ours)
            self.assert_found(found, verdict, words)


class WayTests(DoctorCase):
    def test_public_host(self) -> None:
        """
        The address sent to players must lead to the node.
        """
        for host, addresses, interface, verdict in (
            ("a.example", ["192.0.2.7"], "0.0.0.0", "ok"),
            ("127.0.0.1", ["127.0.0.1"], "127.0.0.1", "ok"),
            ("localhost", ["127.0.0.1", "::1"], "0.0.0.0", "warning"),
            ("a.example", ["192.0.2.7"], "127.0.0.1", "failure"),
            ("a.example", [], "0.0.0.0", "failure"),
        ):
            found = public_host(host, addresses, "no such name", interface)
            self.assert_found(found, verdict, host)

    def test_reachability(self) -> None:
        """
        Silence is a failure with what to look at; lost answers are a warning.
        """
        whole = Reach("10.0.0.2", "10.0.0.1:46000", 3, [0.002, 0.001, 0.003])
        self.assert_found(reachability(whole), "ok", "1.00 ms")
        some = attrs.evolve(whole, asked=5)
        self.assert_found(reachability(some), "warning", "3 of 5")
        silent = Reach("10.0.0.2", "10.0.0.1:46000", 3, (), "refused")
        self.assert_found(
            reachability(silent), "failure", "refused", "firewall", "--answer runs"
        )

    def test_sizes(self) -> None:
        """
        Answers from another machine show which datagrams pass.
        """
        passed = probed_sizes("a:1", {1200: True, 1472: True, 8952: False})
        self.assert_found(passed, "ok", "1472")
        small = probed_sizes("a:1", {34: True, 1200: False})
        self.assert_found(small, "failure", "34", "1200")
        self.assert_found(probed_sizes("a:1", {1200: False}), "not checked", "udp")


class MachineTests(DoctorCase):
    def test_descriptors(self) -> None:
        """
        Files that may be open must be enough for a full node; a remedy that the
        hard limit forbids is not offered.
        """
        needed = descriptors_needed(66, 256)
        for soft, hard, verdict, words in (
            (needed, needed, "ok", str(needed)),
            (needed - 1, 9999, "warning", f"ulimit -n {needed}"),
            (needed - 1, needed - 1, "warning", "as root"),
            (20, 9999, "failure", ""),
        ):
            self.assert_found(descriptors(soft, hard, "it", 66, 256), verdict, words)
        # A link, a pidfd, two files for checkpoints, a pipe.
        self.assertEqual(descriptors_needed(67, 256) - needed, 5)

    def test_receive_buffer(self) -> None:
        """
        A buffer that the kernel limits is reported with the command that changes it.
        """
        found = receive_buffer(1 << 20, 212992, 212992, 212992)
        self.assert_found(found, "warning", "208 of the 1024", "rmem_max=1048576")
        found = receive_buffer(1 << 20, 1 << 20, None, None)
        self.assert_found(found, "ok", "1024 of the 1024")

    def test_clock(self) -> None:
        """
        A clock that nobody sets is reported; unknown is not "ok".
        """
        found = [clock(is_set).verdict for is_set in (True, False, None)]
        self.assertEqual(found, ["ok", "warning", "not checked"])

    def test_state_directory(self) -> None:
        """
        A directory must be writable, and have room for what may be written.
        """
        good: dict[str, Any] = {"exists": True, "is_writable": True, "owner": None}
        for changes, verdict in (
            ({}, "ok"),
            ({"exists": False}, "ok"),
            ({"is_writable": False, "owner": "root"}, "failure"),
            ({"owner": "vinom"}, "warning"),
        ):
            self.assert_found(state_directory("/s", **good | changes), verdict)
        for free, used, verdict in (
            (10**10, 0, "ok"),
            (10**8, 0, "warning"),
            (10**8, 10**9, "ok"),
            (10**6, 0, "failure"),
        ):
            self.assert_found(disk(free, used, 10**9), verdict)


class TrustTests(DoctorCase):
    def certificate(self, *names: str, **more: Any) -> Certificate:
        return load_pem_x509_certificate(authority().issue(*names, **more).certificate)

    def test_names(self) -> None:
        """
        A certificate is good for the names in it, as players' TLS sees it.
        """
        found = self.certificate("Play.Example.org", "*.eu.example.org")
        for host, is_covered in (
            ("play.example.org", True),
            ("PLAY.example.org.", True),
            ("example.org", False),
            ("a.eu.example.org", True),
            ("b.a.eu.example.org", False),
            ("eu.example.org", False),
            ("192.0.2.7", False),
        ):
            self.assertEqual(covers(found, host), is_covered, host)
        self.assertFalse(covers(self.certificate(), "org"))

    def test_certificate(self) -> None:
        """
        A certificate must be today's, the host's, and if it signs others an
        authority's; the remedy is how to replace it.
        """
        leaf = self.certificate("play.example.org", ends=timedelta(days=90))
        anchor = load_pem_x509_certificate(authority().anchor)
        judge = partial(judge_certificate, "certificate", how="replace it")
        today = time.time()
        last = f"{leaf.not_valid_after_utc:%Y-%m-%d}"
        for found, day, asked, *expected in (
            (leaf, 0, {}, "ok", last),
            (leaf, 91, {}, "failure", f"expired on {last}", "replace it"),
            (leaf, 77, {}, "warning", "13.0 days", "replace it"),
            (leaf, -2, {}, "failure", "clock"),
            (leaf, 0, {"host": "192.0.2.7"}, "failure", "play.example.org, but", "192"),
            (leaf, 0, {"host": "play.example.org"}, "ok"),
            (leaf, 0, {"signs": True}, "failure", "replace it", "CA:TRUE"),
            (anchor, 0, {"signs": True}, "warning", "valid until"),
        ):
            *_, finding = judge(found, today + day * DAY, **asked)
            self.assert_found(finding, *expected)

    def test_key_of_another(self) -> None:
        """
        A key that is not that of the node's own authority is named, with the remedy.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        certificate, key = folder / "ca.pem", folder / "ca.key"
        certificate.write_bytes(authority().issue("one").certificate)
        key.write_bytes(authority().issue("other").key)
        key.chmod(0o600)
        (found,) = examine_pair("authority", (certificate, key))
        words = f"{key} does not belong to {certificate}"
        self.assert_found(found, "failure", words, "vinom keys rotate ca")


class GameServersTests(SynchronousTestCase):
    def test_prints_why(self) -> None:
        """
        Of a game server that ends before it has a link, its last words are shown.
        """
        program = machine.game_server_program

        def broken(*given: Any) -> Any:
            return attrs.evolve(program(*given), entry="no_such_module:main")

        self.patch(machine, "game_server_program", broken)
        (found,) = examine_game_servers(Settings())
        self.assertEqual(found.verdict, "failure")
        self.assertIn("No module named 'no_such_module'", found.message)
