"""Other people's TLS clients at a real node, with what they offer to speak (ALPN)."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.browsers import Browser, needs_browser
from tests.support.certificates import authority
from tests.support.child_nodes import start_node
from tests.support.programs import Program, start_foreign
from vinom.tools.commands.child_node import free_port


class TlsClientTests(TestCase):
    """The lobby's port and the port of pages, for players who come over TLS."""

    timeout = 180

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.anchor = folder / "anchor.pem"
        self.certificate, self.key = folder / "leaf.pem", folder / "leaf.key"
        self.anchor.write_bytes(authority().anchor)
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

    def openssl(self, port: int, *options: str) -> Program:
        """Connect, and verify whose certificate it is."""
        return start_foreign(
            self, "openssl", "s_client", "-connect", f"127.0.0.1:{port}",
            "-servername", "localhost", "-verify_hostname", "localhost",
            "-verify_return_error", "-CAfile", str(self.anchor), *options,
        )  # fmt: skip

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
        for version in ("-tls1_2", "-tls1_3"):
            program = self.openssl(http, version, "-alpn", "h2,http/1.1")
            program.transport.closeStdin()
            self.assertEqual(await program.ended, 0, program.text)

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
