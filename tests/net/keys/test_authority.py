"""The private authority: what it keeps, what it signs, and who accepts it."""

from __future__ import annotations

import contextlib
import datetime
import os
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import VerificationError
from service_identity.pyopenssl import verify_hostname
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.model import Issued
from vinom.base.tokens import Claims, TokenVerifier
from vinom.errors import Misconfigured
from vinom.net.keys.authority import Authority

_DAY = 86400.0
#: OpenSSL checks validity against the machine's clock, so this one is near it.
NOW = float(int(datetime.datetime.now(datetime.UTC).timestamp()))


def handshake(issued: Issued, anchor: bytes, name: str) -> None:
    """Let OpenSSL's strictest client verify *issued*; raises when it refuses."""
    server_context = SSL.Context(SSL.TLS_METHOD)
    chain = x509.load_pem_x509_certificates(issued.certificate)
    server_context.use_certificate(crypto.X509.from_cryptography(chain[0]))
    for link in chain[1:]:
        server_context.add_extra_chain_cert(crypto.X509.from_cryptography(link))
    server_context.use_privatekey(
        crypto.load_privatekey(crypto.FILETYPE_PEM, issued.key)
    )
    client_context = SSL.Context(SSL.TLS_METHOD)
    store = client_context.get_cert_store()
    assert store is not None
    store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    store.add_cert(crypto.load_certificate(crypto.FILETYPE_PEM, anchor))
    client_context.set_verify(SSL.VERIFY_PEER, lambda *found: bool(found[-1]))
    server = SSL.Connection(server_context, None)
    client = SSL.Connection(client_context, None)
    server.set_accept_state()
    client.set_connect_state()
    for _ in range(10):
        for one, other in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                one.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65536))
    verify_hostname(client, name)


