"""Sessions of gateways in a node, in memory: they are players' connections."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from zope.interface import implementer

from tests.support.ears import Ear
from tests.support.gateways import MemoryTransport, packets, written
from tests.support.lobbies import LobbyWorld
from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.turns import TurnEnd
from vinom.errors import PeerError
from vinom.net.lines.forwarded import Proxies
from vinom.net.lines.limits import LineBounds
from vinom.net.lines.proxied import SNIFF_SECONDS
from vinom.net.lines.sniff import Spoken
from vinom.net.lines.tcp import LineFactory, Lines
from vinom.net.lines.websocket import WebSockets
from vinom.net.streams.channels import WINDOW
from vinom.net.streams.multiplex import VISIT_SECONDS
from vinom.net.streams.packets import Kind, Packet
from vinom.node.build import front_door
from vinom.node.gateways import GREETING_SECONDS, GatewayLinks
from vinom.node.settings import Settings

GREETING = written(Packet(Kind.OPEN, b'{"gateway_id": "g1"}'))
#: Ids of gateways are above those of clients.
ONE, TWO = 1 << 62 | 1, 1 << 62 | 2


def opening(session_id: int, client: str = "192.0.2.1", **more: Any) -> bytes:
    """Ask for a session."""
    body = json.dumps({"client": client, "port": 7, "kind": "lines", **more})
    return written(Packet(Kind.OPEN, body.encode(), session_id=session_id))


def data(session_id: int, body: bytes) -> bytes:
    """Send bytes of a session; none mean that no more follow."""
    return written(Packet(Kind.DATA, body, session_id=session_id))


def hello(name: str = "ann") -> bytes:
    said = {"type": "hello", "data": {"protocol": 1, "name": name}}
    return json.dumps(said).encode() + b"\n"


class Page(Protocol):
    """What stands where HTTP is served: keeps all it gets."""

    transport: Any

    def __init__(self) -> None:
        self.got, self.lost = b"", ""

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        if b"FAIL" in data:
            raise ValueError("a mistake of ours")

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        self.lost = type(reason.value).__name__


@implementer(IHalfCloseableProtocol)
class HalfPage(Page):
    """The same, and it may still answer who sends no more."""

    def readConnectionLost(self) -> None:
        self.got += b"|"

    def writeConnectionLost(self) -> None:
        pass


class Sipping(Page):
    """Takes a piece, and then nothing until the test asks for more."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.transport.pauseProducing()


class Pages(ServerFactory):
    """Makes them, and keeps them."""

    kind: type[Page] = Page

    def __init__(self) -> None:
        self.made: list[Page] = []

    def buildProtocol(self, addr: Any) -> Page:
        made = self.kind()
        self.made.append(made)
        return made


class Producer:
    """Notes when it may produce."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


class GatewayCase(SynchronousTestCase):
    """A node's lobby, and gateways that are linked to it."""

    def setUp(self) -> None:
        self.serve()

    def serve(self, most_sessions: int = 100, check: Any = None, **lines: Any) -> None:
        """Make the node."""
        self.world = LobbyWorld(guests=lines.pop("guests", "yes"))
        self.clock: Clock = self.world.clock
        self.pages = Pages()
        self.lines = Lines(
            self.world.requests.open, self.clock, **{"allow_plaintext": True, **lines}
        )
        serve: Any = {(Spoken.HTTP, False): self.pages, (Spoken.HTTP, True): self.pages}
        for is_private in (False, True):
            serve[Spoken.LINES, is_private] = LineFactory(self.lines, is_private)
        self.links = GatewayLinks(
            "n1",
            serve,
            self.clock,
            TurnEnd(self.clock),
            DirectReads(),
            most_sessions=most_sessions,
        )
        self.links.startService()
        self.factory = self.links.factory(check or (lambda _: None))

    def link(self, greeting: bytes = GREETING) -> MemoryTransport:
        """Link a gateway."""
        link = MemoryTransport(self.factory.buildProtocol(None))
        link.give(greeting)
        return link

    def greeted(self) -> MemoryTransport:
        """Link one, and pass over the greeting."""
        link = self.link()
        self.turn()
        link.take()
        return link

    def turn(self) -> None:
        """Have a turn of the reactor end."""
        self.clock.advance(0)
        self.clock.advance(0)

    def got(self, link: MemoryTransport) -> list[Packet]:
        """The packets that the gateway gets in this turn."""
        self.turn()
        return packets(link.take())

    def told(self, link: MemoryTransport, session_id: int = ONE) -> list[Any]:
        """The lines of a session."""
        sent = b"".join(
            one.body
            for one in self.got(link)
            if one.kind is Kind.DATA and one.session_id == session_id
        )
        return [json.loads(line) for line in sent.splitlines()]

    def closed(self, found: list[Packet]) -> list[tuple[int, bytes]]:
        """Which sessions were closed, and why."""
        return [
            (one.session_id, one.body.partition(b":")[0])
            for one in found
            if one.kind is Kind.CLOSE
        ]


