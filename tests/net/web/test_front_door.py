"""The public port: WebSockets by the short way, and everything else by HTTP."""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given, settings
from hypothesis import strategies as some
from msgspec import json
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from websockets.datastructures import Headers
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from tests.support.front_doors import HEADERS, FrontDoorCase, get
from tests.support.logged import watch_log
from tests.support.tls_clients import MemoryClient
from tests.support.turns import reads_directly
from tests.support.websockets import frame
from vinom.base.limits.buckets import is_loopback, network_of
from vinom.errors import Code
from vinom.net.lines.proxied import ProxiedFactory
from vinom.net.lines.ws_stream import read_plain_handshake
from vinom.net.web.front_door import SILENCE_TIMEOUT


class FrontDoorTests(FrontDoorCase):
    """Connections in memory."""

    def test_same_answer_however_it_comes(self) -> None:
        """
        A handshake that comes in two pieces is answered like one that comes whole.
        """
        whole = get()
        answer = self.connect(whole).value()
        self.assertTrue(answer.startswith(b"HTTP/1.1 101 "), answer)
        self.assertEqual(self.connect(whole[:40], whole[40:]).value(), answer)
        self.assertEqual(len(self.echoes), 2)

    def test_message_in_the_same_read(self) -> None:
        """
        What a client sends right behind its handshake arrives, either way.
        """
        hello = frame(Opcode.TEXT, b'"hello"')
        for pieces in ([get() + hello], [get()[:40], get()[40:] + hello]):
            self.assertIn(b'["hello"]', self.connect(*pieces).value())

    def test_others_get_the_site(self) -> None:
        """
        Pages, foreign origins, too many connections and odd handshakes are answered
        in HTTP, with a matching status.
        """
        for request, status in (
            (get("/nothing"), b"404"),
            (get("/ws/x"), b"404"),
            (get(Origin="https://evil.example"), b"403"),
            (get(Sec_WebSocket_Version="7"), b"400"),
            (get(Sec_WebSocket_Key="short"), b"400"),
            # A browser that opens it as a page.
            (get(Upgrade="none"), b"426"),
        ):
            visitor = self.connect(request)
            self.assertIn(status, visitor.value().split(b"\r\n")[0])
            self.hang_up(visitor)
        self.assertIn(b'"code":"bad_message"', visitor.value())
        self.assertEqual(self.echoes, [])
        self.connect(get(Origin="http://game.example"))
        self.assertEqual(len(self.echoes), 1)

    def test_silent_ones_count(self) -> None:
        """
        Connections count for their address before they said anything: one too many
        gets a refusal and is closed, the others stay, and one that leaves makes room.
        """
        silent = [self.connect(), self.connect()]
        late = self.connect(get())
        head, _, body = late.value().partition(b"\r\n\r\n")
        self.assertIn(b" 429 ", head.split(b"\r\n")[0])
        self.assertIn(b"content-length: %d" % len(body), head.lower())
        self.assertEqual(
            json.decode(body)["error"]["code"], Code.TOO_MANY_CONNECTIONS.value
        )
        self.assertTrue(late.disconnecting)
        self.hang_up(late)
        self.assertEqual(self.websockets.errors, {"too_many_connections": 1})
        self.assertEqual(len(self.door.rounds), 2)
        self.assertEqual([visitor.disconnecting for visitor in silent], [False] * 2)
        self.hang_up(silent[0])
        self.assertIn(b" 101 ", self.connect(get()).value())
        self.assertIn(b" 429 ", self.connect(get()).value())

    def test_kept_alive_ones_count(self) -> None:
        """
        A connection counts once, as long as it lasts: between pages, during the
        handshake however it comes, and as a WebSocket; in the end nothing is left.
        """
        whole = get()
        for pieces in (
            [get("/nothing"), get("/nothing")],
            [get("/nothing"), whole],
            [whole],
            [whole[:40], whole[40:]],
        ):
            one, other = self.connect(*pieces), self.connect(*pieces)
            self.assertFalse(one.disconnecting or other.disconnecting, pieces)
            self.assertIn(b" 429 ", self.connect().value())
            self.hang_up(one)
            again = self.connect()
            self.assertEqual(again.value(), b"")
            self.hang_up(again)
            self.hang_up(other)
            self.assertEqual(len(self.websockets.connections), 0)

    def test_counted_behind_a_proxy(self) -> None:
        """
        Behind a proxy each connection counts for the address that its header names,
        once that came, with the request behind it or without; and not for the proxy.
        """
        self.wrapped = ProxiedFactory(self.door, [ip_network("192.168.1.1")])
        header = "PROXY TCP4 203.0.113.{} 192.0.2.1 51234 443\r\n"
        first, second = (header.format(n).encode() for n in (7, 8))
        for _ in range(5):
            # These have no address.
            self.assertEqual(self.connect().value(), b"")
        self.assertEqual(len(self.websockets.connections), 0)
        silent, speaking = self.connect(first), self.connect(first + get())
        self.assertEqual(silent.value(), b"")
        self.assertIn(b" 101 ", speaking.value())
        for pieces in ([first], [first[:9], first[9:]], [first + get()]):
            late = self.connect(*pieces)
            self.assertTrue(late.value().startswith(b"HTTP/1.1 429 "), late.value())
            self.assertEqual(late.value().count(b"HTTP/1.1"), 1)
            self.assertTrue(late.disconnecting)
            self.hang_up(late)
        self.assertIn(b" 101 ", self.connect(second + get()).value())
        self.hang_up(silent)
        self.assertIn(b" 101 ", self.connect(first, get()).value())
        self.assertEqual([echo.line.host[-1] for echo in self.echoes], list("787"))

    def test_counted_over_tls(self) -> None:
        """
        Over TLS, ours and Twisted's, a client that does not begin to shake hands
        counts; one too many is cut off without a word, for it might never read one.
        """
        for is_direct in (True, False):
            self.serve_tls(is_direct)
            silent = [self.connect(), self.connect()]
            late = self.connect()
            self.assertTrue(late.disconnected)
            self.assertEqual(late.value(), b"")
            self.assertFalse(silent[0].disconnected or silent[1].disconnected)
            self.hang_up(late)
            self.hang_up(silent[0])
            again = self.connect()
            self.assertFalse(again.disconnected)
            self.hang_up(silent[1])
            self.hang_up(again)

    def test_failed_handshakes_are_logged(self) -> None:
        """
        TLS that fails leaves a line in the log, such as for a page that is asked for
        without it, but a flood no more than one per second.
        """
        logged = watch_log(self)
        self.serve_tls()
        self.hang_up(self.connect())
        self.assertEqual(logged, [])
        for _ in range(100):
            self.hang_up(self.connect(get("/")))
        host = IPv4Address("TCP", "192.168.1.1", 54321).host
        self.assertEqual(logged, [f"TLS with {host} failed: http request"] * 20)
        self.clock.advance(1.0)
        self.hang_up(self.connect(get("/")))
        self.assertEqual(len(logged), 21)

    def test_silent_visitor(self) -> None:
        """
        A silent connection is closed after a minute; nothing is left.
        """
        visitor = self.connect()
        self.clock.pump([SILENCE_TIMEOUT / 100] * 110)
        self.assertTrue(visitor.disconnected or visitor.disconnecting)
        visitor.protocol.connectionLost()
        self.assertEqual(len(self.door.rounds), 0)

    def test_slow_handshake(self) -> None:
        """
        Over TLS, ours and Twisted's, who sends no handshake, or one byte of it per
        second, is closed after ten seconds; who is through with it has its minute.
        """
        for is_direct in (True, False):
            self.serve_tls(is_direct)
            clients = [MemoryClient(), MemoryClient()]
            hellos = [client.shake() for client in clients]
            silent, slow = self.connect(), self.connect()
            for byte in hellos[0][:10]:
                self.assertFalse(silent.disconnected or slow.disconnected)
                slow.protocol.dataReceived(bytes([byte]))
                self.clock.pump([0.1] * 10)
            self.clock.pump([0.1] * 2)
            self.assertTrue(silent.disconnected and slow.disconnected)
            self.hang_up(silent)
            self.hang_up(slow)
            ready = self.connect(hellos[1])
            ready.protocol.dataReceived(clients[1].hear(ready.value()))
            self.clock.pump([SILENCE_TIMEOUT / 100] * 90)
            self.assertFalse(ready.disconnected)
            self.assertEqual(len(self.door.rounds), 1)
            self.clock.pump([SILENCE_TIMEOUT / 100] * 20)
            self.assertTrue(ready.disconnected)
            self.hang_up(ready)
            self.assertEqual((len(self.door.rounds), len(self.door.handshakes)), (0, 0))

    def test_read_directly(self) -> None:
        """
        Over sockets the first bytes are read without the reactor, and WebSockets and
        pages are answered as ever; pages are the reactor's from then on.
        """
        direct = self.websockets.direct
        for request, status, left in ((get(), b"101", 1), (get("/no"), b"404", 0)):
            theirs, transport = self.accept()
            theirs.send(request)
            self.assertTrue(reads_directly(direct, transport.fileno()))
            if transport.dataBuffer or transport._tempDataBuffer:
                transport.doWrite()
            self.assertIn(status, theirs.recv(4096).split(b"\r\n")[0])
            self.assertEqual(len(direct), left)
            transport.connectionLost(Failure(ConnectionDone()))
            self.assertEqual((len(direct), len(self.door.rounds)), (0, 0))

    def test_half_a_word_and_none(self) -> None:
        """
        Over sockets too, a client that sends half a line, or goes without a word, is
        the reactor's: nothing of it is left where others are read.
        """
        direct = self.websockets.direct
        theirs, transport = self.accept()
        theirs.send(get()[:7])
        self.assertTrue(reads_directly(direct, transport.fileno()))
        theirs.send(get()[7:])
        self.assertFalse(reads_directly(direct, transport.fileno()))
        transport.doRead()
        transport.doWrite()
        self.assertIn(b"101", theirs.recv(4096).split(b"\r\n")[0])
        transport.connectionLost(Failure(ConnectionDone()))
        theirs, transport = self.accept()
        theirs.close()
        self.assertEqual(len(direct), 1)
        self.assertFalse(reads_directly(direct, transport.fileno()))
        transport.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((len(direct), len(self.door.rounds)), (0, 0))


