"""Log lines: one an event, with ids, and nothing that a player can forge."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.logs import observer


class LogTests(SynchronousTestCase):
    """What operators read, and what their tools parse."""

    def write(self, log_format: str, text: str, **facts: Any) -> str:
        file = StringIO()
        log = Logger("vinom.test", observer=observer(file, log_format, "info"))
        log.info(text, **facts)
        return file.getvalue()

    def test_text(self) -> None:
        """
        A line has level, source, text, and the ids that the text does not say.
        """
        line = self.write("text", "hello {name}", name="ann", player_id="p1", seat=None)
        self.assertTrue(
            line.endswith("info     vinom.test: hello ann [player_id=p1]\n")
        )
        line = self.write("text", "match {match_id} ends", match_id="m1")
        self.assertTrue(line.endswith("match m1 ends\n"))

    def test_json(self) -> None:
        """
        A JSON line has the same facts under their names.
        """
        record = json.loads(self.write("json", "x {a}", a=1, match_id="m", seat=0))
        self.assertEqual(record.pop("time")[-6:], "+00:00")
        self.assertEqual(
            record,
            {
                "level": "info",
                "source": "vinom.test",
                "message": "x 1",
                "match_id": "m",
                "seat": 0,
            },
        )

    def test_what_players_sent(self) -> None:
        """
        Line breaks in what a player sent do not begin a line of the log; and a log
        shown on a terminal does what none of its senders wants.
        """
        evil = "a\nb\r\nc\x1b[2J\x9b\u202e\x07"
        for log_format in ("text", "json"):
            for ids in ({}, {"player_id": evil}):
                line = self.write(log_format, "hello {name}", name=evil, **ids)
                self.assertTrue(line.removesuffix("\n").isprintable(), line)

    def test_lines_of_game_servers(self) -> None:
        """
        A game server's own line is not wrapped into another; a stray print is.
        """
        for log_format in ("text", "json"):
            line = self.write(log_format, "hello {name}", name="ann").rstrip("\n")
            for said, is_whole in ((line, True), ("Oops", False)):
                file = StringIO()
                log = Logger(
                    "vinom.fleet.local.forklink.ForkLink",
                    observer=observer(file, log_format, "info"),
                )
                log.info("{line}", line=said)
                self.assertIn(said, file.getvalue())
                self.assertEqual(file.getvalue() == f"{said}\n", is_whole)

    def test_level(self) -> None:
        """
        What is below the level is left out.
        """
        file = StringIO()
        log = Logger("vinom.test", observer=observer(file, "text", "warn"))
        log.emit(LogLevel.info, "quiet")
        log.emit(LogLevel.warn, "loud")
        self.assertNotIn("quiet", file.getvalue())
        self.assertIn("loud", file.getvalue())

    def test_failure(self) -> None:
        """
        Our own mistakes come with their traceback.
        """
        for log_format in ("text", "json"):
            file = StringIO()
            log = Logger("vinom.test", observer=observer(file, log_format, "info"))
            try:
                raise ZeroDivisionError("oh")
            except ZeroDivisionError:
                log.failure("broken", Failure())
            self.assertIn("broken", file.getvalue())
            self.assertIn("ZeroDivisionError", file.getvalue())
