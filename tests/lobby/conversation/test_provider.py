"""Keys of an identity provider, read again and fetched again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import json
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from tests.lobby.conversation.test_identity import CLAIMS, NOW, pem
from tests.support.certificates import TestAuthority, authority, new_authority
from tests.support.lobbies import LobbyWorld
from vinom.errors import Code, Misconfigured, Refused
from vinom.lobby.conversation.identity import OutsideTokenChecker, OutsideVerifier
from vinom.lobby.conversation.provider import (
    AT_MOST_EVERY,
    DEADLINE,
    EVERY,
    MOST_BYTES,
    HttpsDocument,
    NotFetched,
    ProviderKeys,
)
from vinom.node.settings import Settings
from vinom.tools.doctor.outside import examine_provider

reactor: Any = global_reactor

# Not random: PyJWT 2.9 writes coordinates that begin with 0 too short.
NUMBER = {"one": 3, "two": 5}
KEYS = {kid: ec.derive_private_key(n, ec.SECP256R1()) for kid, n in NUMBER.items()}


def key_set(*kids: str, **more: Any) -> bytes:
    """Write the public keys as a provider publishes them."""
    algorithm = jwt.get_algorithm_by_name("ES256")
    keys = [
        json.decode(algorithm.to_jwk(KEYS[kid].public_key())) | {"kid": kid, **more}
        for kid in kids
    ]
    return json.encode({"keys": keys})


def signed(kid: str, **claims: Any) -> str:
    return jwt.encode(CLAIMS | claims, KEYS[kid], "ES256", {"kid": kid})


class Provider:
    """A provider in memory; answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Deferred[bytes]] = []

    def __call__(self) -> Deferred[bytes]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def answer(self, document: bytes) -> None:
        self.asked[-1].callback(document)

    def fail(self) -> None:
        self.asked[-1].errback(NotFetched("it is away"))