class GreetingTests(GatewayCase):
    """How a link begins."""

    def test_greeting(self) -> None:
        """
        A gateway that says who it is is answered with the node's id.
        """
        link = self.link()
        (answer,) = self.got(link)
        self.assertEqual((answer.kind, answer.session_id), (Kind.OPEN, 0))
        self.assertEqual(json.loads(answer.body), {"node_id": "n1"})
        self.assertEqual(self.links.gateways, {"g1": 1})

    def test_bad_greetings(self) -> None:
        """
        Whoever begins otherwise is refused: without an id, with a session, twice.
        """
        nothing = written(Packet(Kind.OPEN, b"{}"))
        for begin in (nothing, opening(ONE), GREETING + GREETING, b"GET / HTTP/1.1"):
            link = self.link(begin)
            self.assertEqual(self.closed(self.got(link))[-1], (0, b"bad_packet"))
            self.assertTrue(link.is_closed)
        self.assertEqual(self.links.gateways, {})

    def test_silence(self) -> None:
        """
        A link that is not greeted is closed.
        """
        link = self.link(b"")
        self.clock.advance(GREETING_SECONDS)
        self.assertTrue(link.is_aborted)

    def test_stranger(self) -> None:
        """
        A peer that is no gateway gets no answer.
        """

        def check(transport: Any) -> None:
            raise PeerError("it is a game server")

        self.serve(check=check)
        link = self.link()
        self.assertEqual(self.got(link), [])
        self.assertTrue(link.is_aborted)


