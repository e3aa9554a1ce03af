"""The Containerfile and compose.yaml; `tests.alone.images` builds and starts them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from vinom.gateway.routing.rules import check_rules
from vinom.gateway.settings import GatewaySettings
from vinom.gateway.twistd import Options
from vinom.node.settings import Settings, gather

CONTAINER = Path(__file__).resolve().parents[2] / "deploy" / "container"
CONTAINERFILE, COMPOSE = CONTAINER / "Containerfile", CONTAINER / "compose.yaml"


def settings_of(arguments: list[str]) -> GatewaySettings:
    """Read a command line as the gateway does."""
    options = Options()
    options.parseOptions(arguments)
    settings: GatewaySettings = options["settings"]
    return settings


def stage(name: str) -> str:
    """Find the text of a stage of the Containerfile."""
    text = CONTAINERFILE.read_text(encoding="utf-8")
    found = re.search(rf"(?ms)^FROM \S+ AS {name}$(.*?)(?=^FROM|\Z)", text)
    assert found is not None, name
    return found[1]


class ContainerfileTests(SynchronousTestCase):
    """How images are built."""

    def test_style(self) -> None:
        """
        hadolint finds nothing that it would do otherwise.
        """
        program = Path(sysconfig.get_path("scripts"), "hadolint")
        done = subprocess.run(
            [program, "--no-color", CONTAINERFILE],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_not_root(self) -> None:
        """
        Every image runs as a user that Kubernetes can check not to be root.
        """
        self.assertIn("\nUSER 10001:10001\n", stage("user"))
        for name in ("node", "gameserver", "gateway"):
            self.assertNotIn("USER", stage(name))
            self.assertIn("HEALTHCHECK", stage(name))
        # What a build without --target makes.
        text = CONTAINERFILE.read_text(encoding="utf-8")
        self.assertEqual(re.findall(r"(?m)^FROM .* AS (\w+)$", text)[-1], "gateway")

    def test_gateway(self) -> None:
        """
        The gateway's own command is one that it takes, and what checks its health asks
        the port that it opens.
        """
        text = stage("gateway")
        (command,) = re.findall(r"(?m)^CMD (\[.*\])$", text)
        program, *arguments = json.loads(command)
        self.assertEqual(program, "vinom-gateway")
        settings = settings_of(arguments)
        port = (settings.admin or "").removeprefix("tcp:")
        self.assertIn(f"http://127.0.0.1:{port}/health", text)
        self.assertIn("EXPOSE 4600 9600", text)

    def test_what_is_sent(self) -> None:
        """
        What a build copies is not ignored, and a secret of the working copy is.
        """
        ignored = CONTAINER / "Containerfile.dockerignore"
        first, *lines = [
            line
            for line in ignored.read_text(encoding="utf-8").splitlines()
            if not line.startswith("#")
        ]
        self.assertEqual(first, "*")
        sent = {line[1:] for line in lines if line.startswith("!")}
        copied = set()
        for words in re.findall(r"(?m)^COPY ([^-].*)$", stage("build")):
            copied |= set(words.split()[:-1])
        self.assertEqual(sent, copied)


class ComposeTests(SynchronousTestCase):
    """compose.yaml."""

    def setUp(self) -> None:
        self.read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
        self.services = self.read["services"]

    def filled(self, given: dict[str, str]) -> dict[str, str]:
        """Fill in variables: the address that players connect to, and defaults."""
        return {
            name: re.sub(
                r"\$\{(\w+):([-?])([^}]*)\}",
                lambda one: "192.0.2.10" if one[2] == "?" else one[3],
                text,
            )
            for name, text in given.items()
        }

    def node(self, name: str) -> Settings:
        """The settings of a node."""
        return gather({}, self.filled(self.services[name]["environment"]))

    def test_schema(self) -> None:
        """
        An engine takes the file: it follows the schema of the Compose specification.
        """
        command = [sys.executable, "-m", "check_jsonschema"]
        command += ["--builtin-schema", "vendor.compose-spec", "--no-cache"]

        def check(path: Path) -> int:
            done = subprocess.run(
                [*command, path], capture_output=True, check=False, timeout=60
            )
            return done.returncode

        self.assertEqual(check(COMPOSE), 0)
        self.services["gateway"]["read_onli"] = self.services["gateway"]["read_only"]
        broken = Path(self.mktemp())
        broken.write_text(yaml.safe_dump(self.read), encoding="utf-8")
        self.assertNotEqual(check(broken), 0)

    def test_reboot(self) -> None:
        """
        Everything starts again with the machine, unless its operator has stopped it.
        """
        found = {name: one["restart"] for name, one in self.services.items()}
        self.assertEqual(set(found.values()), {"unless-stopped"}, found)

    def test_settings(self) -> None:
        """
        Nodes and the gateway take their settings; on one machine, no two nodes want the
        same port, socket or volume.
        """
        first, second = self.node("node-a"), self.node("node-b")
        for name in ("port", "node_link", "gateway_link"):
            self.assertNotEqual(getattr(first, name), getattr(second, name))
        self.assertLess(first.ports[1], second.ports[0])
        program, *arguments = self.services["gateway"]["command"]
        self.assertEqual(program, "vinom-gateway")
        given = self.filled(dict(enumerate(arguments)))  # type: ignore[arg-type]
        gateway = settings_of(list(given.values()))
        assert gateway.routes is not None
        text = (CONTAINER / gateway.routes.name).read_text(encoding="utf-8")
        services = tomllib.loads(text)["services"]
        check_rules(services)
        links = [first.gateway_link, second.gateway_link]
        for rule in services.values():
            self.assertEqual(rule["endpoints"], links)

    def test_secrets(self) -> None:
        """
        Each secret that a service reads is one of the file, and none is used by nobody.
        """
        used = set()
        for name, service in self.services.items():
            targets = set()
            for each in service.get("secrets", ()):
                used.add(each["source"])
                targets.add(f"/run/secrets/{each['target']}")
            text = json.dumps([service.get("environment"), service.get("command")])
            named = set(re.findall(r"/run/secrets/[\w.]+", text))
            self.assertEqual(named, targets, name)
        self.assertEqual(used, set(self.read["secrets"]))

    def test_closed(self) -> None:
        """
        No service may write its image, gets capabilities or new rights, or is killed
        before it has drained.
        """
        for name, service in self.services.items():
            self.assertIs(service["read_only"], True, name)
            self.assertEqual(service["cap_drop"], ["ALL"], name)
            self.assertEqual(service["security_opt"], ["no-new-privileges:true"])
        for name in ("node-a", "node-b"):
            grace = float(self.services[name]["stop_grace_period"].rstrip("s"))
            self.assertGreater(grace, self.node(name).drain_seconds + 5)