class ProviderKeysTests(SynchronousTestCase):
    """When keys are fetched, and what happens meanwhile."""

    def setUp(self) -> None:
        self.clock, self.provider = Clock(), Provider()
        self.clock.advance(NOW)
        self.verifier = OutsideVerifier(b"", "https://id.example", "vinom")
        self.keys = ProviderKeys(self.verifier, self.clock, fetch=self.provider)
        self.keys.startService()
        self.addCleanup(self.keys.stopService)

    def verify(self, token: str) -> Deferred[str]:
        return Deferred.fromCoroutine(self.keys.verify(token, NOW))

    def test_fetched_at_the_start(self) -> None:
        """
        A player who comes before the keys waits for them, and is let in.
        """
        waiting = self.verify(signed("one"))
        self.assertNoResult(waiting)
        self.provider.answer(key_set("one"))
        self.assertEqual(self.successResultOf(waiting), b"ann@x")
        self.assertEqual(len(self.provider.asked), 1)

    def test_unknown_key(self) -> None:
        """
        A token of a new key has the keys fetched again, for all who come meanwhile.
        """
        self.provider.answer(key_set("one"))
        self.clock.advance(AT_MOST_EVERY)
        waiting = [self.verify(signed("two")) for _ in range(3)]
        self.assertEqual(len(self.provider.asked), 2)
        self.assertEqual(self.successResultOf(self.verify(signed("one"))), b"ann@x")
        self.provider.answer(key_set("one", "two"))
        for one in waiting:
            self.assertEqual(self.successResultOf(one), b"ann@x")

    def test_unknown_keys_at_a_bounded_rate(self) -> None:
        """
        Made-up keys cost the provider one request per minute; nobody waits for them.
        """
        self.provider.answer(key_set("one"))
        made_up = jwt.encode(CLAIMS, KEYS["two"], "ES256", {"kid": "made up"})
        for _ in range(600):
            refused = self.verify(made_up)
            if len(self.provider.asked) > 1 and not self.provider.asked[-1].called:
                self.provider.answer(key_set("one"))
            failed = self.failureResultOf(refused, Refused)
            self.assertEqual(failed.value.code, Code.UNAUTHORIZED)
            self.clock.advance(1.0)
        self.assertEqual(len(self.provider.asked), 10)

    def test_provider_away(self) -> None:
        """
        Known keys stay in use while the provider is away, or sends something else.
        """
        self.provider.answer(key_set("one"))
        for document in (None, b"", b"<html>", b'{"keys":[]}', b'{"keys":3}', b"[]"):
            self.clock.advance(EVERY)
            if document is None:
                self.provider.fail()
            else:
                self.provider.answer(document)
            self.assertEqual(self.successResultOf(self.verify(signed("one"))), b"ann@x")
        self.assertEqual(len(self.provider.asked), 7)

    def test_never_answered(self) -> None:
        """
        Until the provider has answered once, tokens are "unavailable", not wrong.
        """
        waiting = self.verify(signed("one"))
        self.clock.advance(DEADLINE)
        failed = self.failureResultOf(waiting, Refused)
        self.assertEqual(failed.value.code, Code.UNAVAILABLE)
        self.clock.advance(AT_MOST_EVERY)
        self.assertEqual(len(self.provider.asked), 2)
        self.provider.answer(key_set("one"))
        self.assertEqual(self.successResultOf(self.verify(signed("one"))), b"ann@x")

    def test_removed_key(self) -> None:
        """
        A key that the provider withdraws is no longer accepted, an hour later at most.
        """
        self.provider.answer(key_set("one", "two"))
        self.assertEqual(self.successResultOf(self.verify(signed("one"))), b"ann@x")
        self.clock.advance(EVERY)
        self.provider.answer(key_set("two"))
        failed = self.failureResultOf(self.verify(signed("one")), Refused)
        self.assertEqual(failed.value.code, Code.UNAUTHORIZED)

    def test_reload(self) -> None:
        """
        SIGHUP has the keys fetched now; another one meanwhile changes nothing.
        """
        self.provider.answer(key_set("one"))
        self.keys.reload()
        self.keys.reload()
        self.assertEqual(len(self.provider.asked), 2)
        self.provider.answer(key_set("two"))
        self.assertEqual(self.successResultOf(self.verify(signed("two"))), b"ann@x")

    def test_keys_that_encrypt(self) -> None:
        """
        A key that the provider publishes to encrypt with signs nothing.
        """
        self.provider.answer(key_set("one"))
        self.keys.reload()
        self.provider.answer(key_set("two", use="enc"))
        self.assertEqual(self.successResultOf(self.verify(signed("one"))), b"ann@x")

    def test_unavailable_is_no_failed_hello(self) -> None:
        """
        Players whose tokens cannot be checked yet are not locked out for it.
        """
        checker = OutsideTokenChecker(self.keys.verify, lambda: NOW)
        world = LobbyWorld(checkers=[checker], guests="no")
        self.provider.fail()
        for _ in range(60):
            line = world.line("192.0.2.1")
            said = line.ask("hello", protocol=1, credentials={"token": signed("one")})
            self.assertEqual(said[0]["error"]["code"], "unavailable")
        self.clock.advance(AT_MOST_EVERY)
        self.provider.answer(key_set("one"))
        line = world.line("192.0.2.1")
        said = line.ask("hello", protocol=1, credentials={"token": signed("one")})
        self.assertEqual(said[0]["type"], "welcome")


class FileTests(SynchronousTestCase):
    def test_reload(self) -> None:
        """
        SIGHUP replaces the keys of a file; a broken or missing file replaces nothing.
        """
        held: list[bytes | Exception] = [pem(KEYS["one"])]

        def read() -> bytes:
            if isinstance(held[0], Exception):
                raise held[0]
            return held[0]

        verifier = OutsideVerifier(read(), "https://id.example", "vinom")
        keys = ProviderKeys(verifier, Clock(), read=read)
        checked = Deferred.fromCoroutine(keys.verify(signed("two"), NOW))
        self.failureResultOf(checked, Refused)
        held[0] = key_set("two")
        keys.reload()
        for broken in (b"junk", Misconfigured("cannot read it"), key_set("two")):
            held[0] = broken
            keys.reload()
            checked = Deferred.fromCoroutine(keys.verify(signed("two"), NOW))
            self.assertEqual(self.successResultOf(checked), b"ann@x")
        checked = Deferred.fromCoroutine(keys.verify(signed("one"), NOW))
        self.failureResultOf(checked, Refused)


