"""``vinom chaos`` as its user runs it: its output, its exit status, and Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from tests.support.cut_links import descendants_of
from tests.support.programs import Program
from tests.support.units import command
from tests.system.test_demo import VINOM, start


class ChaosCommandTests(TestCase):
    timeout = 120

    def start_chaos(
        self, *more: str, game: str = "Adding", before: Sequence[str] = ()
    ) -> Program:
        """
        Start a run of two matches of a small game.

        :param before: a program that runs it.
        """
        return start(
            self,
            *before,
            *VINOM,
            "chaos",
            *("--game", f"tests.support.planted:{game}"),
            *("--matches", "2", "--grace", "20", "--pace", "8", "--seed", "1"),
            *more,
        )

    async def test_passes(self) -> None:
        """
        A game that is right passes while game processes are killed: one JSON object,
        the progress beside it, and status 0.
        """
        chaos = self.start_chaos(
            *("--minutes", "0.06", "--kill", "gameserver", "--every", "1", "--json")
        )
        code = await chaos.ended
        self.assertEqual(code, 0, chaos.text + chaos.errors.decode())
        report: dict[str, Any] = json.loads(chaos.text)
        self.assertTrue(report["passed"])
        self.assertEqual(report["broken"], [])
        self.assertGreater(report["strikes"]["gameserver"], 0)
        self.assertGreater(report["matches"]["resumed"], 0)
        self.assertEqual(report["seed"], "1")
        self.assertIn(b"kill -9 ", chaos.errors)

    async def test_ordinary_user(self) -> None:
        """
        So it does for a user who may not look into game processes.
        """
        state = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, state)
        chaos = self.start_chaos(
            *("--minutes", "0.1", "--kill", "gameserver", "--every", "1", "--json"),
            before=command("vinom.service", state, ("/usr/bin/env", f"TMPDIR={state}")),
        )
        code = await chaos.ended
        self.assertEqual(code, 0, chaos.text + chaos.errors.decode())
        self.assertGreater(json.loads(chaos.text)["strikes"]["gameserver"], 0)

    async def test_fails(self) -> None:
        """
        A game that draws from the system fails: status 1, a sentence that says what
        differs, and its recordings where they were asked for.
        """
        kept = Path(self.mktemp()).absolute()
        chaos = self.start_chaos(
            "--minutes", "0.03", "--keep", str(kept), game="Guessing"
        )
        self.assertEqual(await chaos.ended, 1, chaos.text + chaos.errors.decode())
        self.assertIn("recording BROKEN", chaos.text)
        self.assertIn("part 1 differs: total", chaos.text)
        self.assertIn("\nguessing: FAILED (seed 1)\n", chaos.text)
        self.assertIn("\nnext: vinom check ", chaos.text)
        self.assertTrue(list((kept / "recordings").glob("*.vinomrec")))

    async def test_interrupted(self) -> None:
        """
        Ctrl-C ends a run: what was played is checked and reported, and no process is
        left.
        """
        chaos = self.start_chaos("--minutes", "5", "--kill", "gameserver")
        await chaos.printed(b" 2 matches run")
        pid = int(chaos.transport.pid)
        processes = descendants_of(pid)
        self.assertGreater(len(processes), 2)
        os.kill(pid, signal.SIGINT)
        self.assertEqual(await chaos.ended, 0, chaos.text + chaos.errors.decode())
        self.assertIn("adding: passed (seed 1, interrupted after", chaos.text)
        self.assertIn("compared ", chaos.text)
        left = [one for one in processes if Path(f"/proc/{one}").exists()]
        self.assertEqual(left, [])

    async def test_cannot_run(self) -> None:
        """
        What cannot be run ends at once, with status 2 and one sentence.
        """
        chaos = self.start_chaos("--kill", "everything")
        self.assertEqual(await chaos.ended, 2)
        self.assertEqual(chaos.text, "")
        self.assertEqual(chaos.errors.count(b"\n"), 1)
        self.assertIn(b"--kill everything: must be one or more of", chaos.errors)
