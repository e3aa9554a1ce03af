"""Games that last for days, on the page."""

from __future__ import annotations

from tests.support import letters
from tests.support.browsers import PHONE
from tests.support.pages import PageTestCase
from tests.support.whole_node import WholeNode


class OwnGamesTests(PageTestCase):
    def test_back_tomorrow(self) -> None:
        """
        Ann begins a game, makes her move and closes the tab. When she opens the page
        again she is Ann, and finds her game with whose turn it is; another tab of her
        browser is somebody else.
        """
        game = f"--game={letters.Letters.__module__}:{letters.Letters.__name__}"
        node = WholeNode(game)
        self.at_end(node.stop)
        node.wait()
        ann, bob = (self.player(name, port=node.http) for name in ("Ann", "Bob"))
        url = f"http://127.0.0.1:{node.http}/"
        bob.open(self.new_room(ann, "Letters"))
        for one in (ann, bob):
            one.until("return !!document.querySelector('.ttt')")
            one.until("return !!localStorage.getItem('vinom.kept_player')")
        for one in (ann, bob):
            one.run("sessionStorage.clear()")
            one.open("about:blank")
        ann.open(url)
        ann.until("return document.getElementById('me').textContent === 'Ann'")
        ann.see("With Bob: ")
        self.check(ann)
        self.picture("own", ann)
        ann.resize(PHONE)
        self.check(ann)
        self.picture("own-phone", ann)
        ann.press("Return to your Letters")
        ann.until("return !!document.querySelector('.ttt')")
