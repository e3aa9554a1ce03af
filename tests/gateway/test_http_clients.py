"""Clients of HTTP and WebSocket, in memory: what reaches back ends, and comes back."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from msgspec import json
from twisted.trial.unittest import SynchronousTestCase
from websockets.frames import Close, Frame, Opcode

from tests.net.streams.test_byte_stream import MUCH, SocketCase
from tests.support.gateways import (
    MemoryGateway,
    MemoryTransport,
    every_size,
    limits,
    settings,
)
from vinom.base.limits.addresses import AddressBuckets
from vinom.gateway.arrivals import Arrival
from vinom.gateway.http_clients import HttpAcceptor, HttpClient
from vinom.gateway.routing.rules import check_rules
from vinom.net.http.head import HEAD_LIMIT
from vinom.net.lines.forwarded import Proxies
from vinom.net.streams.channels import Reason

SITE = {
    "strategy": "round_robin",
    "endpoints": ["a:1", "b:1"],
    "match": {"path": "/"},
}
GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;ext=1\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
SHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
SHAKEN = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def fields_of(data: bytes) -> dict[str, list[str]]:
    """Read the headers of what is one head, or begins with one."""
    lines = data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    found: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        found.setdefault(name, []).append(value)
    return found


class HttpCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = MemoryGateway({"site": SITE})
        self.acceptor = HttpAcceptor(
            self.gateway.backends,
            self.gateway.clock,
            settings(http_body_bytes=100),
        )
        self.limits = limits(9, 9, 99)

    def connect(self, host: str = "192.0.2.1") -> MemoryTransport:
        """Make a connection, which nothing came from yet."""
        self.limits.connections.enter(host)
        return MemoryTransport(self.acceptor(Arrival(host, 5, self.limits)), host)

    def admitted(self) -> MemoryTransport:
        """Make a connection that the limits admit."""
        self.assertTrue(self.limits.admit("192.0.2.1", 0.0))
        return MemoryTransport(self.acceptor(Arrival("192.0.2.1", 5, self.limits)))

    def client(self, request: bytes, size: int = 0) -> MemoryTransport:
        """Make a connection that sends this."""
        transport = self.connect()
        transport.give(request, size)
        return transport

    @property
    def server(self) -> Any:
        """The back end's end of the newest session."""
        return self.gateway.servers.last

    def asked(self) -> bytes:
        """Take what the newest back end was sent."""
        sent, self.server.got = self.server.got, b""
        return bytes(sent)

    def answer(self, data: bytes, size: int = 0) -> None:
        """Have the newest back end send this."""
        for start in range(0, len(data), size or len(data)):
            self.server.leg.received(data[start : start + (size or len(data))])
        # The next request that is there already is served in another turn.
        self.gateway.clock.advance(0)

    def assert_clean(self) -> None:
        """Nothing is left of any connection: no session, no deadline, no place."""
        self.assertEqual(self.gateway.backends.open, {})
        self.assertEqual(len(self.acceptor.clients), 0)
        for name in ("heads", "bodies", "pending", "stalls", "idle"):
            self.assertEqual(len(getattr(self.acceptor, name)), 0, name)
        self.assertEqual(len(self.limits.connections), 0)
        self.gateway.clock.advance(100)
        self.assertEqual(self.gateway.clock.getDelayedCalls(), [])