class AuthorityCase(SynchronousTestCase):
    """Opens authorities in a folder of its own."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()) / "state"
        self.now = NOW

    def open(self, **files: Path) -> Authority:
        return Authority.open(self.folder, "game.vinom", lambda: self.now, **files)


class AuthorityTests(AuthorityCase):
    """Players trust exactly what this node signed."""

    def test_files_are_private(self) -> None:
        """
        Nobody else on the machine can read the keys.
        """
        authority = self.open()
        authority.lobby(["localhost"])
        paths = [self.folder, *self.folder.rglob("*")]
        self.assertTrue(any(path.suffix == ".key" for path in paths))
        for path in paths:
            mode = path.stat().st_mode & 0o777
            self.assertEqual(mode, 0o700 if path.is_dir() else 0o600, str(path))

    def test_second_start_keeps_everything(self) -> None:
        """
        After a restart players still trust the node, and tokens are still good.
        """
        first = self.open()
        lobby = first.lobby(["localhost"])
        second = self.open()
        self.assertEqual(second.anchor, first.anchor)
        self.assertEqual(second.token_keys(), first.token_keys())
        self.assertEqual(second.lobby(["localhost"]), lobby)

    def test_game_server_certificate(self) -> None:
        """
        A strict client accepts a game server under any ticket's name.
        """
        authority = self.open()
        ticket = "a" * 26
        handshake(authority.issue("s1"), authority.anchor, f"{ticket}.s1.game.vinom")

    def test_certificate_is_for_one_game_server(self) -> None:
        """
        One game server's key is of no use to impersonate another.
        """
        authority = self.open()
        issued = authority.issue("s1")
        self.assertNotEqual(issued.key, authority.issue("s1").key)
        with self.assertRaises(VerificationError):
            handshake(issued, authority.anchor, "t.s2.game.vinom")

    def test_stranger_is_not_trusted(self) -> None:
        """
        What another authority signed is refused.
        """
        authority = self.open()
        self.folder = Path(self.mktemp()) / "state"
        with self.assertRaises(SSL.Error):
            handshake(self.open().issue("s1"), authority.anchor, "t.s1.game.vinom")

    def test_lobby_certificate_follows_its_names(self) -> None:
        """
        The lobby's certificate is replaced for new names, and before it expires.
        """
        authority = self.open()
        first = authority.lobby(["localhost", "127.0.0.1"])
        handshake(first, authority.anchor, "localhost")
        second = authority.lobby(["play.example", "127.0.0.1"])
        self.assertNotEqual(first, second)
        self.now += 380 * _DAY
        self.assertNotEqual(authority.lobby(["play.example", "127.0.0.1"]), second)

    def test_certificates_say_what_they_are_for(self) -> None:
        """
        The subject of a certificate shows whether it is a lobby's or a game
        server's.
        """
        authority = self.open()
        for issued, subject in (
            (authority.lobby(["localhost"]), "CN=vinom lobby"),
            (authority.issue("abc"), "CN=vinom game server"),
        ):
            certificate = x509.load_pem_x509_certificates(issued.certificate)[0]
            self.assertEqual(certificate.subject.rfc4514_string(), subject)

    def test_tokens(self) -> None:
        """
        A token signed here is accepted by who has the public keys, and only those.
        """
        authority = self.open()
        claims = Claims("game.vinom", "m", "p", 0, self.now + 60, "t")
        token = authority.signer.sign(claims)
        keys = authority.token_keys()
        verified = TokenVerifier(keys, "game.vinom").verify(token, self.now)
        self.assertEqual(verified.player_id, "p")
        for pem in keys.values():
            self.assertIn(b"PUBLIC KEY", pem)

    def test_several_token_keys(self) -> None:
        """
        A newer key signs; tokens of the older one are still accepted.
        """
        old = self.open()
        folder = self.folder / "authority" / "tokens"
        (path,) = folder.iterdir()
        other = Path(self.mktemp()) / "other"
        Authority.open(other, "game.vinom", lambda: self.now)
        (new,) = (other / "authority" / "tokens").iterdir()
        (folder / new.name.replace("0001", "0002")).write_bytes(new.read_bytes())
        both = self.open()
        self.assertEqual(len(both.token_keys()), 2)
        self.assertNotEqual(both.signer.key_id, old.signer.key_id)
        self.assertIn(old.signer.key_id, both.token_keys())
        self.assertTrue(path.exists())

    def test_own_authority(self) -> None:
        """
        A studio's authority signs in place of the private one.
        """
        self.open()
        files = {
            "certificate_file": self.folder / "authority" / "ca.pem",
            "key_file": self.folder / "authority" / "ca.key",
        }
        self.folder = Path(self.mktemp()) / "state"
        authority = self.open(**files)
        self.assertEqual(authority.anchor, files["certificate_file"].read_bytes())
        self.assertFalse((self.folder / "authority" / "ca.key").exists())

    def test_unusable_files_are_named(self) -> None:
        """
        A broken, foreign or outdated file is an error that names it.
        """
        self.open().lobby(["localhost"])
        folder = self.folder / "authority"
        good = (folder / "ca.key").read_bytes()
        for path, content, words in (
            (folder / "ca.key", b"x", "ca.key is not a private key"),
            (folder / "ca.key", (folder / "lobby.key").read_bytes(), "not belong"),
            (folder / "ca.pem", b"x", "ca.pem has no certificate"),
        ):
            kept = path.read_bytes()
            path.write_bytes(content)
            self.assertIn(words, str(self.assertRaises(Misconfigured, self.open)))
            path.write_bytes(kept)
        self.assertEqual((folder / "ca.key").read_bytes(), good)
        running = self.open()
        self.now += 4000 * _DAY
        self.assertIn("expired on", str(self.assertRaises(Misconfigured, self.open)))
        with self.assertRaisesRegex(Misconfigured, "expired on"):
            running.issue("s1")

    def test_state_directory_that_cannot_be(self) -> None:
        """
        A file in the state directory's place is an error that names it.
        """
        self.folder = Path(self.mktemp())
        self.folder.write_text("")
        error = self.assertRaises(Misconfigured, self.open)
        self.assertIn(os.fspath(self.folder), str(error))
