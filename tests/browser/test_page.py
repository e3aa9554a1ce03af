"""The page around the games: the lobby, invitations, keyboards and errors."""

from __future__ import annotations

from urllib.request import urlopen

from tests.support.browsers import DESKTOP, PATIENCE, PHONE
from tests.support.pages import PageTestCase


class LobbyTests(PageTestCase):
    def test_lobby(self) -> None:
        """
        The lobby lists rooms as they come and go, and is complete, legible and
        accessible on desktops and phones, in light and dark mode.
        """
        ann, bob = self.player("Ann"), self.player("Bob")
        self.new_room(bob, "Dice")
        ann.see("Bob’s Dice")
        self.picture("lobby", ann)
        for size in (DESKTOP, PHONE):
            for is_dark in (False, True):
                ann.resize(size)
                ann.prefer(is_dark)
                self.check(ann)
        self.check(bob)
        ann.resize(DESKTOP)
        ann.prefer(False)
        bob.press("Leave")
        ann.until("return !document.body.innerText.includes('Bob’s Dice')")
        bob.resize(PHONE)
        bob.prefer(True)
        self.new_room(ann, "Owe drahn", stake=3)
        bob.see("Ann’s Owe drahn")
        self.picture("lobby", None, bob)
        self.picture("waiting", ann)

    def test_join_from_list(self) -> None:
        """
        One press joins a room of the list, another watches it.
        """
        # Rooms of other tests, Ann's among them, may still be listed.
        flo, bob = self.player("Flo"), self.player("Bob")
        eve = self.player("Eve", is_phone=True)
        self.new_room(flo, "Tic-tac-toe")
        bob.press("Join Flo’s Tic-tac-toe")
        for one in (flo, bob):
            one.until("return !!document.querySelector('.ttt')")
        eve.press("Watch Flo’s Tic-tac-toe")
        eve.see("You are watching.")
        self.assertFalse(
            eve.run("return !!document.querySelector('.cell[aria-disabled=\"false\"]')")
        )

    def test_full_room(self) -> None:
        """
        A player who opens a room that is full reads why, and can watch.
        """
        ann = self.player("Ann")
        eve = self.player("Eve", is_phone=True)
        link = self.new_room(ann, "Tic-tac-toe")
        ann.press("Add a bot: easy")
        ann.until("return !!document.querySelector('.ttt')")
        eve.open(link)
        eve.until("return /already begun|every seat/i.test(document.body.innerText)")
        self.check(eve)
        eve.press("Watch")
        eve.see("You are watching.")

    def test_removed_player(self) -> None:
        """
        A player whom the host removes reads that, and cannot return.
        """
        ann = self.player("Ann")
        bob = self.player("Bob")
        link = self.new_room(ann, "Owe drahn")
        bob.open(link)
        ann.press("Remove Bob")
        bob.see("The host removed you.")
        bob.driver.refresh()
        bob.see("You were removed from this room.")

    def test_removed_at_once(self) -> None:
        """
        So does a player whom the host removes while the page is still loading the
        board.
        """
        ann = self.player("Ann")
        bob = self.player("Bob")
        link = self.new_room(ann, "Owe drahn")
        bob.be_slow(3000)
        try:
            bob.run("location.hash = new URL(arguments[0]).hash", link)
            ann.press("Remove Bob")
            bob.see("The host removed you.")
        finally:
            bob.be_slow(0)

    def test_keyboard_alone(self) -> None:
        """
        A game can be started and played with the keyboard alone, and the focus is
        visible.
        """
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        ann = self.player("Ann")
        ann.see("Happening now")
        # To the element that has the focus: the lists of the lobby may be redrawn.
        focused = "return document.activeElement.ariaLabel"
        for label, key in (
            ("More for Tic-tac-toe", Keys.ENTER),
            ("Play Tic-tac-toe with a bot", None),
        ):
            for _ in range(40):
                ActionChains(ann.driver).send_keys(Keys.TAB).perform()
                if ann.run(focused) == label:
                    break
            if key is not None:
                ann.driver.switch_to.active_element.send_keys(key)
        outline = ann.run(
            "return getComputedStyle(document.activeElement).outlineStyle"
        )
        self.assertEqual(outline, "solid")
        ann.driver.switch_to.active_element.send_keys(Keys.ENTER)
        ann.until("return document.querySelector('.turn')?.textContent === 'Your turn'")
        ann.run("document.querySelector('.cell').focus()")
        for key in (Keys.ARROW_RIGHT, Keys.ARROW_DOWN):
            ann.driver.switch_to.active_element.send_keys(key)
        label = ann.run("return document.activeElement.ariaLabel")
        self.assertTrue(label.startswith("Row 2, column 2"), label)
        free = ann.run(
            "const cell = document.querySelector('.cell[data-who=empty]');"
            "cell.focus(); return cell.ariaLabel.split(':')[0]"
        )
        ann.driver.switch_to.active_element.send_keys(Keys.ENTER)
        ann.see(f"You: {free.lower()}")

    def test_dialogs(self) -> None:
        """
        The forms for a name and for a game's options can be read and used by everybody,
        on a phone too.
        """
        ann = self.player("Ann", is_phone=True)
        ann.press("You are Ann. Change your name")
        ann.see("Other players see this name")
        self.check(ann)
        ann.press("Cancel")
        for title in ("Arena", "Owe drahn"):
            ann.press(f"Play {title} with friends")
            ann.see(f"New room: {title}")
            self.check(ann)
            ann.press("Cancel")

    def test_two_tabs(self) -> None:
        """
        A duplicated tab takes over from the first one, which says so and waits.
        """
        from selenium.webdriver.support.ui import WebDriverWait

        ann = self.player("Ann")
        first = ann.driver.current_window_handle
        ann.run("window.copied = open(location.href)")
        second = WebDriverWait(ann.driver, PATIENCE).until(
            lambda driver: next(
                (one for one in driver.window_handles if one != first), None
            )
        )
        try:
            ann.see("You’re playing in another tab")
            self.check(ann)
            ann.press("Play here instead")
            self.wait_for(ann, "online")
        finally:
            ann.driver.switch_to.window(second)
            ann.driver.close()
            ann.driver.switch_to.window(first)

    def test_headers(self) -> None:
        """
        The headers make a browser run only the page's own files, and let no other page
        embed this one.
        """
        with urlopen(f"http://127.0.0.1:{self.node.http}/") as answer:
            headers = answer.headers
        policy = headers["content-security-policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertIn("frame-ancestors 'none'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        self.assertEqual(headers["referrer-policy"], "no-referrer")
