"""The files of the page and its catalogue of games, as a browser requests them."""

from __future__ import annotations

import gzip
import re
from typing import Annotated, Any

from msgspec import Meta, Struct
from twisted.trial.unittest import SynchronousTestCase

from tests.support.http import ask
from vinom.game import Game
from vinom.games.dice import Dice
from vinom.net.web.answers import Folder
from vinom.node.web.pages import STATIC, GameCatalogue, StaticPages


class FilesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.site = StaticPages()

    def test_types(self) -> None:
        """
        Every file of the page has its type, so that browsers need not guess.
        """
        kinds = {
            "/": "text/html; charset=utf-8",
            "/style.css": "text/css; charset=utf-8",
            "/vinom.js": "text/javascript; charset=utf-8",
            "/boards/dice.js": "text/javascript; charset=utf-8",
            "/favicon.svg": "image/svg+xml",
        }
        for path, kind in kinds.items():
            found = ask(self.site, "GET", path)
            self.assertEqual((found.status, found.headers["content-type"]), (200, kind))
            self.assertEqual(found.headers["x-content-type-options"], "nosniff")
            self.assertIn("frame-ancestors", found.headers["content-security-policy"])

    def test_person_lost(self) -> None:
        """
        A person who follows a wrong link gets a page with a way back.
        """
        found = ask(self.site, "GET", "/nothing", accept="text/html,*/*")
        self.assertEqual(found.status, 404)
        self.assertEqual(found.headers["content-type"], "text/html; charset=utf-8")
        self.assertIn(b'href="/"', found.body)

    def test_nothing_else(self) -> None:
        """
        Folders are not listed, and no file outside of the page's folder is served.
        """
        for path in (
            "/boards",
            "/boards/",
            "/package.json",
            "/.hidden",
            "/index.html/x",
            "/../answers.py",
            "/%2e%2e/answers.py",
            "/boards/..%2fvinom.js",
            "/%ff",
        ):
            found = ask(self.site, "GET", path)
            self.assertEqual(found.status, 404, path)
            self.assertEqual(found.headers["content-type"], "application/json")

    def test_unchanged(self) -> None:
        """
        A browser that already has the file gets 304, without the file.
        """
        first = ask(self.site, "GET", "/vinom.js")
        self.assertEqual(first.headers["cache-control"], "no-cache")
        known = {"if-none-match": first.headers["etag"]}
        again = ask(self.site, "GET", "/vinom.js", **known)
        self.assertEqual((again.status, again.body), (304, b""))
        probed = ask(self.site, "HEAD", "/vinom.js")
        self.assertEqual((probed.status, probed.body), (200, b""))

    def test_packed(self) -> None:
        """
        A browser that accepts gzip gets the file compressed, with an ETag of its own.
        """
        plain = ask(self.site, "GET", "/vinom.js")
        packed = ask(self.site, "GET", "/vinom.js", **{"accept-encoding": "br, gzip"})
        self.assertEqual(packed.headers["content-encoding"], "gzip")
        self.assertEqual(gzip.decompress(packed.body), plain.body)
        self.assertNotEqual(packed.headers["etag"], plain.headers["etag"])
        self.assertLess(len(packed.body), len(plain.body) / 2)

    def test_no_other_hosts(self) -> None:
        """
        The page refers to no other host, and has no inline script or style.
        """
        for path in STATIC.rglob("*"):
            if path.suffix not in (".js", ".css", ".html", ".svg"):
                continue
            text = path.read_text(encoding="utf-8")
            hosts = set(re.findall(r"https?://[^\s\"'`)]+", text))
            # The namespace of SVG, which browsers do not request.
            self.assertEqual(hosts - {"http://www.w3.org/2000/svg"}, set(), path.name)
        html = (STATIC / "index.html").read_text(encoding="utf-8")
        self.assertNotRegex(html, r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)")


class Odd:
    """A type without a JSON Schema."""


class Show(Struct, frozen=True, tag="show"):
    """Show it."""

    what: Odd
    often: Annotated[int, Meta(ge=1, le=3)] = 1


class Strange(Game[int, Show]):
    """A game with an odd action."""

    actions = Show


def catalogue(games: dict[str, Game[Any, Any]], dev: Any = None) -> Any:
    """Request the catalogue."""
    pages = GameCatalogue(games, None if dev is None else lambda: dev)
    return ask(Folder(games=pages), "GET", "/games").json


class CatalogueTests(SynchronousTestCase):
    def test_game(self) -> None:
        """
        The page can make forms for a game that it does not know.
        """
        found = catalogue({"dice": Dice()})["games"]["dice"]
        self.assertEqual((found["seats"], found["has_bot"]), ([2, 2], True))
        self.assertIsNone(found["teams"])
        tags = [
            next(iter(one["$defs"].values()))["properties"]["type"]["enum"]
            for one in found["actions"]
        ]
        self.assertEqual(tags, [["roll"], ["set_aside"], ["end_turn"], ["rematch"]])
        target = found["options"]["$defs"]["DiceOptions"]["properties"]["target"]
        self.assertEqual((target["minimum"], target["default"]), (500, 3000))
        self.assertEqual(found["title"], "Dice")
        self.assertTrue(found["about"].startswith("Roll, keep what scores"))

    def test_compressed(self) -> None:
        """
        A browser that accepts gzip gets the catalogue compressed, with the contract of
        each game.
        """
        root = Folder(games=GameCatalogue({"dice": Dice()}))
        plain = ask(root, "GET", "/games")
        packed = ask(root, "GET", "/games", **{"accept-encoding": "br, gzip"})
        self.assertEqual(packed.headers["content-encoding"], "gzip")
        self.assertEqual(gzip.decompress(packed.body), plain.body)
        contract = plain.json["games"]["dice"]["contract"]
        self.assertEqual(contract["properties"]["view"]["$ref"], "#/$defs/DiceView")

    def test_odd_type(self) -> None:
        """
        A game whose actions have no schema is listed too.
        """
        found = catalogue({"strange": Strange()})
        self.assertEqual(found["games"]["strange"]["actions"], [{"title": "Show"}])
        self.assertFalse(found["games"]["strange"]["has_bot"])
        self.assertNotIn("dev", found)

    def test_development(self) -> None:
        """
        During development the page gets the errors of the game.
        """
        found = catalogue({}, {"game": "mine", "error": "a comma is missing"})
        self.assertEqual(found["dev"]["error"], "a comma is missing")
