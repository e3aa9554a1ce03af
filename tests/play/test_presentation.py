"""How a game looks: what authors declare, and which files browsers may load."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.http import ask
from tests.support.logged import watch_log
from vinom.errors import Misconfigured
from vinom.net.web.answers import Folder
from vinom.node.web.pages import GameCatalogue, StaticPages
from vinom.play.game_loader import load_game
from vinom.play.presentation import address_of, present, title_from

GAME = '''
"""
Cat And Mouse: a cat chases a mouse.

It eats it.

Then it sleeps.
"""

from msgspec import Struct

from vinom.game import Game


class Run(Struct, frozen=True, tag="run"):
    """Run."""


class CatAndMouse(Game):
    actions = Run
    {declared}
'''
_names = iter(range(1000))


class GameTestCase(SynchronousTestCase):
    """
    An author's folder, with a game in it.

    :ivar folder: of the game's module, with files beside it.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        (self.folder / "images").mkdir(parents=True)
        (self.folder / "board.js").write_text("export function mount() {}")
        (self.folder / "board.css").write_text("p { color: red }")
        (self.folder / "images" / "cat.svg").write_text("<svg/>")
        (self.folder / ".env.js").write_text("secret")
        (self.folder.parent / f"{self.folder.name}-outside.js").write_text("secret")
        self.patch(sys, "path", [str(self.folder), *sys.path])

    def load(self, declared: str = "pass") -> Any:
        """Load a game that declares this."""
        module = f"presented_{next(_names)}"
        path = self.folder / f"{module}.py"
        path.write_text(GAME.format(declared=declared))
        self.addCleanup(sys.modules.pop, module, None)
        return load_game(f"{module}:CatAndMouse")


class DeclaredTests(GameTestCase):
    def test_defaults(self) -> None:
        """
        Without a word on its looks a game has a title from its class, and a
        description that does not repeat it; the docstring's further paragraphs are the
        rules.
        """
        look = present(self.load())
        self.assertEqual(
            (look.title, look.about), ("Cat And Mouse", "A cat chases a mouse.")
        )
        self.assertEqual((look.board, look.icon, dict(look.files)), (None, None, {}))
        self.assertEqual(look.rules, "It eats it.\n\nThen it sleeps.")

    def test_titles(self) -> None:
        """
        Class names in every style become titles.
        """
        for name, title in {
            "ConnectFour": "Connect Four",
            "OldMaid": "Old Maid",
            "C4": "C 4",
            "RPGBattle": "RPG Battle",
            "tug": "Tug",
            "Пинг": "Пинг",
        }.items():
            self.assertEqual(title_from(name), title)

    def test_mistakes(self) -> None:
        """
        Each mistake in how a game looks is reported in one sentence when it is loaded.
        """
        outside = f"../{self.folder.name}-outside.js"
        (self.folder / "link.js").symlink_to(
            self.folder.parent / f"{self.folder.name}-outside.js"
        )
        for declared, why in (
            ("board = 'bored.js'", "board 'bored.js': there is no such file in /"),
            (f"board = {outside!r}", "board '../.*' must be a plain path"),
            ("board = '/../x.js'", "board '/../x.js' must be a plain path"),
            ("board = 'images//cat.js'", "must be a plain path"),
            (r"board = 'images\\cat.js'", "must be a plain path"),
            ("board = '.env.js'", "no part of it may begin with a dot"),
            ("board = 'link.js'", "board 'link.js' must be a file inside /"),
            ("board = 'board.css'", "board 'board.css' must end with one of .js, .mjs"),
            ("board = 3", "board 3 must be text"),
            ("icon = 'board.js'", "icon 'board.js' must end with one of .avif"),
            ("board_files = 'board.css'", "board_files 'board.css' must be a tuple"),
            ("board_files = ('secret.py',)", "board_files 'secret.py' must end with"),
            ("board_files = ('/board.css',)", "must not begin with a slash"),
            ("colours = ('red',)", "colours: 'red' must look like #2f6fde"),
            ("bot_names = ('',)", "bot_names: '' must have 1 to 24 characters"),
            ("title = 'x' * 65", "title has 65 characters, the limit is 64"),
        ):
            with self.assertRaisesRegex(Misconfigured, f"^game 'pres.*{why}"):
                self.load(declared)

    def test_addresses(self) -> None:
        """
        Names of games and files that need it are quoted in addresses.
        """
        self.assertEqual(address_of("c4", "board.js"), "games/c4/board.js")
        self.assertEqual(address_of("a/b c", "ü.js"), "games/a%2Fb%20c/%C3%BC.js")
        self.assertEqual(address_of("c4", "/boards/maze.js"), "boards/maze.js")
        self.assertIsNone(address_of("c4", None))


