"""By which names browsers may call the server: DNS rebinding."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.support.http import ask
from tests.support.logged import watch_events
from tests.support.websocket_net import KEY, Echo
from vinom.base.limits.origins import Hosts, Origins, read_origin_rule
from vinom.base.reactor.turns import TurnEnd
from vinom.net.lines.websocket import WebSockets
from vinom.net.web.answers import Folder, Health, QuietSite, health_pages
from vinom.net.web.front_door import FrontDoor
from vinom.net.web.guards import NamedHosts
from vinom.net.web.websocket import WebSocketPage
from vinom.node.build import admin_site, own_hosts
from vinom.node.settings import Settings

GOOD = (
    *("127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "192.0.2.1", "[2001:db8::1]"),
    *("localhost", "LocalHost:8080", "play.example.org", "play.example.org:8443"),
    *("Play.Example.Org", "www.example.com", "example.net:99"),
)
BAD = (
    *("evil.example", "evil.example:8080", "localhost.evil.example", "example.com"),
    *("play.example.org.evil.example", "127.0.0.1.evil.example", "", " ", "a b"),
    *("[evil]", "*.example.com", "localhost:x", "play.example.org@evil", "x" * 300),
)
HOSTS = Hosts(
    "play.example.org",
    (read_origin_rule("*.example.com"), read_origin_rule("example.net:5173")),
)


class HostsTests(SynchronousTestCase):
    def test_own_names(self) -> None:
        """
        Addresses, localhost, and what the operator set; a port does not matter.
        """
        for host in GOOD:
            self.assertTrue(HOSTS.allows(host), host)

    def test_other_names(self) -> None:
        """
        Any other name may be an attacker's, who has it lead here.
        """
        for host in (*BAD, None):
            self.assertFalse(HOSTS.allows(host), host)

    def test_settings(self) -> None:
        """
        The names are those of advertise and origin; with any_origin, all are.
        """
        rule = read_origin_rule("example.com")
        hosts = own_hosts(Settings(advertise="play.example.org", origin=(rule,)))
        self.assertTrue(hosts.allows("play.example.org"))
        self.assertTrue(hosts.allows("example.com"))
        self.assertFalse(hosts.allows("evil.example"))
        self.assertTrue(own_hosts(Settings(any_origin=True)).allows("evil.example"))


class RebindingTests(SynchronousTestCase):
    """The page, the WebSocket and the admin API."""

    def setUp(self) -> None:
        self.clock: Any = Clock()
        sockets = WebSockets(Echo, self.clock, TurnEnd(self.clock))
        page = WebSocketPage(sockets, Origins(), hosts=HOSTS)
        pages: Any = NamedHosts(
            Folder(ws=page, health=Health(), page=Health()),
            HOSTS,
            self.clock,
            (b"health",),
        )
        self.door: Any = FrontDoor(QuietSite(pages, self.clock), page, self.clock)

    def ask(self, path: str, *lines: str, pieces: int = 1) -> StringTransport:
        transport: Any = StringTransport()
        transport.protocol = self.door.buildProtocol(transport.getPeer())
        transport.protocol.makeConnection(transport)
        sent = "\r\n".join((f"GET {path} HTTP/1.1", *lines, "", "")).encode()
        size = -(-len(sent) // pieces)
        for at in range(0, len(sent), size):
            transport.protocol.dataReceived(sent[at : at + size])
        self.clock.advance(0)
        return transport

    def upgrade(self, host: str, pieces: int = 1) -> bytes:
        return self.ask(
            "/ws",
            f"Host: {host}",
            f"Origin: http://{host}",
            *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
            f"Sec-WebSocket-Key: {KEY}",
            pieces=pieces,
        ).value()

    def test_websocket(self) -> None:
        """
        A page whose name leads here gets no WebSocket, although its origin is the same
        as the name; and learns which setting to change if the name is right.
        """
        for pieces in (1, 2):
            refused = self.upgrade("evil.example:18080", pieces)
            self.assertTrue(
                refused.startswith(b"HTTP/1.1 421 Misdirected Request\r\n"), refused
            )
            self.assertIn(b"host_refused", refused)
            self.assertIn(b"set advertise or origin", refused)
            for host in ("127.0.0.1:8080", "play.example.org"):
                self.assertIn(b" 101 ", self.upgrade(host, pieces))

    def test_page(self) -> None:
        """
        Nor does it get pages: not without a Host, nor with two.
        """
        for lines in (
            ("Host: evil.example",),
            ("Host: localhost", "Host: evil.example"),
            ("Host: evil.example", "Host: localhost"),
            (),
        ):
            self.assertIn(b" 421 ", self.ask("/page", *lines).value()[:20], lines)
        self.assertIn(b" 200 ", self.ask("/page", "Host: localhost").value())

    def test_health(self) -> None:
        """
        Load balancers ask under any name.
        """
        self.assertIn(b" 200 ", self.ask("/health", "Host: whatever.internal").value())

    def test_admin(self) -> None:
        """
        The admin API over TCP is held to its names as well; metrics are for browsers.
        """
        api = Folder(v1=Folder(status=Health()), metrics=Health())
        self.door = admin_site(api, Settings(), self.clock)
        evil = "Host: evil.example"
        self.assertIn(b" 421 ", self.ask("/v1/status", evil).value())
        self.assertIn(b" 200 ", self.ask("/metrics", evil).value())
        browser = "Accept-Language: en"
        self.assertIn(b" 421 ", self.ask("/metrics", evil, browser).value())
        self.assertIn(b" 200 ", self.ask("/v1/status", "Host: 127.0.0.1").value())


class HealthTests(SynchronousTestCase):
    """Orchestrators decide by status codes."""

    def setUp(self) -> None:
        self.obstacle: str | None = None
        self.pages = health_pages(lambda: self.obstacle)

    def test_serving(self) -> None:
        """
        A node that serves is healthy and ready.
        """
        self.assertEqual(ask(self.pages, "GET", "/health").status, 200)
        self.assertEqual(ask(self.pages, "GET", "/ready").status, 200)

    def test_draining(self) -> None:
        """
        A draining node is healthy, and not ready, with the reason.
        """
        self.obstacle = "draining"
        self.assertEqual(ask(self.pages, "GET", "/health").status, 200)
        ready = ask(self.pages, "GET", "/ready")
        self.assertEqual((ready.status, ready.json), (503, {"status": "draining"}))

    def test_nothing_else(self) -> None:
        """
        No other page is there: the admin API is not on this port.
        """
        for path in ("/", "/v1/status", "/metrics", "/health/x"):
            self.assertEqual(ask(self.pages, "GET", path).status, 404, path)

    def test_head(self) -> None:
        """
        Probes may use HEAD, and leave no trace in the log.
        """
        seen = watch_events(self)
        probed = ask(self.pages, "HEAD", "/health")
        self.assertEqual((probed.status, probed.body), (200, b""))
        self.assertEqual(probed.headers["content-length"], "16")
        self.assertEqual([event for event in seen if "HEAD" in str(event)], [])

    def test_other_methods(self) -> None:
        """
        A wrong method is refused in JSON like everything else.
        """
        refused = ask(self.pages, "POST", "/health", b"x")
        self.assertEqual((refused.status, refused.headers["allow"]), (405, "GET"))
        self.assertEqual(refused.json["error"]["message"], "use GET")