class SessionTests(GatewayCase):
    """Players over a link."""

    def test_lobby(self) -> None:
        """
        A player over a link says hello, and is answered; all of a turn is one write.
        """
        link = self.greeted()
        link.give(opening(ONE) + data(ONE, hello()))
        link.give(opening(TWO) + data(TWO, hello("bob")))
        writes: list[bytes] = []
        write = link.write
        self.patch(link, "write", lambda sent: (writes.append(sent), write(sent)))
        found = self.got(link)
        self.assertEqual(len(writes), 1)
        self.assertEqual([one.session_id for one in found], [ONE, TWO])
        self.assertEqual(json.loads(found[0].body)["type"], "welcome")

    def test_every_split(self) -> None:
        """
        However the network cuts the bytes of a link, players get the same answers.
        """
        whole = opening(ONE) + data(ONE, hello())
        for size in (1, 2, 3, 7, 41, 60):
            link = self.greeted()
            link.give(whole, size)
            self.assertEqual([one["type"] for one in self.told(link)], ["welcome"])
            link.lose()

    def test_own_address(self) -> None:
        """
        Limits count the address that the gateway names, over all links, and together
        with those who come directly.
        """
        self.serve(bounds=LineBounds(per_network=2))
        first, second = self.greeted(), self.greeted()
        direct = MemoryTransport(
            LineFactory(self.lines, True).buildProtocol(
                MemoryTransport(Page(), "192.0.2.1").peer
            )
        )
        direct.give(hello())
        first.give(opening(ONE) + data(ONE, hello()))
        self.assertEqual(self.lines.connections.total, 2)
        second.give(opening(ONE) + data(ONE, hello()))
        (refused,) = self.told(second)
        self.assertEqual(refused["error"]["code"], "too_many_connections")
        second.give(opening(TWO, "192.0.2.2") + data(TWO, hello()))
        self.assertEqual(self.told(second, TWO)[0]["type"], "welcome")
        # Who leaves makes room.
        first.give(written(Packet(Kind.CLOSE, b"client_lost", session_id=ONE)))
        second.give(opening(ONE) + data(ONE, hello()))
        self.assertEqual(self.told(second)[0]["type"], "welcome")

    def test_never_loopback(self) -> None:
        """
        An address of loopback that comes over a link has no privilege: no guest, no
        plain text. TLS that ended at the gateway is TLS.
        """
        self.serve(guests="loopback", allow_plaintext=False)
        local = "127.0.0.1", "::1", "::ffff:127.0.0.1", "127.9.9.9", "::1%lo", ""
        for client in local:
            link = self.greeted()
            link.give(opening(ONE, client) + data(ONE, hello()))
            (refused,) = self.told(link)
            self.assertEqual(refused["error"]["code"], "plaintext_refused", client)
            link.give(opening(TWO, client, tls=True) + data(TWO, hello()))
            (refused,) = self.told(link, TWO)
            self.assertEqual(refused["error"]["code"], "unauthorized", client)

    def test_headers(self) -> None:
        """
        Nobody behind a gateway speaks for others, not even from an address that is a
        proxy of the node's: the address is the gateway's to name.
        """
        lines: list[Any] = []

        def open_line(line: Any) -> Any:
            lines.append(line)
            return Ear(line)

        settings = Settings(proxy=(ip_network("127.0.0.0/8"), ip_network("192.0.2.1")))
        door = front_door(
            settings,
            Resource(),
            WebSockets(open_line, self.clock, TurnEnd(self.clock)),
            self.clock,
            Proxies(),
            False,
        )
        self.links._serve[Spoken.HTTP, False] = door  # type: ignore[index]
        asked = (
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%b\r\n"
        )
        link = self.greeted()
        for number, header in enumerate((b"", b"X-Forwarded-For: 203.0.113.9\r\n")):
            for client in ("192.0.2.1", "127.0.0.1"):
                session_id = ONE + 2 * number + (client == "127.0.0.1")
                link.give(opening(session_id, client))
                link.give(data(session_id, asked % header))
                found = self.got(link)
                self.assertTrue(found[0].body.startswith(b"HTTP/1.1 101 "), found)
        hosts = ["192.0.2.1", "127.0.0.1%proxied"] * 2
        self.assertEqual([line.host for line in lines], hosts)

    def test_bad_openings(self) -> None:
        """
        A session without an address, or with the id of another, is refused; the others
        of its link go on.
        """
        link = self.greeted()
        link.give(opening(TWO) + data(TWO, hello()))
        self.told(link, TWO)
        bad = [
            opening(ONE, "example.org"),
            opening(ONE, port=70000),
            opening(ONE, port="x"),
            written(Packet(Kind.OPEN, b"", session_id=ONE)),
            written(Packet(Kind.OPEN, b"[", session_id=ONE)),
        ]
        for one in bad:
            link.give(one)
            self.assertEqual(self.closed(self.got(link)), [(ONE, b"bad_packet")])
        link.give(opening(TWO))
        self.assertEqual(self.closed(self.got(link)), [(TWO, b"session_in_use")])
        link.give(data(TWO, b'{"type":"ping"}\n'))
        self.assertEqual(self.told(link, TWO)[0]["type"], "pong")

    def test_equal_ids(self) -> None:
        """
        Two gateways with equal session ids do not mix anything up.
        """
        links = [self.greeted(), self.greeted()]
        for link, name in zip(links, ("ann", "bob"), strict=True):
            link.give(opening(ONE) + data(ONE, hello(name)))
        self.turn()
        told = [self.told(link)[0]["data"]["name"] for link in links]
        self.assertEqual(told, ["ann", "bob"])
        # The end of one is not that of the other.
        links[0].give(written(Packet(Kind.CLOSE, b"done", session_id=ONE)))
        links[1].give(data(ONE, b'{"type":"ping"}\n'))
        self.assertEqual(self.told(links[1])[0]["type"], "pong")
        self.assertEqual(self.world.requests.counts()["lines"], 1)

    def test_most_sessions(self) -> None:
        """
        All links together carry no more sessions than the node has connections.
        """
        self.serve(most_sessions=1)
        first, second = self.greeted(), self.greeted()
        first.give(opening(ONE))
        second.give(opening(ONE))
        self.assertEqual(self.closed(self.got(second)), [(ONE, b"too_many")])

    def test_nothing_speaks_it(self) -> None:
        """
        A session of an unknown protocol, or a silent one, is closed.
        """
        link = self.greeted()
        link.give(opening(ONE) + data(ONE, b"\x00\x01"))
        self.assertEqual(self.closed(self.got(link)), [(ONE, b"aborted")])
        link.give(opening(TWO))
        self.clock.advance(SNIFF_SECONDS)
        self.assertEqual(self.closed(self.got(link)), [(TWO, b"aborted")])
        self.assertEqual(self.links.sessions, 0)

    def test_link_breaks(self) -> None:
        """
        A link that breaks ends its sessions as lost connections.
        """
        link = self.greeted()
        link.give(opening(ONE) + data(ONE, hello()))
        link.give(opening(TWO) + data(TWO, b"GET / HTTP/1.1\r\n"))
        self.assertEqual(self.world.requests.counts()["lines"], 1)
        link.lose()
        self.assertEqual(self.world.requests.counts()["lines"], 0)
        self.assertEqual(self.pages.made[0].lost, "ConnectionLost")
        self.assertEqual((self.links.sessions, self.links.gateways), (0, {}))

    def test_silent_gateway(self) -> None:
        """
        A gateway that hangs is pinged, and given up if it does not answer.
        """
        link = self.greeted()
        link.give(opening(ONE) + data(ONE, hello()))
        step = VISIT_SECONDS / 100
        self.clock.pump([step] * 250)
        self.assertIn(Kind.PING, [one.kind for one in packets(link.take())])
        self.clock.pump([step] * 250)
        self.assertTrue(link.is_aborted)


