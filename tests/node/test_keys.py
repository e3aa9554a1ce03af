"""Keys of a running node: rotated, dropped in time, reloaded, and listed."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import authority as test_authority
from tests.support.certificates import leaf
from tests.support.logged import watch_log
from vinom.base.model import Issued
from vinom.base.tokens import Claims, TokenVerifier
from vinom.errors import Code, Refused
from vinom.fleet.control.messages import CookieKeyReport
from vinom.net.keys.authority import ACCEPTED_DAYS, Authority
from vinom.net.lines.tls import ReloadableTls
from vinom.node.keys import Keys, LobbyCertificate

_DAY = 86400.0
#: Certificates are made for the machine's clock.
_NOW = float(int(datetime.datetime.now(datetime.UTC).timestamp()))


class MemoryKeyFleet:
    """Game servers that take keys when the test lets them."""

    def __init__(self) -> None:
        self.shared: list[Deferred[None]] = []
        self.is_quick = True
        self.renewed = 0
        self.told = {"s1": (CookieKeyReport(3, 10.0, 290.0), CookieKeyReport(4, 1.0))}

    def share_token_keys(self) -> Deferred[None]:
        if self.is_quick:
            return succeed(None)
        self.shared.append(Deferred())
        return self.shared[-1]

    def renew_certificates(self) -> None:
        self.renewed += 1

    def rotate_cookies(self) -> int:
        return len(self.told)

    def cookie_keys(self) -> dict[str, tuple[CookieKeyReport, ...]]:
        return self.told


class KeysTests(SynchronousTestCase):
    """Rotation drops nobody."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(_NOW)
        self.fleet = MemoryKeyFleet()
        self.folder = Path(self.mktemp())
        self.logged = watch_log(self)
        self.build()

    def build(self, configured: Path | None = None, **files: Path) -> None:
        """A node's keys; its lobby's certificate is in the folder *configured*."""
        seconds = self.clock.seconds
        self.authority = Authority.open(self.folder, "game.vinom", seconds, **files)

        def find() -> Issued:
            if configured is None:
                return self.authority.lobby(["localhost"])
            certificate, key = configured / "lobby.pem", configured / "lobby.key"
            return Issued(certificate.read_bytes(), key.read_bytes())

        issued = find()
        self.tls = ReloadableTls(issued.certificate, issued.key)
        lobby = LobbyCertificate(self.tls, find, configured is None)
        self.keys = Keys(self.authority, self.fleet, lobby, self.clock, 120.0)
        self.keys.startService()
        self.addCleanup(self.keys.stopService)

    def rotate(self, kind: Any) -> Any:
        return self.successResultOf(self.keys.rotate(kind))

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds // 30)):
            self.clock.advance(30.0)

    def of(self, kind: str) -> list[tuple[str, float | None]]:
        """State and time left of all keys of a kind."""
        now = self.clock.seconds()
        return [
            (key["state"], key["expires_at"] and key["expires_at"] - now)
            for key in self.keys.known()
            if key["kind"] == kind
        ]

    def test_new_token_key_waits_for_game_servers(self) -> None:
        """
        While one running game server does not have the new key, the old one signs.
        """
        self.fleet.is_quick = False
        old = self.authority.signer.key_id
        rotated = self.keys.rotate("token")
        self.assertNoResult(rotated)
        self.assertEqual(self.authority.signer.key_id, old)
        self.assertEqual(self.of("token"), [("active", None), ("next", None)])
        self.fleet.shared[0].callback(None)
        told = self.successResultOf(rotated)
        self.assertEqual(self.authority.signer.key_id, told["id"])
        self.assertNotEqual(told["id"], old)
        self.assertEqual(self.of("token"), [("accepted", 150.0), ("active", None)])

    def test_old_token_key_goes_when_its_tokens_are_past(self) -> None:
        """
        The last token of the old key is good for its whole life and the skew; then
        game servers are sent the keys without it.
        """
        claims = Claims("game.vinom", "m", "p", 0, self.clock.seconds() + 120.0, "t")
        last = self.authority.tokens.sign(claims)
        self.rotate("token")
        self.clock.advance(149.0)
        verifier = TokenVerifier(self.authority.token_keys(), "game.vinom")
        verifier.verify(last, self.clock.seconds())
        self.fleet.is_quick = False
        self.wait(60.0)
        self.assertEqual(len(self.fleet.shared), 1)
        self.assertEqual(self.of("token"), [("active", None)])
        verifier = TokenVerifier(self.authority.token_keys(), "game.vinom")
        error = self.assertRaises(Refused, verifier.verify, last, self.clock.seconds())
        self.assertEqual(error.code, Code.BAD_TOKEN)

    def test_one_rotation_at_a_time(self) -> None:
        """
        Two operators at once get one key each, one after the other; one who hangs up
        stops nothing.
        """
        self.fleet.is_quick = False
        first, second = self.keys.rotate("token"), self.keys.rotate("token")
        first.addErrback(lambda _: None)
        first.cancel()
        self.assertEqual(len(self.fleet.shared), 1)
        self.fleet.shared[0].callback(None)
        self.assertNoResult(second)
        self.fleet.shared[1].callback(None)
        self.successResultOf(second)
        states = [state for state, _ in self.of("token")]
        self.assertEqual(states, ["accepted", "accepted", "active"])

    def test_authority(self) -> None:
        """
        The lobby's next connection has a certificate of the new authority, which
        leads to the old one too until that is dropped.
        """
        old, fingerprint = self.authority.anchor, self.tls.fingerprint
        self.rotate("ca")
        self.assertEqual(self.fleet.renewed, 1)
        self.assertNotEqual(self.tls.fingerprint, fingerprint)
        self.assertIn(old, self.authority.lobby(["localhost"]).certificate)
        self.assertEqual(self.of("ca")[0], ("accepted", ACCEPTED_DAYS * _DAY))
        fingerprint = self.tls.fingerprint
        self.clock.advance(ACCEPTED_DAYS * _DAY)
        self.assertNotEqual(self.tls.fingerprint, fingerprint)
        self.assertEqual([state for state, _ in self.of("ca")], ["active"])

    def test_lobby_certificate_is_renewed(self) -> None:
        """
        A node that runs for a year does not run into its certificate's end.
        """
        ends = self.keys.expiries()["lobby"]
        self.clock.advance(ends - 31 * _DAY - self.clock.seconds())
        self.assertEqual(self.keys.expiries()["lobby"], ends)
        self.clock.advance(2 * _DAY)
        self.assertGreater(self.keys.expiries()["lobby"], ends)

    def test_ages(self) -> None:
        """
        On a new node all keys are new, and they age as the clock goes.
        """
        kinds = {key["kind"]: key["age"] for key in self.keys.known()}
        self.assertEqual(kinds, {"token": 0.0, "ca": 0.0, "lobby": 0.0, "cookie": 1.0})
        self.clock.advance(90.0)
        kinds = {key["kind"]: key["age"] for key in self.keys.known()}
        self.assertEqual(kinds["lobby"], 90.0)

    def test_age_of_a_configured_certificate(self) -> None:
        """
        A certificate from elsewhere is as old as it says.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        made = leaf("localhost")
        (folder / "lobby.pem").write_bytes(made.certificate)
        (folder / "lobby.key").write_bytes(made.key)
        self.build(folder)
        (age,) = (key["age"] for key in self.keys.known() if key["kind"] == "lobby")
        self.assertEqual(age, max(0.0, self.clock.seconds() - self.tls.begins_at))

    def test_cookie_keys(self) -> None:
        """
        Cookie keys are listed with the game server that has them.
        """
        self.assertEqual(self.rotate("cookie"), {"kind": "cookie", "game_servers": 1})
        told = [key for key in self.keys.known() if key["kind"] == "cookie"]
        self.assertEqual([key["id"] for key in told], ["s1/3", "s1/4"])
        self.assertEqual([key["age"] for key in told], [10.0, 1.0])
        self.assertEqual(self.of("cookie"), [("accepted", 290.0), ("active", None)])

    def test_reload(self) -> None:
        """
        New files are used by the next connection; unreadable ones change nothing
        and are one line in the log.
        """
        configured = Path(self.mktemp())
        configured.mkdir()
        issued = test_authority().issue("lobby.game.vinom")
        (configured / "lobby.pem").write_bytes(issued.certificate)
        (configured / "lobby.key").write_bytes(issued.key)
        self.build(configured)
        first = self.tls.fingerprint
        (configured / "lobby.pem").write_bytes(b"half a certif")
        self.logged.clear()
        self.keys.reload()
        self.assertEqual(self.tls.fingerprint, first)
        (line,) = self.logged
        self.assertIn("not reloaded: the lobby's certificate and key", line)
        issued = test_authority().issue("lobby.game.vinom")
        (configured / "lobby.pem").write_bytes(issued.certificate)
        (configured / "lobby.key").write_bytes(issued.key)
        self.keys.reload()
        self.assertNotEqual(self.tls.fingerprint, first)
        self.assertIn(self.tls.fingerprint, self.logged[-1])

    def test_configured_authority(self) -> None:
        """
        A studio's authority is refused to rotate, and reloaded with the rest.
        """
        studios = self.folder / "authority"
        files = {
            "certificate_file": studios / "ca.pem",
            "key_file": studios / "ca.key",
        }
        self.folder = Path(self.mktemp())
        self.build(**files)
        refused = self.failureResultOf(self.keys.rotate("ca"), Refused)
        self.assertIn("SIGHUP", refused.value.message)
        other = Path(self.mktemp())
        Authority.open(other, "game.vinom", self.clock.seconds)
        for name in ("ca.pem", "ca.key"):
            content = (other / "authority" / name).read_bytes()
            (studios / name).write_bytes(content)
        before = self.authority.anchor
        self.keys.reload()
        self.assertEqual(self.fleet.renewed, 1)
        self.assertNotEqual(self.authority.anchor, before)
        self.assertIn(
            self.authority.anchor, self.authority.lobby(["localhost"]).certificate
        )
