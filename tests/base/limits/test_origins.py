"""Whose web pages may connect."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vinom.base.limits.origins import Origins, read_origin_rule

HERE = "play.example.net:4680"


def _named(*rules: str) -> Origins:
    return Origins(tuple(read_origin_rule(rule) for rule in rules))


class OriginTests(SynchronousTestCase):
    """`Origins`."""

    def test_same_origin(self) -> None:
        """
        A page that the node's own address serves may connect, and no other one.
        """
        origins = Origins()
        self.assertTrue(origins.allows("http://play.example.net:4680", HERE))
        self.assertTrue(origins.allows("HTTP://Play.Example.net:4680", HERE))
        self.assertTrue(origins.allows("https://example.net", "example.net:443"))
        self.assertTrue(origins.allows("http://[::1]:4680", "[::1]:4680"))
        for origin in (
            "http://play.example.net",
            "http://play.example.net:4681",
            "http://example.net:4680",
            "http://evil.example",
            "null",
            "",
            "file://",
            "http://",
            "http://*.example.net:4680",
            "http://play.example.net:4680/path",
            "http://play.example.net:4680@evil.example",
            "http://" + "a" * 20000,
        ):
            self.assertFalse(origins.allows(origin, HERE), origin)
        self.assertFalse(origins.allows("http://example.net", None))

    def test_same_origin_over_tls(self) -> None:
        """
        If the node itself speaks TLS, a page over plain HTTP isn't the node's, on any
        host: an attacker on the path may have written it. Other hosts that the settings
        name are unaffected.
        """
        rules = (read_origin_rule("example.com"),)
        origins = Origins(rules, has_tls=True)
        self.assertTrue(origins.allows("https://play.example.net:4680", HERE))
        self.assertFalse(origins.allows("http://play.example.net:4680", HERE))
        self.assertTrue(origins.allows("https://example.net", "example.net"))
        self.assertFalse(origins.allows("http://example.net", "example.net"))
        self.assertFalse(origins.allows("http://example.net:443", "example.net:443"))
        self.assertTrue(origins.allows("http://example.com", HERE))
        # A proxy may have ended the TLS: then only the proxy knows.
        self.assertTrue(Origins().allows("https://example.net", "example.net"))
        self.assertTrue(Origins().allows("http://example.net", "example.net"))

    def test_exact_host(self) -> None:
        """
        A named host is just that host: not one that ends with its name.
        """
        origins = _named("example.com", "localhost:5173")
        self.assertTrue(origins.allows("https://example.com", HERE))
        self.assertTrue(origins.allows("https://example.com:443", HERE))
        self.assertTrue(origins.allows("http://localhost:5173", HERE))
        for origin in (
            "https://evil-example.com",
            "https://www.example.com",
            "https://example.com.evil.example",
            "https://example.com:8443",
            "https://example.com.",
            "https://localhost",
            "https://xexample.com",
        ):
            self.assertFalse(origins.allows(origin, HERE), origin)

    def test_hosts_below(self) -> None:
        """
        ``*.example.com`` means hosts below it: neither itself, nor a neighbour.
        """
        origins = _named("*.example.com")
        self.assertTrue(origins.allows("https://www.example.com", HERE))
        self.assertTrue(origins.allows("https://a.b.example.com", HERE))
        for origin in (
            "https://example.com",
            "https://evil-example.com",
            "https://.example.com",
            "https://www.example.com:1",
        ):
            self.assertFalse(origins.allows(origin, HERE), origin)

    def test_no_origin(self) -> None:
        """
        A program that isn't a browser may connect unless the operator forbids it.
        """
        self.assertTrue(Origins().allows(None, HERE))
        self.assertFalse(Origins(allows_none=False).allows(None, HERE))
        self.assertFalse(Origins(allows_none=False, allows_any=True).allows(None, HERE))

    def test_any_origin(self) -> None:
        """
        In development every page may connect, also one from a file.
        """
        origins = Origins(allows_any=True)
        self.assertTrue(origins.allows("null", HERE))
        self.assertTrue(origins.allows("https://evil.example", HERE))

    def test_what_is_no_rule(self) -> None:
        """
        A rule that would never hold, or always, is refused when it is read.
        """
        for text in ("*", "*.", "", "https://x", "a*.b", "*example.com", "x:y", "a b"):
            with self.assertRaises(ValueError, msg=text):
                read_origin_rule(text)
