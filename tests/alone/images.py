"""
The images of ``deploy/container``: built, started one by one, and asked how they are.

They are built by buildah on a base made with debootstrap, and run by runc without any
right: this takes minutes, root, and these programs. `tests.deploy.test_container` reads
the same files and needs none of it.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.support.containers import Container, HostNetwork, Image, Images, run
from tests.support.needs import needs
from tests.support.redis_servers import redis_executable
from tests.support.units import system_calls
from vinom.net.keys.authority import Authority

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE = DEPLOY / "container" / "compose.yaml"
#: The program ``vinom``, for an interpreter.
VINOM = "import sys; from vinom.tools.commands.cli import main; sys.exit(main())"
#: Bots play matches for some seconds; prints how many.
BOTS = (
    *("vinom", "bots", "--json", "--seconds=5", "--players=4"),
    *("--options", '{"rows": 4, "cols": 5}'),
)


@cache
def built() -> dict[str, Image] | BaseException:
    """Build every image, once; they are removed when the tests are over."""
    try:
        return _build()
    except Exception as error:
        # Each test fails by it, and it takes minutes to find out.
        return error


def _build() -> dict[str, Image]:
    images = Images()
    atexit.register(images.close)
    images.make_base()
    return {
        name: images.open(images.build(name))
        for name in ("node", "gateway", "gameserver")
    }


class ImageTests(SynchronousTestCase):
    """All of them use one build."""

    def setUp(self) -> None:
        found = built()
        if isinstance(found, BaseException):
            self.fail(str(found))
        self.opened = found

    def start(self, name: str, **options: Any) -> Container:
        """Start a container that ends with the test."""
        container = Container(self.opened[name], **options)
        self.addCleanup(container.close)
        return container

    def folder(self, name: str) -> Path:
        """Make a folder that belongs to the user of the images."""
        folder = Path(self.mktemp()).resolve() / name
        folder.mkdir(parents=True)
        shutil.chown(folder, *self.opened["node"].user)
        return folder

    def test_no_image_is_root(self) -> None:
        """
        Every image says that it runs as somebody who is not root, and has no shell for
        that user, no pip.conf, and no source of ours.
        """
        for name, image in self.opened.items():
            self.assertGreater(min(image.user), 0, name)
            self.assertFalse((image.tree / "source").exists(), name)
            self.assertFalse((image.tree / "etc" / "pip.conf").exists(), name)
            users = (image.tree / "etc" / "passwd").read_text(encoding="utf-8")
            self.assertIn(":10001:", users)
            self.assertIn("vinom", users)

    def test_node(self) -> None:
        """
        A node starts as the image says, without root, on a file system that it cannot
        write; it is healthy; bots play matches in its game servers; SIGTERM ends it.
        """
        state = self.folder("state")
        node = self.start("node", mounts=[(state, "/var/lib/vinom", True)])
        node.wait_healthy()
        printed = node.execute(*BOTS, seconds=120)
        self.assert_played(printed, "")
        # Whatever is said of the wall, some part of it is not there.
        self.assertNotIn("wall", node.log)
        self.assertRaises(AssertionError, node.execute, "touch", "/opt/vinom/bin/new")
        self.assertEqual(node.execute("id", "-u").strip(), "10001")
        self.assertEqual(node.stop(), 0, node.log)
        self.assertTrue((state / "node" / "authority").is_dir())

    def test_unit_of_the_node(self) -> None:
        """
        What the unit of systemd forbids, a node and its game servers do not need: with
        no system call but those of its filter they start, and matches are played.
        """
        needs("systemd-analyze")
        state = self.folder("state")
        node = self.start(
            "node",
            mounts=[(state, "/var/lib/vinom", True)],
            system_calls=system_calls("vinom.service"),
        )
        node.wait_healthy()
        self.assert_played(node.execute(*BOTS, seconds=120), node.log)
        self.assertNotIn("wall", node.log)
        self.assertEqual(node.stop(), 0, node.log)

    def test_unit_of_the_gateway(self) -> None:
        """
        Likewise for a gateway, with TLS.
        """
        needs("systemd-analyze")
        compose = Compose(self.folder("compose"), self.opened["gateway"].user)
        options = compose.options("gateway")
        calls = system_calls("vinom-gateway.service")
        gateway = self.start("gateway", system_calls=calls, **options)
        gateway.wait_healthy()
        self.assertEqual(gateway.stop(), 0, gateway.log)

    def assert_played(self, printed: str, log: str) -> None:
        """Check what bots report: matches that ended, and nothing that went wrong."""
        report = json.loads(printed)
        self.assertGreater(report["matches"]["finished"], 0, printed + log)
        self.assertEqual(report["matches"]["failed"], 0, printed + log)

    def test_gateway(self) -> None:
        """
        A gateway starts as the image says, with nothing but its rules, and is healthy.
        """
        rules = self.folder("rules") / "routes.toml"
        shutil.copy(DEPLOY / "container" / "routes.toml", rules)
        gateway = self.start(
            "gateway", mounts=[(rules, "/etc/vinom/routes.toml", False)]
        )
        gateway.wait_healthy()
        self.assertEqual(gateway.execute("id", "-u").strip(), "10001")
        self.assertEqual(gateway.stop(), 0, gateway.log)

    def test_gameserver(self) -> None:
        """
        A game server without a node says what is missing, and ends; with one it dials
        it over TLS.
        """
        here = f"/proc/{os.getpid()}/ns/net"
        alone = self.start("gameserver", network=here)
        self.assertNotEqual(alone.wait(60), 0)
        self.assertIn("node is not set", alone.log)
        made = self.folder("made")
        Authority.open(made, "test.vinom", time.time)
        authority = (made / "authority" / "ca.pem").read_text(encoding="ascii")
        with socket.create_server(("127.0.0.1", 0)) as node:
            node.settimeout(60)
            game = self.start(
                "gameserver",
                network=here,
                environment={
                    "VINOM_GAMESERVER_NODE": f"127.0.0.1:{node.getsockname()[1]}",
                    "VINOM_GAMESERVER_ID": "one",
                    "VINOM_GAMESERVER_SECRET": "of-the-test",
                    "VINOM_GAMESERVER_AUTHORITY": authority,
                },
            )
            try:
                line, _ = node.accept()
            except TimeoutError:
                self.fail(game.log)
            with line:
                line.settimeout(60)
                # A handshake record of TLS.
                self.assertEqual(line.recv(1), b"\x16")
        game.stop()

    def test_compose(self) -> None:
        """
        What compose.yaml starts works together, on one machine's network: bots come
        over TLS to the gateway, are served by nodes over their sockets, and play over
        UDP; Redis is this machine's, for no registry of images is needed.
        """
        host = HostNetwork()
        self.addCleanup(host.close)
        compose = Compose(self.folder("compose"), self.opened["node"].user)
        redis = subprocess.Popen(
            host.command(
                *(redis_executable(), "--port", "6379", "--save", ""),
                *("--requirepass", compose.password),
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self.addCleanup(redis.wait)
        self.addCleanup(redis.kill)
        running = {}
        for service in ("node-a", "node-b", "gateway"):
            running[service] = self.start(
                compose.target(service), network=host.path, **compose.options(service)
            )
            running[service].wait_healthy()
        try:
            printed = run(
                *host.command(sys.executable, "-c", VINOM, "bots"),
                *("--connect", "127.0.0.1:4600", "--tls-authority", compose.authority),
                *("--json", "--seconds=5", "--players=8"),
                *("--options", '{"rows": 4, "cols": 5}'),
                cwd=COMPOSE.parents[2],
                seconds=120,
            )
        except AssertionError as error:
            self.fail(f"{error}\n{running['gateway'].log}")
        self.assert_played(printed, "")
        for service in ("gateway", "node-a", "node-b"):
            self.assertEqual(running[service].stop(), 0, running[service].log)


class Compose:
    """
    compose.yaml, and files for its secrets and volumes.

    :ivar authority: certificate of who signed the public certificate.
    :ivar password: of Redis.
    """

    def __init__(self, folder: Path, user: tuple[int, int]) -> None:
        """
        :param folder: for the files; nobody else needs them.
        :param user: who reads them.
        """
        self._folder, self._user = folder, user
        self._read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))
        self.password = "of-the-test"
        authority = Authority.open(folder / "made", "test.vinom", time.time)
        public = authority.lobby(["127.0.0.1", "localhost"])
        self.authority = folder / "secrets" / "ca.pem"
        files = {
            "ca.pem": (folder / "made" / "authority" / "ca.pem").read_bytes(),
            "ca.key": (folder / "made" / "authority" / "ca.key").read_bytes(),
            "redis.password": self.password.encode(),
            "tls.pem": public.certificate,
            "tls.key": public.key,
        }
        for name, content in files.items():
            path = folder / "secrets" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)

    def target(self, service: str) -> str:
        """The stage that a service is built from."""
        return str(self._read["services"][service]["build"]["target"])

    def options(self, service: str) -> dict[str, Any]:
        """What `Container` takes for a service."""
        given = self._read["services"][service]
        assert given["network_mode"] == "host"
        assert given["read_only"]
        assert given["cap_drop"] == ["ALL"]
        mounts = [self._mount(text) for text in given.get("volumes", ())]
        for secret in given["secrets"]:
            file = self._read["secrets"][secret["source"]]["file"]
            path = self._folder / file.removeprefix("./")
            mounts.append((path, f"/run/secrets/{secret['target']}", False))
        return {
            "command": [self._filled(word) for word in given.get("command", ())],
            "environment": {
                name: self._filled(text)
                for name, text in given.get("environment", {}).items()
            },
            "mounts": mounts,
        }

    def _mount(self, text: str) -> tuple[Path, str, bool]:
        source, place, *mode = text.split(":")
        if source.startswith("./"):
            return COMPOSE.parent / source[2:], place, mode != ["ro"]
        path = self._folder / "volumes" / source
        if not path.exists():
            path.mkdir(parents=True)
            shutil.chown(path, *self._user)
        return path, place, mode != ["ro"]

    def _filled(self, text: str) -> str:
        """Fill in variables as an engine does; those of the test, or the default."""
        given = {"VINOM_ADVERTISE": "127.0.0.1", "VINOM_GUESTS": "yes"}
        return re.sub(
            r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda one: given.get(one[1], one[2]), text
        )