class ServedTests(GameTestCase):
    def test_named_files_only(self) -> None:
        """
        Browsers get the files that the author named, with their types, and nothing
        else of the author's folder.
        """
        game = self.load(
            "board = 'board.js'\n    icon = 'images/cat.svg'\n"
            "    board_files = ('board.css',)\n    colours = ('#d1495b',)"
        )
        site = StaticPages(games={"cat": game})
        look = ask(Folder(games=GameCatalogue({"cat": game})), "GET", "/games").json
        look = look["games"]["cat"]
        self.assertEqual(look["board"], "games/cat/board.js")
        self.assertEqual(look["icon"], "games/cat/images/cat.svg")
        self.assertEqual(look["colours"], ["#d1495b"])
        for path, kind in {
            "/games/cat/board.js": "text/javascript; charset=utf-8",
            "/games/cat/board.css": "text/css; charset=utf-8",
            "/games/cat/images/cat.svg": "image/svg+xml",
        }.items():
            found = ask(site, "GET", path)
            self.assertEqual((found.status, found.headers["content-type"]), (200, kind))
            self.assertIn("script-src 'self'", found.headers["content-security-policy"])
        module = type(game).__module__
        for path in (
            "/games",
            "/games/",
            "/games/cat",
            "/games/cat/",
            "/games/cat/images/",
            "/games/dog/board.js",
            f"/games/cat/{module}.py",
            "/games/cat/.env.js",
            f"/games/cat/../{module}.py",
            f"/games/cat/%2e%2e/{self.folder.name}-outside.js",
            f"/games/cat/..%2f{self.folder.name}-outside.js",
            "/games/cat/board.js/x",
            "/games/cat/%00board.js",
        ):
            self.assertEqual(ask(site, "GET", path).status, 404, path)


class SiteTests(SynchronousTestCase):
    """An author's own site: the setting ``page``."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        (self.folder / "about").mkdir(parents=True)
        (self.folder / ".git").mkdir()
        self.write("index.html", "<p>mine")
        self.write("about/index.html", "<p>about")
        self.write("pixel.png", "png")
        self.write("notes.py", "secret")
        self.write(".git/config.json", "secret")
        outside = Path(f"{self.folder}-outside.js")
        outside.write_text("secret")
        (self.folder / "link.js").symlink_to(outside.absolute())

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def body(self, site: StaticPages, path: str) -> bytes:
        """Get a file that is there."""
        found = ask(site, "GET", path)
        self.assertEqual(found.status, 200, path)
        return found.body

    def test_layers(self) -> None:
        """
        The author's files are served instead of Vinom's; those of Vinom's page that the
        author has not replaced stay at their paths, vinom.js among them.
        """
        site = StaticPages(site=self.folder)
        self.assertEqual(self.body(site, "/"), b"<p>mine")
        self.assertEqual(self.body(site, "/about/"), b"<p>about")
        self.assertEqual(self.body(site, "/pixel.png"), b"png")
        self.assertIn(b"class Client", self.body(site, "/vinom.js"))
        packed = ask(site, "GET", "/pixel.png", **{"accept-encoding": "gzip"})
        self.assertNotIn("content-encoding", packed.headers)

    def test_hidden(self) -> None:
        """
        Hidden files, links that lead out of the folder, and other types are not served.
        """
        site = StaticPages(site=self.folder)
        for path in ("/notes.py", "/.git/config.json", "/link.js", "/about", "/.git/"):
            self.assertEqual(ask(site, "GET", path).status, 404, path)

    def test_live(self) -> None:
        """
        During development changed, new and deleted files are noticed; on a node the
        files are those of its start.
        """
        live = StaticPages(site=self.folder, is_live=True)
        fixed = StaticPages(site=self.folder)
        self.write("index.html", "<p>mine, changed")
        self.write("new.js", "1")
        self.assertEqual(self.body(live, "/"), b"<p>mine, changed")
        self.assertEqual(self.body(live, "/new.js"), b"1")
        self.assertEqual(self.body(fixed, "/"), b"<p>mine")
        self.assertEqual(ask(fixed, "GET", "/new.js").status, 404)
        (self.folder / "pixel.png").unlink()
        self.assertEqual(ask(live, "GET", "/pixel.png").status, 404)

    def test_mistakes(self) -> None:
        """
        A folder that can't be a site is refused at the start, with the reason.
        """
        for folder, why in (
            (self.folder / "nowhere", "must be an existing directory"),
            (self.folder / ".git", "must contain an index.html"),
            (self.folder / "index.html", "must be an existing directory"),
        ):
            with self.assertRaisesRegex(Misconfigured, why):
                StaticPages(site=folder)

    def test_too_large(self) -> None:
        """
        The files are kept in memory: a folder with too many bytes is refused.
        """
        self.patch(sys.modules["vinom.node.web.pages"], "SITE_LIMIT", 10)
        with self.assertRaisesRegex(Misconfigured, "has .* bytes, the limit is 10"):
            StaticPages(site=self.folder)

    def test_inline_script(self) -> None:
        """
        The log names the line of a script that browsers will not run.
        """
        self.write("index.html", "<p>\n<script type=module>\nlet x;</script>")
        self.write("good.html", '<script type=module src="main.js"></script>')
        lines = watch_log(self)
        StaticPages(site=self.folder)
        (line,) = lines
        self.assertRegex(line, "^index.html, line 2: browsers will ignore '<script")
