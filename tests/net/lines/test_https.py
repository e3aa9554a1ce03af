"""Posting to web servers that the operator named, over real sockets of the loopback."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from tests.support.certificates import authority, new_authority
from vinom.errors import Misconfigured
from vinom.lobby.results.sending import Receiver
from vinom.lobby.results.webhook import Signed
from vinom.net.lines.https import Answer, NotAnswered, WebClient

reactor: Any = global_reactor
MOST = 1000


class Pages(Resource):
    """Answers as its path says."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[tuple[bytes, bytes]] = []
        self.peers: set[int] = set()

    def render_POST(self, request: Any) -> Any:
        self.posted.append((request.path, request.content.read()))
        self.peers.add(request.getClientAddress().port)
        match request.path:
            case b"/moved":
                request.redirect(b"/ok")
                return b""
            case b"/later":
                request.setResponseCode(503)
                request.setHeader(b"retry-after", b"17")
                return b"later"
            case b"/date":
                request.setResponseCode(503)
                request.setHeader(b"retry-after", b"Wed, 21 Oct 2026 07:28:00 GMT")
                return b""
            case b"/endless":
                request.write(b"x" * (MOST + 1))
                return NOT_DONE_YET
            case b"/silent":
                return NOT_DONE_YET
        return b"thank you"


class PostTests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.pages = Pages()
        self.site = Site(self.pages)
        leaf = authority().issue("localhost")
        certificate = PrivateCertificate.loadPEM(leaf.certificate + leaf.key)
        secure = reactor.listenSSL(
            0, self.site, certificate.options(), interface="127.0.0.1"
        )
        plain = reactor.listenTCP(0, self.site, interface="127.0.0.1")
        self.secure, self.plain = secure.getHost().port, plain.getHost().port
        self.addCleanup(secure.stopListening)
        self.addCleanup(plain.stopListening)

    async def _post(self, url: str, anchor: bytes | None = None) -> Answer:
        client = WebClient(
            reactor,
            authority=anchor,
            authority_name="a_file",
            connect_seconds=5.0,
            most_bytes=MOST,
            most_kept=2,
        )
        try:
            return await client.post(url.encode(), {b"X": [b"y"]}, b'{"a":1}')
        finally:
            await client.close()
            # The closed connection is noticed in a later turn of the reactor.
            await deferLater(reactor, 0.05)

    async def test_answers(self) -> None:
        """
        The body arrives whole, and the answer's status and wish to wait come back; a
        redirect is not followed, and an endless answer is cut off.
        """
        for path, answer in (
            ("/ok", Answer(200)),
            ("/moved", Answer(302)),
            ("/later", Answer(503, 17.0)),
            ("/date", Answer(503)),
            ("/endless", Answer(200)),
        ):
            url = f"http://127.0.0.1:{self.plain}{path}"
            self.assertEqual(await self._post(url), answer, path)
            self.assertEqual(self.pages.posted, [(path.encode(), b'{"a":1}')])
            self.pages.posted.clear()

    async def test_verified(self) -> None:
        """
        Nothing is sent to a server of another authority or another name.
        """
        url = f"https://localhost:{self.secure}/ok"
        self.assertEqual(await self._post(url, authority().anchor), Answer(200))
        self.pages.posted.clear()
        for wrong, anchor in (
            (url, new_authority().anchor),
            (url, None),
            (f"https://127.0.0.1:{self.secure}/ok", authority().anchor),
        ):
            await self.assertFailure(
                ensureDeferred(self._post(wrong, anchor)), NotAnswered
            )
        self.assertEqual(self.pages.posted, [])

    async def test_nobody_there(self) -> None:
        """
        A port that nobody listens at is a failure with a reason.
        """
        error = await self.assertFailure(
            ensureDeferred(self._post("http://127.0.0.1:1/")), NotAnswered
        )
        self.assertIn("refused", str(error))

    async def test_receiver(self) -> None:
        """
        Requests share a connection, and one that is not answered ends in time.
        """
        receiver = Receiver(reactor, f"http://127.0.0.1:{self.plain}/ok")
        for _ in range(3):
            answer = await receiver(Signed({}, b"{}"))
            self.assertEqual(answer.status, 200)
        self.assertEqual(len(self.pages.peers), 1)
        await receiver.close()
        url = f"http://127.0.0.1:{self.plain}/silent"
        receiver = Receiver(reactor, url, seconds=0.3)
        error = await self.assertFailure(receiver(Signed({}, b"{}")), NotAnswered)
        self.assertIn("within 0.3 s", str(error))
        await receiver.close()
        await deferLater(reactor, 0.05)

    def test_authority(self) -> None:
        """
        A file that is no certificate is named at the start.
        """
        error = self.assertRaises(
            Misconfigured, Receiver, reactor, "https://a.example/", b"junk"
        )
        self.assertIn("results_authority_file", str(error))
