"""What ``vinom doctor`` says of the servers that a node depends on."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.fleet.test_cluster import CONFIG
from tests.support.certificates import authority
from tests.support.redis_servers import RedisServer, redis_for
from vinom.base.settings.values import read_store_address
from vinom.node.settings import Settings, gather
from vinom.tools.doctor.findings import Finding
from vinom.tools.doctor.outside import examine_cluster, examine_receiver, examine_store

reactor: Any = global_reactor


class StoreTests(SynchronousTestCase):
    """Findings about a Redis."""

    def examine(self, server: RedisServer) -> Finding:
        path = self.mktemp()
        found = examine_store(
            Settings(
                store=read_store_address(server.url),
                authority_certificate_file=path,  # type: ignore[arg-type]
                authority_key_file=path,  # type: ignore[arg-type]
            )
        )
        return found[0]

    def test_redis(self) -> None:
        """
        A Redis is good while it answers and keeps everything; else the remedy is named.
        """
        server = redis_for(self)
        self.assertEqual(self.examine(server).verdict, "ok")
        server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        found = self.examine(server)
        self.assertEqual(found.verdict, "failure")
        self.assertIn("allkeys-lru", found.message)
        self.assertIn("noeviction", found.remedy or "")
        server.command("CONFIG", "SET", "requirepass", "x")
        found = self.examine(server)
        self.assertIn("NOAUTH", found.message)
        self.assertIn("store_password_file", found.remedy or "")
        server.kill()
        found = self.examine(server)
        self.assertEqual(found.verdict, "failure")
        self.assertIn("does not answer", found.message)

    def test_memory(self) -> None:
        """
        Memory needs nothing.
        """
        (found,) = examine_store(Settings())
        self.assertEqual(found.verdict, "ok")


class ClusterTests(SynchronousTestCase):
    """Nodes whose game servers are pods."""

    def examine(self, kubeconfig: Path) -> Finding:
        """Examine a node with a kubeconfig; returns the only finding."""
        settings = gather(
            {
                "pods": json.dumps({"image": "a", "kubeconfig": str(kubeconfig)}),
                "game_server_link": "4700",
            },
            {},
        )
        (found,) = examine_cluster(settings)
        return found

    def test_local(self) -> None:
        """
        A node that has its game servers here needs no cluster.
        """
        self.assertEqual(examine_cluster(gather({}, {})), [])

    def test_no_cluster(self) -> None:
        """
        A client that is not installed, a file that is missing, and a server that does
        not answer are failures, each with what to do.
        """
        path = Path(self.mktemp())
        missing = self.examine(path)
        self.assertEqual(missing.verdict, "failure")
        self.assertIn(f"{path}: No such file", missing.message)
        with socket.create_server(("127.0.0.1", 0)) as server:
            place = f"127.0.0.1:{server.getsockname()[1]}"
            path.write_text(CONFIG.replace("127.0.0.1:9", place))
            found = self.examine(path)
            self.assertEqual(found.verdict, "ok", found.message)
            self.assertIn(f"http://{place}, namespace games", found.message)
        gone = self.examine(path)
        self.assertEqual(gone.verdict, "failure")
        self.assertIn(f"http://{place} cannot be reached", gone.message)
        name = "vinom.fleet.kubernetes.api"
        self.addCleanup(sys.modules.__setitem__, name, sys.modules[name])
        sys.modules[name] = None  # type: ignore[assignment]  # Not to be imported.
        missing = self.examine(path)
        self.assertIn("need Kubernetes' Python client", missing.message)
        self.assertEqual(missing.remedy, "pip install vinom[kubernetes]")


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
                self.assertIn(words, finding.message)
                self.assertNotIn("hidden", finding.message)
                self.assertNotIn("password", finding.message)

    def test_nothing_to_send(self) -> None:
        """
        A node that sends no results has no line for it.
        """
        self.assertEqual(examine_receiver(Settings()), [])
