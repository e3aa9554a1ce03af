"""A real gateway before HTTP: curl, the ``websockets`` package, and a browser."""

from __future__ import annotations

import os
import ssl
import time
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from websockets.sync.server import serve

from tests.lobby.conversation.test_identity import KEY, pem, token
from tests.support.browsers import Browser, needs_browser
from tests.support.certificates import authority
from tests.support.child_gateways import ChildGateway, start_gateway, until
from tests.support.child_nodes import start_http_node
from tests.support.programs import start_foreign
from tests.support.websocket_clients import connect


class Told(Resource):
    """Answers with a digest of what it was sent, and with the client's address."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        body = request.content.read()
        for name in (b"x-forwarded-for", b"x-forwarded-proto"):
            request.setHeader(b"saw-" + name, request.getHeader(name) or b"")
        if request.path.startswith(b"/give/"):
            return bytes(range(256)) * (int(request.path[6:]) // 256)
        return sha256(body).hexdigest().encode()


class GatewayHttpTests(TestCase):
    timeout = 180

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        issued = authority().issue("localhost")
        self.anchor = folder / "anchor.pem"
        self.anchor.write_bytes(authority().anchor)
        certificate, key = folder / "leaf.pem", folder / "leaf.key"
        certificate.write_bytes(issued.certificate)
        key.write_bytes(issued.key)
        self.tls = (f"--tls-certificate-file={certificate}", f"--tls-key-file={key}")
        self.folder = folder

    def site(self) -> int:
        """Start a web server; returns its port."""
        clock: Any = reactor
        port = clock.listenTCP(0, Site(Told()), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def echo(self) -> int:
        """Start a WebSocket server that sends everything back; returns its port."""

        def answer(socket: Any) -> None:
            for message in socket:
                socket.send(message)

        server = serve(answer, "127.0.0.1", 0)
        thread = Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        return int(server.socket.getsockname()[1])

    async def curl(self, *arguments: str) -> str:
        """Run curl; returns what it printed."""
        program = start_foreign(
            self, "curl", "-sS", "--cacert", str(self.anchor), *arguments
        )
        self.assertEqual(await program.ended, 0, program.errors)
        return program.text

    async def test_curl(self) -> None:
        """
        curl gets pages and sends large bodies, plain and over TLS with ALPN; nothing is
        lost or changed, and a connection is used again.
        """
        rule = {
            "strategy": "round_robin",
            "endpoints": [f"127.0.0.1:{self.site()}"],
            "match": {"path": "/"},
        }
        gateway = await start_gateway(self, {"site": rule}, *self.tls)
        body = os.urandom(3_000_000)
        sent = self.folder / "body"
        sent.write_bytes(body)
        digest = sha256(body).hexdigest()
        for scheme in ("http", "https"):
            base = f"{scheme}://localhost:{gateway.port}"
            for more in ((), ("-H", "Transfer-Encoding: chunked"), ("-H", "Expect:")):
                found = await self.curl(f"{base}/x", "--data-binary", f"@{sent}", *more)
                self.assertEqual(found, digest)
            got = self.folder / "got"
            await self.curl(f"{base}/give/2560000", "-o", str(got))
            self.assertEqual(got.read_bytes(), bytes(range(256)) * 10_000)
            found = await self.curl("-I", f"{base}/x", "-H", "X-Forwarded-For: 1.2.3.4")
            self.assertIn("Saw-X-Forwarded-For: 127.0.0.1\r\n", found)
            self.assertIn(f"Saw-X-Forwarded-Proto: {scheme}\r\n", found)
            found = await self.curl(
                f"{base}/a", f"{base}/b", "-o", "/dev/null", "-o", "/dev/null",
                "-w", "%{num_connects} %{http_version} %{http_code},",
            )  # fmt: skip
            self.assertEqual(found, "1 1.1 200,0 1.1 200,")
        found = await self.curl(
            f"http://localhost:{gateway.port}/x", "-H", "Content-Length: 3",
            "-H", "Transfer-Encoding: chunked", "-d", "x", "-w", "%{http_code}",
            "-o", "/dev/null",
        )  # fmt: skip
        self.assertEqual(found, "400")
        # One connection of curl's for each line: the refused one had no session.
        await until(self, lambda: len(gateway.sessions()) >= 12, "12 sessions")
        sessions = gateway.sessions()
        self.assertEqual({one["outcome"] for one in sessions}, {"done"})
        self.assertEqual(len(sessions), 12)

    async def test_websockets(self) -> None:
        """
        WebSockets carry messages of each size, plain and over TLS; one whose back end
        is gone is answered before the upgrade.
        """
        rule = {"strategy": "round_robin", "match": {"path": "/ws"}}
        services = {
            "ws": {**rule, "endpoints": [f"127.0.0.1:{self.echo()}"]},
            "gone": {**rule, "endpoints": ["127.0.0.1:1"], "match": {"path": "/gone"}},
        }
        gateway = await start_gateway(self, services, *self.tls)
        await deferToThread(self.talk, gateway)
        await until(self, lambda: len(gateway.sessions()) >= 2, "2 sessions")
        self.assertEqual({one["kind"] for one in gateway.sessions()}, {"websocket"})
        found = await self.curl(
            f"http://localhost:{gateway.port}/gone", "-H", "Connection: Upgrade",
            "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13", "-H",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "-i", "-o", "-",
        )  # fmt: skip
        self.assertTrue(found.startswith("HTTP/1.1 503 "), found)
        self.assertIn("\r\nRetry-After: 1\r\n", found)

    async def test_identity_cookie(self) -> None:
        """
        A WebSocket of a browser, which cannot send a bearer token, is its user's by a
        cookie; the token is in no log.
        """
        keys = self.folder / "keys.pem"
        keys.write_bytes(pem(KEY))
        rule = {
            "strategy": "consistent_hash",
            "endpoints": [f"127.0.0.1:{self.echo()}" for _ in range(3)],
            "match": {"path": "/ws"},
        }
        gateway = await start_gateway(
            self,
            {"ws": rule},
            f"--identity-keys-file={keys}",
            *("--identity-issuer=https://id.example", "--identity-audience=vinom"),
            *("--identity-cookie=id_token", "--log-level=debug"),
        )
        text = token(exp=time.time() + 600)

        def talk(cookie: str) -> None:
            url = f"ws://localhost:{gateway.port}/ws"
            with connect(url, additional_headers={"Cookie": cookie}) as line:
                line.send("hi")
                self.assertEqual(line.recv(timeout=60), "hi")

        for cookie in (f"a=b; id_token={text}",) * 4 + (f"id_token={text}x",):
            await deferToThread(talk, cookie)
        await until(self, lambda: len(gateway.sessions()) >= 5, "5 sessions")
        found = gateway.sessions()
        self.assertEqual([one.get("user") for one in found], ["ann@x"] * 4 + [None])
        self.assertEqual(len({one["backend"] for one in found[:4]}), 1)
        program = gateway.program
        logs = (program.output + program.errors).decode() + repr(found)
        self.assertNotIn(text.split(".")[1], logs)

    def talk(self, gateway: ChildGateway) -> None:
        context = ssl.create_default_context(cafile=str(self.anchor))
        for url, more in (
            (f"ws://localhost:{gateway.port}/ws", {}),
            (f"wss://localhost:{gateway.port}/ws", {"ssl": context}),
        ):
            with connect(url, **more) as socket:  # type: ignore[arg-type]
                for size in (0, 1, 125, 126, 65_535, 65_536, 900_000):
                    message = os.urandom(size)
                    socket.send(message)
                    self.assertEqual(socket.recv(timeout=60), message)

    async def test_browser(self) -> None:
        """
        The page of a node works through a gateway, over TLS that the gateway speaks: a
        player is online, and a game begins.
        """
        needs_browser()
        _, http = await start_http_node(
            self, "--guests=yes", "--warm=0", "--proxy=127.0.0.1"
        )
        rule = {
            "strategy": "round_robin",
            "endpoints": [f"127.0.0.1:{http}"],
            "match": {"path": "/"},
        }
        gateway = await start_gateway(self, {"site": rule}, *self.tls)
        await deferToThread(self.browse, gateway)

    def browse(self, gateway: ChildGateway) -> None:
        browser = Browser(arguments=("--ignore-certificate-errors",))
        try:
            for scheme in ("http", "https"):
                browser.open(f"{scheme}://localhost:{gateway.port}/")
                browser.until(
                    "return document.getElementById('connection').dataset.status"
                    " === 'online'",
                    what=f"online by {scheme}",
                )
                browser.press("Play Tic-tac-toe with a bot")
                browser.until("return !!document.querySelector('.turn')")
        finally:
            browser.quit()
