"""Other people's TLS clients at a real node, with what they offer to speak (ALPN)."""

from __future__ import annotations

import base64
import json
import os
from itertools import product
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.browsers import Browser, needs_browser
from tests.support.certificates import authority, new_authority
from tests.support.child_nodes import start_node
from tests.support.programs import Program, start_foreign
from vinom.tools.commands.child_node import free_port

#: What browsers and curl offer, and what others do; "" is nothing.
OFFERS = ("h2,http/1.1", "http/1.1", "h2", "")
VERSIONS = ("-tls1_2", "-tls1_3")
#: Looks each 10 ms for a line of the log: a bound on liveness.
LOOKS = 2000


class TlsClientTests(TestCase):
    """The lobby's port and the port of pages, for players who come over TLS."""

    timeout = 180

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.anchor, self.stranger = folder / "anchor.pem", folder / "stranger.pem"
        self.certificate, self.key = folder / "leaf.pem", folder / "leaf.key"
        self.anchor.write_bytes(authority().anchor)
        self.stranger.write_bytes(new_authority().anchor)
        self.issued = authority().issue("localhost")
        self.certificate.write_bytes(self.issued.certificate)
        self.key.write_bytes(self.issued.key)

    async def start(self, *arguments: str) -> None:
        self.node = await start_node(
            self,
            f"--tls-certificate-file={self.certificate}",
            f"--tls-key-file={self.key}",
            "--game=vinom.games.tictactoe:TicTacToe",
            "--warm=0",
            *arguments,
        )

    async def start_https(self) -> None:
        self.http = free_port()
        await self.start(f"--http={self.http}", "--http-tls")

    def openssl(self, port: int, *options: str, anchor: Path | None = None) -> Program:
        """Connect, and verify whose certificate it is."""
        return start_foreign(
            self, "openssl", "s_client", "-connect", f"127.0.0.1:{port}",
            "-servername", "localhost", "-verify_hostname", "localhost",
            "-verify_return_error", "-CAfile", str(anchor or self.anchor), *options,
        )  # fmt: skip

    async def offer(self, port: int, offered: str, version: str) -> str:
        """Shake hands with an offer; return what the client reports."""
        options = ["-alpn", offered] if offered else []
        program = self.openssl(port, version, *options)
        program.transport.closeStdin()
        self.assertEqual(await program.ended, 0, program.text)
        return program.text

    async def fetch(self, url: str, *options: str) -> dict[str, str]:
        """Get a page with curl; returns its status and the version of HTTP."""
        written = '{"status": "%{http_code}", "version": "%{http_version}"}'
        program = start_foreign(
            self, "curl", "--silent", "--show-error", "--noproxy", "*", "--ipv4",
            "--cacert", str(self.anchor), "--output", os.devnull,
            "--write-out", written, *options, url,
        )  # fmt: skip
        self.assertEqual(await program.ended, 0, program.errors)
        told: dict[str, str] = json.loads(program.text)
        return told

    async def test_openssl(self) -> None:
        """
        With any protocols that a client offers, its handshake succeeds: the HTTP port
        answers HTTP/1.1 if it offers that, and the lobby leaves the offer unanswered.
        """
        await self.start_https()
        for offered, version in product(OFFERS, VERSIONS):
            told = await self.offer(self.http, offered, version)
            is_http = "http/1.1" in offered
            answer = "ALPN protocol: http/1.1" if is_http else "No ALPN negotiated"
            self.assertIn(answer, told)
            told = await self.offer(self.node.port, offered, version)
            self.assertIn("No ALPN negotiated", told)

    async def test_key_update(self) -> None:
        """
        OpenSSL's client changes its keys, and asks the server to, amid a conversation.
        """
        await self.start_https()
        program = self.openssl(self.node.port, "-tls1_3")
        clock: Any = reactor
        hello = {"type": "hello", "data": {"protocol": 1, "name": "ann"}}
        program.transport.write(json.dumps(hello).encode() + b"\n")
        await program.printed(b'"type":"welcome"')
        for times in (1, 2):
            program.transport.write(b"K\n")
            for _ in range(LOOKS):
                if program.errors.count(b"KEYUPDATE") == times:
                    break
                await deferLater(clock, 0.01)
            # An error's answer repeats the id.
            request = b'{"type": "odd", "id": "nr %d"}\n' % times
            program.transport.write(request)
            await program.printed(b'"id":"nr %d"' % times)

    async def test_twisted_tls(self) -> None:
        """
        With ``twisted_tls`` the lobby and the page are served over Twisted's own TLS.
        """
        self.http = free_port()
        await self.start(f"--http={self.http}", "--http-tls", "--twisted-tls")
        told = await self.fetch(f"https://localhost:{self.http}/ready")
        self.assertEqual(told, {"status": "200", "version": "1.1"})
        program = self.openssl(self.node.port, "-quiet")
        hello = {"type": "hello", "data": {"protocol": 1, "name": "ann"}}
        program.transport.write(json.dumps(hello).encode() + b"\n")
        await program.printed(b'"type":"welcome"')

    async def test_curl(self) -> None:
        """
        curl, which offers HTTP/2 first, gets pages over HTTP/1.1 with every preference.
        """
        await self.start_https()
        for options in ((), ("--http2",), ("--http1.1",), ("--no-alpn",)):
            for newest in ("1.2", "1.3"):
                told = await self.fetch(
                    f"https://localhost:{self.http}/ready",
                    "--tls-max",
                    newest,
                    *options,
                )
                self.assertEqual(told, {"status": "200", "version": "1.1"}, options)

    async def test_endpoint(self) -> None:
        """
        Pages are served at an ``ssl:`` endpoint of Twisted's, too.
        """
        http = free_port()
        await self.start(
            f"--http=ssl:{http}:interface=127.0.0.1"
            f":privateKey={self.key}:certKey={self.certificate}"
        )
        told = await self.fetch(f"https://localhost:{http}/ready")
        self.assertEqual(told, {"status": "200", "version": "1.1"})
        for version in VERSIONS:
            await self.offer(http, "h2,http/1.1", version)

    async def test_browser(self) -> None:
        """
        A browser loads the page over HTTPS, talks to the node over WSS, and plays.
        """
        needs_browser()
        await self.start_https()
        await deferToThread(self.browse)

    def browse(self) -> None:
        trusted = f"--ignore-certificate-errors-spki-list={self.pin()}"
        browser = Browser(arguments=(trusted,))
        try:
            browser.open(f"https://localhost:{self.http}/")
            browser.until(
                "return document.getElementById('connection').dataset.status"
                " === 'online'",
                what="the connection is online",
            )
            spoken = browser.run(
                "return performance.getEntriesByType('navigation')[0].nextHopProtocol"
            )
            self.assertEqual(spoken, "http/1.1")
            browser.press("Play Tic-tac-toe with a bot")
            browser.until("return !!document.querySelector('.ttt')")
            self.assertEqual(browser.take_complaints(), [])
        finally:
            browser.quit()

    def pin(self) -> str:
        """Name the one certificate's key that the browser believes."""
        leaf = x509.load_pem_x509_certificate(self.issued.certificate)
        key = leaf.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        digest = hashes.Hash(hashes.SHA256())
        digest.update(key)
        return base64.b64encode(digest.finalize()).decode()

    async def test_failure_is_logged(self) -> None:
        """
        An operator finds in the log why a client could not connect.
        """
        await self.start_https()
        for port, source in (
            (self.http, "vinom.net.web.front_door"),
            (self.node.port, "vinom.net.lines.tcp"),
        ):
            program = self.openssl(port, anchor=self.stranger)
            self.assertNotEqual(await program.ended, 0)
            # The two authorities have one name, and different keys.
            why = "tlsv1 alert decrypt error"
            await self.logged(f"{source}: TLS with 127.0.0.1 failed: {why}")

    async def logged(self, words: str) -> None:
        """Wait until the node's log has these words."""
        clock: Any = reactor
        for _ in range(LOOKS):
            if words in self.node.log_end():
                return
            await deferLater(clock, 0.01)
        raise AssertionError(f"not logged: {words}\n{self.node.log_end()}")
