"""A player whose game server dies, while another process goes on with the match."""

from __future__ import annotations

from typing import Any

import attrs
from msgspec import structs
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import authority
from tests.support.played import HOST, PlayedWorld, ScriptedServer
from vinom.base.messages.lobby import MatchFound
from vinom.client.match import Match, MatchResult
from vinom.client.sdk import Client
from vinom.errors import Code
from vinom.net.dtls.records import NOT_ASSOCIATED
from vinom.net.packets.player import Rejected

RESUME = b"\x01" * 16


class ComingBackTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = PlayedWorld()
        self.results: list[MatchResult] = []
        self.client = Client(
            self.world.reactor, self.world.player("ann"), chance=lambda: 0.0
        )
        self.world.player("bob").find_match("duel")
        queued = self.client.queue("duel")
        self.world.pass_time(0.5)
        self.match: Match = self.successResultOf(queued)
        self.match.ended.addCallback(self.results.append)
        self.server: ScriptedServer = self.world.servers[0]

    def pass_time(self, seconds: float = 0.2) -> None:
        self.world.pass_time(seconds)

    def replace(self, after: float = 0.0) -> None:
        """Kill the game server; another process has its port after a while."""
        self.server.die()
        self.pass_time(after)
        self.server = self.world.servers[0] = self.server.succeed()

    def back_after(self, most: float = 5.0) -> float:
        """Wait until the seat is taken again; returns how long that took."""
        joins, waited = self.match.joins, 0.0
        while self.match.joins == joins and waited < most:
            self.pass_time(0.02)
            waited += 0.02
        self.assertGreater(self.match.joins, joins, "never came back")
        return waited

    def player_address(self) -> tuple[str, int]:
        """Where our socket is."""
        (found,) = {
            address for address in self.world.reactor.sockets if address[1] > 50000
        }
        return found

    def test_nobody_listens(self) -> None:
        """
        A player who is told that nobody listens at the port tries it again at once, and
        plays on with the process that takes it, without the lobby.
        """
        self.world.endpoint.is_up = False
        self.server.die()
        self.match.act({"n": 1})
        self.pass_time(0.06)
        self.assertFalse(self.match.is_connected)
        self.server = self.server.succeed()
        self.assertLess(self.back_after(), 0.3)
        self.assertEqual(self.server.joins[-1], (True, RESUME))
        self.pass_time()
        self.assertEqual(self.server.actions, [{"n": 1}])

    def test_successor_was_faster(self) -> None:
        """
        A successor that has the port before the player sends anything answers that it
        does not know the player, who is back in a moment.
        """
        self.replace()
        self.match.act({"n": 1})
        self.assertLess(self.back_after(), 0.3)
        self.assertEqual(self.server.joins[-1], (True, RESUME))
        self.pass_time()
        self.assertEqual(self.server.actions, [{"n": 1}])

    def test_silent_successor(self) -> None:
        """
        A player who is told nothing notices that its action has no answer, and is back
        after half a second.
        """
        self.world.reactor.eaten.add(NOT_ASSOCIATED)
        self.replace()
        self.match.act({"n": 1})
        self.assertLess(self.back_after(), 0.7)
        self.pass_time()
        self.assertEqual(self.server.actions, [{"n": 1}])

    def test_quiet_game(self) -> None:
        """
        Even a player who does nothing notices, by the next PING.
        """
        self.world.reactor.eaten.add(NOT_ASSOCIATED)
        self.replace()
        self.assertLess(self.back_after(), 1.7)

    def test_actions_once(self) -> None:
        """
        What was not acknowledged is sent again with its number: actions that the dead
        process had are not doubled, those that it had not arrive, in order.
        """
        for number in (1, 2):
            self.assertEqual(self.match.act({"n": number}), number)
        self.pass_time()
        # These arrive, and their acknowledgements do not.
        self.world.reactor.deaf.add(self.player_address()[1])
        self.assertEqual(self.match.act({"n": 3}), 3)
        self.pass_time(0.02)
        # And this one does not arrive.
        self.world.reactor.deaf.add(self.server.port)
        self.assertEqual(self.match.act({"n": 4}), 4)
        self.pass_time(0.02)
        self.world.reactor.deaf.clear()
        self.replace()
        self.assertEqual(self.match.act({"n": 5}), 5)
        self.back_after()
        self.pass_time()
        self.assertEqual(self.match.act({"n": 6}), 6)
        self.pass_time()
        self.assertEqual(
            [each["n"] for each in self.server.actions], [1, 2, 3, 4, 5, 6]
        )

    def test_versions_never_go_back(self) -> None:
        """
        A state that is older than one that was shown is not shown.
        """
        seen: list[int] = []
        self.match.on_state(lambda match: seen.append(match.version))
        self.server.state(4, {"n": 4})
        self.pass_time()
        self.replace()
        self.back_after()
        self.server.state(3, {"n": 3})
        self.pass_time()
        self.assertEqual(self.match.view, {"n": 4})
        self.server.state(5, {"n": 5})
        self.pass_time()
        self.assertEqual(seen, [4, 5])

    def test_events_once(self) -> None:
        """
        Events arrive once and in order, whichever process sent them.
        """
        heard: list[Any] = []
        self.match.on_event(lambda kind, data: heard.append(data))
        self.server.event("rang", 1)
        self.pass_time(0.02)
        self.world.reactor.deaf.add(self.server.port)
        self.server.event("rang", 2)
        self.pass_time(0.02)
        self.world.reactor.deaf.clear()
        self.replace()
        self.back_after()
        self.server.event("rang", 3)
        self.pass_time(0.5)
        self.assertEqual(heard, [1, 2, 3])

    def test_moved_on_purpose(self) -> None:
        """
        A server that closes the connection, because another process goes on with the
        match, is tried again at once, without the lobby.
        """
        self.world.endpoint.is_up = False
        self.server.hang_up()
        self.server.die()
        self.pass_time(0.1)
        self.assertFalse(self.match.is_connected)
        self.server = self.server.succeed()
        self.assertLess(self.back_after(), 0.25)
        self.assertEqual(self.server.joins[-1], (True, RESUME))

    def test_port_is_left_late(self) -> None:
        """
        A server that says goodbye has its port for a moment longer, and reads nothing
        from it any more: a player says hello once that is over.
        """
        self.world.endpoint.is_up = False
        self.server.hang_up()
        self.world.reactor.dead.add(self.server.port)
        self.world.pass_time()
        self.world.clock.advance(0.01)
        self.world.reactor.dead.clear()
        self.server.die()
        self.server = self.server.succeed()
        self.assertLess(self.back_after(), 0.1)

    def test_nobody_listens_yet(self) -> None:
        """
        A player whose next process needs half a second to have the port is back as soon
        as it has it, and asks no lobby, which knows nothing better.
        """
        self.world.endpoint.is_up = False
        self.server.hang_up()
        self.server.die()
        self.pass_time(0.45)
        self.server = self.server.succeed()
        self.assertLess(self.back_after(), 0.1)
        self.assertEqual(self.server.joins[-1], (True, RESUME))

    def test_moved_often(self) -> None:
        """
        A match that is moved each second makes its players wait the fifth time as long
        as the first: they have done nothing wrong.
        """
        for _ in range(5):
            self.server.hang_up()
            self.server.die()
            self.pass_time(0.1)
            self.server = self.server.succeed()
            self.assertLess(self.back_after(), 0.2)
            self.pass_time(1.0)

    def test_again_and_again(self) -> None:
        """
        A match whose game server dies every second goes on each time.
        """
        for number in range(1, 11):
            self.replace()
            self.assertEqual(self.match.act({"n": number}), number)
            self.back_after()
            self.pass_time(1.0)
        self.assertEqual([each["n"] for each in self.server.actions], [*range(1, 11)])

    def test_forged_hint(self) -> None:
        """
        Somebody who sends in the server's name that it does not know the player
        achieves nothing: the server answers a PING.
        """
        protocol = self.world.reactor.sockets[self.player_address()].protocol
        for _ in range(200):
            protocol.datagramReceived(NOT_ASSOCIATED, (HOST, self.server.port))
            self.pass_time(0.02)
        self.assertEqual((self.match.joins, self.match.handshakes), (1, 1))
        self.assertTrue(self.match.is_connected)

    def test_short_outage(self) -> None:
        """
        A network that is gone for a second costs a second: the seat is kept, and what
        was done meanwhile arrives.
        """
        self.world.reactor.dead.add(self.server.port)
        self.assertEqual(self.match.act({"n": 1}), 1)
        self.pass_time(1.0)
        self.assertTrue(self.match.is_connected)
        self.assertEqual(self.match.act({"n": 2}), 2)
        self.world.reactor.dead.clear()
        self.pass_time(1.0)
        self.assertEqual([each["n"] for each in self.server.actions], [1, 2])
        self.assertEqual(self.results, [])
        self.assertTrue(self.match.is_connected)

    def test_slow_server(self) -> None:
        """
        A server that takes a second for each answer is not dialed again and again.
        """
        self.world.reactor.delay = 0.5
        for _ in range(40):
            self.match.act({})
            self.pass_time(0.5)
        self.assertLessEqual(self.match.handshakes, 4)
        self.assertTrue(self.match.is_connected)

    def test_lobby_knows_the_new_address(self) -> None:
        """
        If the match goes on somewhere else, and nobody is left at the old address, the
        lobby says where.
        """
        self.server.die()
        self.server = self.server.succeed(46100)
        self.move_placement(46100)
        self.match.act({"n": 1})
        self.assertLess(self.back_after(), 1.0)
        self.pass_time()
        self.assertEqual(self.server.actions, [{"n": 1}])

    def move_placement(self, port: int) -> None:
        """Have the lobby name another port from now on."""
        kind = type(self.world.lobby.matches._tickets)
        found, server = kind.found, self.server

        def elsewhere(self: Any, plan: Any, placement: Any, ticket: Any) -> MatchFound:
            server.admission.add_ticket(ticket)
            return found(self, plan, attrs.evolve(placement, port=port), ticket)

        self.patch(kind, "found", elsewhere)

    def test_told_by_the_lobby(self) -> None:
        """
        A player with an open line to the lobby goes to the new address as soon as it is
        told, with the resume token.
        """
        self.server.die()
        self.world.reactor.dead.add(self.server.port)
        self.server = self.server.succeed(46100)
        old = self.match._seat._found
        self.match.moved(
            MatchFound(
                old.match_id,
                old.game,
                HOST,
                46100,
                old.server_name,
                authority().anchor.decode(),
                old.token,
                old.seat,
                old.players,
                old.expires_at,
            )
        )
        self.assertLess(self.back_after(), 0.2)
        self.assertEqual(self.server.joins[-1], (True, RESUME))

    def test_told_what_is_known(self) -> None:
        """
        A lobby that repeats where the match is disturbs nothing.
        """
        for _ in range(5):
            self.match.moved(self.match._seat._found)
            self.pass_time(0.5)
        self.assertEqual((self.match.joins, self.match.handshakes), (1, 1))

    def test_successor_knows_no_token(self) -> None:
        """
        A successor that does not accept the resume token gives the seat for a new
        token of the lobby.
        """
        self.replace()
        self.server.refusing = Code.BAD_TOKEN
        self.match.act({"n": 1})
        self.pass_time(0.3)
        self.server.refusing = None
        self.back_after()
        self.assertFalse(self.server.joins[-1][0])

    def test_own_newer_connection(self) -> None:
        """
        A server that was only slow refuses the older connection because the player's
        newer one has the seat: the player plays on.
        """
        older = self.match._seat._line
        self.replace()
        self.server.is_welcoming = False
        self.match.act({"n": 1})
        self.pass_time(0.5)
        self.match._seat.took(older, Rejected(Code.SEAT_TAKEN, "newer"))
        self.server.is_welcoming = True
        self.back_after()
        self.pass_time()
        self.assertEqual(self.results, [])
        self.assertEqual(self.server.actions, [{"n": 1}])

    def test_somebody_elses_connection(self) -> None:
        """
        A player whose seat another program has taken does not fight for it, also if it
        was about to come back.
        """
        older = self.match._seat._line
        self.world.reactor.dead.add(self.server.port)
        self.match.act({"n": 1})
        self.pass_time(0.5)
        self.match._seat.took(older, Rejected(Code.SEAT_TAKEN, "newer"))
        self.assertEqual([result.reason for result in self.results], ["replaced"])


