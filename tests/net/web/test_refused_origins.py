"""Pages of other sites: what the log says, and what the page can find out."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.support.http import ask
from tests.support.javascript import run_script
from tests.support.logged import watch_log
from vinom.base.limits.origins import Origins, setting_for
from vinom.base.reactor.turns import TurnEnd
from vinom.lobby.conversation.conversation import Line
from vinom.net.lines.limits import LineBounds
from vinom.net.lines.websocket import WebSockets
from vinom.net.web.answers import Folder
from vinom.net.web.websocket import WebSocketPage


class _Ear:
    """A conversation that nobody has."""

    def __init__(self, line: Line) -> None:
        """:param line: unused."""


class RefusedOriginTests(SynchronousTestCase):
    def setUp(self) -> None:
        clock: Any = Clock()
        ear: Any = _Ear
        sockets = WebSockets(ear, clock, TurnEnd(clock), LineBounds())
        self.errors = sockets.errors
        self.site = Folder(ws=WebSocketPage(sockets, Origins()))
        self.lines = watch_log(self)

    def test_one_line(self) -> None:
        """
        The log has one line per refused origin, which names the setting and its value.
        """
        for origin in ("http://localhost:5500", "https://play.example.com"):
            for _ in range(5):
                ask(self.site, "GET", "/ws", origin=origin)
        self.assertEqual(len(self.lines), 2)
        self.assertIn("set origin=localhost:5500", self.lines[0])
        self.assertIn("set origin=play.example.com", self.lines[1])
        self.assertEqual(self.errors["origin_refused"], 10)

    def test_page_can_read_it(self) -> None:
        """
        The refused page may read why, although it is of another origin; a page that was
        opened from a file reads that it has to use http.
        """
        found = ask(self.site, "GET", "/ws", origin="http://localhost:5500")
        self.assertEqual(found.status, 403)
        self.assertEqual(found.headers["access-control-allow-origin"], "*")
        self.assertEqual(found.json["error"]["code"], "origin_refused")
        self.assertIn("origin=localhost:5500", found.json["error"]["message"])
        found = ask(self.site, "GET", "/ws", origin="null")
        self.assertIn("page=DIRECTORY", found.json["error"]["message"])

    def test_long_origin(self) -> None:
        """
        A stranger's long origin does not make a long line.
        """
        ask(self.site, "GET", "/ws", origin="x" * 5000)
        self.assertLess(len(self.lines[0]), 600)

    def test_settings(self) -> None:
        """
        The value in the message is one that the setting accepts.
        """
        for origin, value in {
            "http://Localhost:5500": "localhost:5500",
            "https://example.com:443": "example.com",
            "http://[::1]:8000": "[::1]:8000",
            "null": None,
            "file://": None,
            "https://*.example.com": None,
        }.items():
            self.assertEqual(setting_for(origin), value, origin)


class ClientTests(SynchronousTestCase):
    """`connect` of vinom.js, whose handshakes all fail."""

    def connect(self, code: str) -> Any:
        return run_script("origin.mjs", {"code": code})

    def test_refused(self) -> None:
        """
        After the second failure the promise is rejected, the "error" event says why,
        and the client no longer retries.
        """
        found = self.connect("origin_refused")
        self.assertEqual(found["rejected"], "origin_refused")
        self.assertIn("set origin=localhost:5500", found["message"])
        self.assertEqual(found["errors"], ["origin_refused"])
        self.assertEqual((found["tries"], found["asked"]), (2, ["http://node/ws"]))
        self.assertEqual(found["status"], "refused")

    def test_busy(self) -> None:
        """
        Any other answer is no reason to give up: the client keeps retrying.
        """
        found = self.connect("too_many_connections")
        self.assertIsNone(found["rejected"])
        self.assertGreater(found["tries"], 2)
        self.assertEqual(found["errors"], [])