class TransportTests(GatewayCase):
    """A session as what served it sees it: a transport."""

    def page(self, kind: type[Page] = Page) -> tuple[MemoryTransport, Page]:
        """Open a session of HTTP."""
        self.pages.kind = kind
        link = self.greeted()
        link.give(opening(ONE) + data(ONE, b"GET "))
        return link, self.pages.made[-1]

    def test_addresses(self) -> None:
        """
        The peer is the player.
        """
        _, page = self.page()
        peer = page.transport.getPeer()
        self.assertEqual((peer.host, peer.port, peer.type), ("192.0.2.1", 7, "TCP"))

    def test_ends(self) -> None:
        """
        The peer's end of sending ends a connection, or half of it; our end goes after
        what was written.
        """
        link, page = self.page()
        link.give(data(ONE, b""))
        self.assertEqual(self.closed(self.got(link)), [(ONE, b"done")])
        self.assertEqual(page.lost, "ConnectionDone")
        link, page = self.page(HalfPage)
        link.give(data(ONE, b""))
        self.assertEqual(page.got, b"GET |")
        page.transport.write(b"answer")
        page.transport.loseConnection()
        page.transport.write(b"too late")
        link.give(data(ONE, b"more"))
        self.assertEqual(page.lost, "")
        found = self.got(link)
        self.assertEqual(found[0].body, b"answer")
        self.assertEqual(self.closed(found[1:]), [(ONE, b"done")])
        self.assertEqual((page.got, page.lost), (b"GET |", "ConnectionDone"))

    def test_mistake(self) -> None:
        """
        A mistake of ours ends one session; the others of its link go on.
        """
        link, page = self.page()
        link.give(opening(TWO) + data(TWO, b"GET "))
        link.give(data(ONE, b"FAIL") + data(TWO, b"on"))
        self.assertEqual(self.closed(self.got(link)), [(ONE, b"aborted")])
        self.assertEqual(self.pages.made[-1].got, b"GET on")
        self.assertEqual(page.lost, "ConnectionLost")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_slow_client(self) -> None:
        """
        A client that does not read stops what is sent to it, and nobody else.
        """
        link, page = self.page()
        link.give(opening(TWO) + data(TWO, b"GET "))
        other = self.pages.made[-1]
        producers = [Producer(), Producer()]
        for one, producer in zip((page, other), producers, strict=True):
            one.transport.registerProducer(producer, True)
        page.transport.write(bytes(WINDOW + 10))
        other.transport.write(b"quick")
        self.assertEqual([one.calls for one in producers], [["pause"], []])
        sent = self.got(link)
        sizes = {ONE: 0, TWO: 0}
        for packet in sent:
            sizes[packet.session_id] += len(packet.body)
        self.assertEqual(sizes, {ONE: WINDOW, TWO: 5})
        # It wants to close: the rest goes first.
        page.transport.loseConnection()
        self.assertEqual(self.got(link), [])
        more = Packet(Kind.WINDOW, (100).to_bytes(4), session_id=ONE)
        link.give(written(more))
        self.assertEqual(producers[0].calls, ["pause", "resume"])
        page.transport.unregisterProducer()
        found = self.got(link)
        self.assertEqual(found[0].body, bytes(10))
        self.assertEqual(self.closed(found), [(ONE, b"done")])

    def test_abort(self) -> None:
        """
        Nothing that is held is sent when a connection is aborted.
        """
        link, page = self.page()
        page.transport.write(bytes(WINDOW + 10))
        self.got(link)
        page.transport.abortConnection()
        self.assertEqual(self.closed(self.got(link)), [(ONE, b"aborted")])
        self.assertEqual(page.lost, "ConnectionLost")

    def test_paused(self) -> None:
        """
        Who reads nothing for a while gives no credit, and gets later what came.
        """
        link, page = self.page()
        page.transport.pauseProducing()
        link.give(data(ONE, bytes(WINDOW - 4)))
        self.assertEqual(self.got(link), [])
        self.assertEqual(page.got, b"GET ")
        page.transport.resumeProducing()
        self.assertEqual(page.got, b"GET ")
        (window,) = self.got(link)
        self.assertEqual(window.kind, Kind.WINDOW)
        self.assertEqual(int.from_bytes(window.body), WINDOW)
        self.assertEqual(page.got, b"GET " + bytes(WINDOW - 4))

    def test_paused_again_and_again(self) -> None:
        """
        Who takes a piece at a time gives credit for what it took: a client cannot have
        the node hold more than its window.
        """
        link, page = self.page(Sipping)
        credit, sent = WINDOW - 4, 0
        for _ in range(50):
            piece = bytes(min(credit, 10))
            for _ in range(100):
                if credit >= len(piece) > 0:
                    link.give(data(ONE, piece))
                    credit -= len(piece)
                    sent += len(piece)
            if credit > 0:
                link.give(data(ONE, bytes(credit)))
                sent += credit
                credit = 0
            self.assertLessEqual(sent - len(page.got), WINDOW)
            page.transport.resumeProducing()
            for window in self.got(link):
                credit += int.from_bytes(window.body)

    def test_paused_to_the_end(self) -> None:
        """
        The end that comes meanwhile comes after what came.
        """
        link, page = self.page(HalfPage)
        page.transport.pauseProducing()
        link.give(data(ONE, b"last") + data(ONE, b""))
        page.transport.resumeProducing()
        self.turn()
        self.assertEqual(page.got, b"GET last|")

    def test_too_much(self) -> None:
        """
        A gateway that sends more than it may loses the session.
        """
        link, page = self.page()
        page.transport.pauseProducing()
        link.give(data(ONE, bytes(WINDOW)))
        self.assertEqual(self.closed(self.got(link)), [(ONE, b"bad_packet")])
        self.assertEqual(page.lost, "ConnectionLost")