class Pages(Resource):
    """What a provider's web server answers."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.ended: Deferred[Any] = Deferred()

    def render_GET(self, request: Any) -> Any:
        match request.path:
            case b"/jwks":
                return key_set("one")
            case b"/long":
                return b" " * MOST_BYTES + key_set("one")
            case b"/silent":
                request.write(b"{")
                request.notifyFinish().addBoth(lambda _: self.ended.callback(None))
                return NOT_DONE_YET
            case b"/moved":
                request.redirect(b"/jwks")
                return b""
        request.setResponseCode(404)
        return b""


class HttpsTests(TestCase):
    """A real web server with a certificate of a test authority, on loopback."""

    timeout = 30

    def setUp(self) -> None:
        leaf = authority().issue("localhost")
        certificate = PrivateCertificate.loadPEM(leaf.certificate + leaf.key)
        self.pages = Pages()
        self.site = Site(self.pages)
        port = reactor.listenSSL(
            0, self.site, certificate.options(), interface="127.0.0.1"
        )
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port

    def document(self, path: str = "jwks", **parts: Any) -> HttpsDocument:
        anchor = parts.get("anchor", authority().anchor)
        host = parts.get("host", "localhost")
        url = f"https://{host}:{self.port}/{path}"
        return HttpsDocument(reactor, url, anchor)

    async def test_fetched(self) -> None:
        """
        The document comes whole from a server that the authority vouches for.
        """
        self.assertEqual(await self.document()(), key_set("one"))

    async def test_refused(self) -> None:
        """
        A server of another authority or name, and an answer that is none, give no keys.
        """
        for path, parts, why in (
            ("jwks", {"anchor": other_authority().anchor}, "certificate verify failed"),
            ("jwks", {"anchor": None}, "certificate verify failed"),
            ("jwks", {"host": "127.0.0.1"}, ""),
            ("nothing", {}, "it answers 404, not 200"),
            ("moved", {}, "it answers 302, not 200"),
            ("long", {}, f"above {MOST_BYTES} bytes"),
        ):
            with self.subTest(path=path, **parts):
                error = await self.assertFailure(
                    self.document(path, **parts)(), NotFetched
                )
                self.assertIn(why, str(error))

    async def test_never_whole(self) -> None:
        """
        An answer that never ends is given up, and its connection with it.
        """
        fetched = self.document("silent")()
        fetched.addTimeout(0.5, reactor, _late)
        await self.assertFailure(fetched, NotFetched)
        await self.pages.ended
        await deferLater(reactor, 0.05)

    async def test_doctor(self) -> None:
        """
        vinom doctor fetches the keys as the node does, and says what is wrong.
        """
        anchor = Path(self.mktemp())
        anchor.write_bytes(authority().anchor)
        for path, trusts, verdict, words in (
            ("jwks", True, "ok", "has 1"),
            ("jwks", False, "failure", "certificate verify failed"),
            ("nothing", True, "failure", "404"),
            ("long", True, "failure", f"above {MOST_BYTES} bytes"),
        ):
            settings = Settings(
                identity_issuer="i",
                identity_audience="a",
                identity_keys_url=f"https://localhost:{self.port}/{path}",
                identity_authority_file=anchor if trusts else None,
            )
            (finding,) = await deferToThread(examine_provider, settings)
            self.assertEqual(finding.verdict, verdict, finding)
            self.assertIn(words, finding.message)

    def test_authority(self) -> None:
        """
        A file that is no certificate is named at the start.
        """
        for anchor in (b"", b"junk", pem(KEYS["one"])):
            error = self.assertRaises(Misconfigured, self.document, anchor=anchor)
            self.assertIn("identity_authority_file", str(error))


def _late(result: object, seconds: float) -> bytes:
    raise NotFetched("late")


def other_authority() -> TestAuthority:
    return new_authority()
