"""The node as an operator meets it: starts, answers, refuses, drains, stops."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from vinom.tools.commands.child_node import free_port, free_port_range

_TWISTD = "from twisted.scripts.twistd import run; run()"


def environment(**more: str) -> dict[str, str]:
    """Ours, without what configures another node."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VINOM_")}
    kept["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    return kept | more


class Twistd(ProcessProtocol):
    """
    A ``twistd -n vinom``.

    :ivar port: of its lobby, as it was given.
    :ivar printed: what it wrote so far, both streams.
    :ivar ended: fires with its exit code.
    """

    def __init__(
        self, *arguments: str, spawner: Any = reactor, **variables: str
    ) -> None:
        ports = [one for one in arguments if one.startswith("--port=")]
        self.port = int(ports[-1].partition("=")[2])
        self.printed = ""
        self.ended: Deferred[int | None] = Deferred()
        self.code: int | None = None
        command = [sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "vinom"]
        self.process = spawner.spawnProcess(
            self, sys.executable, [*command, *arguments], environment(**variables)
        )

    def outReceived(self, data: bytes) -> None:
        self.printed += data.decode()

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        error: Any = reason.value
        self.code = error.exitCode
        self.ended.callback(self.code)

    async def says(self, words: str) -> None:
        """Wait until it has printed these words."""
        for _ in range(1200):
            if words in self.printed:
                return
            assert not self.ended.called, self.printed
            await deferLater(reactor, 0.05)
        raise AssertionError(f"not said: {words!r}\n{self.printed}")

    async def end(self) -> int | None:
        """Wait for its end; returns the exit code."""
        if not self.ended.called:
            await self.ended
        return self.code

    def kill(self) -> Deferred[int | None] | None:
        """Make sure that nothing is left."""
        if self.ended.called:
            return None
        self.process.signalProcess("KILL")
        return self.ended


class LineClient(Protocol):
    """Talk to the lobby, a JSON object at a time."""

    def __init__(self) -> None:
        self._held = b""
        self.heard: list[dict[str, Any]] = []
        self.closed = False

    def ask(self, kind: str, **data: Any) -> None:
        assert self.transport is not None
        self.transport.write(json.dumps({"type": kind, "data": data}).encode() + b"\n")

    def dataReceived(self, data: bytes) -> None:
        *lines, self._held = (self._held + data).split(b"\n")
        self.heard += map(json.loads, lines)

    def connectionLost(self, reason: Any = None) -> None:
        self.closed = True

    async def hears(self, kind: str) -> dict[str, Any]:
        """Wait for a message of this type."""
        for _ in range(1200):
            for message in self.heard:
                if message["type"] == kind:
                    found: dict[str, Any] = message["data"]
                    return found
            await deferLater(reactor, 0.05)
        raise AssertionError(f"no {kind}: {self.heard}")


@attrs.define
class Place:
    """Where one test's node lives."""

    state_dir: Path
    port: int = attrs.field(factory=free_port)
    ports: tuple[int, int] = attrs.field(factory=lambda: free_port_range(8))

    def arguments(self) -> list[str]:
        return [
            f"--state-dir={self.state_dir}",
            f"--port={self.port}",
            f"--ports={self.ports[0]}-{self.ports[1]}",
            "--warm=1",
            "--fill-seconds=0",
            # A lone match is not over before its test is.
            "--join-seconds=600",
        ]


class NodeTests(TestCase):
    timeout = 180
    #: What ``/health`` may answer while the node drains.
    healthy: tuple[int, ...] = (200,)

    def setUp(self) -> None:
        # Not below the test's own directory: a socket's path has to be short.
        self.place = Place(Path(tempfile.mkdtemp(prefix="vinom-")))
        self.addCleanup(shutil.rmtree, self.place.state_dir, True)

    def start(self, *arguments: str, **variables: str) -> Twistd:
        node = Twistd(*self.place.arguments(), *arguments, **variables)
        self.addCleanup(node.kill)
        return node

    async def vinom(self, *arguments: str) -> tuple[int, str, str]:
        """Run one of the operator's commands on this node."""
        command, *rest = arguments
        out, err, code = await getProcessOutputAndValue(
            sys.executable,
            [
                "-c",
                "import sys; from vinom.tools.commands.cli import main; "
                "sys.exit(main())",
                command,
                f"--state-dir={self.place.state_dir}",
                *rest,
            ],
            environment(),
            reactor=reactor,  # type: ignore[arg-type]  # it spawns processes
        )
        return code, out.decode(), err.decode()

    async def get(self, port: int, path: str, *headers: str) -> tuple[int, bytes]:
        """Ask over TCP; returns status and body."""
        return await deferToThread(_get, port, path, headers)

    async def lone_match(self) -> tuple[LineClient, dict[str, Any]]:
        """Queue alone for a game that can be played alone."""
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.place.port)
        client: Any = await endpoint.connect(Factory.forProtocol(LineClient))
        client.ask("hello", protocol=1, name="ann")
        client.ask("queue", game="roomecho")
        return client, await client.hears("match_found")

    async def test_life(self) -> None:
        """
        A node starts, logs its addresses, answers operators, and drains on SIGTERM.
        """
        http, admin = free_port(), free_port()
        token = self.place.state_dir / "token"
        token.write_text("correct-horse-battery\n")
        node = self.start(
            f"--http={http}", f"--admin={admin}", f"--admin-token-file={token}"
        )
        await node.says("vinom.node: vinom ")
        for words in ("EPollReactor", f"127.0.0.1:{node.port}", "memory storage"):
            self.assertIn(words, node.printed)
        for name in ("admin.sock", "control.sock"):
            mode = (self.place.state_dir / name).stat().st_mode
            self.assertTrue(stat.S_ISSOCK(mode))
            self.assertEqual(stat.S_IMODE(mode), 0o600)
        self.assertEqual((await self.get(http, "/health"))[0], 200)
        self.assertEqual((await self.get(http, "/ready"))[0], 200)
        self.assertEqual((await self.get(admin, "/metrics"))[0], 401)
        status, page = await self.get(
            admin, "/metrics", "Authorization: Bearer correct-horse-battery"
        )
        self.assertEqual(status, 200)
        self.assertIn(b'vinom_ports{state="free"} 8.0', page)

        client, found = await self.lone_match()
        self.assertIn(found["port"], range(*self.place.ports))
        code, out, err = await self.vinom("status")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("serving", out)
        code, out, _ = await self.vinom("matches", "--json")
        (match,) = json.loads(out)["matches"]
        self.assertEqual(match["match_id"], found["match_id"])
        code, out, _ = await self.vinom("explain", match["players"][0]["player_id"])
        self.assertIn(found["match_id"], out)
        code, _, err = await self.vinom("explain", "nobody")
        self.assertEqual((code, err.count("\n")), (1, 1))
        code, _, err = await self.vinom("end", "nothing")
        self.assertIn("no_such_match", err)

        node.process.signalProcess("TERM")
        await node.says("draining")
        self.assertEqual((await self.get(http, "/ready"))[0], 503)
        self.assertIn((await self.get(http, "/health"))[0], self.healthy)
        code, out, _ = await self.vinom("end", found["match_id"])
        self.assertEqual(code, 0)
        self.assertEqual(await node.end(), 0)
        self.assertIn("no match and no room is left", node.printed)
        self.assertNotIn("Traceback", node.printed)
        self.assertTrue(client.closed)
        code, _, err = await self.vinom("status")
        self.assertEqual(code, 2)
        self.assertIn("no node answers", err)

    async def test_second_interrupt(self) -> None:
        """
        The second Ctrl-C does not wait for running matches, and leaves nobody.
        """
        node = self.start()
        await node.says("vinom.node: vinom ")
        await self.lone_match()
        node.process.signalProcess("INT")
        await node.says("draining")
        node.process.signalProcess("INT")
        self.assertEqual(await node.end(), 0)
        self.assertIn("stopping at once", node.printed)
        self.assertNotIn("Traceback", node.printed)

    async def test_drain_has_an_end(self) -> None:
        """
        A match that goes on for longer than the node waits does not hold it.
        """
        node = self.start("--drain-seconds=0.5")
        await node.says("vinom.node: vinom ")
        await self.lone_match()
        code, out, _ = await self.vinom("drain")
        self.assertEqual((code, out.split(":")[0]), (0, "draining"))
        self.assertEqual(await node.end(), 0)
        self.assertIn("1 matches and 0 rooms did not end in time", node.printed)

    async def test_refusals_are_one_line(self) -> None:
        """
        What an operator got wrong is one line on the terminal, and no traceback.
        """
        node = self.start()
        await node.says("vinom.node: vinom ")
        elsewhere = tempfile.mkdtemp(prefix="vinom-")
        self.addCleanup(shutil.rmtree, elsewhere, True)
        for arguments, words in (
            ([], "another node seems to use this state directory"),
            (
                [f"--state-dir={elsewhere}"],
                f"port {self.place.port}: Address already "
                "in use; another program has it: choose another port",
            ),
            (["--game=nowhere:Nothing"], "cannot import nowhere"),
            (["--auth=nothing"], "isn't a checker"),
            (
                [f"--state-dir={elsewhere}", "--port=0", "--http=tcp"],
                "isn't an endpoint",
            ),
            (["--tls-key-file=/none"], "set both tls_certificate_file"),
            (["--warm=many"], "--warm must be a whole number"),
        ):
            with self.subTest(arguments):
                wrong = self.start(*arguments)
                self.assertEqual(await wrong.end(), 1, wrong.printed)
                self.assertIn(words, wrong.printed.splitlines()[-1])
                self.assertEqual(wrong.printed.count(words), 1, wrong.printed)
                self.assertNotIn("Traceback", wrong.printed)
        # The running one was not disturbed.
        await self.lone_match()

    async def test_json_and_ipv6(self) -> None:
        """
        A node on IPv6, configured by variables, whose log is JSON to the last line.
        """
        node = self.start("--interface=::1", VINOM_LOG_FORMAT="json")
        await node.says('"vinom.node"')
        endpoint = HostnameEndpoint(reactor, "::1", self.place.port)
        client: Any = await endpoint.connect(Factory.forProtocol(LineClient))
        client.ask("hello", protocol=1, name="ann")
        client.ask("queue", game="roomecho")
        found = await client.hears("match_found")
        self.assertEqual(found["host"], "::1")
        node.process.signalProcess("INT")
        node.process.signalProcess("TERM")
        await node.end()
        records = [json.loads(line) for line in node.printed.splitlines()]
        self.assertIn(found["match_id"], {r.get("match_id") for r in records})


def _get(port: int, path: str, headers: tuple[str, ...]) -> tuple[int, bytes]:
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    pairs = dict(header.split(": ", 1) for header in headers)
    connection.request("GET", path, headers=pairs)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body