class EndTests(GatewayCase):
    """A node that stops."""

    def test_drain(self) -> None:
        """
        A node that drains asks gateways for no more sessions; those that last go on.
        """
        link = self.greeted()
        link.give(opening(ONE) + data(ONE, hello()))
        self.told(link)
        self.links.drain()
        self.assertEqual(self.closed(self.got(link)), [(0, b"draining")])
        link.give(data(ONE, b'{"type":"ping"}\n'))
        self.assertEqual(self.told(link)[0]["type"], "pong")
        # A session that was on its way is served.
        link.give(opening(TWO) + data(TWO, hello("bob")))
        self.assertEqual(self.told(link, TWO)[0]["type"], "welcome")
        # A gateway that links now is not greeted: it tries another node.
        late = self.link()
        found = self.got(late)
        self.assertEqual([one.kind for one in found], [Kind.CLOSE])
        self.assertTrue(late.is_closed)

    def test_stop(self) -> None:
        """
        Players are sent why, then the links close.
        """
        link = self.greeted()
        link.give(opening(ONE) + data(ONE, hello()))
        self.told(link)
        stopped = self.links.stopService()
        self.world.requests.stopService()
        found = self.got(link)
        said = json.loads(found[0].body)
        self.assertEqual(said["error"]["code"], "shutdown")
        self.assertEqual(self.closed(found), [(ONE, b"done"), (0, b"draining")])
        self.assertTrue(link.is_closed)
        self.successResultOf(stopped)
