"""What ``vinom doctor`` says of the server that results are sent to."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.support.certificates import authority
from vinom.doctor.findings import Finding
from vinom.doctor.receiver import examine_receiver
from vinom.node.settings import Settings

reactor: Any = global_reactor


class ReceiverTests(TestCase):
    timeout = 30

    async def examine(self, url: str, secret: str, trusts: bool = True) -> Finding:
        file, anchor = Path(self.mktemp()), Path(self.mktemp())
        file.write_text(secret)
        anchor.write_bytes(authority().anchor)
        settings = Settings(
            results_url=url,
            results_secret_file=file,
            results_authority_file=anchor if trusts else None,
        )
        (finding,) = await deferToThread(examine_receiver, settings)
        found: Finding = finding
        return found

    async def test_receiver(self) -> None:
        """
        A receiver that is away, or that nobody vouches for, and secrets that cannot be
        used are found before results wait for them.
        """
        leaf = authority().issue("localhost")
        certificate = PrivateCertificate.loadPEM(leaf.certificate + leaf.key)
        site = Site(Resource())
        secure = reactor.listenSSL(
            0, site, certificate.options(), interface="127.0.0.1"
        )
        plain = reactor.listenTCP(0, site, interface="127.0.0.1")
        for port in (secure, plain):
            self.addCleanup(port.stopListening)
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/"
            here = f"http://127.0.0.1:{plain.getHost().port}/results?key=hidden"
            tls = f"https://localhost:{secure.getHost().port}/results?key=hidden"
            secret = "whsec_" + "QUJD" * 11
            for url, text, trusts, verdict, words in (
                (here, secret, True, "ok", "1 secret to"),
                (tls, f"{secret}\n{secret}", True, "ok", "verified as localhost, 2 s"),
                (tls, secret, False, "warning", "certificate verify failed"),
                (nobody, secret, True, "warning", "refused"),
                (here, "a password", True, "failure", "must be whsec_"),
            ):
                finding = await self.examine(url, text, trusts)
                self.assertEqual(finding.verdict, verdict, finding)
                self.assertIn(words, finding.told)
                self.assertNotIn("hidden", finding.told)
                self.assertNotIn("password", finding.told)

    def test_nothing_to_send(self) -> None:
        """
        A node that sends no results has no line for it.
        """
        self.assertEqual(examine_receiver(Settings()), [])
