"""The node as an operator meets it: starts, answers, refuses, drains, stops."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from tests.support.child_gateways import TWISTD
from tests.support.lines import Typed, typed
from tests.support.programs import Program, short_folder
from vinom.tools.commands.child_node import free_port, free_port_range


def environment(**more: str) -> dict[str, str]:
    """Ours, without what configures another node."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VINOM_")}
    kept["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    return kept | more


class Twistd(Program):
    """
    A ``twistd -n vinom``; both its streams are its output.

    :ivar port: of its lobby, as it was given.
    """

    def __init__(
        self, *arguments: str, spawner: Any = reactor, **variables: str
    ) -> None:
        super().__init__()
        ports = [one for one in arguments if one.startswith("--port=")]
        self.port = int(ports[-1].partition("=")[2])
        self.process = spawner.spawnProcess(
            self,
            sys.executable,
            [*TWISTD, "vinom", *arguments],
            environment(**variables),
        )

    def errReceived(self, data: bytes) -> None:
        self.outReceived(data)

    async def says(self, words: str) -> None:
        """Wait until it has printed these words."""
        await self.printed(words.encode())

    def kill(self) -> Deferred[int | None] | None:
        """Make sure that nothing is left."""
        if self.ended.called:
            return None
        self.process.signalProcess("KILL")
        return self.ended


async def vinom(*arguments: str) -> tuple[int, str, str]:
    """Run one of the commands; returns its exit code and what it printed."""
    program = "import sys; from vinom.tools.commands.cli import main; sys.exit(main())"
    out, err, code = await getProcessOutputAndValue(
        sys.executable,
        ["-c", program, *arguments],
        environment(),
        reactor=reactor,  # type: ignore[arg-type]  # it spawns processes
    )
    return code, out.decode(), err.decode()


@attrs.define
class Place:
    """Where one test's node lives."""

    state_dir: Path
    host: str = "127.0.0.1"
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


class OneNode(TestCase):
    """Has a place for a node, and starts it there."""

    timeout = 180

    def setUp(self) -> None:
        self.place = Place(short_folder(self))

    def start(self, *arguments: str, **variables: str) -> Twistd:
        node = Twistd(*self.place.arguments(), *arguments, **variables)
        self.addCleanup(node.kill)
        return node

    async def serving(self, *arguments: str) -> Twistd:
        """Start a node, and wait until it serves."""
        node = self.start(*arguments)
        await node.says("vinom.node: vinom ")
        return node


class NodeTests(OneNode):
    #: What ``/health`` may answer while the node drains.
    healthy: tuple[int, ...] = (200,)

    async def vinom(self, command: str, *arguments: str) -> tuple[int, str, str]:
        """Run one of the operator's commands on this node."""
        return await vinom(command, f"--state-dir={self.place.state_dir}", *arguments)

    async def get(self, port: int, path: str, *headers: str) -> tuple[int, bytes]:
        """Ask over TCP; returns status and body."""
        return await deferToThread(_get, port, path, headers)

    async def lone_match(self) -> tuple[Typed, dict[str, Any]]:
        """Queue alone for a game that can be played alone."""
        client = await typed(self, self.place, "ann")
        return client, await client.ask("queue", "match_found", game="roomecho")

    async def test_life(self) -> None:
        """
        A node starts, logs its addresses, answers operators, and drains on SIGTERM.
        """
        http, admin = free_port(), free_port()
        token = self.place.state_dir / "token"
        token.write_text("correct-horse-battery\n")
        node = await self.serving(
            f"--http={http}", f"--admin={admin}", f"--admin-token-file={token}"
        )
        for words in ("EPollReactor", f"127.0.0.1:{node.port}", "memory storage"):
            self.assertIn(words, node.text)
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
        self.assertEqual(await node.ended, 0)
        self.assertIn("no match and no room is left", node.text)
        self.assertNotIn("Traceback", node.text)
        self.assertFalse(client.transport.connected)
        code, _, err = await self.vinom("status")
        self.assertEqual(code, 2)
        self.assertIn("no node answers", err)

    async def test_second_interrupt(self) -> None:
        """
        The second Ctrl-C does not wait for running matches, and leaves nobody.
        """
        node = await self.serving()
        await self.lone_match()
        node.process.signalProcess("INT")
        await node.says("draining")
        node.process.signalProcess("INT")
        self.assertEqual(await node.ended, 0)
        self.assertIn("stopping at once", node.text)
        self.assertNotIn("Traceback", node.text)

    async def test_drain_has_an_end(self) -> None:
        """
        A match that goes on for longer than the node waits does not hold it.
        """
        node = await self.serving("--drain-seconds=0.5")
        await self.lone_match()
        code, out, _ = await self.vinom("drain")
        self.assertEqual((code, out.split(":")[0]), (0, "draining"))
        self.assertEqual(await node.ended, 0)
        self.assertIn("1 matches and 0 rooms did not end in time", node.text)

    async def test_refusals_are_one_line(self) -> None:
        """
        What an operator got wrong is one line on the terminal, and no traceback.
        """
        await self.serving()
        elsewhere = short_folder(self)
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
                self.assertEqual(await wrong.ended, 1, wrong.text)
                self.assertIn(words, wrong.text.splitlines()[-1])
                self.assertEqual(wrong.text.count(words), 1, wrong.text)
                self.assertNotIn("Traceback", wrong.text)
        # The running one was not disturbed.
        await self.lone_match()

    async def test_json_and_ipv6(self) -> None:
        """
        A node on IPv6, configured by variables, whose log is JSON to the last line.
        """
        node = self.start("--interface=::1", VINOM_LOG_FORMAT="json")
        await node.says('"vinom.node"')
        self.place.host = "::1"
        _, found = await self.lone_match()
        self.assertEqual(found["host"], "::1")
        node.process.signalProcess("INT")
        node.process.signalProcess("TERM")
        await node.ended
        records = [json.loads(line) for line in node.text.splitlines()]
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
