"""The commands of the runbook: run where they can be, else checked by their names."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.deploy.kustomized import documents, kubectl, one
from tests.deploy.test_kubernetes import SECRETS
from tests.support.ending import end
from tests.support.needs import needs
from tests.support.programs import short_folder
from tests.support.redis_servers import redis_for
from vinom.errors import Misconfigured
from vinom.gateway.dialing import LinkTls
from vinom.gateway.routing.rules import check_rules
from vinom.net.keys.authority import Authority
from vinom.node.settings import Settings, gather
from vinom.tools.commands.admin import AdminLine
from vinom.tools.commands.child_node import free_port, free_port_range

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


class TwoMachinesTests(SynchronousTestCase):
    """What the page has a reader write for two machines with a Redis."""

    def setUp(self) -> None:
        self.section = section("On two machines, with systemd and a Redis")
        blocks = re.findall(
            r"(?ms)^\.\. code-block:: (?:toml|text)\n\n(.*?)(?=^\S)", self.section
        )
        first, last, self.routes = map(dedent, blocks)
        self.differs = set(tomllib.loads(last))
        same = [
            one for one in first.splitlines() if one.split(" ")[0] not in self.differs
        ]
        self.nodes = [first, "\n".join([*same, last])]

    def read(self, text: str) -> Settings:
        path = Path(self.mktemp())
        path.write_text(text, encoding="utf-8")
        return gather({}, {}, path)

    def test_files(self) -> None:
        """
        Nodes take their files, and those of one machine share nothing that they cannot
        share; the gateway's rules name both, and the unit finds each.
        """
        one, other = map(self.read, self.nodes)
        for name in self.differs:
            self.assertNotEqual(getattr(one, name), getattr(other, name), name)
        self.assertLess(one.ports[1], other.ports[0])
        rules = tomllib.loads(self.routes)["services"]
        check_rules(rules)
        for rule in rules.values():
            self.assertEqual(rule["endpoints"], [one.gateway_link, other.gateway_link])
        for number, node in enumerate((one, other), 1):
            self.assertEqual(node.state_dir.parent, Path("/var/lib/vinom"))
            self.assertIn(f"vinom@{number}.service", self.section)
            self.assertIn(f"/etc/vinom/node{number}.toml", self.section)

    def test_run(self) -> None:
        """
        Nodes with these files find each other, see nothing wrong with themselves, and
        hand over to each other.
        """
        folder = short_folder(self)
        redis = redis_for(self)
        Authority.open(folder, "game.vinom", time.time)
        for name in ("ca.pem", "ca.key"):
            (folder / name).write_bytes((folder / "authority" / name).read_bytes())
        (folder / "admin.token").write_text("0123456789abcdef")
        (folder / "redis.password").write_text("secret")
        redis.command("CONFIG", "SET", "requirepass", "secret")
        for text in self.nodes:
            for old, new in (
                ("redis://redis.internal:6379/0", redis.url),
                ("m1.example.org", "127.0.0.1"),
                *((path, str(folder)) for path in ("/etc/vinom", "/var/lib/vinom")),
                ("/run/vinom", str(folder)),
            ):
                text = text.replace(old, new)
            ports = "{}-{}".format(*free_port_range(8))
            text = re.sub(r"(?m)^ports = .*", f'ports = "{ports}"', text)
            text = re.sub(r"\b4[67]0\d\b|\b960\d\b", lambda _: str(free_port()), text)
            self.start(folder, text)
        lines = [AdminLine(folder / name / "admin.sock") for name in "12"]

        def statuses() -> list[dict[str, Any]]:
            try:
                return [line.get("status") for line in lines]
            except Misconfigured:
                return []

        self.until(lambda: all(each["store"]["lease"] for each in statuses() or [{}]))
        time.sleep(3.0)
        self.assertEqual([each["problems"] for each in statuses()], [{}, {}])
        # Refused unless the other one can take over.
        lines[0].post("drain", {"move": True})

    def start(self, folder: Path, text: str) -> None:
        """Start a node with this file, as the unit does."""
        (folder / "node.toml").write_text(text, encoding="utf-8")
        log = (folder / "log").open("ab")
        self.addCleanup(log.close)
        command = [sys.executable, "-m", "twisted", "vinom"]
        node = subprocess.Popen(
            [*command, "--config", str(folder / "node.toml")], stdout=log, stderr=log
        )
        self.addCleanup(end, node)
        # It has read the file.
        state = Path(tomllib.loads(text)["state_dir"])
        self.until((state / "admin.sock").exists)

    def until(self, is_so: Callable[[], Any]) -> None:
        give_up = time.monotonic() + 60.0
        while not is_so():
            self.assertLess(time.monotonic(), give_up)
            time.sleep(0.1)


class PageTests(SynchronousTestCase):
    """What the page names is there."""

    def test_paths(self) -> None:
        """
        Each file and folder of ``deploy`` on the page exists.
        """
        named = set(re.findall(r"(?<!/)\bdeploy/[\w./*-]*[\w*]", TEXT))
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
                named |= set(re.findall(r"[\w@-]+\.(?:service|socket)", command))
        # Instances of a template.
        named = {re.sub(r"@\d", "@", unit) for unit in named}
        self.assertLessEqual({"vinom.service", "vinom-gateway.socket"}, named)
        self.assertEqual(named - units, set())

    def test_password(self) -> None:
        """
        Redis takes both passwords between the two commands, and then the new one.
        """
        server = redis_for(self)
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
