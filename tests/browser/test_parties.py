"""Friends who form a party on the page, and play together."""

from __future__ import annotations

from tests.support.browsers import Browser
from tests.support.pages import PLAY_TICTACTOE, PageTestCase
from tests.support.whole_node import WholeNode

_LINK = "return document.querySelector('#party-link')?.value"


class PartyTests(PageTestCase):
    """Two pages of one server that asks players before a match."""

    def setUp(self) -> None:
        super().setUp()
        self.asking = WholeNode("--accept-seconds=60")
        self.at_end(self.asking.stop)
        self.asking.wait()

    def enter(self, name: str, *, is_phone: bool = False) -> Browser:
        return self.player(name, is_phone=is_phone, port=self.asking.http)

    def test_play_together(self) -> None:
        """
        Ann invites Bob by a link. They see each other, and who is ready; the first
        match Bob declines, the second both accept, and they play it to its end. The
        party is still there, until Ann removes Bob, who is told.
        """
        ann, bob = self.enter("Ann"), self.enter("Bob", is_phone=True)
        ann.press("Invite friends")
        link = ann.until(_LINK, what="the link is shown")
        self.assertIn("#party=", link)
        bob.open(link)
        self.wait_for(bob, "online")
        bob.see("Your party")
        self.assertNotIn("token", bob.run("return location.href"))
        for player in (ann, bob):
            player.see("Ann")
            player.see("Bob")
        bob.press("I’m ready")
        ann.see("✓ ready")
        # After a reload she is still in, and the link is still the same.
        ann.driver.refresh()
        self.assertEqual(ann.until(_LINK), link)
        ann.see("✓ ready")
        self.picture("party", ann, bob)
        self.check(ann, bob)

        ann.run("document.getElementById('party-game').value = 'tictactoe'")
        ann.press("Play together")
        for player in (ann, bob):
            player.see("Play Tic-tac-toe?")
        self.picture("prematch", ann, bob)
        self.check(ann, bob)
        ann.press("Accept")
        bob.see("Ann ✓ accepted")
        bob.press("Decline")
        bob.see("You did not accept.")
        ann.see("Somebody did not accept the match.")

        # After the pause of one who declined; not more often than a person would.
        ann.until(
            "if (document.querySelector('dialog.offer')) return true;"
            "const game = document.getElementById('party-game');"
            "if (!game || Date.now() < (window.nextTry ?? 0)) return false;"
            "window.nextTry = Date.now() + 1000;"
            "game.value = 'tictactoe';"
            "[...document.querySelectorAll('.party button')]"
            ".find((one) => one.innerText === 'Play together')?.click();"
            "return false",
            what="the party may look for a match again",
        )
        for player in (ann, bob):
            player.press("Accept")
        self.play(PLAY_TICTACTOE, [ann, bob], 2, lambda: None)
        for player in (ann, bob):
            player.run("location.hash = ''")
            player.see("Your party")
        ann.run("document.querySelector('.party [aria-label^=Remove]').click()")
        bob.see("You were removed from the party.")
        bob.see("Invite friends")
        ann.until("return document.querySelectorAll('.party li').length === 1")
