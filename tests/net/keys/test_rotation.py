"""
Changes of the authority's keys: clients that trusted the old one are still served.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from OpenSSL import SSL

from tests.net.keys.test_authority import NOW, AuthorityCase, handshake
from vinom.base.tokens import Claims, TokenVerifier
from vinom.errors import Misconfigured
from vinom.net.keys.authority import ACCEPTED_DAYS, Authority
from vinom.net.keys.files import KeyReport

_DAY = 86400.0
_NAMES = ["localhost", "127.0.0.1"]


class RotationTests(AuthorityCase):
    """A new authority, and those before it."""

    def states(self, authority: Authority) -> list[str]:
        return [told.state for told in authority.known()]

    def test_new_leaves(self) -> None:
        """
        A game server that starts now is verified with the new anchor, one that is
        running with the anchor that its players were sent, and never crosswise.
        """
        authority = self.open()
        old_anchor, old = authority.anchor, authority.issue("s1")
        authority.rotate()
        self.assertNotEqual(authority.anchor, old_anchor)
        handshake(authority.issue("s2"), authority.anchor, "t.s2.game.vinom")
        handshake(old, old_anchor, "t.s1.game.vinom")
        with self.assertRaises(SSL.Error):
            handshake(old, authority.anchor, "t.s1.game.vinom")

    def test_everybody_verifies_the_lobby(self) -> None:
        """
        After two rotations a client that pinned the first, second or third
        authority opens the lobby; so after a restart.
        """
        authority = self.open()
        anchors = [authority.anchor]
        for _ in range(2):
            authority.rotate()
            anchors.append(authority.anchor)
        lobby = authority.lobby(_NAMES)
        for anchor in anchors:
            handshake(lobby, anchor, "localhost")
            self.assertIn(anchor, lobby.certificate)
        self.assertEqual(self.open().lobby(_NAMES), lobby)

    def test_acceptance_ends(self) -> None:
        """
        An old authority is dropped when its time is over, with its file.
        """
        authority = self.open()
        old_anchor = authority.anchor
        authority.rotate()
        lobby = authority.lobby(_NAMES)
        self.assertEqual(self.states(authority), ["accepted", "active"])
        self.now += ACCEPTED_DAYS * _DAY - 1
        self.assertFalse(authority.drop())
        self.now += 1
        self.assertTrue(authority.drop())
        self.assertEqual(self.states(authority), ["active"])
        self.assertEqual(list(self.folder.glob("authority/former/*")), [])
        self.assertNotEqual(authority.lobby(_NAMES), lobby)
        self.assertNotIn(old_anchor, authority.lobby(_NAMES).certificate)

    def test_old_key_is_gone(self) -> None:
        """
        Nobody who finds the state directory later can sign as the old authority.
        """
        authority = self.open()
        old = (self.folder / "authority" / "ca.key").read_bytes()
        authority.rotate()
        for path in self.folder.rglob("*"):
            if path.is_file():
                self.assertEqual(path.stat().st_mode & 0o777, 0o600)
                self.assertNotEqual(path.read_bytes(), old)

    def test_cut_off_anywhere(self) -> None:
        """
        A node killed in the middle of a rotation starts with the old authority,
        or with the new one, and its former authority is the right one.
        """
        authority = self.open()
        before = {p: p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}
        old_anchor = authority.anchor
        authority.rotate()
        new_anchor = authority.anchor
        folder = self.folder / "authority"
        former = (folder / "former" / "0001.pem").read_bytes()
        key, certificate = (folder / "ca.key").read_bytes(), new_anchor
        # What is on the disk after each step, and whose time it is then.
        for written, anchor, states in (
            ({"former/0001.pem": former}, old_anchor, ["active"]),
            ({"ca-next.pem": certificate}, old_anchor, ["active"]),
            ({"ca-next.key": key}, old_anchor, ["active"]),
            ({"ca.key": key}, new_anchor, ["accepted", "active"]),
        ):
            shutil.rmtree(folder)
            for path, content in before.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            (folder / "former").mkdir()
            steps = {"former/0001.pem": former}
            if "ca-next.pem" in written:
                steps["ca-next.pem"] = certificate
            if "ca-next.key" in written:
                steps |= {"ca-next.pem": certificate, "ca-next.key": key}
            if "ca.key" in written:
                steps |= {"ca-next.pem": certificate, "ca.key": key}
            for name, content in steps.items():
                (folder / name).write_bytes(content)
            again = self.open()
            self.assertEqual(again.anchor, anchor, written)
            self.assertEqual(self.states(again), states, written)
            self.assertEqual(list(folder.glob("ca-next*")), [])
            handshake(again.lobby(_NAMES), old_anchor, "localhost")

    def test_list(self) -> None:
        """
        Operators see which key is which, since when, and until when.
        """
        authority = self.open()
        (first,) = authority.known()
        self.assertEqual((first.kind, first.since), ("ca", NOW))
        self.now += 5 * _DAY
        made = authority.rotate()
        self.assertEqual(
            authority.known(),
            [
                KeyReport(
                    first.key_id,
                    "ca",
                    "accepted",
                    self.now,
                    self.now + ACCEPTED_DAYS * _DAY,
                ),
                KeyReport(made, "ca", "active", self.now, authority.expires_at),
            ],
        )

    def test_studios_authority(self) -> None:
        """
        A studio's own is the studio's to change: put new files there and reload;
        what cannot be used leaves the old one at work.
        """
        files = []
        for name in ("one", "two"):
            self.folder = Path(self.mktemp()) / name
            self.open()
            files.append(self.folder / "authority")
        one, two = files
        self.folder = Path(self.mktemp()) / "state"
        authority = self.open(certificate_file=one / "ca.pem", key_file=one / "ca.key")
        self.assertIn("SIGHUP", str(self.assertRaises(Misconfigured, authority.rotate)))
        self.assertFalse(authority.reload())
        old = authority.anchor
        (one / "ca.pem").write_bytes((two / "ca.pem").read_bytes())
        self.assertRaises(Misconfigured, authority.reload)
        self.assertEqual(authority.anchor, old)
        (one / "ca.key").write_bytes((two / "ca.key").read_bytes())
        self.assertTrue(authority.reload())
        self.assertEqual(authority.anchor, (two / "ca.pem").read_bytes())
        handshake(authority.issue("s1"), authority.anchor, "t.s1.game.vinom")


class TokenKeyTests(AuthorityCase):
    """Keys that sign connect tokens."""

    def test_accepted_before_it_signs(self) -> None:
        """
        A new key is handed out first, signs later, and the old one goes when the
        last of its tokens is past, 30 s of skew included.
        """
        authority = self.open()
        tokens, life = authority.tokens, 120.0
        old = authority.signer.key_id
        claims = Claims("game.vinom", "m", "p", 0, self.now + 60, "t")
        new = tokens.prepare(self.now)
        self.assertEqual(set(authority.token_keys()), {old, new})
        self.assertEqual(authority.signer.key_id, old)
        self.assertEqual([k.state for k in tokens.known(life)], ["active", "next"])
        last = tokens.sign(claims)
        self.now += 3
        tokens.activate(new, self.now)
        verifier = TokenVerifier(authority.token_keys(), "game.vinom")
        for token in (last, tokens.sign(claims)):
            self.assertEqual(verifier.verify(token, self.now).player_id, "p")
        self.assertEqual(
            [(k.key_id, k.state, k.expires_at) for k in tokens.known(life)],
            [(old, "accepted", self.now + 150.0), (new, "active", None)],
        )
        self.assertEqual(tokens.drop(self.now + 149.0, life), [])
        self.assertEqual(tokens.drop(self.now + 150.0, life), [old])
        self.assertEqual(set(authority.token_keys()), {new})

    def test_restart_between(self) -> None:
        """
        After a restart the same key signs, and the one before it expires in time.
        """
        first = self.open()
        new = first.tokens.prepare(self.now)
        first.tokens.activate(new, self.now)
        again = self.open()
        self.assertEqual(again.tokens.known(120.0), first.tokens.known(120.0))
        self.assertEqual(len(again.tokens.drop(self.now + 150.0, 120.0)), 1)
        self.assertEqual(set(self.open().token_keys()), {new})

    def test_next_key_is_never_dropped(self) -> None:
        """
        A key that waits for its turn is not taken for an old one.
        """
        tokens = self.open().tokens
        tokens.prepare(self.now)
        self.assertEqual(tokens.drop(self.now + 1e6, 120.0), [])
