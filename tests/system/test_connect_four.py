"""The manual's Connect Four: a browser and programs, in ``vinom dev``."""

from __future__ import annotations

import os
import re
import sys
from itertools import cycle
from pathlib import Path
from shutil import copytree
from typing import Any
from urllib.parse import parse_qs

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.browsers import Browser, needs_browser
from tests.support.programs import start_program
from tests.system.test_demo import ROOT, VINOM
from vinom.client.sdk import connect
from vinom.tools.commands.child_node import free_port

EXAMPLE = ROOT / "docs/tutorial/connectfour"
GAME = "connectfour:ConnectFour"


class ConnectFourTests(TestCase):
    timeout = 240

    async def start_dev(self) -> tuple[str, int]:
        """Run ``vinom dev`` on a copy of the example; its page, and its lobby port."""
        folder = Path(self.mktemp())
        copytree(EXAMPLE, folder, ignore=lambda *_: ["__pycache__"])
        http = free_port()
        dev = start_program(
            self,
            *(*VINOM, "dev", GAME, "--http", str(http)),
            environ=dict(os.environ, PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1"),
            path=str(folder),
        )
        await dev.printed(b"watching")
        found = re.search(rb"programs connect to 127\.0\.0\.1 (\d+)", dev.output)
        assert found is not None
        return f"http://127.0.0.1:{http}/", int(found[1])

    def browser(self) -> Browser:
        """Start a browser."""
        browser = Browser()
        self.addCleanup(browser.quit)
        return browser

    async def with_sdk(self, page: str, port: int) -> None:
        """One plays in a browser, the other with a program over the SDK, which wins."""
        ann = await deferToThread(self.browser)
        await deferToThread(ann.open, page)
        address = await deferToThread(_invite, ann)
        (room_id,) = parse_qs(address.partition("#")[2])["room"]
        client = await connect(reactor, "localhost", port, name="program")
        self.addCleanup(client.close)
        room = await client.join_room("connectfour", room_id)
        over: Deferred[None] = Deferred()

        def move(room: Any) -> None:
            view = room.view
            if view["turn"] == room.seat:
                room.act({"type": "drop", "column": 5})
            elif view["turn"] is None and not over.called:
                over.callback(None)

        room.on_state(move)
        columns = cycle((3, 2))
        while not await deferToThread(_drop, ann, next(columns), ".c4-grid.is-over"):
            pass
        await over
        self.assertEqual((room.seat, room.view["winner"]), (1, 1))
        self.assertEqual(sorted(room.view["line"]), [[row, 5] for row in range(2, 6)])
        await deferToThread(ann.see, "program wins!")

    async def with_listing(self, page: str, port: int) -> None:
        """Play a match in a browser against the tutorial's program, until it wins."""
        ann = await deferToThread(self.browser)
        await deferToThread(ann.open, page)
        await deferToThread(ann.press, "Find a match of Connect Four")
        program = start_program(
            self,
            *(sys.executable, str(EXAMPLE / "player.py"), "localhost", str(port)),
            environ=dict(os.environ, PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1"),
            path=str(ROOT),
        )
        for column in cycle((0, 6)):
            if await deferToThread(_drop, ann, column, ".c4-grid.is-over"):
                break
        await deferToThread(ann.see, "Python wins!")
        await program.printed(b"ended: left")
        self.assertEqual(await program.ended, 0)

    async def test_dev(self) -> None:
        """
        In ``vinom dev`` a player in a browser plays against the manual's program, and
        in a room with a program of the SDK.
        """
        needs_browser()
        page, port = await self.start_dev()
        await self.with_listing(page, port)
        await self.with_sdk(page, port)


def _invite(host: Browser) -> str:
    """Open a room; returns the address for a friend."""
    host.press("Play Connect Four with friends")
    found = host.until("return document.querySelector('.invite input')?.value")
    return str(found)


def _drop(player: Browser, column: int, end: str = "") -> bool:
    """
    Drop a disc when it is this player's turn.

    :param end: what the page shows instead of a turn when the round is over.
    :returns: whether it showed that.
    """
    before = player.until(_DROP, column, end, what="a turn")
    if before != "over":
        player.until(f"return {_DISCS} >= arguments[0]", before, what="the disc")
    return before == "over"


_DISCS = "document.querySelectorAll('.c4-disc.is-seat0, .c4-disc.is-seat1').length"
#: Returns how many discs there will be.
_DROP = f"""
if (arguments[1] && document.querySelector(arguments[1])) return "over";
if (!document.querySelector(".c4-grid.is-mine")) return 0;
document.querySelectorAll(".c4-col")[arguments[0]].click();
return {_DISCS} + 1;
"""
