"""``vinom doctor``, as an operator types it."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import socket
import threading
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vinom.base.settings.values import Switch
from vinom.node.settings import TABLE, Settings
from vinom.tools.commands.cli import declare, main
from vinom.tools.doctor import command
from vinom.tools.doctor.findings import Subject
from vinom.tools.doctor.machine import examine_wall, wall
from vinom.tools.doctor.ports import listener_of, open_files_limit, owners, sockets_at
from vinom.tools.doctor.trust import examine_tls

#: As Linux writes it: a listener, a connection, and two ports.
TCP = """\
  sl  local_address rem_address st tx rx tr tm->when retrnsmt uid timeout inode
   0: 0100007F:11F8 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 41 1
   1: 0100007F:11F8 0100007F:C001 01 00000000:00000000 00:00000000 00000000 0 0 42 1
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 43 1
"""


def vinom(*arguments: str) -> tuple[int, str, str]:
    """Run ``vinom doctor``: exit code, what it printed, what it complained."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(["doctor", *arguments])
        except SystemExit as ended:
            code = int(str(ended.code))
    return code, out.getvalue(), err.getvalue()


class CommandTests(SynchronousTestCase):
    def test_mistakes(self) -> None:
        """
        An invalid argument is reported in one line that names the option.
        """
        for arguments, word in (
            (["--answer", "--probe=a:1"], "--probe on the other"),
            (["--for=3"], "--for"),
            (["--answer", "--for=-1"], "--for"),
            (["--probe=nowhere"], "HOST:PORT"),
            (["--probe=127.0.0.1:99999"], "HOST:PORT"),
            (["--probe=no.such.name.invalid:1"], "has no address"),
            (["--port=x"], "--port must be"),
            (["--ports=9-1"], "--ports must"),
            (["--config=/nowhere.toml"], "cannot read /nowhere.toml"),
        ):
            code, _, err = vinom(*arguments)
            self.assertEqual(code, 2, arguments)
            self.assertIn(word, err)
            self.assertEqual(err.count("\n"), 1, err)

    def test_help(self) -> None:
        """
        Help fits a screen, and names the help of the node's own options.
        """
        code, out, _ = vinom("--help")
        self.assertEqual(code, 0)
        self.assertIn("twistd vinom --help", out)
        self.assertIn("--probe", out)
        self.assertLess(out.count("\n"), 40)

    def test_every_setting_is_taken(self) -> None:
        """
        What the node is given, the doctor can be given.
        """
        parser = argparse.ArgumentParser()
        declare(command, parser)
        for row in TABLE:
            is_switch = isinstance(row.kind, Switch)
            typed = [f"--{row.flag}"] if is_switch else [f"--{row.flag}", "x"]
            given = getattr(parser.parse_args(typed), f"set_{row.name}")
            self.assertEqual(given, True if is_switch else ["x"] if row.many else "x")

    def test_lines(self) -> None:
        """
        Findings stand in columns, each remedy below its own, commands unbroken.
        """
        told = command.in_lines(
            [
                Subject("mtu").ok("fine"),
                Subject("clock").warning("nobody sets it", "run an NTP client"),
                Subject("disk").failure(
                    "word " * 30, "sysctl -w net.core.rmem_max=1048576"
                ),
            ],
            60,
        )
        lines = told.splitlines()
        self.assertEqual(
            lines[:3],
            [
                "ok       mtu    fine",
                "warning  clock  nobody sets it",
                "                -> run an NTP client",
            ],
        )
        self.assertIn("net.core.rmem_max=1048576", told)
        self.assertLessEqual(max(map(len, lines)), 60)
        self.assertEqual(lines[-1], "1 ok, 1 warning, 1 failure, 0 not checked")

    def test_json(self) -> None:
        """
        Programs get the same findings, and a count of each verdict.
        """
        state_dir = Path(self.mktemp())
        code, out, _ = vinom(
            "--json", f"--state-dir={state_dir}", "--ports=47123", "--game=no:Game"
        )
        told = json.loads(out)
        self.assertEqual(code, 1)
        found = {one["name"]: one for one in told["findings"]}
        self.assertEqual(found["games"]["verdict"], "failure")
        self.assertIn("remedy", found["games"])
        self.assertGreaterEqual(told["counts"]["failure"], 1)
        self.assertEqual(sum(told["counts"].values()), len(told["findings"]))
        self.assertFalse(state_dir.exists(), "the doctor changes nothing")

    def test_missing_program(self) -> None:
        """
        A game's own program that is missing is found before the node refuses to start.
        """
        games = '{"pong": {"command": ["/nonexistent/pong"]}}'
        _, out, _ = vinom("--json", f"--state-dir={self.mktemp()}", f"--games={games}")
        found = {one["name"]: one for one in json.loads(out)["findings"]}
        self.assertEqual(found["games"]["verdict"], "failure")
        self.assertIn(
            "there is no program /nonexistent/pong", found["games"]["message"]
        )

    def test_files(self) -> None:
        """
        A file that cannot be used is reported with its setting.
        """
        junk = Path(self.mktemp())
        junk.write_text("junk")
        _, out, _ = vinom(
            "--json",
            f"--state-dir={self.mktemp()}",
            f"--tls-certificate-file={junk}",
            f"--tls-key-file={junk}",
            "--authority-certificate-file=/nowhere",
            "--authority-key-file=/nowhere",
            "--admin=tcp:1:interface=x:y",
            "--http=unix:/nowhere/socket",
            f"--admin-token-file={junk}",
            "--auth=nothing",
        )
        found = {one["name"]: one for one in json.loads(out)["findings"]}
        for name, verdict, word in (
            ("lobby certificate", "failure", "tls_certificate_file"),
            ("authority", "failure", "authority_certificate_file"),
            ("admin", "failure", "isn't an endpoint"),
            ("http", "not checked", "unix"),
            ("admin token", "failure", "token"),
            ("identity", "failure", "--help-auth"),
        ):
            self.assertEqual(found[name]["verdict"], verdict, found[name])
            self.assertIn(word, f"{found[name]['message']} {found[name]['remedy']}")


