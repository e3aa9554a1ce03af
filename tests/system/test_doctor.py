"""``vinom doctor`` on real sockets, beside real nodes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sys
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.certificates import Leaf
from tests.support.programs import Program, short_folder, start_program
from tests.system.test_node import Place, Twistd, environment, vinom
from vinom.errors import Misconfigured
from vinom.node.settings import Settings
from vinom.tools.commands.child_node import free_port
from vinom.tools.doctor.network import answer, question

_VINOM = "import sys; from vinom.tools.commands.cli import main; sys.exit(main())"


class DoctorTests(TestCase):
    timeout = 120

    def setUp(self) -> None:
        self.folder = short_folder(self)
        self.place = Place(self.folder / "state")

    async def ask(self, *arguments: str) -> tuple[dict[str, Any], int]:
        """Run the doctor; returns its findings by name, and its exit code."""
        code, out, err = await vinom("doctor", "--json", *arguments)
        self.assertEqual(err, "")
        return {one["name"]: one for one in json.loads(out)["findings"]}, code

    def assert_verdicts(self, found: dict[str, Any], **verdicts: str) -> None:
        told = {name: found[name.replace("_", " ")] for name in verdicts}
        self.assertEqual(
            {name: one["verdict"] for name, one in told.items()}, verdicts, told
        )

    def write(self, leaf: Leaf, name: str) -> list[str]:
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(leaf.certificate)
        key.write_bytes(leaf.key)
        return [f"--tls-certificate-file={certificate}", f"--tls-key-file={key}"]

    async def test_ports_that_are_taken(self) -> None:
        """
        A lobby port and a game port that somebody has are found, with who has them.
        """
        with (
            socket.create_server(("127.0.0.1", 0)) as lobby,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as game,
        ):
            first, last = self.place.ports
            game.bind(("127.0.0.1", first + 1))
            port = lobby.getsockname()[1]
            found, code = await self.ask(*self.place.arguments(), f"--port={port}")
        self.assertEqual(code, 1)
        self.assert_verdicts(found, lobby="failure", game_ports="warning")
        mine = f"(process {os.getpid()})"
        self.assertIn(mine, found["lobby"]["message"])
        self.assertIn(f"{first + 1} by ", found["game ports"]["message"])
        self.assertIn(mine, found["game ports"]["message"])
        self.assertIn(f"{last - first} of {last - first + 1} are free", str(found))

    async def test_another_machine(self) -> None:
        """
        A probe finds the machine that answers; afterwards it finds none.
        """
        program: Program = start_program(
            self,
            sys.executable,
            "-c",
            _VINOM,
            "doctor",
            "--answer",
            "--for=30",
            *self.place.arguments(),
            environ=environment(PYTHONUNBUFFERED="1"),
        )
        await program.printed(b"--probe ")
        target = program.text.split("--probe ")[1].split()[0]
        found, code = await self.ask(f"--probe={target}")
        self.assertEqual(code, 0)
        self.assert_verdicts(found, udp="ok", mtu="ok")
        await program.printed(b"asked by 127.0.0.1")
        self.stop(program)
        await program.ended
        self.assertRegex(program.text, r"\d+ questions answered, 0 beyond the limit")
        found, code = await self.ask(f"--probe={target}")
        self.assertEqual(code, 1)
        self.assert_verdicts(found, udp="failure")
        self.assertIn("refused", found["udp"]["message"])

    def stop(self, program: Program) -> None:
        """Press Ctrl-C."""
        transport: Any = program.transport
        transport.signalProcess("INT")

    async def test_answers_have_a_limit(self) -> None:
        """
        A machine that answers cannot be made to send more than it gets, nor much;
        anything but a question gets no answer.
        """
        first, last = self.place.ports
        settings = Settings(state_dir=self.folder, ports=(first, last))
        said: list[str] = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect(("127.0.0.1", last))
            asking.setblocking(False)
            answering = deferToThread(answer, settings, 1.5, said.append)
            while not said:
                await deferLater(reactor, 0.01)
            for number in range(200):
                asking.send(b"anything" * number)
                asking.send(question(number.to_bytes(16, "big"), 100))
            await answering
            answers = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    answers.append(asking.recv(9000))
        self.assertTrue(answers)
        self.assertEqual({len(one) for one in answers}, {100})
        told = re.fullmatch(r"(\d+) questions answered, (\d+) beyond.*", said[-1])
        assert told is not None
        self.assertLess(int(told[1]), 110)
        self.assertGreater(int(told[2]), 0)
        taken = attrs.evolve(settings, ports=(last, last))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", last))
            error = self.assertRaises(Misconfigured, answer, taken, 1.0, said.append)
        self.assertIn("set ports", str(error))

    async def test_beside_a_node(self) -> None:
        """
        A running node's ports and sockets are its own, and no trouble; its
        authority is looked at.
        """
        node = Twistd(*self.place.arguments())
        self.addCleanup(node.kill)
        await node.says("vinom.node: vinom ")
        found, code = await self.ask(*self.place.arguments())
        self.assertEqual(code, 0, found)
        self.assert_verdicts(
            found, node="ok", lobby="ok", control_socket="ok", authority="ok"
        )
        pid = node.process.pid
        self.assertIn(f"process {pid} runs here", found["node"]["message"])
        self.assertIn(f"(process {pid})", found["lobby"]["message"])
        self.assertIn("valid until", found["authority"]["message"])
        self.assertIn("the running node may open", found["descriptors"]["message"])
        self.assert_verdicts(found, lobby_tls="ok")
        other, code = await self.ask(
            *self.place.arguments(), f"--state-dir={self.folder / 'other'}"
        )
        self.assertEqual(code, 1)
        self.assert_verdicts(other, node="ok", lobby="failure")

    async def test_tls_of_a_node(self) -> None:
        """
        Beside a running node TLS is tried as browsers come with it, where the lobby is
        and where pages are, also behind a proxy on this machine.
        """
        arguments = [
            *self.place.arguments(),
            f"--http={free_port()}",
            "--http-tls",
            "--proxy=127.0.0.1",
        ]
        found, code = await self.ask(*arguments)
        self.assertEqual(code, 0, found)
        self.assert_verdicts(found, lobby_tls="not checked", http_tls="not checked")
        node = Twistd(*arguments)
        self.addCleanup(node.kill)
        await node.says("vinom.node: vinom ")
        found, code = await self.ask(*arguments)
        self.assertEqual(code, 0, found)
        self.assert_verdicts(found, lobby_tls="ok", http_tls="ok")
        self.assertIn("offers h2 and http/1.1", found["http tls"]["message"])
        self.assertNotIn("TLS with", node.text)
