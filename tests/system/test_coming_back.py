"""Players whose game process is killed: a real node, real sockets, SIGKILL."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from tests.support.child_nodes import admin_of, start_node
from tests.support.javascript import FOLDER, needs_javascript
from tests.support.needs import path_of
from tests.support.programs import start_program, until_warm
from tests.support.redis_servers import until
from vinom.tools.commands.child_node import ChildNode, free_port


def game_process(node: ChildNode, match_id: str) -> int:
    """Find the process that plays a match."""
    status = admin_of(node).get("status")
    (pid,) = [
        server["pid"]
        for server in status["fleet"]["game_servers"].values()
        if match_id in server["matches"]
    ]
    assert isinstance(pid, int)
    return pid


class JavaScriptTests(TestCase):
    """Four players with vinom.js, whose WebSockets end at the node."""

    timeout = 120

    async def setUp(self) -> None:
        needs_javascript()
        http = free_port()
        self.node = await start_node(
            self,
            "--game=tests.support.roll_call:RollCall",
            "--warm=2",
            f"--http={http}",
        )
        await until_warm(Path(self.node.state_dir))
        self.url = f"http://127.0.0.1:{http}/"
        self.http = http

    def check(self, seen: list[dict[str, Any]]) -> None:
        """Nothing is missing, doubled or refused, and no version went back."""
        self.assertEqual(len(seen), 4)
        for player in seen:
            self.assertEqual(player["wrong"], [])
            self.assertEqual(player["last"], player["said"])
            self.assertEqual(player["outOfTurn"], 0)
            # The connection to the node was there all the time.
            self.assertEqual(player["returns"], 0)

    async def test_in_node(self) -> None:
        """
        A game process that is killed three times costs programs a moment each time.
        """
        counting = start_program(
            self,
            path_of("node"),
            str(FOLDER / "count.mjs"),
            str(self.http),
            environ=dict(os.environ),
        )
        await counting.printed(b'"match"')
        match_id = json.loads(counting.text.splitlines()[0])["match"]
        for number in range(1, 4):
            pid = game_process(self.node, match_id)
            os.kill(pid, signal.SIGKILL)
            counting.transport.write(b"killed\n")
            await until(lambda n=number: counting.text.count('"ms"') == n)
            self.assertNotEqual(game_process(self.node, match_id), pid)
        counting.transport.closeStdin()
        self.assertEqual(await counting.ended, 0, counting.errors)
        self.check(json.loads(counting.text.splitlines()[-1])["seen"])
