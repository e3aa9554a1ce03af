"""The commands of the runbook: run where they can be, else checked by their names."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sysconfig
import time
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.deploy.kustomized import documents, kubectl, one
from tests.deploy.test_kubernetes import SECRETS
from tests.support.needs import needs
from tests.support.redis_servers import RedisServer
from vinom.gateway.link_tls import LinkTls
from vinom.keys.authority import Authority

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "howto" / "runbook.rst"
TEXT = PAGE.read_text(encoding="utf-8")


def section(title: str) -> str:
    """Find what stands below a title, up to the next one."""
    begin, end = rf"^{re.escape(title)}\n([~-])\1+\n", r"(?=^[^\n]+\n[~-]+\n|\Z)"
    found = re.search(rf"(?ms){begin}(.*?){end}", TEXT)
    assert found is not None, title
    return found[2]


def commands(text: str) -> list[str]:
    """The commands that a reader types, of users and of root."""
    return re.findall(r"(?m)^ +[$#] (.+)$", text)


class SecretTests(SynchronousTestCase):
    """Make the secrets, as the page says."""

    def setUp(self) -> None:
        needs("openssl")
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        # The programs of this environment: the page's reader has them on the path.
        scripts = sysconfig.get_path("scripts")
        environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}"}
        typed = "\n".join(commands(section("Make the secrets")))
        done = subprocess.run(
            ["bash", "-e", "-c", typed],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.secrets = self.folder / "secrets"

    def test_authority(self) -> None:
        """
        Nodes take the authority that the commands make, and gateways the certificate
        for their links; nobody else can open the folder.
        """
        authority = Authority.open(
            self.folder / "state",
            "game.vinom",
            time.time,
            certificate_file=self.secrets / "ca.pem",
            key_file=self.secrets / "ca.key",
        )
        self.assertIn(b"CERTIFICATE", authority.lobby(["localhost"]).certificate)
        link = self.secrets / "link"
        LinkTls(link / "link.pem", link / "link.key", link / "authority.pem")
        self.assertEqual(self.secrets.stat().st_mode & 0o777, 0o700)

    def test_kubernetes(self) -> None:
        """
        The secrets that the commands make in a cluster are those that the manifests
        mount, with the files that the settings name.
        """
        for name in ("tls.pem", "tls.key"):
            source = self.secrets / name.replace("tls", "ca")
            (self.secrets / name).write_bytes(source.read_bytes())
        made = {}
        here = Path.cwd()
        os.chdir(self.secrets)
        try:
            for command in commands(section("On Kubernetes")):
                program, *words = shlex.split(command)
                if program == "kubectl" and words[:2] == ["create", "secret"]:
                    read = kubectl(*words, "--dry-run=client", "--output=yaml")
                    secret = yaml.safe_load(read)
                    made[secret["metadata"]["name"]] = set(secret["data"])
        finally:
            os.chdir(here)
        self.assertEqual(made, SECRETS)


class PageTests(SynchronousTestCase):
    """What the page names is there."""

    def test_paths(self) -> None:
        """
        Each file and folder of ``deploy`` on the page exists.
        """
        named = set(re.findall(r"deploy/[\w./*-]*[\w*]", TEXT))
        self.assertGreater(len(named), 8)
        for path in named:
            # The page makes this one.
            if not path.startswith("deploy/container/secrets"):
                self.assertTrue(list(ROOT.glob(path)), path)
        for path in re.findall(
            r"``((?:components|overlays|node|gateway)/[\w./]+)``", TEXT
        ):
            self.assertTrue((ROOT / "deploy" / "kubernetes" / path).exists(), path)

    def test_forwarded(self) -> None:
        """
        A port that is forwarded to this machine is one that its service has.
        """
        found = re.findall(r"port-forward service/([\w-]+) \d+:(\d+)", TEXT)
        self.assertEqual(len(found), 1)
        services = documents("overlays/development")
        for name, port in found:
            spec = one(services, "Service", name)["spec"]
            self.assertIn(int(port), [each["port"] for each in spec["ports"]])

    def test_built_images(self) -> None:
        """
        Each image that the commands build is a stage of the Containerfile.
        """
        text = (ROOT / "deploy" / "container" / "Containerfile").read_text("utf-8")
        (built,) = re.findall(r"for image in ([\w ]+); do", TEXT)
        for name in built.split():
            self.assertIn(f" AS {name}\n", text)

    def test_units(self) -> None:
        """
        Each unit that a command names is one that is installed.
        """
        units = {path.name for path in (ROOT / "deploy" / "systemd").iterdir()}
        named = set()
        for command in commands(TEXT):
            if command.startswith("systemctl"):
                named |= set(re.findall(r"[\w-]+\.(?:service|socket)", command))
        self.assertLessEqual({"vinom.service", "vinom-gateway.socket"}, named)
        self.assertEqual(named - units, set())

    def test_password(self) -> None:
        """
        Redis takes both passwords between the two commands, and then the new one.
        """
        server = RedisServer()
        self.addCleanup(server.kill)
        server.command("CONFIG", "SET", "requirepass", "OLD")
        typed = [
            shlex.split(command)[1:]
            for command in commands(section("Rotate keys"))
            if command.startswith("redis-cli")
        ]
        self.assertEqual(len(typed), 2)

        def works(password: str) -> bool:
            return self.ask(server.port, ["AUTH", password]) == "+OK"

        self.assertTrue(works("OLD"))
        self.ask(server.port, ["AUTH", "OLD"], typed[0])
        self.assertTrue(works("OLD") and works("NEW"))
        self.ask(server.port, ["AUTH", "NEW"], typed[1])
        self.assertTrue(works("NEW"))
        self.assertFalse(works("OLD"))

    def ask(self, port: int, *asked: list[str]) -> str:
        """Send commands to a Redis; returns its answer to the last."""
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            answer = ""
            reader = connection.makefile("r", newline="\r\n")
            for words in asked:
                line = " ".join(shlex.quote(word) for word in words)
                connection.sendall(line.encode() + b"\r\n")
                answer = reader.readline().strip()
            return answer

    def test_alerts(self) -> None:
        """
        Each alert and metric that the page names is one that there is.
        """
        alerts = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text("utf-8")
        for name in re.findall(r"``(Vinom\w+)``", TEXT):
            self.assertIn(f"alert: {name}\n", alerts)
        observed = (ROOT / "docs" / "howto" / "observe.rst").read_text("utf-8")
        for name in re.findall(r"``(vinom_\w+)``", TEXT):
            self.assertIn(f"``{name}``", observed)
