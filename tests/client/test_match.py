"""A seat in a match: taking it, playing, losing it, taking it back."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from msgspec import msgpack
from twisted.trial.unittest import SynchronousTestCase

from tests.support.played import CORRIDOR, PlayedWorld, ScriptedServer
from vinom.client.match import LONGEST_SILENCE, Match, MatchLost, MatchResult, Refusal
from vinom.client.sdk import Client
from vinom.errors import Code


class MatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = PlayedWorld()
        self.results: list[MatchResult] = []
        self.chance = 0.0

    def queue(self) -> Any:
        self.client = Client(
            self.world.reactor, self.world.player("ann"), chance=lambda: self.chance
        )
        self.world.player("bob").find_match("duel")
        return self.client.queue("duel")

    def place_on(self, facts: dict[str, Any]) -> None:
        """From now on matches are placed on servers like this."""
        original = self.world.fleet.answer

        def answer(index: int) -> None:
            original(index)
            for name, fact in facts.items():
                setattr(self.world.servers[index], name, fact)

        self.patch(self.world.fleet, "answer", answer)

    def play(self) -> tuple[Match, ScriptedServer]:
        queued = self.queue()
        self.world.pass_time(0.5)
        match = self.successResultOf(queued)
        match.ended.addCallback(self.results.append)
        return match, self.world.servers[0]

    def pass_time(self, seconds: float = 0.2) -> None:
        self.world.pass_time(seconds)

    def test_joined(self) -> None:
        """
        Once queued, a player ends up in its seat, with the setup, and no line
        to the lobby stays open.
        """
        match, server = self.play()
        self.assertTrue(match.is_connected)
        self.assertEqual(match.setup, CORRIDOR)
        self.assertEqual(sorted(match.names), ["ann", "bob"])
        self.assertEqual(server.joins[0][0], False)
        self.assertTrue(all(line.is_closed for line in self.world.endpoint.lines))
        self.assertIs(self.successResultOf(match.joined), match)

    def test_states_and_actions(self) -> None:
        """
        A player sees each newer state, and what it does arrives.
        """
        match, server = self.play()
        views: list[Any] = []
        match.on_state(lambda match: views.append((match.version, match.view)))
        number = match.act({"type": "move"})
        self.pass_time()
        self.assertEqual(server.actions, [{"type": "move"}])
        server.state(1, {"at": 1})
        server.state(3, {"at": 3}, applied=number)
        self.pass_time()
        self.assertEqual(views, [(1, {"at": 1}), (3, {"at": 3})])
        self.assertEqual((match.acked, match.time), (number, 3.0))
        self.assertIsNotNone(match.rtt)

    def test_events_and_refusals(self) -> None:
        """
        Events and refusals come once and in order.
        """
        match, server = self.play()
        heard: list[Any] = []
        match.on_event(lambda kind, data: heard.append((kind, data)))
        match.on_refusal(heard.append)
        number = match.act({"type": "fly"})
        server.event("rang", 1)
        server.refuse_action(number, "wings")
        server.event("rang", 2)
        self.pass_time(1.0)
        refusal = Refusal(number, "rejected", "wings", "no")
        self.assertEqual(heard, [("rang", 1), refusal, ("rang", 2)])

    def test_end(self) -> None:
        """
        The end comes with the outcome, and with what both sides saw last.
        """
        match, server = self.play()
        view = {"left": 0}
        server.state(7, view)
        view_hash = sha256(msgpack.encode(view)).hexdigest()[:16]
        server.end("finished", 7, view_hash)
        self.pass_time()
        (result,) = self.results
        self.assertEqual(result.reason, "finished")
        self.assertEqual(result.outcome["scores"], [1])
        self.assertEqual((result.version, result.seen_version), (7, 7))
        self.assertEqual((result.view_hash, result.seen_hash), (view_hash, view_hash))
        self.assertFalse(match.is_connected)
        self.assertEqual(match.act({}), 0)
        self.assertEqual(set(self.world.reactor.sockets), {("127.0.0.1", 46000)})

    def test_end_overtakes_the_last_state(self) -> None:
        """
        A last state that comes after the news of the end is still seen.
        """
        _, server = self.play()
        server.end("finished", 2, "x")
        self.pass_time(0.4)
        self.assertEqual(self.results, [])
        server.state(2, {})
        self.pass_time()
        self.assertEqual(self.results[0].seen_version, 2)

    def test_last_state_lost(self) -> None:
        """
        A last state that never comes does not keep the match open.
        """
        _, server = self.play()
        server.end("finished", 2, "x")
        self.pass_time(2.5)
        self.assertEqual(self.results[0].seen_version, 0)

    def test_leave(self) -> None:
        """
        Leaving ends the match for us, and the server knows.
        """
        match, server = self.play()
        match.leave()
        match.leave()
        self.pass_time()
        self.assertEqual([result.reason for result in self.results], ["left"])
        self.assertTrue(server.has_left)

    def test_leave_unnoticed(self) -> None:
        """
        A player who leaves a server that does not receive it is gone a second later.
        """
        match, server = self.play()
        self.world.reactor.deaf.add(server.port)
        match.leave()
        self.pass_time(0.5)
        self.assertEqual(2, len(self.world.reactor.sockets))
        self.pass_time(0.5)
        self.assertEqual(set(self.world.reactor.sockets), {("127.0.0.1", 46000)})
        self.assertEqual([result.reason for result in self.results], ["left"])

    def test_leave_a_dead_port(self) -> None:
        """
        A player who leaves where nobody listens is gone at once.
        """
        match, server = self.play()
        server.die()
        match.leave()
        self.pass_time()
        self.assertEqual(set(self.world.reactor.sockets), set())
        self.assertEqual([result.reason for result in self.results], ["left"])

    def test_silence(self) -> None:
        """
        After three seconds of silence the lobby is asked, and the seat is taken
        back with a new token.
        """
        match, server = self.play()
        server.state(4, {"n": 4})
        self.pass_time()
        self.world.reactor.dead.add(server.port)
        self.pass_time(2.5)
        self.assertTrue(match.is_connected)
        self.pass_time(1.0)
        self.assertFalse(match.is_connected)
        self.assertEqual(match.act({}), 0)
        self.world.reactor.dead.clear()
        self.pass_time(4.0)
        self.assertTrue(match.is_connected)
        self.assertEqual(match.joins, 2)
        first, second = server.joins[0], server.joins[-1]
        self.assertEqual((first[0], second[0]), (False, False))
        self.assertNotEqual(first[1], second[1])
        self.assertEqual(match.view, {"n": 4})

    def test_held_up(self) -> None:
        """
        A player whose machine stands still for some seconds reads what came meanwhile,
        and does not take the line for lost.
        """
        match, server = self.play()
        server.state(4, {"n": 4})
        self.pass_time()
        self.world.reactor.delay = 3.5
        server.state(5, {"n": 5})
        self.world.clock.advance(0.1)
        # All at once: its alarm for silence is first, and what came is still unread.
        self.world.clock.advance(4.0)
        self.assertTrue(match.is_connected)
        self.assertEqual(match.view, {"n": 5})
        self.assertEqual(match.joins, 1)

    def test_quiet_game(self) -> None:
        """
        A game in which nothing happens is not taken for a lost line.
        """
        match, server = self.play()
        self.pass_time(20.0)
        self.assertEqual(match.joins, 1)
        self.assertEqual(len(server.joins), 1)

    def test_refused_port(self) -> None:
        """
        When nobody listens at the port any more the lobby is asked at once.
        """
        match, server = self.play()
        server.die()
        self.world.fleet.end(0, "lost")
        self.pass_time(2.0)
        self.assertEqual([result.reason for result in self.results], ["lost"])
        self.assertTrue(match.is_over)

    def test_lobby_is_down(self) -> None:
        """
        While the lobby cannot be reached the seat is taken back with the
        resume token, from the same game server.
        """
        match, server = self.play()
        self.world.endpoint.is_up = False
        self.world.reactor.dead.add(server.port)
        self.pass_time(3.2)
        self.world.reactor.dead.clear()
        self.pass_time(5.0)
        self.assertTrue(match.is_connected)
        self.assertEqual(server.joins[-1], (True, b"\x01" * 16))

    def test_seat_lost_again_and_again(self) -> None:
        """
        A server that gives the seat and takes it at once is not dialed without
        pause, and a good one is found again.
        """
        match, server = self.play()
        for _ in range(200):
            if match.is_connected and server.link is not None:
                now = self.world.reactor.seconds()
                server.link.refuse(Code.BUSY, "no", now)
                server._pump()
            self.pass_time(0.05)
        self.assertIn(match.joins, range(5, 11))
        self.pass_time(8.0)
        self.assertTrue(match.is_connected)
        self.assertEqual(self.results, [])

    def test_busy_server(self) -> None:
        """
        A player who has to wait comes back then, not sooner, and gets its seat. If many
        have to wait, some of them wait half as long again, so that they do not all come
        back at once.
        """
        for chance, seconds in ((self.chance, 2.0), (1.0, 3.0)):
            self.setUp()
            self.chance = chance
            queued = self.queue()
            self.place_on({"refusing": Code.BUSY, "retry_after": 2.0})
            self.pass_time(seconds - 0.1)
            server = self.world.servers[-1]
            self.assertEqual(len(server.joins), 1)
            server.refusing = None
            self.pass_time(1.0)
            self.assertEqual(len(server.joins), 2)
            self.assertTrue(self.successResultOf(queued).is_connected)

    def test_never_seated(self) -> None:
        """
        A seat that cannot be taken is given up, and says so.
        """
        queued = self.queue()
        self.place_on({"is_welcoming": False})
        self.pass_time(5.0)
        self.assertNoResult(queued)
        self.pass_time(LONGEST_SILENCE + 10.0)
        self.failureResultOf(queued, MatchLost)

    def test_seat_is_somebody_elses(self) -> None:
        """
        A player whose seat was taken over by a newer connection does not fight for it.
        """
        match, server = self.play()
        server.link.refuse(Code.SEAT_TAKEN, "newer", self.world.reactor.seconds())
        server._pump()
        self.pass_time(5.0)
        self.assertEqual([result.reason for result in self.results], ["replaced"])
        self.assertEqual(match.joins, 1)

    def test_gives_up(self) -> None:
        """
        A seat that cannot be taken back for a minute and a half is lost.
        """
        match, server = self.play()
        self.world.reactor.dead.add(server.port)
        self.pass_time(LONGEST_SILENCE - 5.0)
        self.assertEqual(self.results, [])
        self.pass_time(20.0)
        self.assertEqual([result.reason for result in self.results], ["lost"])
        self.assertEqual(match.joins, 1)

    def test_nothing_is_left_behind(self) -> None:
        """
        When a match is over its sockets are closed and no timer runs.
        """
        match, server = self.play()
        match.leave()
        server.die()
        self.client.close()
        self.pass_time(1.0)
        names = {repr(call.func) for call in self.world.clock.getDelayedCalls()}
        self.assertFalse([name for name in names if "client" in name])