class UnnamedProxyTests(FrontDoorCase):
    """Proxies that name nobody, and are in nobody's settings."""

    def test_signs(self) -> None:
        """
        Who comes by way of a proxy on this machine is no guest from it, if the proxy
        adds a header, however the handshake comes; and the operator can find out.
        """
        signs = (
            {"Via": "1.1 proxy"},
            {"X_Real_IP": "203.0.113.7"},
            {"X_Forwarded_For": "203.0.113.7"},
        )
        self.host = "127.0.0.1"
        for sign in (*signs, {}):
            for cut in (0, 40):
                whole = get(**sign)
                self.hang_up(self.connect(*filter(None, (whole[:cut], whole[cut:]))))
                host = self.echoes[-1].line.host
                self.assertEqual(is_loopback(host), not sign, (sign, host))
                self.assertEqual(network_of(host), "127.0.0.1")
        self.assertEqual(self.websockets.forwarding, {"not_believed": 6})


class PlainHandshakeTests(SynchronousTestCase):
    """What is read without a parser of HTTP."""

    names = some.sampled_from([*HEADERS, "Origin", "Cookie", "content-length", "X y"])
    values = some.one_of(
        some.sampled_from([*HEADERS.values(), "websocket, h2c", "", "a\tb"]),
        some.text(some.characters(max_codepoint=0x17F), max_size=8),
    )

    @settings(max_examples=300, deadline=None)
    @given(some.lists(some.tuples(names, values), max_size=3), some.data())
    def test_stricter_than_the_core(
        self, more: list[tuple[str, str]], data: some.DataObject
    ) -> None:
        """
        Nobody gets in by the short way who would not by the long one, and with the
        same answer.
        """
        headers = data.draw(some.permutations([*HEADERS.items(), *more]))
        lines = [f"{name}:{value}" for name, value in headers]
        text = "\r\n".join(["GET /ws HTTP/1.1", *lines, "", ""]).encode("utf-8")
        found = read_plain_handshake(b"/ws", text + b"rest")
        if found is None:
            return
        stripped = [(name, value.strip(" \t")) for name, value in headers]
        response = ServerProtocol().accept(Request("/ws", Headers(stripped)))
        self.assertEqual(response.status_code, 101)
        accept = f"Sec-WebSocket-Accept: {response.headers['Sec-WebSocket-Accept']}"
        self.assertIn(accept.encode() + b"\r\n", found.answer)
        self.assertEqual(found.rest, b"rest")

    def test_incomplete(self) -> None:
        """
        However a handshake is cut short, it is not taken for a whole one.
        """
        whole = get()
        for cut in range(len(whole)):
            self.assertIsNone(read_plain_handshake(b"/ws", whole[:cut]))
        self.assertIsNotNone(read_plain_handshake(b"/ws", whole))
