"""Real clients of every kind, through one port of a gateway, with and without TLS."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.browsers import Browser, needs_browser
from tests.support.certificates import authority, leaf
from tests.support.child_gateways import short_folder, start_gateway
from tests.support.child_nodes import start_http_node
from tests.support.needs import path_of
from tests.support.pages import VINOM
from tests.support.websocket_clients import connect
from tests.system.test_gateway import EchoServer
from tests.system.test_gateway_links import hello
from vinom.net.streams.packets import Kind, Packet, PacketReader, encode

_NAME = "play.game.vinom"
_SECONDS = 40.0


class ClientTests(TestCase):
    """Two nodes and an echo server stand behind one port."""

    timeout = 240

    async def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        issued = leaf("game.vinom")
        self.authority = folder / "ca.pem"
        self.authority.write_bytes(authority().anchor)
        (folder / "tls.pem").write_bytes(issued.certificate)
        (folder / "tls.key").write_bytes(issued.key)
        echo = EchoServer()
        self.addCleanup(echo.kill)
        links, sockets = [], short_folder(self)
        for name in ("a", "b"):
            links.append(f"unix:{sockets / name}")
            await start_http_node(
                self,
                f"--gateway-link={links[-1]}",
                "--allow-plaintext",
                "--any-origin",
                "--guests=yes",
            )
        nodes: dict[str, Any] = {
            "strategy": "round_robin",
            "endpoints": links,
            "transport": "packets",
        }
        gateway = await start_gateway(
            self,
            {
                "lobby": nodes,
                "web": {**nodes, "match": {"path": "/"}},
                "echo": {
                    "strategy": "round_robin",
                    "endpoints": [f"127.0.0.1:{echo.port}"],
                    "code": 9,
                },
            },
            f"--tls-certificate-file={folder / 'tls.pem'}",
            f"--tls-key-file={folder / 'tls.key'}",
        )
        self.port = gateway.port
        self.context = ssl.create_default_context(cafile=str(self.authority))

    def peer(self, is_tls: bool) -> socket.socket:
        """Connect."""
        plain = socket.create_connection(("127.0.0.1", self.port), _SECONDS)
        if not is_tls:
            return plain
        return self.context.wrap_socket(plain, server_hostname=_NAME)

    async def test_curl(self) -> None:
        """
        curl gets the page, in the clear and over HTTPS, whatever version TLS offers it.
        """
        for scheme in ("http", "https"):
            done = await deferToThread(
                subprocess.run,
                [
                    path_of("curl"),
                    "--silent",
                    "--show-error",
                    "--resolve",
                    f"{_NAME}:{self.port}:127.0.0.1",
                    "--cacert",
                    str(self.authority),
                    f"{scheme}://{_NAME}:{self.port}/",
                ],
                capture_output=True,
                timeout=_SECONDS,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(b"<title>Vinom", done.stdout)

    async def test_openssl(self) -> None:
        """
        Lobby lines that are typed into ``openssl s_client`` are answered.
        """
        first = json.loads(await deferToThread(self.type_hello))
        self.assertEqual(first["type"], "welcome")

    def type_hello(self) -> bytes:
        """Type a hello into ``openssl s_client``, and read a line."""
        command = (
            *(path_of("openssl"), "s_client", "-quiet", "-verify_return_error"),
            *("-CAfile", str(self.authority), "-servername", _NAME),
            *("-connect", f"127.0.0.1:{self.port}"),
        )
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(hello())
            client.stdin.flush()
            line = client.stdout.readline()
            client.kill()
        return line

    async def test_websockets(self) -> None:
        """
        Python's ``websockets`` reaches a node, in the clear and over TLS.
        """

        def greet(is_tls: bool) -> Any:
            scheme = "wss" if is_tls else "ws"
            with connect(
                f"{scheme}://{_NAME}:{self.port}/ws",
                sock=self.peer(False),
                ssl=self.context if is_tls else None,
            ) as line:
                line.send(hello().decode())
                (answer,) = json.loads(line.recv(_SECONDS))
                return answer

        for is_tls in (False, True):
            answer = await deferToThread(greet, is_tls)
            self.assertEqual(answer["type"], "welcome")

    async def test_packets(self) -> None:
        """
        A client of packets reaches a plain server, whose bytes come back in packets.
        """

        def ask(is_tls: bool) -> bytes:
            # An id of before rests for a while.
            reader, came, session = PacketReader(), b"", 5 + is_tls
            with self.peer(is_tls) as peer:
                peer.sendall(encode(Packet(Kind.OPEN, b"", 9, 0, 0, session)))
                peer.sendall(encode(Packet(Kind.DATA, b"echo this", 9, 0, 0, session)))
                while len(came) < 9 and (data := peer.recv(65536)):
                    for one in reader.read(data):
                        came += one.body if one.kind is Kind.DATA else b""
            return came

        for is_tls in (False, True):
            self.assertEqual(await deferToThread(ask, is_tls), b"echo this")

    async def test_terminal(self) -> None:
        """
        ``vinom play`` finds opponents through the gateway, over TLS.
        """
        self.assertIn("maze", await deferToThread(self.watch_play))

    def watch_play(self) -> str:
        """Play in a terminal until the maze is drawn; bots of ``vinom bots`` join."""
        command = [sys.executable, "-c", VINOM]
        options = [
            f"--connect=127.0.0.1:{self.port}",
            "--tls",
            f"--tls-authority={self.authority}",
            f"--tls-name={_NAME}",
        ]
        child, terminal = pty.fork()
        if not child:
            os.environ["TERM"] = "xterm-256color"
            os.execv(sys.executable, [*command, "play", "maze", *options])
        bots = subprocess.Popen(
            [*command, "bots", *options, "--players=3", "--seconds=1"],
            stdout=subprocess.DEVNULL,
        )
        seen = b""
        try:
            with contextlib.suppress(OSError):
                while b"maze" not in seen and len(seen) < 1 << 20:
                    seen += os.read(terminal, 65536)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(terminal)
            bots.terminate()
            bots.wait()
        return seen.decode("utf-8", "replace")

    async def test_browser(self) -> None:
        """
        Chromium opens the page over HTTPS, and the page is connected over WSS.
        """
        needs_browser()
        await deferToThread(self.open_page)

    def open_page(self) -> None:
        browser = Browser(arguments=("--ignore-certificate-errors",))
        try:
            browser.open(f"https://127.0.0.1:{self.port}/")
            browser.see("Connected")
        finally:
            browser.quit()
