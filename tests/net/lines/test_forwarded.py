"""Whom a proxy speaks for, by the headers of a request."""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.limits.buckets import is_loopback, network_of
from vinom.net.lines.forwarded import Forwarding, Proxies

PROXIES = Proxies((ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48")))
PROXY = "10.0.0.1"
#: Pieces of headers, good and bad.
WORDS = (
    *("for=", "For=", "by=", "proto=https", "203.0.113.7", '"[2001:db8::7]:80"'),
    *("10.0.0.2", "unknown", "_hidden", '"', "\\", ",", ";", " ", "\t", "=", "%", "é"),
    *("127.0.0.1", "::1", "[::1]", "1.2.3.4:80", "[", "]", ":", "."),
)


class ForwardedTests(SynchronousTestCase):
    def by_x(self, *lines: str, peer: str = PROXY) -> str:
        return PROXIES.client(peer, Forwarding((), lines))

    def by_forwarded(self, *lines: str, peer: str = PROXY) -> str:
        return PROXIES.client(peer, Forwarding(lines))

    def test_one_address(self) -> None:
        """
        A player behind a proxy has its own address, however the proxy writes it.
        """
        for text, host in (
            ("203.0.113.7", "203.0.113.7"),
            (" 203.0.113.7\t", "203.0.113.7"),
            ("203.0.113.7:4711", "203.0.113.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
        ):
            self.assertEqual(self.by_x(text), host)
        for text, host in (
            ("for=203.0.113.7", "203.0.113.7"),
            ("For=203.0.113.7;proto=http;by=10.0.0.1", "203.0.113.7"),
            ("proto=http ; for=203.0.113.7", "203.0.113.7"),
            ('for="203.0.113.7:4711"', "203.0.113.7"),
            ('for="[2001:db8::7]:4711"', "2001:db8::7"),
            ('by="a, b";for="203.0.113\\.7"', "203.0.113.7"),
            (",, for=203.0.113.7", "203.0.113.7"),
        ):
            self.assertEqual(self.by_forwarded(text), host, text)

    def test_what_players_write_themselves(self) -> None:
        """
        Nobody can pass for somebody else: what stands left of the first address that
        is no proxy was written by a stranger.
        """
        self.assertEqual(self.by_x("192.0.2.9, 203.0.113.7"), "203.0.113.7")
        self.assertEqual(self.by_x("192.0.2.9, 203.0.113.7, 10.1.2.3"), "203.0.113.7")
        said = "for=192.0.2.9, for=203.0.113.7, for=10.1.2.3"
        self.assertEqual(self.by_forwarded(said), "203.0.113.7")

    def test_lines_are_joined(self) -> None:
        """
        A proxy may add a line of its own, as HAProxy does: it is the nearest one.
        """
        self.assertEqual(self.by_x("192.0.2.9", "203.0.113.7"), "203.0.113.7")
        self.assertEqual(
            self.by_x("192.0.2.9", "203.0.113.7, 10.1.1.1", "10.1.2.3"), "203.0.113.7"
        )
        self.assertEqual(
            self.by_forwarded('for="192.0.2.9', "for=203.0.113.7"), "203.0.113.7"
        )

    def test_only_proxies(self) -> None:
        """
        If all are proxies, the first one counts: it asks for itself.
        """
        self.assertEqual(self.by_x("10.3.3.3, 2001:db8:1::5"), "10.3.3.3")

    def test_malformed(self) -> None:
        """
        What is malformed ends the search: the last proxy before it counts.
        """
        for text in ("unknown", "_x", "", "203.0.113.7.9", "a,", "1.2.3.4%eth0", "[1"):
            self.assertEqual(self.by_x(text), PROXY, text)
            self.assertEqual(self.by_x(f"203.0.113.7, {text}, 10.9.9.9"), "10.9.9.9")
        for text in (
            *("for=unknown", "by=10.0.0.1", 'for="203.0.113.7', "for = 203.0.113.7"),
            *("for=[2001:db8::7]", "for=203.0.113.7;", "for=1.1.1.1;for=203.0.113.7"),
            *("203.0.113.7", 'for=203.0.113.7;x=", for="[2001:db8::7]:80"'),
        ):
            self.assertEqual(self.by_forwarded(text), PROXY, text)

    def test_both_headers(self) -> None:
        """
        A proxy writes one of the two and passes the other on as a player wrote it. If
        they disagree, neither is believed.
        """
        both = Forwarding(["for=192.0.2.9"], ["203.0.113.7"])
        self.assertEqual(PROXIES.client(PROXY, both), PROXY)
        same = Forwarding(["for=203.0.113.7"], ["192.0.2.9, 203.0.113.7"])
        self.assertEqual(PROXIES.client(PROXY, same), "203.0.113.7")

    def test_strangers(self) -> None:
        """
        From any other address the headers mean nothing.
        """
        self.assertEqual(self.by_x("203.0.113.7", peer="192.0.2.1"), "192.0.2.1")
        signs = Forwarding(has_signs=True)
        self.assertEqual(Proxies().client("192.0.2.1", signs), "192.0.2.1")
        self.assertEqual(PROXIES.client(PROXY, signs), PROXY)
        self.assertEqual(Proxies().client("192.0.2.1", Forwarding()), "192.0.2.1")
        self.assertEqual(Proxies().client("127.0.0.1", Forwarding()), "127.0.0.1")

    def test_no_local_guests(self) -> None:
        """
        Nobody behind a proxy counts as somebody at this machine, whether the proxy is
        configured or not; but limits count the same address.
        """
        local = Proxies((ip_network("127.0.0.1"),))
        for proxies, said in (
            (Proxies(), Forwarding((), ["203.0.113.7"])),
            (Proxies(), Forwarding(["for=203.0.113.7"])),
            (Proxies(), Forwarding(has_signs=True)),
            (local, Forwarding(has_signs=True)),
            (local, Forwarding()),
            (local, Forwarding((), ["127.0.0.1"])),
            (local, Forwarding(["nonsense"])),
        ):
            host = proxies.client("127.0.0.1", said)
            self.assertFalse(is_loopback(host), host)
            self.assertEqual(network_of(host), "127.0.0.1")
        host = local.client("127.0.0.1", Forwarding((), ["127.0.0.2"]))
        self.assertEqual((is_loopback(host), network_of(host)), (False, "127.0.0.2"))

    @given(
        some.lists(some.lists(some.sampled_from(WORDS)).map("".join), max_size=4),
        some.lists(some.lists(some.sampled_from(WORDS)).map("".join), max_size=4),
        some.booleans(),
    )
    def test_anything(
        self, forwarded: list[str], x: list[str], has_signs: bool
    ) -> None:
        """
        Whatever a request says, it has an address that limits can count, and it never
        becomes a guest from this machine.
        """
        for peer in (PROXY, "127.0.0.1", "::1", "192.0.2.1"):
            said = Forwarding(forwarded, x, has_signs)
            host = PROXIES.client(peer, said)
            self.assertRegex(network_of(host), r"\A[0-9a-f.:]+(/64)?\Z")
            if said:
                self.assertFalse(is_loopback(host))