class StayingTests(SynchronousTestCase):
    """A player who keeps a line to the lobby."""

    def setUp(self) -> None:
        self.world = PlayedWorld()
        self.client = Client(
            self.world.reactor,
            self.world.player("ann"),
            chance=lambda: 0.0,
            stay=True,
        )
        self.world.player("bob").find_match("duel")
        queued = self.client.queue("duel")
        self.world.pass_time(0.5)
        self.match: Match = self.successResultOf(queued)
        self.server: ScriptedServer = self.world.servers[0]

    def open_lines(self) -> int:
        """Count lines that are open."""
        return sum(not line.is_closed for line in self.world.endpoint.lines)

    def test_line_while_the_match_lasts(self) -> None:
        """
        The line is there as long as the match, is made again if it breaks, and disturbs
        nothing.
        """
        self.assertEqual(self.open_lines(), 1)
        for line in self.world.endpoint.lines:
            line.end()
        self.world.pass_time(0.5)
        self.assertEqual(self.open_lines(), 0)
        self.world.pass_time(2.0)
        self.assertEqual(self.open_lines(), 1)
        self.assertEqual((self.match.joins, self.match.handshakes), (1, 1))
        self.match.leave()
        self.world.pass_time(1.0)
        self.assertEqual(self.open_lines(), 0)

    def test_told_at_once(self) -> None:
        """
        The lobby says where the match goes on, and the player is there before it could
        have noticed anything.
        """
        self.server.die()
        self.world.reactor.dead.add(self.server.port)
        heir = self.server.succeed(46100)
        found = structs.replace(self.match._seat._found, port=46100)
        identity = self.client.identity.player_id
        self.world.lobby.online.send((identity,), found)
        self.world.pass_time(0.2)
        self.assertEqual(heir.joins[-1], (True, RESUME))
        self.assertEqual(self.match.joins, 2)