class RequestTests(HttpCase):
    def test_there_and_back(self) -> None:
        """
        Requests reach the back end, and its answers the client, however either is cut.
        """
        for request, body in (
            (GET, b""),
            (POST, b"hello"),
            (CHUNKED, b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
        ):
            for size in every_size(request):
                client = self.client(request, size)
                asked = self.asked()
                head, _, rest = asked.partition(b"\r\n\r\n")
                self.assertEqual(head.split(b"\r\n")[0], request.split(b"\r\n")[0])
                if request is CHUNKED:
                    # The extension and the trailer stay here; chunks may be cut.
                    self.assertNotIn(b"ext", rest)
                    self.assertNotIn(b"Trailer", rest)
                    rest = unchunked(rest)
                    self.assertEqual(rest, unchunked(body))
                else:
                    self.assertEqual(rest, body)
                self.answer(OK, size)
                got = client.take()
                self.assertTrue(got.startswith(b"HTTP/1.1 200 OK\r\n"), got)
                self.assertTrue(got.endswith(b"\r\n\r\nhi"), got)
                self.assertFalse(client.is_closed or client.is_half_closed)
                client.lose(is_clean=True)
        self.assertEqual(set(self.gateway.outcomes()), {"done"})
        self.assert_clean()

    def test_many_requests(self) -> None:
        """
        A connection's requests go over one connection to the back end, also those that
        come before the answer; each has its answer, in order.
        """
        for requests in ([GET + POST + CHUNKED], [GET, POST, CHUNKED]):
            client = self.connect()
            for one in requests:
                client.give(one)
            for number, method in enumerate((b"GET", b"POST", b"POST")):
                self.assertTrue(self.asked().startswith(method), number)
                self.assertEqual(self.server.got, b"")
                self.answer(OK.replace(b"hi", b"%02d" % number))
            self.assertEqual(
                [part[-2:] for part in client.take().split(b"HTTP/1.1 ")[1:]],
                [b"00", b"01", b"02"],
            )
            client.lose(is_clean=True)
        self.assertEqual(len(self.gateway.servers.opened), 2)
        self.assertEqual(self.acceptor.answers, {200: 6})
        self.assert_clean()

    def test_answers_without_a_body(self) -> None:
        """
        Answers to HEAD, and 204 and 304, end with their heads; the next request is
        served.
        """
        client = self.connect()
        for request, answer, length in (
            (GET.replace(b"GET", b"HEAD"), b"200 OK\r\nContent-Length: 2", ["2"]),
            (GET, b"204 No Content", None),
            (GET, b"304 Not Modified\r\nContent-Length: 7", ["7"]),
        ):
            client.give(request)
            self.answer(b"HTTP/1.1 %b\r\n\r\n" % answer)
            got = client.take()
            self.assertTrue(got.endswith(b"\r\n\r\n"))
            self.assertEqual(fields_of(got).get("Content-Length"), length)
            self.assertNotIn("Transfer-Encoding", fields_of(got))
        client.give(GET)
        self.answer(OK)
        self.assertTrue(client.take().endswith(b"hi"))
        self.assertEqual(len(self.gateway.servers.opened), 1)

    def test_answers_of_unknown_length(self) -> None:
        """
        A chunked answer stays one, but for HTTP/1.0; one that ends with its connection
        becomes chunked, so that the client notices if it is cut short.
        """
        chunked = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nhi\r\n0\r\nX: y\r\n\r\n"
        )
        for size in every_size(chunked):
            client = self.client(GET)
            self.answer(chunked, size)
            got = client.take()
            self.assertEqual(fields_of(got)["Transfer-Encoding"], ["chunked"])
            self.assertEqual(unchunked(got.partition(b"\r\n\r\n")[2]), b"hi")
            self.assertFalse(client.is_half_closed)
        client = self.client(GET.replace(b"1.1", b"1.0"))
        self.answer(chunked)
        got = client.take()
        self.assertNotIn("Transfer-Encoding", fields_of(got))
        self.assertTrue(got.endswith(b"\r\n\r\nhi"))
        self.assertTrue(client.is_half_closed)
        for reason in (Reason.DONE, Reason.BACKEND_LOST):
            client = self.client(GET)
            self.answer(b"HTTP/1.1 200 OK\r\n\r\nhi")
            self.server.leg.lost(reason)
            got = client.take()
            is_whole = unchunked(got.partition(b"\r\n\r\n")[2], False) == b"hi"
            self.assertTrue(is_whole)
            self.assertEqual(got.endswith(b"0\r\n\r\n"), reason is Reason.DONE)
            self.assertEqual(client.is_aborted, reason is not Reason.DONE)

    def test_interim_answers(self) -> None:
        """
        A client that waits for 100 gets it from the back end, before it sends its body.
        """
        head, _, body = POST.partition(b"\r\n\r\n")
        client = self.client(head + b"\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual(fields_of(self.asked())["Expect"], ["100-continue"])
        self.answer(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertTrue(client.take().startswith(b"HTTP/1.1 100 Continue\r\n"))
        client.give(body)
        self.assertEqual(self.asked(), b"hello")
        self.answer(OK)
        self.assertTrue(client.take().startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertEqual(self.acceptor.answers, {200: 1})

    def test_half_an_answer(self) -> None:
        """
        A kept connection that breaks within the head of its answer is no reason to ask
        again: half of one answer never becomes part of another one.
        """
        client = self.client(GET)
        self.answer(OK)
        client.take()
        client.give(GET)
        self.answer(b"HTTP/1.1 200 OK\r\nX-Of: ")
        self.server.leg.lost(Reason.DONE)
        self.assertEqual(len(self.gateway.servers.opened), 1)
        self.assertTrue(client.take().startswith(b"HTTP/1.1 502 "))

    def test_early_answer(self) -> None:
        """
        An answer before the end of its request closes the connection: what is still
        sent is not taken for another request.
        """
        client = self.client(POST[:-3])
        self.answer(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(fields_of(client.take())["Connection"], ["close"])
        self.assertTrue(client.is_half_closed)
        client.give(b"llo" + GET)
        self.assertEqual(len(self.gateway.servers.opened), 1)
        client.lose(is_clean=True)
        self.assert_clean()

    def test_closing(self) -> None:
        """
        A client that asks for it is closed after its answer, with all of it sent.
        """
        for request in (
            GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
            GET.replace(b"1.1", b"1.0"),
        ):
            client = self.client(request + GET)
            self.assertEqual(fields_of(self.asked()).get("Connection"), None)
            self.answer(OK)
            got = client.take()
            self.assertTrue(got.endswith(b"hi"))
            self.assertEqual(fields_of(got)["Connection"], ["close"])
            self.assertTrue(client.is_half_closed)
            client.lose(is_clean=True)
        self.assertEqual(len(self.gateway.servers.opened), 2)
        self.assert_clean()


class HeaderTests(HttpCase):
    def test_what_back_ends_see(self) -> None:
        """
        A back end learns from whom, by which name and over what a request came; what a
        client says of it is left out, however it writes the names.
        """
        forged = (
            b"GET / HTTP/1.1\r\nHost: Game.example:80\r\nCookie: a=b\r\n"
            b"X-Forwarded-For: 127.0.0.1\r\nx-forwarded-proto: https\r\n"
            b"X_Forwarded_For: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\n"
            b"X-Real-IP: 127.0.0.1\r\nX-Forwarded-Host: evil\r\nVia: 1.0 older\r\n"
            b"X-Original-URL: /admin\r\nContent_Length: 7\r\n"
            b"True-Client-IP: 127.0.0.1\r\ncf-connecting-ip: 127.0.0.1\r\n"
            b"Fastly-Client-IP: 127.0.0.1\r\nX-Client-IP: 127.0.0.1\r\n"
            b"Connection: close, X-Own, X-Forwarded-For, Cookie, Host\r\nX-Own: 1\r\n"
            b"TE: trailers\r\nProxy-Authorization: x\r\nKeep-Alive: 5\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: x\r\n"
            b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
            b"\r\n"
        )
        self.client(forged)
        self.assertEqual(
            fields_of(self.asked()),
            {
                "Host": ["Game.example:80"],
                "Cookie": ["a=b"],
                "traceparent": [
                    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
                ],
                "X-Forwarded-For": ["192.0.2.1"],
                "X-Forwarded-Proto": ["http"],
                "X-Forwarded-Host": ["Game.example:80"],
                "Via": ["1.0 older, 1.1 vinom-gateway"],
            },
        )
        session = self.gateway.servers.opened[0][1]
        self.assertEqual(session.request.called, "game.example")
        self.assertEqual(session.request.traceparent[3:11], "0af76519")

    def test_trusted_proxies(self) -> None:
        """
        A trusted proxy names the client, for logs and back ends; one in between that
        is not trusted ends the list of those who are believed.
        """
        self.acceptor.proxies = Proxies((ip_network("192.0.2.1"),))
        request = GET.replace(
            b"\r\n\r\n",
            b"\r\nX-Forwarded-For: 127.0.0.1, 203.0.113.9\r\n"
            b"X-Forwarded-Proto: https\r\n\r\n",
        )
        self.client(request)
        found = fields_of(self.asked())
        self.assertEqual(
            found["X-Forwarded-For"], ["127.0.0.1, 203.0.113.9, 192.0.2.1"]
        )
        self.assertEqual(found["X-Forwarded-Proto"], ["https"])
        session = self.gateway.servers.opened[0][1]
        self.assertEqual(session.request.host, "203.0.113.9")

    def test_connections_of_proxies(self) -> None:
        """
        A trusted proxy may have more connections than one address: each counts for the
        client whose request comes over it, and for nobody before that.
        """
        self.limits = limits(2, 9, 99, "192.0.2.1")
        self.acceptor.proxies = self.limits.proxies

        def ask(client: MemoryTransport, host: str) -> bytes:
            named = b"\r\nX-Forwarded-For: " + host.encode() + b"\r\n\r\n"
            client.give(GET.replace(b"\r\n\r\n", named))
            for _, session, server in self.gateway.servers.opened:
                if server.got:
                    server.got = b""
                    session.backend.received(OK)
            return client.take()[:12]

        clients = [self.admitted() for _ in range(6)]
        counts = self.limits.connections
        self.assertEqual((counts.total, counts.count("192.0.2.1")), (6, 0))
        for client in clients[:2]:
            self.assertEqual(ask(client, "203.0.113.9"), b"HTTP/1.1 200")
        self.assertEqual(ask(clients[2], "203.0.113.9"), b"HTTP/1.1 503")
        self.assertEqual(ask(clients[3], "203.0.113.10"), b"HTTP/1.1 200")
        # One that goes over to another client makes room for the first.
        self.assertEqual(ask(clients[0], "203.0.113.11"), b"HTTP/1.1 200")
        self.assertEqual(ask(clients[4], "203.0.113.9"), b"HTTP/1.1 200")
        self.assertEqual(counts.count("203.0.113.9"), 2)
        for client in clients:
            client.lose()
        self.assertEqual((counts.total, len(counts)), (0, 0))
        self.assertEqual(
            [self.limits.admit("192.0.2.1", 0.0) for _ in range(10)][-2:], [True, False]
        )

    def test_nobody_is_named(self) -> None:
        """
        Whoever has a proxy's headers name nobody, or somebody else in each, counts like
        one address, all of them together, and is not without limits.
        """
        for headers in (
            b"X-Forwarded-For: 203.0.113.5\r\nForwarded: for=x",
            b"X-Forwarded-For: 203.0.113.5\r\nForwarded: for=203.0.113.6",
            b"X-Forwarded-For: x",
            b"X-Forwarded-For: x, 192.0.2.1",
            b"Forwarded: for",
        ):
            self.limits = limits(2, 9, 99, "192.0.2.1")
            self.acceptor.proxies = self.limits.proxies
            request = GET.replace(b"\r\n\r\n", b"\r\n" + headers + b"\r\n\r\n")
            clients = [self.admitted() for _ in range(4)]
            for client in clients:
                client.give(request)
            answers = [client.take()[:12] for client in clients]
            self.assertEqual(answers, [b""] * 2 + [b"HTTP/1.1 503"] * 2)
            session = self.gateway.servers.opened[-1][1]
            self.assertEqual(session.request.host, "192.0.2.1%unclear")
            for client in clients:
                client.lose()
            self.assertEqual(self.limits.connections.total, 0)

    def test_sessions_of_one_connection(self) -> None:
        """
        Requests that need another connection to a back end count like new connections
        of their address, also on a connection that stays: one too many is refused, and
        no back end gets it.
        """
        self.limits.rate = AddressBuckets(1, 3)
        client = self.client(GET)
        for _ in range(9):
            self.answer(OK.replace(b"OK", b"OK\r\nConnection: close"))
            client.give(GET)
        self.assertEqual(len(self.gateway.servers.opened), 4)
        answers = client.take()
        self.assertEqual(answers.count(b"HTTP/1.1 200"), 4)
        self.assertIn(b"HTTP/1.1 503", answers)
        self.assertEqual(self.limits.refused["session_too_fast"], 1)
        self.gateway.clock.advance(1)
        self.client(GET)
        self.assertEqual(len(self.gateway.servers.opened), 5)

    def test_what_clients_see(self) -> None:
        """
        Headers of the back end's connection stay there; all others arrive as they are.
        """
        client = self.client(GET)
        self.answer(
            b"HTTP/1.1 200 Fine\r\nConnection: keep-alive, X-Own\r\nX-Own: 1\r\n"
            b"Keep-Alive: timeout=5\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
            b"eTag: x\r\nContent-Length: 2\r\n\r\nhi"
        )
        got = client.take()
        self.assertTrue(got.startswith(b"HTTP/1.1 200 Fine\r\n"))
        self.assertEqual(
            fields_of(got),
            {
                "Set-Cookie": ["a=1", "b=2"],
                "eTag": ["x"],
                "Content-Length": ["2"],
                "Via": ["1.1 vinom-gateway"],
            },
        )

    def test_users(self) -> None:
        """
        The user by whom rules hash is what the token proves, and nothing that a client
        only claims; another user on one connection gets a session of their own.
        """
        asked: list[Any] = []

        def user_of(authorizations: Any, cookies: Any) -> str | None:
            asked.append((authorizations, cookies))
            return b"".join((*authorizations, *cookies)).decode()[-3:] or None

        self.acceptor.user_of = user_of
        client = self.client(GET)
        for line in (
            "Authorization: Bearer ann",
            "Authorization: Bearer ann",
            "Authorization: Bearer bob",
            "Cookie: t=bob",
            "Cookie: t=eve",
        ):
            self.answer(OK)
            client.give(GET.replace(b"\r\n\r\n", f"\r\n{line}\r\n\r\n".encode()))
        users = [one.request.user for _, one, _ in self.gateway.servers.opened]
        self.assertEqual(users, [None, "ann", "bob", "eve"])
        self.assertEqual(len(asked), 5)
        self.assertEqual(asked[-1], ([], [b"t=eve"]))

    def test_user_is_verified_again(self) -> None:
        """
        A token whose key was removed names nobody soon after, on open connections too.
        """
        self.acceptor.user_of = lambda *given: "ann"
        client, line = self.client(GET), b"\r\nAuthorization: Bearer ann\r\n\r\n"
        for wait in (0.0, 0.0, 10.0):
            self.answer(OK)
            self.gateway.clock.advance(wait)
            client.give(GET.replace(b"\r\n\r\n", line))
            self.acceptor.user_of = lambda *given: None
        users = [one.request.user for _, one, _ in self.gateway.servers.opened]
        self.assertEqual(users, ["ann", None])

    def test_clients_of_a_proxy(self) -> None:
        """
        Requests of several clients over one connection of a proxy never share a
        session: back ends, and the access log, know each session's own client.
        """
        self.acceptor.proxies = Proxies((ip_network("192.0.2.1"),))
        client = self.connect()
        for host in (b"198.51.100.1", b"198.51.100.1", b"198.51.100.2"):
            line = b"\r\nX-Forwarded-For: " + host + b"\r\n\r\n"
            client.give(GET.replace(b"\r\n\r\n", line))
            self.answer(OK)
        hosts = [one.request.host for _, one, _ in self.gateway.servers.opened]
        self.assertEqual(hosts, ["198.51.100.1", "198.51.100.2"])


class RefusalTests(HttpCase):
    def refused(self, client: MemoryTransport, status: int) -> dict[str, list[str]]:
        """Check that the client was sent this status, by us."""
        got = client.take()
        self.assertTrue(got.startswith(b"HTTP/1.1 %d " % status), got)
        fields, body = fields_of(got), got.partition(b"\r\n\r\n")[2]
        self.assertEqual(fields["Content-Length"], [str(len(body))])
        self.assertTrue(json.decode(body)["error"]["message"])
        return fields

    def test_bad_requests(self) -> None:
        """
        What cannot be read for certain is refused, and nothing behind it is read.
        """
        twice = POST.replace(b"Content", b"Content-Length: 5\r\nContent", 1)
        for request, status in (
            (twice + GET, 400),
            (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * HEAD_LIMIT, 431),
            (POST.replace(b": 5", b": 101"), 413),
            (CHUNKED.replace(b"3;ext=1\r\nhel", b"65\r\n" + b"x" * 101), 413),
            (CHUNKED.replace(b"3;ext=1\r\nhel", b"xyz\r\nhel"), 400),
            (CHUNKED.replace(b"hel\r\n2", b"hel2\r\n2"), 400),
        ):
            for size in (1, 7, 0):
                client = self.client(request, size)
                fields = self.refused(client, status)
                self.assertEqual(fields["Connection"], ["close"])
                self.assertTrue(client.is_half_closed)
                client.lose(is_clean=True)
        for _, _, stream in self.gateway.servers.opened:
            # Of bodies that were begun: never more than what was good.
            self.assertNotIn(b"GET /x", stream.got)
            self.assertNotIn(b"0\r\n\r\n", stream.got)
            self.assertIsNotNone(stream.closed)
        self.assert_clean()

    def test_no_back_end(self) -> None:
        """
        Without a back end a client is sent 503 and when to come back, and without a
        rule 404; its connection serves the next request.
        """
        self.gateway.servers.broken = {"a:1", "b:1"}
        client = self.connect()
        for request in (GET, SHAKE):
            client.give(request)
            self.gateway.clock.advance(0)
            fields = self.refused(client, 503)
            self.assertEqual(fields["Retry-After"], ["1"])
            self.assertNotIn("Connection", fields)
        self.gateway.router.use(check_rules({}))
        client.give(SHAKE)
        self.gateway.clock.advance(0)
        self.refused(client, 404)
        self.assertFalse(client.is_half_closed)
        self.gateway.servers.broken.clear()
        self.gateway.router.use(check_rules({"site": SITE}))
        client.give(GET)
        self.answer(OK)
        self.assertTrue(client.take().endswith(b"hi"))

    def test_no_answer(self) -> None:
        """
        A back end that closes, or sends no HTTP, is 502 to the client; one that is
        silent is 504. None of it is sent to another back end: the first one had it.
        """
        for reason in (Reason.DONE, Reason.BACKEND_LOST):
            client = self.client(GET)
            self.server.leg.lost(reason)
            self.refused(client, 502)
        client = self.client(GET)
        self.answer(b"SSH-2.0-OpenSSH\r\n\r\n")
        self.refused(client, 502)
        client = self.client(GET)
        self.gateway.clock.advance(59)
        self.assertEqual(client.take(), b"")
        self.gateway.clock.advance(1)
        self.refused(client, 504)
        self.assertEqual(len(self.gateway.servers.opened), 4)

    def test_kept_connection_broke(self) -> None:
        """
        A back end may close a kept connection at any time: a request that changes
        nothing is sent again, one that may have changed something is not.
        """
        client = self.client(GET)
        self.answer(OK)
        client.take()
        client.give(GET)
        self.server.leg.lost(Reason.DONE)
        self.assertTrue(self.asked().startswith(b"GET /x"))
        self.answer(OK)
        self.assertTrue(client.take().endswith(b"hi"))
        client.give(POST)
        self.server.leg.lost(Reason.DONE)
        self.refused(client, 502)
        self.assertEqual(len(self.gateway.servers.opened), 2)
        client.give(GET)
        self.answer(OK)
        self.assertTrue(client.take().endswith(b"hi"))

    def test_cut_short(self) -> None:
        """
        An answer that breaks off breaks the client's connection: half of it never
        looks whole.
        """
        for reason in (Reason.DONE, Reason.BACKEND_LOST):
            client = self.client(GET)
            self.answer(OK[:-1])
            self.server.leg.lost(reason)
            self.assertTrue(client.is_aborted)
        self.assert_clean()

    def test_unasked_answers(self) -> None:
        """
        What a back end sends that nobody asked for is no answer to the next request.
        """
        client = self.client(GET)
        self.answer(OK + OK.replace(b"hi", b"##"))
        self.assertTrue(client.take().endswith(b"hi"))
        client.give(GET)
        self.assertEqual(len(self.gateway.servers.opened), 2)
        self.answer(OK)
        self.answer(OK.replace(b"hi", b"##"))
        client.give(GET)
        self.assertEqual(len(self.gateway.servers.opened), 3)
        self.assertNotIn(b"##", client.take())

    def test_deadlines(self) -> None:
        """
        A request that comes slowly, or stops coming, and a connection that waits for
        too long are closed; each byte of a head gives no more time.
        """
        slow, stuck, idle = self.connect(), self.client(POST[:-1]), self.client(GET)
        self.answer(OK)
        idle.take()
        for second in range(10):
            slow.give(GET[second : second + 1])
            self.assertEqual(slow.take(), b"")
            self.gateway.clock.advance(1)
        self.refused(slow, 408)
        self.gateway.clock.advance(20)
        self.refused(stuck, 408)
        self.assertFalse(idle.is_half_closed)
        self.gateway.clock.advance(45)
        self.assertEqual(idle.take(), b"")
        self.assertTrue(idle.is_half_closed)
        self.gateway.clock.advance(10)
        self.assertTrue(idle.is_aborted)
        self.assert_clean()

    def upload(self, size: int, seconds: int) -> MemoryTransport:
        """Send pieces of a long body, one per second."""
        client = self.client(POST.replace(b": 5", b": 900000"))
        for _ in range(seconds):
            self.gateway.clock.advance(1)
            if not client.is_paused:
                client.give(bytes(size))
        return client

    def test_slow_body(self) -> None:
        """
        A body that never stands still for long, but comes at less than 500 bytes per
        second, is refused after the first 30 s; a faster one may take its time.
        """
        self.acceptor.settings = settings()
        self.assertEqual(self.upload(400, 90).take(), b"")
        slow = self.upload(1, 30)
        self.assertEqual(slow.take(), b"")
        self.gateway.clock.advance(1)
        self.refused(slow, 408)
        slower = self.upload(400, 146)
        self.assertEqual(slower.take(), b"")
        self.gateway.clock.advance(1)
        self.refused(slower, 408)
        fast = self.upload(600, 400)
        self.assertEqual(fast.take(), b"")
        self.gateway.clock.advance(30)
        self.refused(fast, 408)

    def test_slow_body_of_slow_back_end(self) -> None:
        """
        The time for which the back end does not take a body is not the client's.
        """
        self.acceptor.settings = settings()
        client = self.upload(1, 29)
        self.server.leg.filled()
        self.assertTrue(client.is_paused)
        self.gateway.clock.advance(1000)
        self.server.leg.drained()
        self.gateway.clock.advance(0.5)
        self.assertEqual(client.take(), b"")
        self.gateway.clock.advance(1)
        self.refused(client, 408)

    def test_answer_stands_still(self) -> None:
        """
        A back end that stops within its answer is not waited for without end: the
        client's connection breaks, so that half of it never looks whole, and it counts
        as a failure.
        """
        for answer in (
            OK[:-1],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nhi",
        ):
            client = self.client(GET)
            self.gateway.clock.advance(59)
            self.answer(answer[:-1])
            self.gateway.clock.advance(59)
            self.answer(answer[-1:])
            self.gateway.clock.advance(59)
            self.assertFalse(client.is_aborted)
            self.gateway.clock.advance(1)
            self.assertTrue(client.is_aborted)
            self.assertFalse(client.take().endswith(b"0\r\n\r\n"))
        self.assertEqual(self.gateway.outcomes(), ["timeout"] * 3)
        self.assert_clean()
        for _ in range(20):
            self.client(GET)
            self.answer(OK[:-1])
        self.gateway.clock.advance(60)
        self.assertEqual(self.gateway.health.ejected, 2)

    def test_answer_may_stand_still(self) -> None:
        """
        Server-sent events may come seldom, and so may everything if the setting is
        long; a WebSocket may always be silent.
        """
        events = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream\r\n\r\ndata:\n\n"
        silent = [self.client(GET), self.client(SHAKE)]
        for (_, _, stream), answer in zip(
            self.gateway.servers.opened, (events, SHAKEN), strict=True
        ):
            stream.leg.received(answer)
        self.acceptor.settings = settings(http_answer_seconds=86_400)
        silent.append(self.client(GET))
        self.answer(OK[:-1])
        self.gateway.clock.advance(86_000)
        self.assertEqual([one.is_closed for one in silent], [False] * 3)
        self.answer(OK[-1:])
        self.assertTrue(silent[-1].take().endswith(b"hi"))

    def test_client_stands_still(self) -> None:
        """
        A client that reads slowly has its answer all the same, however long it takes:
        it is not the back end that stands still.
        """
        self.acceptor.settings = settings(http_answer_seconds=10)
        client = self.client(GET)
        self.answer(OK[:-1])
        client.fill()
        self.gateway.clock.advance(29)
        client.drain()
        self.gateway.clock.advance(0.9)
        self.answer(OK[-1:])
        self.assertTrue(client.take().endswith(b"hi"))
        client.lose(is_clean=True)
        self.assert_clean()

    def test_bad_answers(self) -> None:
        """
        A back end whose answers are bad half of the time gets no more requests, not
        even over connections that are kept; clients of others notice nothing.
        """
        health = self.gateway.health
        client, number = self.client(GET), 0
        while self.gateway.servers.tried == ["a:1"]:
            number += 1
            self.assertLess(number, 20)
            bad = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
            self.answer(OK if number % 2 else bad)
            client.give(GET)
        self.assertEqual(self.gateway.servers.tried, ["a:1", "b:1"])
        (bad_one, *_), (good_one, *_) = self.gateway.servers.opened
        self.assertEqual(health.state(bad_one), "out")
        # One request for each connection counts once, also if it gets no answer.
        for _ in range(40):
            self.answer(OK)
            client = self.client(GET)
            self.assertEqual(self.gateway.servers.tried[-1], "b:1")
        for status in (500, 404, 200, 0, 301) * 3:
            if status:
                self.answer(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
            else:
                self.server.leg.lost(Reason.BACKEND_LOST)
            self.assertEqual(health.state(good_one), "good")
            client = self.client(GET)

    def test_silent_back_end(self) -> None:
        """
        A back end that takes requests and answers none of them soon gets no more.
        """
        clients = [self.client(GET) for _ in range(24)]
        for endpoint, _, stream in tuple(self.gateway.servers.opened):
            if str(endpoint) == "b:1":
                stream.leg.received(OK)
        self.gateway.clock.advance(60)
        answers = [client.take().split(b" ")[1] for client in clients]
        self.assertEqual(answers, [b"504", b"200"] * 12)
        for _ in range(4):
            self.client(GET)
        self.assertEqual(self.gateway.servers.tried[-4:], ["b:1"] * 4)

    def test_live_rules(self) -> None:
        """
        A kept connection follows the rules: when they name another back end, the next
        request goes there.
        """
        client = self.client(GET)
        self.answer(OK)
        self.gateway.router.use(check_rules({"site": {**SITE, "endpoints": ["z:1"]}}))
        client.give(GET)
        self.assertEqual(self.gateway.servers.tried, ["a:1", "z:1"])
        self.answer(OK)
        self.assertEqual(client.take().count(b"hi"), 2)


class FlowTests(HttpCase):
    def test_slow_back_end(self) -> None:
        """
        A client is not read while its back end takes nothing, and that is not held
        against it.
        """
        client = self.client(POST[:-2])
        self.server.leg.filled()
        self.assertTrue(client.is_paused)
        self.gateway.clock.advance(40)
        self.assertEqual(client.take(), b"")
        self.server.leg.drained()
        self.assertFalse(client.is_paused)
        client.give(POST[-2:])
        self.assertTrue(self.asked().endswith(b"hello"))

    def test_slow_client(self) -> None:
        """
        A back end is not read while the client does not read; one that never does
        again is cut off.
        """
        client = self.client(GET)
        self.answer(OK[:-1])
        client.fill()
        self.assertTrue(self.server.is_paused)
        client.drain()
        self.assertFalse(self.server.is_paused)
        client.fill()
        self.gateway.clock.advance(30)
        self.assertTrue(client.is_aborted)
        self.assertEqual(self.gateway.outcomes(), ["too_slow"])
        self.assert_clean()

    def test_many_in_advance(self) -> None:
        """
        A client that sends requests without end and reads no answer is read no more.
        """
        client = self.client(GET)
        for _ in range(3000):
            if client.is_paused:
                break
            client.give(GET)
        self.assertTrue(client.is_paused)
        self.answer(OK)
        self.assertEqual(self.server.got.count(b"GET /x"), 2)

    def test_many_read(self) -> None:
        """
        Nor is one that reads its answers read again before all of what it sent in one
        read has its own.
        """
        client, reads = self.client(GET * 2000), 1
        for _ in range(2000):
            self.answer(OK)
            if not client.is_paused:
                client.give(GET * 2000)
                reads += 1
            self.assertLess(reads, 3)
        self.assertEqual(client.take().count(b"200 OK"), 2000)
        self.assertEqual(reads, 2)
        self.assertEqual(self.server.got.count(b"GET /x"), 2001)

    def test_many_clients_in_advance(self) -> None:
        """
        However many clients send requests in advance, others wait for a few of these at
        most.
        """
        self.limits.rate = AddressBuckets(1000, 1000)
        clients = [self.client(GET * 50) for _ in range(40)]
        streams = [stream for _, _, stream in self.gateway.servers.opened]
        for stream in streams:
            stream.leg.received(OK)
        asked: list[int] = []

        def turn() -> None:
            asked.append(sum(stream.got.count(b"GET") for stream in streams) - 40)
            if len(asked) < 6:
                self.gateway.clock.callLater(0, turn)

        turn()
        self.gateway.clock.advance(0)
        self.assertEqual(asked, [0, 8, 16, 24, 32, 40])
        for client in clients:
            client.lose()
        self.assert_clean()

    def test_tiny_chunks(self) -> None:
        """
        A body in tiny chunks reaches the back end in a chunk for each read; one in
        thousands of them is refused.
        """
        self.acceptor.settings = settings()
        head = CHUNKED.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        client = self.client(head + b"1\r\na\r\n" * 500)
        client.give(b"1\r\nb\r\n" * 300 + b"2\r\nb")
        body = self.asked().partition(b"\r\n\r\n")[2]
        self.assertEqual(body, b"1f4\r\n%b\r\n12d\r\n%b\r\n" % (b"a" * 500, b"b" * 301))
        client.give(b"b\r\n" + b"1\r\nb\r\n" * 5000)
        self.assertIn(b"HTTP/1.1 400", client.take())
        client.lose(is_clean=True)
        # Of 16 bytes they may be as many as there are.
        client = self.client(head + b"10\r\n0123456789abcdef\r\n" * 5000)
        client.give(b"0\r\n\r\n")
        self.answer(OK)
        self.assertIn(b"HTTP/1.1 200", client.take())

    def test_many_refused(self) -> None:
        """
        Nor is one whose requests the gateway answers itself; when it reads again it has
        an answer to each, in order.
        """
        self.limits.rate = AddressBuckets(1000, 1000)
        self.gateway.router.use(check_rules({}))
        client = self.connect()
        client.fill()
        client.give(GET * 500)
        for _ in range(500):
            self.gateway.clock.advance(0)
        self.assertEqual(client.take().count(b"HTTP/1.1 404"), 1)
        self.assertTrue(client.is_paused)
        client.give(GET)
        client.drain()
        for _ in range(501):
            self.gateway.clock.advance(0)
        self.assertEqual(client.take().count(b"HTTP/1.1 404"), 500)
        self.assertFalse(client.is_paused)
        client.lose(is_clean=True)
        self.assert_clean()

    def test_lost_clients(self) -> None:
        """
        The back end's connection ends with the client's, at every step; nothing stays.
        """
        for request, answer, outcome in (
            (GET, OK, "done"),
            (GET, b"", "client_lost"),
            (GET, OK[:-1], "client_lost"),
            (POST[:-1], b"", "client_lost"),
            (SHAKE, b"", "client_lost"),
            (SHAKE, SHAKEN, "done"),
        ):
            client = self.client(request)
            if answer:
                self.answer(answer)
            client.lose(is_clean=True)
            self.assertIsNotNone(self.server.closed)
            self.assertEqual(self.gateway.outcomes()[-1], outcome, (request, answer))
        self.assert_clean()

    def test_half_closed(self) -> None:
        """
        A client that closes its half after the request gets its answer.
        """
        client = self.client(GET)
        client.protocol.readConnectionLost()
        self.answer(OK)
        self.assertTrue(client.take().endswith(b"hi"))
        self.assertTrue(client.is_closed)
        for request in (b"", GET[:5], POST[:-1]):
            client = self.client(request)
            client.protocol.readConnectionLost()
            self.assertTrue(client.is_closed)

    def test_pace(self) -> None:
        """
        A client that sends faster than it may is read later; its request is whole in
        the end.
        """
        self.acceptor.settings = settings(bytes_per_second=1000)
        client = self.client(POST.replace(b": 5", b": 5005") + bytes(5000))
        self.assertTrue(client.is_paused)
        self.gateway.clock.advance(6)
        self.assertFalse(client.is_paused)
        self.assertTrue(self.asked().endswith(bytes(5000)))
        self.answer(OK)
        client.give(bytes(3000))
        client.lose(is_clean=True)
        self.assert_clean()


class WebSocketTests(HttpCase):
    def shaken(self) -> MemoryTransport:
        """Make a client whose WebSocket is open."""
        client = self.client(SHAKE)
        self.answer(SHAKEN)
        client.take()
        self.asked()
        return client

    def closed_with(self, client: MemoryTransport) -> int:
        """Read the close frame that is the last thing that a client was sent."""
        got = client.take()
        self.assertEqual(got[0], 0x88)
        self.assertEqual(len(got), got[1] + 2)
        return Close.parse(got[2:]).code

    def test_end_to_end(self) -> None:
        """
        The handshake passes as it is, in any split; then all bytes do.
        """
        early = Frame(Opcode.TEXT, b"early").serialize(mask=True)
        for size in every_size(SHAKE):
            client = self.client(SHAKE + early, size)
            asked = self.asked()
            found = fields_of(asked)
            self.assertEqual(found["Connection"], ["Upgrade"])
            self.assertEqual(found["Upgrade"], ["websocket"])
            self.assertEqual(found["Sec-WebSocket-Extensions"], ["permessage-deflate"])
            self.assertNotIn(b"early", asked)
            hello = Frame(Opcode.TEXT, b"hello").serialize(mask=False)
            self.answer(SHAKEN + hello, size)
            self.assertEqual(self.asked(), early)
            got = client.take()
            self.assertTrue(got.startswith(SHAKEN.partition(b"\r\n")[0] + b"\r\n"))
            found = fields_of(got)
            self.assertEqual(found["Connection"], ["Upgrade"])
            self.assertEqual(
                found["Sec-WebSocket-Accept"], ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]
            )
            self.assertTrue(got.endswith(b"\r\n\r\n" + hello))
            for data in (b"\0", GET, b"\x81\x02hi"):
                client.give(data)
                self.assertEqual(self.asked(), data)
            self.answer(b"\x81\x02hi")
            self.assertEqual(client.take(), b"\x81\x02hi")
            client.lose(is_clean=True)
        self.assertEqual(self.acceptor.answers, {101: len(every_size(SHAKE))})
        self.assertEqual(set(self.gateway.outcomes()), {"done"})
        kinds = {one.request.kind for _, one, _ in self.gateway.servers.opened}
        self.assertEqual(kinds, {"websocket"})
        self.assert_clean()

    def test_after_an_interim_answer(self) -> None:
        """
        A back end may send another head first, at once with the one that opens the
        WebSocket: the gateway still finds where its frames end.
        """
        client = self.client(SHAKE)
        hint = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        self.answer(hint + SHAKEN + b"\x81\x02h")
        self.answer(b"i")
        client.take()
        self.server.leg.lost(Reason.BACKEND_LOST)
        self.assertEqual(self.closed_with(client), 1013)

    def test_refused_by_the_back_end(self) -> None:
        """
        A back end's refusal is the client's; the connection serves on, and what came
        behind the handshake is no request that it sent unseen.
        """
        client = self.client(SHAKE + GET)
        self.assertNotIn(b"GET /x", self.asked())
        self.answer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue(client.take().startswith(b"HTTP/1.1 403 Forbidden"))
        self.assertTrue(self.asked().startswith(b"GET /x"))
        self.assertEqual(self.acceptor.answers, {403: 1})

    def test_refused_again_and_again(self) -> None:
        """
        However often a back end refuses a client's handshakes, it is asked over one
        connection, as for other requests; where that has ended, over a new one.
        """
        client = self.connect()
        refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        for _ in range(9):
            for request, answer in ((SHAKE, refusal), (GET, OK)):
                client.give(request)
                self.answer(answer)
        self.assertEqual(client.take().count(b"HTTP/1.1 403"), 9)
        self.assertEqual(len(self.gateway.servers.opened), 1)
        client.give(SHAKE)
        self.server.leg.lost(Reason.DONE)
        self.assertTrue(self.asked().startswith(b"GET /ws"))
        self.answer(SHAKEN)
        self.assertTrue(client.take().startswith(b"HTTP/1.1 101"))
        self.assertEqual(len(self.gateway.servers.opened), 2)

    def test_refused_handshakes_count(self) -> None:
        """
        A back end that answers 503 to half of its requests is left out, also if these
        are all the handshakes of WebSockets.
        """
        rules = check_rules({"site": {**SITE, "endpoints": ["a:1"]}})
        self.gateway.router.use(rules)
        for _ in range(12):
            for request, status in ((SHAKE, b"503"), (GET, b"200")):
                client = self.client(request)
                head = b"HTTP/1.1 %b X\r\nContent-Length: 0\r\n\r\n" % status
                self.answer(head)
                client.lose(is_clean=True)
        self.assertEqual(self.gateway.health.ejected, 1)

    def test_uninvited_upgrade(self) -> None:
        """
        A back end cannot turn a request into a tunnel that nobody asked for.
        """
        client = self.client(GET)
        self.answer(SHAKEN)
        self.assertTrue(client.take().startswith(b"HTTP/1.1 502 "))

    def test_why_it_closed(self) -> None:
        """
        A client reads in a close frame why its WebSocket ended, but only between two
        frames: half a frame has no room for it.
        """
        for reason, code in (
            (Reason.BACKEND_LOST, 1013),
            (Reason.DRAINING, 1012),
            (Reason.INTERNAL, 1011),
        ):
            client = self.shaken()
            self.gateway.servers.opened[-1][1].end(reason, "come back")
            self.assertEqual(self.closed_with(client), code)
            self.assertTrue(client.is_half_closed)
        for sent in (b"\x82\x05he", b"\x82", b"\x88\x02\x03\xe8"):
            client = self.shaken()
            self.answer(sent)
            self.gateway.servers.opened[-1][1].end(Reason.BACKEND_LOST)
            self.assertEqual(client.take(), sent)
            self.assertTrue(client.is_half_closed)

    def test_back_end_died(self) -> None:
        """
        A back end that closes the connection without a close frame was killed, as far
        as its client can see: it reads that it should come back.
        """
        client = self.shaken()
        self.server.leg.lost(Reason.DONE)
        self.assertEqual(self.closed_with(client), 1013)
        client = self.shaken()
        self.answer(b"\x88\x02\x03\xe8")
        self.server.leg.lost(Reason.DONE)
        self.assertEqual(client.take(), b"\x88\x02\x03\xe8")


class SocketTests(SocketCase):
    """On real sockets of the loopback."""

    async def test_slow_reader(self) -> None:
        """
        A long answer that ends its connection arrives whole at a client that reads it
        slowly.
        """
        gateway = MemoryGateway({"site": SITE})
        allowed = limits(9, 9, 99)
        acceptor = HttpAcceptor(gateway.backends, gateway.clock, settings())
        made: list[HttpClient] = []

        def accepted() -> HttpClient:
            allowed.connections.enter("127.0.0.1")
            made.append(acceptor(Arrival("127.0.0.1", 5, allowed)))
            return made[-1]

        peer = await self.connect(accepted)
        peer.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await self.until(lambda: gateway.servers.opened)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(MUCH)
        gateway.servers.last.leg.received(head + MUCH)
        got = b""
        while not got.endswith(MUCH):
            more = await self.read(peer, 1 << 20)
            self.assertTrue(more, "it ended before all of it came")
            got += more
            await self.turn()
            gateway.clock.advance(5)
        self.assertEqual(await self.read(peer, 1), b"")
        peer.close()
        await self.until(lambda: not made[0].transport.connected)
        self.assertEqual(gateway.clock.getDelayedCalls(), [])
        self.assertEqual(allowed.connections.total, 0)


def unchunked(data: bytes, is_whole: bool = True) -> bytes:
    """Take chunks apart."""
    found = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            assert data == b"\r\n"
            return found
        found, data = found + data[:length], data[length + 2 :]
    assert not is_whole, "the last chunk is missing"
    return found