class MachineTests(SynchronousTestCase):
    def serve(self, answer: bytes) -> int:
        """Answer one connection with these bytes; returns the port."""
        server = socket.create_server(("127.0.0.1", 0))
        # Should nobody come: a bound on liveness.
        server.settimeout(20)
        self.addCleanup(server.close)

        def run() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)
        port: int = server.getsockname()[1]
        return port

    def test_tls_that_fails(self) -> None:
        """
        A node that does not shake hands with browsers is found, with the error.
        """
        # An alert of TLS: fatal, internal error (RFC 8446, section 6.2).
        for answer, word in (
            (bytes.fromhex("15 0303 0002 0250"), "internal error"),
            (b"", "eof"),
        ):
            port = self.serve(answer)
            settings = Settings(interface="0.0.0.0", port=port, advertise="a.example")
            (found,) = examine_tls(settings, os.getpid())
            self.assertEqual((found.name, found.verdict), ("lobby tls", "failure"))
            self.assertIn(word, found.message)
            self.assertIn(f"127.0.0.1:{port}", found.message)

    def test_tls_that_cannot_be_tried(self) -> None:
        """
        Without a node, or where nobody listens, TLS is not blamed.
        """
        settings = Settings(interface="127.0.0.1", port=1, http="2", http_tls=True)
        for node, word in ((None, "start the node"), (1, "the finding named http")):
            lobby, http = examine_tls(settings, node)
            for found in (lobby, http):
                self.assertEqual(found.verdict, "not checked")
            self.assertIn(word, str(http.remedy))
        # Only the node can find its ports, and what is behind that endpoint.
        for where in ("0", "unix:/nowhere", "ssl:1:privateKey=/nowhere"):
            settings = Settings(port=0, http=where, http_tls=True)
            self.assertEqual([*examine_tls(settings, 1)], [])

    def test_sockets(self) -> None:
        """
        Of TCP only listeners count; ports are not confused.
        """
        ports = frozenset({4600})
        self.assertEqual(sockets_at(TCP, ports, "tcp"), {"socket:[41]": 4600})
        self.assertEqual(len(sockets_at(TCP, ports, "udp")), 2)
        self.assertEqual(sockets_at("", ports, "tcp"), {})

    def proc(self) -> Path:
        """A ``/proc``: the node 10, its fork server 11, a game server 12; 20."""
        proc = Path(self.mktemp())
        (proc / "net").mkdir(parents=True)
        (proc / "net" / "udp").write_text(
            "head\n"
            " 0: 0100007F:B3B0 0:0 07 0:0 00:0 0 0 0 51 2\n"
            " 1: 0100007F:B3B1 0:0 07 0:0 00:0 0 0 0 52 2\n"
            " 2: 0100007F:B3B2 0:0 07 0:0 00:0 0 0 0 53 2\n"
        )
        for pid, parent, name, inode in (
            (10, 1, "twistd", None),
            (11, 10, "fork (a) b", None),
            (12, 11, "game", 51),
            (20, 1, "dnsmasq", 52),
        ):
            (proc / str(pid) / "fd").mkdir(parents=True)
            (proc / str(pid) / "comm").write_text(f"{name}\n")
            (proc / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 1")
            (proc / str(pid) / "fd" / "0").symlink_to("/dev/null")
            if inode is not None:
                (proc / str(pid) / "fd" / "3").symlink_to(f"socket:[{inode}]")
        (proc / "10" / "limits").write_text(
            "Limit                     Soft Limit           Hard Limit   Units\n"
            "Max open files            1024                 4096         files\n"
        )
        return proc

    def test_owners(self) -> None:
        """
        Ports of the node's game servers are the node's; others have names, and
        what may not be looked into has none.
        """
        proc = self.proc()
        found = owners("udp", [46000, 46001, 46002], 10, proc)
        self.assertEqual(
            {port: (one.pid, one.is_ours) for port, one in found.items()},
            {46000: (12, True), 46001: (20, False)},
        )
        self.assertEqual(str(found[46001]), "dnsmasq (process 20)")
        found = owners("udp", [46000], None, proc)
        self.assertFalse(found[46000].is_ours)
        self.assertEqual(owners("tcp", [46000], 10, proc), {})

    def test_node_that_hides(self) -> None:
        """
        The ports of a node that this user may not look into are the node's, if they
        are this user's and nobody else's who can be seen.
        """
        proc = self.proc()
        for pid in ("10", "11", "12"):
            shutil.rmtree(proc / pid / "fd")
        self.patch(os, "geteuid", lambda: 0)
        found = owners("udp", [46000, 46001], 10, proc)
        self.assertEqual(
            {port: (one.pid, one.is_ours) for port, one in found.items()},
            {46000: (10, True), 46001: (20, False)},
        )
        self.patch(os, "geteuid", lambda: 7)
        self.assertEqual(list(owners("udp", [46000], 10, proc)), [])

    def test_wall(self) -> None:
        """
        A wall that is off, has gaps, or has root behind it is a warning that says what
        to do; a user of game servers that cannot be used is a failure.
        """
        self.assertEqual("ok", wall(True, [], False, None).verdict)
        self.assertIn("run as games", wall(True, [], True, "games").message)
        for found, words in (
            (wall(False, [], False, None), "can read the node's keys"),
            (wall(True, ["no Landlock"], False, None), "this kernel has no Landlock"),
            (wall(True, [], True, None), "run as root"),
        ):
            self.assertEqual("warning", found.verdict)
            self.assertIn(words, found.message)
        (found,) = examine_wall(Settings(game_user="no-such-user"))
        self.assertEqual(("failure", "wall"), (found.verdict, found.name))
        self.patch(os, "geteuid", lambda: 1000)
        (found,) = examine_wall(Settings(game_user="nobody"))
        self.assertIn("needs a node that runs as root", found.message)
        self.assertIn("remove game_user", str(found.remedy))

    def test_limits_of_the_node(self) -> None:
        """
        A running node is judged by its own limit, not by the shell's.
        """
        proc = self.proc()
        self.assertEqual(open_files_limit(10, proc), (1024, 4096))
        self.assertIsNone(open_files_limit(99, proc))
        self.assertIsNotNone(open_files_limit(os.getpid()))

    def test_problems_of_the_node(self) -> None:
        """
        What a running node sees wrong is shown with its remedy, and also if it names
        none.
        """

        class Told:
            def __init__(self, path: Path) -> None: ...

            def get(self, path: str) -> dict[str, Any]:
                problems = {"a": "the disk is full: 3 left; free some", "b": "no pod"}
                return {"state": "serving", "lobby": "x:1", "problems": problems}

        self.patch(command, "listener_of", lambda path: 0)
        self.patch(command, "AdminLine", Told)
        _, out, err = vinom("--json", f"--state-dir={self.mktemp()}")
        self.assertEqual(err, "")
        found = [
            (one["message"], one["remedy"])
            for one in json.loads(out)["findings"]
            if (one["name"], one["verdict"]) == ("node", "warning")
        ]
        self.assertEqual(
            found,
            [
                ("the disk is full: 3 left", "free some"),
                ("no pod", "look at the node's log"),
            ],
        )

    def test_nobody_listens(self) -> None:
        """
        A socket that is not there, or was left behind, has no listener.
        """
        path = Path(self.mktemp())
        self.assertIsNone(listener_of(path))
        path.write_text("")
        self.assertIsNone(listener_of(path))
