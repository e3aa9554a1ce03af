"""Rules that change while the gateway runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vinom.gateway.routing.router import Router
from vinom.gateway.routing.rules import Endpoint
from vinom.gateway.routing.sources import FileRules, Routes

GOOD = b'{"a": {"strategy": "round_robin", "endpoints": ["h:1"]}}'
OTHER = b'{"b": {"strategy": "realm"}}'


class RoutesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.router = Router()
        self.known: list[set[Endpoint]] = []
        self.routes = Routes(self.router, {"a": 7}, self.known.append)

    def test_taken(self) -> None:
        """
        Rules of Redis are used as they come, with the codes of the settings; those that
        are gone are gone.
        """
        self.routes.offer_text(GOOD, {b"3": b"g:2"})
        self.assertEqual(self.router.rules.by_code[7].service, "a")
        self.assertEqual(self.router.realms, {3: Endpoint("g", 2)})
        self.assertEqual(self.known, [{Endpoint("h", 1), Endpoint("g", 2)}])
        self.routes.offer_text(OTHER, {})
        self.assertEqual(list(self.router.rules.by_name), ["b"])
        self.assertEqual(self.router.realms, {})
        self.routes.offer_text(None, {})
        self.assertEqual(list(self.router.rules.by_name), [])
        self.assertEqual((self.routes.taken, self.routes.refused), (3, 0))

    def test_refused_whole(self) -> None:
        """
        Of rules or realms with a mistake nothing is used; the last good ones stay, and
        the mistake is reported once, until good ones come.
        """
        self.routes.offer_text(GOOD, {})
        for _ in range(2):
            self.routes.offer_text(OTHER, {b"x": b"g:2"})
        self.assertEqual(list(self.router.rules.by_name), ["a"])
        self.assertIn("'x' is not a realm_id", str(self.routes.mistake))
        self.assertEqual((self.routes.taken, self.routes.refused), (1, 1))
        self.routes.offer_text(b"{", {b"3": b"g:2"})
        self.assertEqual(self.router.realms, {})
        self.routes.offer_text(GOOD, {})
        self.assertIsNone(self.routes.mistake)

    def test_same_again(self) -> None:
        """
        Rules that did not change change nothing, so turns go on.
        """
        self.routes.offer_text(GOOD, {})
        rules = self.router.rules
        self.routes.offer_text(GOOD, {})
        self.assertIs(self.router.rules, rules)

    def test_realms(self) -> None:
        """
        Realms with a mistake are refused, each with the realm at fault.
        """
        for realms, words in (
            ({b"-1": b"g:2"}, "'-1' is not a realm_id"),
            ({b"4294967296": b"g:2"}, "'4294967296' is not a realm_id"),
            ({b"1": b"g"}, "realms: 1: 'g' must look like"),
            ({b"\xff": b"g:2"}, "is not a realm_id"),
        ):
            self.routes.offer_text(b"{}", realms)
            self.assertIn(words, str(self.routes.mistake))
            self.assertFalse(self.routes.is_loaded)


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.router = Router()
        self.routes = Routes(self.router)
        self.path = Path(self.mktemp())

    def start(self) -> None:
        """Begin to watch."""
        source = FileRules(self.path, self.routes, self.clock)
        source.startService()
        self.addCleanup(source.stopService)

    def write(self, endpoint: str, **more: Any) -> None:
        """Replace the file, as an editor does."""
        text = "[services.a]\nstrategy = 'round_robin'\n"
        new = self.path.with_suffix(".new")
        new.write_text(f"{text}endpoints = ['{endpoint}']\n[realms]\n1 = 'g:1'\n")
        new.replace(self.path)

    def test_watched(self) -> None:
        """
        A file that was changed is in use after a second.
        """
        self.write("h:1")
        self.start()
        self.assertEqual(self.router.rules.by_name["a"].endpoints[0].port, 1)
        self.assertEqual(self.router.realms, {1: Endpoint("g", 1)})
        self.write("h:2")
        self.clock.advance(1.0)
        self.assertEqual(self.router.rules.by_name["a"].endpoints[0].port, 2)

    def test_another_folder(self) -> None:
        """
        The file is that of the folder in which the program was started, wherever twistd
        goes before it is read (``--rundir``).
        """
        self.write("h:1")
        here = Path.cwd()
        self.addCleanup(os.chdir, here)
        source = FileRules(Path(os.path.relpath(self.path)), self.routes, self.clock)
        os.chdir("/")
        source.startService()
        self.addCleanup(source.stopService)
        self.assertIsNone(self.routes.mistake)

    def test_mistakes(self) -> None:
        """
        A file that is gone, no TOML or wrong changes nothing; when it is good again it
        is in use.
        """
        self.start()
        self.assertIn("cannot read", str(self.routes.mistake))
        self.assertFalse(self.routes.is_loaded)
        self.write("h:1")
        self.clock.advance(1.0)
        self.assertIsNone(self.routes.mistake)
        for text, words in (
            ("[", "is not TOML: "),
            ("[rules]\n", "unknown table 'rules'"),
            ("realms = 1\n", "realms must be a table"),
            ("services = 1\n", "must be an object with a rule for each service"),
        ):
            self.path.write_text(text)
            self.clock.advance(1.0)
            self.assertIn(words, str(self.routes.mistake))
            self.assertIn("a", self.router.rules.by_name)
        self.path.unlink()
        self.clock.advance(1.0)
        self.assertIn("cannot read", str(self.routes.mistake))
        self.write("h:1")
        self.clock.advance(1.0)
        self.assertIsNone(self.routes.mistake)
