"""The program ``vinom``: help, mistakes and exit codes."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vinom.base.printable import in_columns
from vinom.tools.commands import cli
from vinom.tools.commands.admin import (
    show_matches,
    show_results,
    show_rooms,
    show_status,
)

ROOT = Path(__file__).resolve().parents[3]


def run_python(
    code: str, *arguments: str, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own that finds this repository."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


_FORMING: dict[str, Any] = {
    "match_id": "m1",
    "game": "maze",
    "state": "forming",
    "age": 1.2,
    "host": None,
    "port": None,
}


class CommandLineTests(SynchronousTestCase):
    """What people see who type ``vinom``."""

    def run_vinom(self, *arguments: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = cli.main(arguments)
            except SystemExit as stopped:
                code = stopped.code if isinstance(stopped.code, int) else 1
        return code, out.getvalue(), err.getvalue()

    def test_no_arguments(self) -> None:
        """
        ``vinom`` alone prints its commands.
        """
        code, out, _ = self.run_vinom()
        self.assertEqual(code, 0)
        for name in cli.COMMANDS:
            self.assertIn(name, out)
        self.assertIn("twistd vinom", out)

    def test_every_command_has_help(self) -> None:
        """
        Every command explains its options.
        """
        for name, told in cli.COMMANDS.items():
            code, out, _ = self.run_vinom(name, "--help")
            self.assertEqual(code, 0, name)
            self.assertIn(told, " ".join(out.split()), name)

    def test_unknown_command(self) -> None:
        """
        A typing error names the commands there are.
        """
        code, _, err = self.run_vinom("stauts")
        self.assertEqual(code, 2)
        self.assertIn("status", err)

    def test_unknown_option(self) -> None:
        """
        Whoever mistypes an option gets the usage of the command that was meant.
        """
        for name in ("bots", "doctor", "status"):
            code, _, err = self.run_vinom(name, "--nonsense")
            self.assertEqual(code, 2)
            self.assertIn(f"usage: vinom {name} ", err)
            self.assertIn("--nonsense", err.splitlines()[-1])
        code, _, err = self.run_vinom("--nonsense")
        self.assertEqual(code, 2)
        self.assertIn("usage: vinom [-h]", err)

    def test_no_node(self) -> None:
        """
        Without a node the operator's commands say so in one line.
        """
        state_dir = self.mktemp()
        for arguments in (
            ("status",),
            ("matches",),
            ("kick", "m", "p"),
            ("end", "m"),
            ("drain",),
            ("explain", "p"),
            ("results", "--dead"),
        ):
            code, out, err = self.run_vinom(*arguments, "--state-dir", state_dir)
            self.assertEqual((code, out, err.count("\n")), (2, "", 1))
            self.assertIn("no node answers", err)

    def test_node_of_somebody_else(self) -> None:
        """
        A user who may not send requests to a node is informed who may.
        """
        state_dir = self.mktemp()
        Path(state_dir).mkdir()
        # The command is imported as who we are.
        self.run_vinom("status", "--state-dir", state_dir)
        Path(state_dir).chmod(0)
        self.addCleanup(Path(state_dir).chmod, 0o700)
        if os.geteuid() == 0:
            os.seteuid(65534)
            self.addCleanup(os.seteuid, 0)
        code, out, err = self.run_vinom("status", "--state-dir", state_dir)
        self.assertEqual((code, out, err.count("\n")), (2, "", 1))
        self.assertIn("answers nobody but its own user", err)

    def test_numbers_out_of_range(self) -> None:
        """
        A number that no run can have is refused at once, instead of a run that
        never ends; the sentence names the option.
        """
        for arguments in (
            ("bots", "--players", "0"),
            ("bots", "--pace", "0"),
            ("bots", "--pace", "inf"),
            ("bots", "--seconds", "nan"),
            ("bots", "--grace", "inf"),
            ("demo", "--players", "1"),
            ("demo", "--pace", "nan"),
            ("demo", "--seconds", "0"),
            ("replay", "x.vinomrec", "--speed", "nan"),
        ):
            code, out, err = self.run_vinom(*arguments)
            self.assertEqual((code, out, err.count("\n")), (2, "", 1))
            self.assertIn(arguments[-2], err)

    def test_matches_in_columns(self) -> None:
        """
        Matches are a table, and forming ones have no address yet.
        """
        seat = {"seat": 0, "player_id": "p1", "name": "ann", "state": "absent"}
        told = {**_FORMING, "players": [seat]}
        self.assertEqual(
            show_matches({"matches": [told]}).splitlines(),
            [
                "MATCH  GAME  STATE    AGE  AT  PLAYERS",
                "m1     maze  forming  1s   -   ann (p1, absent)",
            ],
        )
        self.assertEqual(show_matches({"matches": []}), "no matches")

    def test_results_in_columns(self) -> None:
        """
        Results are a table: who won, and why one was not received.
        """
        seats = [{"seat": number, "name": name} for number, name in enumerate("abc")]
        result = {
            "id": "m1:1",
            "time": 1763886000.0,
            "game": "maze",
            "reason": "finished",
            "seats": seats,
            "places": [[1], [0, 2]],
        }
        kept = {"cursor": "1-0", "state": "dead", "why": "it answers 400"}
        lost = {**result, "id": "m2:0", "reason": "lost", "places": []}
        other = {"cursor": "2-0", "state": "sent", "why": "it was down once"}
        answer = {"results": [{"result": result, **kept}, {"result": lost, **other}]}
        head, first, second = show_results(answer).splitlines()
        self.assertEqual(
            [cell.strip() for cell in first.split("  ") if cell],
            [
                *("1-0", "2025-11-23 08:20:00", "maze", "m1:1", "finished"),
                *("b > a = c", "dead", "it answers 400"),
            ],
            head,
        )
        self.assertIn("a, b, c", second)
        self.assertNotIn("down", second)
        self.assertEqual(show_results({"results": []}), "no results")

    def test_strangers_text_in_columns(self) -> None:
        """
        A player's id or name neither adds a row nor controls the terminal.
        """
        seat = {
            "seat": 0,
            "player_id": "p1\nm2  maze  playing",
            "name": "\x1b[2J\u202e",
            "state": "absent",
        }
        told = {**_FORMING, "room_id": "m1", "players": [seat]}
        told |= dict.fromkeys(("spectators", "connected", "version"), 1)
        told |= dict.fromkeys(("taken", "seats"), 1)
        for table in (show_matches({"matches": [told]}), show_rooms({"rooms": [told]})):
            rows = table.split("\n")
            self.assertEqual(len(rows), 2)
            self.assertTrue(all(row.isprintable() for row in rows), rows)
            self.assertIn(r"\x1b[2J\u202e (p1\nm2  maze", rows[1])

    def test_status_in_columns(self) -> None:
        """
        A status is a short table for operators, without the
        figures of each game server.
        """
        told: dict[str, Any] = {
            "version": "1.0",
            "state": "serving",
            "uptime": 3725.5,
            "lobby": "127.0.0.1:4600",
            "lines": 3,
            "players": 2,
            "queue": {"waiting": {"maze": 2}, "suspended": 1, "longest_wait": 7.4},
            "matches": {
                "forming": 0,
                "placed": 1,
                "playing": 2,
                "ended": {"void": 1, "finished": 5},
            },
            "certificates": {"lobby": 1e9},
            "store": {"address": "redis://r:6379/0", "available": True, "lease": 7},
            "fleet": {
                "servers": {"warm": 2, "listening": 3, "leaving": 0},
                "ports_free": 7,
                "ports_bound": 3,
                "ports_quarantined": 0,
                "game_servers": {"a": {"figures": {"rtt_seconds": 1.0}}},
            },
        }
        self.assertEqual(
            show_status(told).splitlines(),
            [
                "node               vinom 1.0, serving",
                "up                 1 h 2 min",
                "lobby              127.0.0.1:4600, 3 lines",
                "players            2 in the lobby",
                "queue              2 maze, 1 of them away; the longest for 7 s",
                "matches            1 placed, 2 playing",
                "ended              5 finished, 1 void",
                "game servers       2 warm, 3 listening",
                "ports              7 free, 3 bound",
                "store              redis://r:6379/0, lease 7",
                "lobby certificate  until 2001-09-09 01:46 UTC",
            ],
        )
        told["queue"] = {"waiting": {"maze": 0}, "suspended": 0, "longest_wait": 0.0}
        told["matches"] = dict.fromkeys(("forming", "placed", "playing"), 0)
        told["matches"]["ended"] = {}
        told["uptime"] = 200_000.0
        shown = show_status(told)
        self.assertIn("queue              nobody waits\n", shown)
        self.assertIn("matches            none\n", shown)
        self.assertIn("up                 2 d 7 h\n", shown)
        self.assertEqual(in_columns([("a", "b")]), "a  b")


class PluginTests(SynchronousTestCase):
    """How twistd finds us."""

    def test_plugin_is_found(self) -> None:
        """
        ``twistd`` lists vinom, and ``twistd vinom --help`` has its settings.
        """
        done = run_python(
            "import sys; sys.argv[1:] = ['vinom', '--help'];"
            "from twisted.scripts.twistd import run; run()"
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("--drain-seconds=", done.stdout)

    def test_pidfile_that_cannot_be(self) -> None:
        """
        Started where twistd cannot write its pidfile, it fails with one line. That is
        never in the folder of ``--rundir``.
        """
        start = Path(self.mktemp()).absolute()
        (start / "run" / "sub").mkdir(parents=True)
        done = run_python(
            "import sys; sys.argv[0] = 'twistd';"
            "from twisted.scripts.twistd import run; run()",
            *("-n", "--rundir=run", "--pidfile=sub/twistd.pid", "vinom"),
            cwd=start,
        )
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done)
        pidfile = start / "sub" / "twistd.pid"
        self.assertIn(f"cannot write {pidfile}: start it in a folder", done.stderr)

    def test_listing_plugins_loads_nothing(self) -> None:
        """
        ``twistd --help`` imports neither our services nor OpenSSL.
        """
        done = run_python(
            "import sys;"
            "from twisted.application.service import IServiceMaker;"
            "from twisted.plugin import getPlugins;"
            "names = [p.tapname for p in getPlugins(IServiceMaker)];"
            "assert 'vinom' in names, names;"
            "loaded = [m for m in sys.modules if m.startswith('vinom.')];"
            "assert not loaded, loaded"
        )
        self.assertEqual(done.returncode, 0, done.stderr)
