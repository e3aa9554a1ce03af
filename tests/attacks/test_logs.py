"""What strangers can have logged: a flood must not fill the disk."""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, Logger, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from tests.support.certificates import leaf
from tests.support.ears import Ear
from tests.support.http import ask
from tests.support.lobbies import LobbyWorld
from vinom.base.limits.buckets import NetworkBuckets, NetworkCounts
from vinom.base.limits.logged import REPORT_SECONDS, BoundedLog, LogBounds
from vinom.base.limits.origins import Hosts, Origins
from vinom.base.reactor.turns import TurnEnd
from vinom.net.lines.limits import CountedFactory, LineBounds, TlsHellos
from vinom.net.lines.tcp import LineFactory, Lines
from vinom.net.lines.tls import ReloadableTls
from vinom.net.lines.websocket import WebSockets
from vinom.net.web.answers import Folder, Health, QuietSite
from vinom.net.web.front_door import FrontDoor
from vinom.net.web.guards import NamedHosts
from vinom.net.web.websocket import WebSocketPage

PACKAGE = Path(__file__).resolve().parents[2] / "vinom"
FLOOD = 200
#: Lines of one kind at once, and one that says how many more there were.
MOST = int(LogBounds().burst) + 1

#: Files that read what strangers send, or answer it. In these, a line that is logged
#: without bounds must be in `UNBOUNDED`.
READERS = (
    *("net/lines", "net/dtls", "net/packets", "net/web", "base/messages"),
    *("lobby/conversation", "lobby/matches", "lobby/matchmaking", "rooms"),
    *("fleet/gameserver/connections.py", "fleet/gameserver/reception.py"),
    *("fleet/gameserver/room.py", "fleet/relay/room.py"),
    *("node/requests.py", "node/web"),
)
#: How a line without bounds of its own begins, and why that is harmless.
UNBOUNDED = {
    "hello from {name}": "level debug: only where the operator asks for it",
    "a flood of junk began": "at most once in five seconds",
    "the flood of junk is over": "as often as it began",
    "cannot collect metrics": "only the operator asks for metrics",
    "cannot look after rooms": "our own mistake, at most twice per second",
    "ended {count} rooms of nodes": "only after a node was stopped, one line for many",
    "the admin API failed": "only the operator asks",
    "an operator removed": "an operator did it",
    "{game}:\\n{fault}": "only in `vinom dev`, whose author wants to read it",
    "an operator ended": "an operator did it",
    "an operator moves": "an operator did it",
    "players not sent to where their match goes on": "a game server died",
    "overloaded": "at most as often as a second has overloads",
    "no longer overloaded": "as often as it began",
    "match {match_id}": "once for each event of a match, which limits bound",
    "a match that was withdrawn": "our mistake",
    "the identity provider": "its keys are fetched at most once per minute",
    "the end of match": "our mistake",
    "a message was not sent": "our mistake",
    "a place was not": "our mistake",
    "skipped a message of another node": "once for each message of another version",
    "a line stays listed": "once for each player who leaves while the store is away",
    "players may have missed news": "our mistake",
    "a line was not forgotten": "our mistake",
    "lines were not reported": "our mistake",
    "players of other nodes miss": "once each time that the store goes away",
    "{count} players missed messages": "once each time that the store comes back",
    "players are not put back": "our mistake, once each time that the store is emptied",
    "keys of players are not known": "once for each match, which limits bound",
    "seat not released": "our mistake",
    "end of match not recorded": "our mistake",
    "storage does not answer": "once for each try of ours to reach it",
    "a round of matchmaking failed": "our mistake, once in each round",
    "a player who is away keeps a place": "our mistake",
    "matchmaking step failed": "our mistake",
    "seats are not settled": "our mistake",
    "a match was not compared with the store": "our mistake",
    "a step of a party failed": "our mistake",
    "prematch step failed": "our mistake",
    "a decline was not counted": "once for each player of a match that was found",
    "places were not sent": "our mistake",
    "the rule of queue": "a mistake of the rule's author, once in each round of it",
    "a round of match": "our mistake, once for each round of a match",
    "room {room_id}": "our mistake; the room closes after it",
    "{name}, line {line}: browsers will": "once for each file of the owner's, at start",
}


class LoggedCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self._remember)
        self.addCleanup(globalLogPublisher.removeObserver, self._remember)

    def _remember(self, event: LogEvent) -> None:
        if event["log_level"].name != "debug":
            self.lines.append(formatEvent(event))

    def check(self, refuse: Callable[[], Any], kinds: int = 1) -> None:
        """Refuse something often, and see what was logged then and later."""
        for _ in range(FLOOD):
            refuse()
        self.clock.advance(REPORT_SECONDS)
        self.assertGreater(len(self.lines), 1)
        self.assertLessEqual(len(self.lines), kinds * MOST, self.lines[:3])
        counted = [line for line in self.lines if "more lines were not logged" in line]
        self.assertEqual(len(counted), kinds, self.lines[-3:])


class BoundedLogTests(LoggedCase):
    def test_count(self) -> None:
        """
        The lines that are left out are counted, by kind, and the count is logged.
        """
        log = BoundedLog(Logger(), self.clock, LogBounds(1.0, 3.0))
        for number in range(10):
            log.info("refused {host}", host=number)
        log.info("another kind")
        self.assertEqual(
            self.lines, [*(f"refused {n}" for n in range(3)), "another kind"]
        )
        self.lines.clear()
        self.clock.advance(REPORT_SECONDS)
        self.assertEqual(
            self.lines, ["7 more lines were not logged, the last one: refused 9"]
        )
        self.lines.clear()
        log.info("refused {host}", host="x")
        self.assertEqual(self.lines, ["refused x"])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RefusedInputTests(LoggedCase):
    """Each kind of input that is refused, a flood of it, and what is logged."""

    def lobby(self, **facts: Any) -> LineFactory:
        clock: Any = self.clock
        return LineFactory(Lines(Ear, clock, **facts))

    def come(self, factory: Any, *pieces: bytes, host: str = "203.0.113.7") -> Any:
        """Connect, send these, and hang up."""
        address = IPv4Address("TCP", host, 9)
        protocol = factory.buildProtocol(address)
        if protocol is None:
            return
        transport: Any = StringTransport(peerAddress=address)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        for piece in pieces:
            transport.protocol.dataReceived(piece)
        reason = ConnectionDone()
        if transport.disconnecting or not transport.disconnected:
            transport.protocol.connectionLost(Failure(reason))

    def test_hellos(self) -> None:
        """
        Names that nobody may have, wrong keys, wrong credentials.
        """
        world = LobbyWorld()
        self.clock = world.clock
        for data in (
            {"name": "\x1b"},
            {"player_key": "x"},
            {"credentials": {"username": "a", "password": "b"}},
        ):
            self.lines.clear()

            def refuse(data: Any = data) -> None:
                # Each from elsewhere: no limit of an address hides the log's.
                self.number += 1
                line = world.line(host=f"203.0.113.{self.number}")
                line.ask("hello", protocol=1, **data)
                line.hang_up()

            self.number = 0
            self.check(refuse)

    def test_too_many_messages(self) -> None:
        """
        Players who send without end.
        """
        world = LobbyWorld()
        self.clock = world.clock

        def refuse() -> None:
            line = world.line()
            while not line.is_closed:
                line.ask("ping")

        self.check(refuse)

    def test_lines(self) -> None:
        """
        Lines in the clear, and too many of one address.
        """
        plain = self.lobby()
        self.check(lambda: self.come(plain, b"{}\n"))
        self.lines.clear()
        full = self.lobby(bounds=LineBounds(per_network=0))
        self.check(lambda: self.come(full))

    def test_tls(self) -> None:
        """
        What only begins like TLS, and too many handshakes.
        """
        made = leaf()
        tls = ReloadableTls(made.certificate, made.key)
        broken = self.lobby(tls=tls)
        self.check(lambda: self.come(broken, b"\x16\x03\x01\0\x05hello"))
        self.lines.clear()
        clock: Any = self.clock
        hellos = TlsHellos(NetworkBuckets(0.01, 0.0), clock)
        limited = self.lobby(tls=tls, tls_hellos=hellos)
        self.check(lambda: self.come(limited, b"\x16"))

    def test_http(self) -> None:
        """
        Requests of all kinds that are wrong: at most the lines of the refusals that we
        log ourselves; none of Twisted's.
        """
        clock: Any = self.clock
        sockets = WebSockets(Ear, clock, TurnEnd(clock), LineBounds(per_network=1))
        page = WebSocketPage(sockets, Origins())
        pages = Folder(ws=page, health=Health())
        named: Resource = NamedHosts(pages, Hosts("localhost"), clock)
        door = FrontDoor(QuietSite(named, clock), page, clock)
        head = b" HTTP/1.1\r\nHost: localhost\r\n"
        for request in (
            b"GET /ws" + head + b"\r\n",
            b"GET /ws HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        ):
            self.lines.clear()
            self.check(lambda request=request: self.come(door, request))
        self.lines.clear()
        origins = (b"Origin: https://%d.evil.example\r\n\r\n" % at for at in count())
        self.check(lambda: self.come(door, b"GET /ws" + head + next(origins)))
        form = b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 5\r\n"
        for request in (
            b"HEAD /health" + head + b"\r\n",
            b"HEAD /nothing" + head + b"\r\n",
            b"TRACE /health" + head + b"\r\n",
            b"nonsense\r\n\r\n",
            b"GET /health" + head + b"Content-Length: x\r\n\r\n",
            b"GET /health" + head + b"Authorization: Basic !\r\n\r\n",
            b"GET /health" + head + b"Cookie: \xff=;;=\r\n\r\n",
            b"GET /health" + head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"POST /health" + head + form + b"\r\n12345",
            b"GET /%ff%00/../.." + head + b"\r\n",
            b"GET /health HTTP/9.9\r\n\r\n",
        ):
            self.lines.clear()
            for _ in range(FLOOD):
                self.come(door, request)
            self.assertEqual(self.lines, [], request)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_slow_requests(self) -> None:
        """
        Requests that never end.
        """
        clock: Any = self.clock
        site = QuietSite(Folder(health=Health()), clock)
        for _ in range(FLOOD):
            channel: Any = site.buildProtocol(None)
            channel.makeConnection(StringTransport())
            channel.dataReceived(b"GET")
        self.clock.pump([10.0] * 10)
        self.assertEqual(self.lines, [])

    def test_admin(self) -> None:
        """
        Connections beyond the limits of the admin port; and wrong tokens, which log
        nothing.
        """
        clock: Any = self.clock
        site = QuietSite(Folder(), clock)
        log = BoundedLog(Logger(), clock)
        full = CountedFactory(site, NetworkCounts(0), log)
        self.check(lambda: self.come(full))

    def test_other_libraries(self) -> None:
        """
        The library that judges handshakes logs nothing.
        """
        self.assertEqual(
            [type(one) for one in logging.getLogger("websockets.server").handlers],
            [logging.NullHandler],
        )
        self.assertEqual(ask(Folder(), "GET", "/").status, 404)


class EnumeratedTests(SynchronousTestCase):
    """Every line that is logged where strangers are read."""

    def test_every_call(self) -> None:
        """
        Each is bounded, or listed with the reason why it need not be.
        """
        found = set()
        for source in READERS:
            path = PACKAGE / source
            for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
                for format in _unbounded_calls(file):
                    known = [one for one in UNBOUNDED if format.startswith(one)]
                    self.assertTrue(known, f"{file}: {format!r} has no bound")
                    found.update(known)
        self.assertEqual(set(UNBOUNDED) - found, set(), "these are logged no more")


def _unbounded_calls(file: Path) -> list[str]:
    """List the formats that a file hands to a `Logger` without bounds."""
    tree = ast.parse(file.read_text())
    bounded = {
        ast.unparse(node.targets[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "BoundedLog"
    }
    # Handed on, or made by a default: the class says what they are.
    bounded |= {"self._lines.log", "self._requests.log", "self.reception.log"}
    if "log: BoundedLog" in file.read_text():
        bounded |= {"self._log"} if "Logger()" not in file.read_text() else set()
    formats = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        formatted = {"log_unless_away": 1, "in_background": 2}
        if (place := formatted.get(ast.unparse(node.func))) is not None:
            formats.append(ast.unparse(node.args[place]).strip("'\""))
        if not isinstance(node.func, ast.Attribute):
            continue
        target = ast.unparse(node.func.value)
        if (
            node.func.attr in ("info", "warn", "error", "failure", "debug", "critical")
            and target.rpartition(".")[2] in ("_log", "log", "_bounded")
            and target not in bounded
        ):
            assert node.args, f"{file}: {ast.unparse(node)}"
            text = ast.unparse(node.args[0])
            formats.append(text.removeprefix("f").strip("'\"").replace("{{", "{"))
    return formats
