"""Units of systemd: that systemd understands them, and that they keep matches alive."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.child_gateways import TWISTD
from tests.support.needs import needs
from tests.support.programs import short_folder
from tests.system.test_gateway import EchoServer
from vinom.base.settings.sources import Sources
from vinom.gateway.routing.rules import check_rules
from vinom.gateway.settings import SOURCES as GATEWAY
from vinom.gateway.settings import GatewaySettings
from vinom.net.keys.authority import Authority
from vinom.node.settings import gather
from vinom.tools.commands.child_node import free_port

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
#: Largest exposure that ``systemd-analyze security`` may find, tenths of its points.
MOST_EXPOSED = 20


def lines(unit: str, key: str) -> list[str]:
    """Read all values of a key of a unit."""
    text = (UNITS / unit).read_text(encoding="utf-8")
    return re.findall(rf"(?m)^{key}=(.*)$", text)


def one(unit: str, key: str) -> str:
    """Read the only value of a key of a unit."""
    (found,) = lines(unit, key)
    return found


class UnitTests(SynchronousTestCase):
    """The files as they stand."""

    def folder(self) -> Path:
        """Copy the units to where their programs are: to a folder of ours."""
        folder = Path(self.mktemp()).resolve()
        shutil.copytree(UNITS, folder)
        program = folder / "twistd"
        program.write_text("#!/bin/sh\n", encoding="utf-8")
        program.chmod(0o755)
        for unit in (*folder.glob("*.service"), *folder.glob("*.socket")):
            text = unit.read_text(encoding="utf-8")
            text = text.replace("/opt/vinom/bin/twistd", str(program))
            unit.write_text(text, encoding="utf-8")
        return folder

    def verify(self, unit: Path) -> str:
        """What systemd says of a unit."""
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", f"./{unit.name}"],
            cwd=unit.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    def test_systemd_understands(self) -> None:
        """
        systemd loads each unit without a word: it only warns of a misspelt key, and
        would then run a node without that protection.
        """
        needs("systemd-analyze")
        folder = self.folder()
        names = []
        for unit in (*folder.glob("*.service"), *folder.glob("*.socket")):
            self.assertEqual(self.verify(unit), "", unit.name)
            names.append(unit.name)
        self.assertEqual(len(names), 4)
        # A misspelt one would be found.
        broken = folder / "vinom.service"
        text = broken.read_text(encoding="utf-8")
        broken.write_text(text.replace("KillMode=", "KilMode="), encoding="utf-8")
        self.assertIn("KilMode", self.verify(broken))

    def test_hardened(self) -> None:
        """
        What a taken over node or gateway could reach is little, as systemd counts it.
        """
        needs("systemd-analyze")
        for unit in ("vinom.service", "vinom-gateway.service"):
            done = subprocess.run(
                [
                    *("systemd-analyze", "security", "--offline=true", "--no-pager"),
                    *(f"--threshold={MOST_EXPOSED}", unit),
                ],
                cwd=UNITS,
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("Overall exposure level", done.stdout)

    def test_game_servers_outlive_the_node(self) -> None:
        """
        Stopping or killing the node kills no match: only the node gets signals, and
        the kernel's end of one game server is not the end of all.
        """
        self.assertEqual(one("vinom.service", "KillMode"), "process")
        self.assertEqual(one("vinom.service", "OOMPolicy"), "continue")
        self.assertEqual(gather({}, {}, UNITS / "node.toml").on_stop, "leave")

    def test_files_are_accepted(self) -> None:
        """
        The example files are ones that node and gateway take, and the directories in
        them are those that the units make.
        """
        node = gather({}, {}, UNITS / "node.toml")
        # As systemd reads it: empty where there is no instance.
        self.assertIn(
            "--config /etc/vinom/node%i.toml", one("vinom.service", "ExecStart")
        )
        state = Path("/var/lib", one("vinom.service", "StateDirectory"))
        self.assertEqual(node.state_dir, state)
        assert node.gateway_link is not None
        runtime = Path("/run", one("vinom.service", "RuntimeDirectory"))
        self.assertEqual(Path(node.gateway_link.removeprefix("unix:")).parent, runtime)
        gateway = self.settings(GATEWAY, UNITS / "gateway.toml")
        assert gateway.access_log is not None
        logs = Path("/var/log", one("vinom-gateway.service", "LogsDirectory"))
        self.assertEqual(gateway.access_log.parent, logs)
        assert gateway.routes is not None
        rules = (UNITS / gateway.routes.name).read_text(encoding="utf-8")
        check_rules(tomllib.loads(rules)["services"])
        self.assertEqual(rules.count(node.gateway_link), 2)

    def test_restarts(self) -> None:
        """
        The manual names the same way of being restarted as the unit has.
        """
        named = {
            value
            for page in (UNITS.parents[1] / "docs" / "howto").glob("*.rst")
            for value in re.findall(r"\bRestart=([\w-]+)", page.read_text("utf-8"))
        }
        self.assertEqual(named, {one("vinom.service", "Restart")})

    def settings(self, sources: Sources, path: Path) -> GatewaySettings:
        """Read a gateway's file."""
        return GatewaySettings(**sources.gather({}, {}, path))

    def test_sockets(self) -> None:
        """
        The gateway listens at every socket that systemd holds for it, in that order.
        """
        held = lines("vinom-gateway.socket", "ListenStream")
        kinds = ["INET6" if one.startswith("[") else "INET" for one in held]
        gateway = self.settings(GATEWAY, UNITS / "gateway.toml")
        wanted = [f"systemd:domain={kind}:index={n}" for n, kind in enumerate(kinds)]
        self.assertEqual(list(gateway.listen), wanted)

    def run_unit(self, folder: Path, *held: socket.socket) -> subprocess.Popen[bytes]:
        """Run the gateway's unit as systemd does, with sockets that it holds."""
        given = shlex.split(one("vinom-gateway.service", "ExecStart"))
        command = [
            part.replace("$$", "$")
            .replace("/opt/vinom/bin/twistd", str(folder / "twistd"))
            .replace("/etc/vinom", str(folder))
            for part in given
        ]
        # As systemd names them: after the unit.
        names = ":".join(["vinom-gateway.socket"] * len(held))
        environment = f"LISTEN_PID=$$ LISTEN_FDS={len(held)} LISTEN_FDNAMES={names}"

        def give() -> None:
            for number, socket_held in enumerate(held):
                os.dup2(socket_held.fileno(), 3 + number)

        with (folder / "output").open("ab") as output:
            gateway = subprocess.Popen(
                ["/bin/sh", "-c", f'export {environment}; exec "$@"', "sh", *command],
                cwd=folder,
                preexec_fn=give,
                pass_fds=range(3, 3 + len(held)),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.addCleanup(gateway.wait)
        # Old gateways are no longer its children.
        self.addCleanup(os.killpg, gateway.pid, signal.SIGKILL)
        return gateway

    def test_restart(self) -> None:
        """
        The gateway serves at the sockets that systemd holds, of both kinds, with the
        example file. When it is restarted the unit has stopped at once; nobody who
        connects is refused or waits for long, and who is connected stays.
        """
        needs("openssl")
        folder = short_folder(self)
        echo = EchoServer()
        self.addCleanup(echo.kill)
        text = (UNITS / "gateway.toml").read_text(encoding="utf-8")
        self.assertIn('"tcp:9600:', text)
        for old, new in (
            ("/etc/vinom/tls", str(folder)),
            ("/etc/vinom", str(folder)),
            ("/run/vinom-gateway", str(folder)),
            ("/var/log/vinom-gateway", str(folder)),
            ("tcp:9600:", f"tcp:{free_port()}:"),
        ):
            self.assertIn(old, text)
            text = text.replace(old, new)
        (folder / "gateway.toml").write_text(text, encoding="utf-8")
        (folder / "routes.toml").write_text(
            '[services.lobby]\nstrategy = "round_robin"\n'
            f'endpoints = ["127.0.0.1:{echo.port}"]\n'
        )
        (folder / "twistd").write_text(
            f"#!/bin/sh\nexport PYTHONPATH={UNITS.parents[1]}\n"
            f'exec {shlex.join(TWISTD[:-2])} "$@"\n'
        )
        (folder / "twistd").chmod(0o755)
        public = Authority.open(folder, "test.vinom", time.time).lobby(["localhost"])
        (folder / "chain.pem").write_bytes(public.certificate)
        (folder / "site.key").write_bytes(public.key)
        held = [
            socket.create_server(("127.0.0.1", 0)),
            socket.create_server(("::1", 0), family=socket.AF_INET6),
        ]
        for one_held in held:
            self.addCleanup(one_held.close)

        def say(line: socket.socket) -> None:
            line.sendall(b"{}\n")
            try:
                got = line.recv(100)
            except TimeoutError:
                got = b""
            said = (folder / "output").read_text(encoding="utf-8")
            self.assertEqual(got, b"{}\n", said)

        def open_all() -> list[socket.socket]:
            lines = [
                socket.create_connection(one_held.getsockname()[:2], 15)
                for one_held in held
            ]
            for line in lines:
                self.addCleanup(line.close)
                say(line)
            return lines

        gateway = self.run_unit(folder, *held)
        kept = open_all()
        for _ in range(2):
            gateway.terminate()
            self.assertEqual(gateway.wait(5), 0)
            # The next one is not there yet.
            open_all()
            gateway = self.run_unit(folder, *held)
            self.until(folder / "output", "another process has the ports")
            (folder / "output").write_bytes(b"")
            open_all()
            for line in kept:
                say(line)

    def until(self, log: Path, words: str) -> None:
        """Wait until a log has some words."""
        give_up = time.monotonic() + 30
        while words not in log.read_text(encoding="utf-8"):
            self.assertLess(time.monotonic(), give_up, log.read_text(encoding="utf-8"))
            time.sleep(0.05)

    def test_stopped_in_time(self) -> None:
        """
        systemd waits until a node has drained.
        """
        node = gather({}, {}, UNITS / "node.toml")
        seconds = float(one("vinom.service", "TimeoutStopSec"))
        self.assertGreater(seconds, node.drain_seconds + 5)
