"""Several certificates on one port."""

from __future__ import annotations

import contextlib
import os
import ssl
from pathlib import Path

from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import Leaf, authority
from vinom.gateway.ports import LOOK_SECONDS, Certificates
from vinom.net.lines.tls import NamedTls


class CertificateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def write(self, name: str, leaf: Leaf) -> tuple[Path, Path]:
        """Write a certificate and its key."""
        files = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        files[0].write_bytes(leaf.certificate)
        files[1].write_bytes(leaf.key)
        return files

    def open(self, *names: str) -> Certificates:
        """Serve a certificate for each name."""
        files = [
            self.write(name.strip("*."), authority().issue(name)) for name in names
        ]
        found = Certificates(files, self.clock)
        found.startService()
        self.addCleanup(found.stopService)
        return found

    def served(self, tls: NamedTls, host: str, *offers: str) -> tuple[str, str | None]:
        """Shake hands for a host; return the certificate's name, and the protocol."""
        context = ssl.create_default_context(cadata=authority().anchor.decode())
        context.check_hostname = False
        if offers:
            context.set_alpn_protocols(list(offers))
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(to_client, to_server, server_hostname=host or None)
        server = tls.serverConnectionForTLS(None)  # type: ignore[arg-type]
        server.set_accept_state()
        for _ in range(4):
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
            if to_server.pending:
                server.bio_write(to_server.read())
            with contextlib.suppress(SSL.WantReadError):
                server.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                to_client.write(server.bio_read(1 << 16))
        found = client.getpeercert()
        assert found is not None
        names = found["subjectAltName"]
        return str(names[0][1]), client.selected_alpn_protocol()

    def test_by_name(self) -> None:
        """
        A client gets the certificate of the host that it names, or the first one.
        """
        tls = self.open("one.example", "*.two.example", "deep.two.example").tls
        for host, name in (
            ("one.example", "one.example"),
            ("Play.Two.example", "*.two.example"),
            ("deep.two.example", "deep.two.example"),
            ("a.b.two.example", "one.example"),
            ("other.example", "one.example"),
            ("", "one.example"),
        ):
            self.assertEqual(self.served(tls, host)[0], name)

    def test_protocols(self) -> None:
        """
        HTTP/1.1 is agreed on with those who offer it, under each name; others are
        served without.
        """
        tls = self.open("one.example", "two.example").tls
        for host in ("one.example", "two.example"):
            offered = self.served(tls, host, "h2", "http/1.1")
            self.assertEqual(offered, (host, "http/1.1"))
            self.assertEqual(self.served(tls, host, "h2"), (host, None))

    def test_renewed(self) -> None:
        """
        A certificate that was renewed is served a minute later, the others stay; while
        only one of its files is new, the one of before stays.
        """
        found = self.open("one.example", "two.example")
        tls = found.tls
        self.assertEqual(self.served(tls, "two.example")[0], "two.example")
        new = authority().issue("new.example", "two.example")
        certificate, key = (
            self.folder / "two.example.pem",
            self.folder / "two.example.key",
        )
        certificate.write_bytes(new.certificate)
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.served(tls, "two.example")[0], "two.example")
        key.write_bytes(new.key)
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.served(tls, "two.example")[0], "new.example")
        os.unlink(key)
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.served(tls, "two.example")[0], "new.example")

    def test_another_folder(self) -> None:
        """
        New certificates are found where the program was started, wherever twistd goes
        meanwhile (``--rundir``).
        """
        here = Path.cwd()
        self.addCleanup(os.chdir, here)
        self.folder = Path(os.path.relpath(self.folder))
        found = self.open("a.example")
        before = found.tls._certificates[0].fingerprint
        self.write("a.example", authority().issue("a.example"))
        os.chdir("/")
        self.clock.advance(LOOK_SECONDS)
        self.assertNotEqual(found.tls._certificates[0].fingerprint, before)
