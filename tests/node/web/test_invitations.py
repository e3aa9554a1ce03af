"""Invitation links as QR codes."""

from __future__ import annotations

from urllib.parse import quote
from xml.etree import ElementTree

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.support.http import Exchange, ask
from vinom.net.web.answers import Folder
from vinom.node.web.pages import LINK_LIMIT, InvitationCode


class InvitationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.site = Folder(**{"invite.svg": InvitationCode(self.clock)})

    def code(self, link: str) -> Exchange:
        """Ask for the code of a link."""
        path = f"/invite.svg?link={quote(link, safe='')}"
        return ask(self.site, "GET", path)

    def test_image(self) -> None:
        """
        A player gets the link to a room as an image, which needs no style or script.
        """
        found = self.code("https://test/#room=abc&game=dice")
        self.assertEqual(found.status, 200)
        self.assertEqual(found.headers["content-type"], "image/svg+xml")
        drawing = ElementTree.fromstring(found.body)
        self.assertTrue(drawing.tag.endswith("svg"))
        self.assertNotIn(b"style", found.body)
        other = self.code("https://test/#room=abd&game=dice")
        self.assertNotEqual(found.body, other.body)

    def test_links_of_others(self) -> None:
        """
        Nobody gets a code for another site, for a script, or for something endless
        from this server.
        """
        for link in (
            "https://evil.example/",
            "https://test@evil.example/",
            "javascript:alert(1)//test",
            "//test/",
            "https://[/",
            "https://test/é",
            "https://test/" + "a" * LINK_LIMIT,
            "",
        ):
            found = self.code(link)
            self.assertEqual(found.status, 400, link)
            self.assertIn(b"link must be", found.body)

    def test_limit(self) -> None:
        """
        Many codes at once are refused for a moment: each costs the server time.
        """
        link = "https://test/#room="
        statuses = [self.code(f"{link}{number}").status for number in range(60)]
        self.assertEqual(statuses.count(429), 10)
        self.clock.advance(1.0)
        self.assertEqual(self.code(link).status, 200)
