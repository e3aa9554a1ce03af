"""The player's place in the lobby, against the real lobby in memory."""

from __future__ import annotations

import socket
from typing import Any

from msgspec import json
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.lobbies import Duel, LobbyWorld
from tests.support.lobby_lines import LobbyEndpoint
from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.lobby import Hello, MatchEnded, MatchFound, QueueStatus
from vinom.client.line import LineLost, LobbyLine, LobbyRefusal
from vinom.client.lobby import LobbyClient, RoomOffered
from vinom.errors import Code
from vinom.lobby.matchmaking.queues import read_tables


class Open(Duel):
    """A game that takes newcomers."""

    name = "open"
    late_join = True


class LobbyClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = LobbyWorld()
        self.endpoint = LobbyEndpoint(self.world)

    def player(self, name: str) -> LobbyClient:
        hello = Hello(PROTOCOL, name)
        return LobbyClient(
            self.world.clock, self.endpoint, hello, timeout=5.0, chance=lambda: 0.0
        )

    def pass_time(self, seconds: float = 0.0) -> None:
        self.world.clock.pump([0.0] * 8 + [0.05] * round(seconds / 0.05))

    def await_(self, waiting: Deferred[Any], seconds: float = 0.0) -> Any:
        self.pass_time(seconds)
        return self.successResultOf(waiting)

    def match(self) -> tuple[LobbyClient, LobbyClient, MatchFound]:
        ann, bob = self.player("ann"), self.player("bob")
        for_ann, for_bob = ann.find_match("duel"), bob.find_match("duel")
        found = self.await_(for_ann)
        self.successResultOf(for_bob)
        return ann, bob, found

    def test_hello(self) -> None:
        """
        A player learns who it is and which games there are.
        """
        ann = self.player("ann")
        identity = self.await_(ann.hello())
        self.assertEqual(identity.name, "ann")
        self.assertEqual(identity.games, ("duel", "party"))
        self.assertEqual(ann.identity, identity)

    def test_secret_is_not_shown(self) -> None:
        """
        The player key does not end up in logs.
        """
        identity = self.await_(self.player("ann").hello())
        self.assertNotIn(identity.key, repr(identity))

    def test_match_found(self) -> None:
        """
        Two who queue for the same game get seats in one match.
        """
        ann, bob = self.player("ann"), self.player("bob")
        places: list[QueueStatus] = []
        for_ann = ann.find_match("duel", {"size": 12}, on_status=places.append)
        self.pass_time()
        self.assertEqual([place.position for place in places], [1])
        for_bob = bob.find_match("duel", {"size": 12})
        ann_found, bob_found = self.await_(for_ann), self.await_(for_bob)
        self.assertEqual(ann_found.match_id, bob_found.match_id)
        self.assertEqual({ann_found.seat, bob_found.seat}, {0, 1})
        self.assertTrue(all(line.is_closed for line in self.endpoint.lines))

    def test_room_offered(self) -> None:
        """
        In a queue with backfill the search ends with the room that has a seat.
        """

        class Running:
            async def seats(self, *given: object) -> str:
                return "r1"

        tables = {"fill": {"game": "open", "backfill": True}}
        self.world = LobbyWorld(games={"open": Open()}, tables=read_tables(tables))
        self.world.matchmaker.rounds.running_rooms = Running()
        self.endpoint = LobbyEndpoint(self.world)
        finding = self.player("ann").find_match("open", queue="fill")
        self.pass_time()
        offered = self.failureResultOf(finding, RoomOffered).value
        self.assertEqual((offered.room_id, offered.game), ("r1", "open"))
        self.assertTrue(all(line.is_closed for line in self.endpoint.lines))

    def test_refused_name(self) -> None:
        """
        A name that nobody may have is refused with the lobby's own code.
        """
        hello = self.player("\x07").hello()
        self.pass_time()
        refusal = self.failureResultOf(hello, LobbyRefusal).value
        self.assertEqual(refusal.code, "name_refused")

    def test_unknown_game(self) -> None:
        """
        Queueing for a game that is not there fails at once, and says so.
        """
        finding = self.player("ann").find_match("chess")
        self.pass_time()
        refusal = self.failureResultOf(finding, LobbyRefusal).value
        self.assertEqual(refusal.code, "unknown_game")

    def test_address_has_enough_matches(self) -> None:
        """
        A client whose address has too many matches asks again only after the time that
        the lobby names; if the answer is still the same, its user gets the reason.
        """
        self.world = LobbyWorld(matches_per_address=1)
        self.endpoint = LobbyEndpoint(self.world)
        self.match()
        finding = self.player("cleo").find_match("duel")
        lines = len(self.endpoint.lines)
        self.pass_time(9.0)
        self.assertNoResult(finding)
        self.assertEqual(len(self.endpoint.lines), lines)
        self.assertEqual(self.world.requests.errors["busy"], 1)
        self.pass_time(2.0)
        refusal = self.failureResultOf(finding, LobbyRefusal).value
        self.assertEqual(refusal.code, "busy")
        self.assertEqual(self.world.requests.errors["busy"], 2)

    def test_nobody_answers(self) -> None:
        """
        A lobby that is not there is tried for a while, then given up.
        """
        self.endpoint.is_up = False
        finding = self.player("ann").find_match("duel")
        self.pass_time(4.0)
        self.assertNoResult(finding)
        self.pass_time(4.0)
        self.failureResultOf(finding, LineLost)

    def test_line_lost_while_waiting(self) -> None:
        """
        A line that breaks in the queue is made again, and the place is kept.
        """
        ann = self.player("ann")
        finding = ann.find_match("duel")
        self.pass_time()
        self.endpoint.lines[0].end()
        self.pass_time(1.0)
        other = self.player("bob").find_match("duel")
        found = self.await_(finding, 1.0)
        self.assertEqual(self.successResultOf(other).match_id, found.match_id)

    def test_closed_before_the_welcome(self) -> None:
        """
        A player who finds a gateway that stops, or says hello twice, tries again; one
        who must not use plain text is refused, with the reason.
        """
        clock, dialled = Clock(), []

        class Closing:
            code = "draining"

            def connect(self, factory: Any) -> Deferred[Any]:
                line = factory.buildProtocol(None)
                transport: Any = StringTransport()
                transport.setTcpNoDelay = transport.setTcpKeepAlive = bool
                line.makeConnection(transport)
                error = {"code": self.code, "message": "go", "details": {}}
                word = json.encode({"type": "error", "success": False, "error": error})
                clock.callLater(0, line.dataReceived, word + b"\n")
                clock.callLater(0.01, line.connectionLost, Failure(ConnectionDone()))
                dialled.append(self.code)
                return succeed(line)

        endpoint: Any = Closing()
        finding = LobbyClient(clock, endpoint, Hello(PROTOCOL, "ann")).find_match(
            "duel"
        )
        clock.pump([0.02] * 50)
        endpoint.code = "replaced"
        clock.pump([0.02] * 200)
        self.assertGreater(len(dialled), 3)
        self.assertNoResult(finding)
        endpoint.code = "plaintext_refused"
        clock.pump([0.02] * 200)
        refusal = self.failureResultOf(finding, LobbyRefusal).value
        self.assertEqual(refusal.code, Code.PLAINTEXT_REFUSED)

    def test_many_lose_their_lines(self) -> None:
        """
        Of many who wait in the queue when the lobby goes away no two dial again in the
        same moment.
        """
        dialled: list[float] = []

        class Away:
            def connect(self, factory: Any) -> Deferred[Any]:
                dialled.append(clock.seconds())
                return fail(ConnectionRefusedError())

        clock = Clock()
        for number in range(20):
            client = LobbyClient(clock, Away(), Hello(PROTOCOL, f"p{number}"))  # type: ignore[arg-type]
            client.find_match("duel")
        del dialled[:]
        clock.pump([0.0001] * 30_000)
        self.assertGreater(len(dialled), 60)
        self.assertGreater(len({round(one, 3) for one in dialled}), 45)

    def test_cancel(self) -> None:
        """
        One who gives up waiting is not matched any more.
        """
        finding = self.player("ann").find_match("duel")
        self.pass_time()
        finding.cancel()
        self.pass_time()
        self.failureResultOf(finding)
        other = self.player("bob").find_match("duel")
        self.pass_time(1.0)
        self.assertNoResult(other)

    def test_back_in_its_match(self) -> None:
        """
        A player who is in a match, and queues on a new line, is back in it.
        """
        ann, _, found = self.match()
        ann.close()
        again = self.await_(ann.find_match("duel"), 0.5)
        self.assertEqual(again.match_id, found.match_id)

    def test_forgotten(self) -> None:
        """
        A server that was started again, and has forgotten a player, has it queue as
        somebody new.
        """
        ann, _, found = self.match()
        world, self.world = self.world, LobbyWorld(seed=9)
        again = LobbyEndpoint(self.world)
        self.patch(self.endpoint, "connect", again.connect)
        world.clock.advance(0)
        waiting = ann.find_match("duel", last_match=found.match_id)
        other = self.player("bob").find_match("duel")
        self.pass_time(1.0)
        world.clock.advance(1.0)
        self.pass_time(1.0)
        new = self.successResultOf(waiting)
        self.assertEqual(self.successResultOf(other).match_id, new.match_id)

    def test_whereabouts_running(self) -> None:
        """
        A player whose match is running is sent its address again, with a fresh token.
        """
        ann, _, found = self.match()
        again = self.await_(ann.whereabouts())
        self.assertIsInstance(again, MatchFound)
        self.assertEqual(again.match_id, found.match_id)
        self.assertNotEqual(again.token, found.token)

    def test_whereabouts_ended(self) -> None:
        """
        A player whose match is over is sent how it ended, and who played.
        """
        ann, _, found = self.match()
        self.world.fleet.end(0, "lost")
        ended = self.await_(ann.whereabouts())
        self.assertEqual(ended, MatchEnded(found.match_id, "lost", None, found.players))

    def test_whereabouts_nowhere(self) -> None:
        """
        A player who never queued is nowhere.
        """
        ann = self.player("ann")
        self.assertIsNone(self.await_(ann.whereabouts()))

    def test_next_match_is_not_the_last(self) -> None:
        """
        One who queues again just before the lobby knows that the match is over
        waits for a new match, and does not get the old one.
        """
        ann, bob, found = self.match()
        again = ann.find_match("duel", last_match=found.match_id)
        self.pass_time(0.5)
        self.assertNoResult(again)
        self.world.fleet.end(0)
        self.pass_time(1.0)
        bob_again = bob.find_match("duel", last_match=found.match_id)
        new = self.await_(again, 1.0)
        self.assertNotEqual(new.match_id, found.match_id)
        self.assertEqual(self.successResultOf(bob_again).match_id, new.match_id)

    def test_back_after_void(self) -> None:
        """
        After a match that was void a player has its place in the queue back.
        """
        ann, _, found = self.match()
        self.world.fleet.end(0, "void", present=(found.seat,))
        again = ann.find_match("duel", last_match=found.match_id)
        self.pass_time()
        self.assertNoResult(again)
        self.player("cleo").find_match("duel")
        self.assertNotEqual(self.await_(again).match_id, found.match_id)

    def test_other_wish_is_dropped(self) -> None:
        """
        One who comes back from a broken line for another game is not matched
        for the old one.
        """
        ann = self.player("ann")
        first = ann.find_match("party")
        self.pass_time()
        first.addErrback(lambda _: None)
        self.endpoint.is_up = False
        self.endpoint.lines[0].end()
        self.pass_time()
        first.cancel()
        self.endpoint.is_up = True
        second = ann.find_match("duel")
        self.pass_time()
        self.player("bob").find_match("duel")
        self.assertEqual(self.await_(second).game, "duel")


class SilentLobbyTests(TestCase):
    async def test_kernel_asks(self) -> None:
        """
        The kernel finds out by itself that the lobby's machine is gone, also below
        something like TLS.
        """
        port = reactor.listenTCP(
            0, Factory.forProtocol(Protocol), interface="127.0.0.1"
        )  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        endpoint = TCP4ClientEndpoint(reactor, *port.socket.getsockname())
        gone: Deferred[None] = Deferred()
        line = LobbyLine(reactor, print, lambda: gone.callback(None))  # type: ignore[arg-type]
        wrapper = ProtocolWrapper(WrappingFactory(Factory()), line)
        await connectProtocol(endpoint, wrapper)
        found: Any = wrapper.transport
        handle, tcp = found.getHandle(), socket.IPPROTO_TCP
        self.assertTrue(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.assertEqual(handle.getsockopt(tcp, socket.TCP_KEEPIDLE), 6)
        found.loseConnection()
        await gone
