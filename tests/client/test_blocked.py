"""Playing where UDP is blocked, with a real lobby and game server in memory."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.games import Teller
from tests.support.lobby_lines import MemoryTcp
from tests.support.whole import WholeWorld
from vinom.base.model import MatchEnd
from vinom.client.match import Match, MatchResult, Refusal
from vinom.client.sdk import Client
from vinom.client.seat import Way
from vinom.fleet.control.messages import RoomEnded


class Player:
    """
    A player who queues at once, and keeps what it receives.

    :ivar joined: gets the match, once its seat is taken.
    """

    def __init__(self, world: WholeWorld, name: str, way: Way) -> None:
        self.world = world
        self.client: Client = world.client(name, way=way)
        self.match: Any = None
        self.result: MatchResult | None = None
        self.failures: list[Any] = []
        self.events: list[str] = []
        self.refusals: list[Refusal] = []
        self.client.queue(Teller.name, on_found=self._found).addErrback(
            self.failures.append
        )

    def _found(self, match: Match) -> None:
        self.match = match
        match.on_event(lambda kind, _: self.events.append(kind))
        match.on_refusal(self.refusals.append)
        match.ended.addCallback(partial(setattr, self, "result"))

    def say(self, word: str) -> int:
        return self.match.act({"type": "say", "word": word})

    @property
    def lines(self) -> list[str]:
        """What the game has written down, as seen here."""
        lines: list[str] = self.match.view["lines"]
        return lines


class BlockedTests(SynchronousTestCase):
    def begin(self, *ways: Way, blocked: bool = True) -> list[Player]:
        """
        Have two players meet.

        :param blocked: datagrams to the game server vanish.
        """
        self.world = WholeWorld({Teller.name: Teller()})
        if blocked:
            self.world.reactor.dead.add(46000)
        self.players = [
            Player(self.world, f"p{number}", way) for number, way in enumerate(ways)
        ]
        self.run_for(9.0)
        return self.players

    def line_of(self, player: Player) -> MemoryTcp:
        """Find the connection by which somebody plays through the lobby."""
        ours = player.match._seat.line._line
        return next(one for one in self.world.endpoint.lines if one.client is ours)

    def break_line(self, player: Player) -> None:
        """Cut the connection; the player comes back."""
        joins = player.match.joins
        self.line_of(player).end()
        self.run_for(2.0)
        self.assertEqual(joins + 1, player.match.joins)

    def run_for(self, seconds: float) -> None:
        self.world.run(lambda: False, seconds)

    def both_play(self, ann: Player, bob: Player) -> None:
        """Each acts, and sees what both did."""
        before = len(ann.lines)
        for player in (ann, bob):
            number = player.say("hello")
            self.assertGreater(number, 0)
            self.run_for(0.5)
            self.assertEqual(number, player.match.acked)
        self.assertEqual(ann.lines, bob.lines)
        self.assertEqual(before + 2, len(ann.lines))

    def test_by_itself(self) -> None:
        """
        A player who gets no answer over UDP plays by way of the lobby a moment later;
        its program sees the same to the end.
        """
        self.world = WholeWorld({Teller.name: Teller()})
        ann, bob = self.begin("auto", "auto")
        self.assertEqual(["lobby", "lobby"], [p.match.way for p in (ann, bob)])
        self.assertEqual({"once": "upon a time"}, ann.match.setup)
        self.assertEqual(("p0", "p1"), tuple(sorted(ann.match.names)))
        self.both_play(ann, bob)
        ann.say("tell")
        bob.say("no")
        self.run_for(0.5)
        self.assertEqual(["told", "psst"], ann.events)
        self.assertEqual(["told"], bob.events)
        (no,) = bob.refusals
        self.assertEqual(("rejected", "no"), (no.code, no.reason))
        self.assertIsNotNone(ann.match.rtt)
        ann.say("end")
        self.run_for(8.0)
        ends = set()
        for player in (ann, bob):
            self.assertEqual("finished", player.result.reason)
            self.assertEqual(player.result.version, player.result.seen_version)
            self.assertEqual(player.result.view_hash, player.result.seen_hash)
            ends.add((player.result.version, player.result.view_hash))
        self.assertEqual(1, len(ends))
        self.assertEqual({}, self.world.lobby.rooms._rooms)
        self.assertTrue(all(line.is_closed for line in self.world.endpoint.lines))

    def test_not_blocked(self) -> None:
        """
        Where UDP works nothing goes by way of the lobby.
        """
        ann, bob = self.begin("auto", "auto", blocked=False)
        self.assertEqual(["udp", "udp"], [p.match.way for p in (ann, bob)])
        self.both_play(ann, bob)
        self.assertIsNone(self.world.played[0].relay)

    def test_forced(self) -> None:
        """
        A player may choose to play by way of the lobby from the start, against one over
        UDP.
        """
        ann, bob = self.begin("lobby", "udp", blocked=False)
        self.assertEqual(["lobby", "udp"], [p.match.way for p in (ann, bob)])
        self.assertEqual(0, ann.match.handshakes)
        self.both_play(ann, bob)

    def test_forbidden(self) -> None:
        """
        A player who accepts UDP only does not fall back.
        """
        ann, _ = self.begin("udp", "auto")
        self.run_for(90.0)
        self.assertEqual((0, "udp"), (ann.match.joins, ann.match.way))
        self.assertEqual(1, len(ann.failures))

    def test_blocked_in_the_middle(self) -> None:
        """
        When UDP stops working in a match, it goes on by way of the lobby; what was done
        meanwhile, and may or may not have arrived, is reported, and never counts as
        applied.
        """
        ann, bob = self.begin("auto", "udp", blocked=False)
        self.both_play(ann, bob)
        number = ann.say("hello")
        # Only this player's datagrams vanish from now on.
        sockets = {address[1] for address in self.world.reactor.sockets}
        line = ann.match._seat.line
        mine = line._port.transport.address[1]
        self.assertIn(mine, sockets)
        self.world.reactor.dead.add(mine)
        block = self.world.reactor.listenUDP

        def listen(port: int, protocol: Any, **more: Any) -> Any:
            socket = block(port, protocol, **more)
            self.world.reactor.dead.add(socket.address[1])
            return socket

        self.world.reactor.listenUDP = listen
        unsure = [number, *(ann.say("nobody knows") for _ in range(3))]
        self.run_for(12.0)
        self.assertEqual(("lobby", 2), (ann.match.way, ann.match.joins))
        self.assertEqual(
            [("lost", one) for one in unsure],
            [(no.code, no.number) for no in ann.refusals],
        )
        self.assertGreater(ann.say("again"), unsure[-1])
        self.run_for(0.5)
        self.both_play(ann, bob)

    def test_lobby_in_the_middle(self) -> None:
        """
        When a match that is played through the lobby cannot be joined there again, and
        UDP works by then, it goes on over UDP; what was done meanwhile is reported, and
        never counts as applied.
        """
        ann, bob = self.begin("auto", "auto")
        self.assertEqual("lobby", ann.match.way)
        endpoint, line = self.world.endpoint, self.line_of(ann)
        line.carry = lambda peer, data: None
        unsure = [ann.say("nobody knows") for _ in range(3)]
        self.assertNotIn(0, unsure)
        self.world.reactor.dead.clear()
        connect, answers = endpoint.connect, iter([True, False])

        def refuse_second(factory: Any) -> Any:
            # The first finds the match, the second is to play it.
            endpoint.is_up = next(answers, True)
            return connect(factory)

        endpoint.connect = refuse_second
        line.end()
        self.run_for(15.0)
        self.assertEqual(("udp", 2), (ann.match.way, ann.match.joins))
        self.assertEqual(
            [("lost", one) for one in unsure],
            [(no.code, no.number) for no in ann.refusals],
        )
        self.both_play(ann, bob)

    def test_too_much_to_do(self) -> None:
        """
        A player who has to wait comes back then and not sooner, by the same way.
        """
        asked: list[float] = []

        def is_overloaded(world: WholeWorld, match_id: str) -> bool:
            asked.append(world.clock.seconds())
            return len(asked) <= 4

        self.patch(WholeWorld, "is_overloaded", is_overloaded)
        ann, bob = self.begin("auto", "auto")
        self.run_for(5.0)
        self.assertEqual(["lobby", "lobby"], [p.match.way for p in (ann, bob)])
        self.assertEqual([1, 1], [p.match.joins for p in (ann, bob)])
        first, second, third = asked[::2]
        self.assertLessEqual(2.0, second - first)
        self.assertLessEqual(2.0, third - second)
        self.both_play(ann, bob)

    def test_line_is_lost(self) -> None:
        """
        When the line breaks the seat is taken back on another one, and no event is
        lost.
        """
        ann, bob = self.begin("lobby", "lobby", blocked=False)
        self.line_of(ann).end()
        bob.say("tell")
        self.run_for(2.0)
        self.assertEqual((2, ["told"]), (ann.match.joins, ann.events))
        self.both_play(ann, bob)

    def test_actions_of_a_lost_line(self) -> None:
        """
        Actions that were written and never arrived, because the connection died, are
        sent again on the next one: each is applied once, in order, and none counts as
        applied before.
        """
        ann, bob = self.begin("lobby", "udp", blocked=False)
        line = self.line_of(ann)
        before = len(bob.lines)
        numbers = [ann.say("0")]
        self.run_for(0.5)
        carry = line.carry
        # What either end writes is swallowed by the network.
        line.carry = lambda peer, data: None
        numbers += [ann.say(str(number)) for number in range(1, 6)]
        self.run_for(0.5)
        self.assertEqual(numbers[0], ann.match.acked)
        line.carry = carry
        line.end()
        self.run_for(2.0)
        numbers.append(ann.say("6"))
        self.run_for(0.5)
        words = [text.split()[2] for text in bob.lines[before:] if len(text) < 9]
        self.assertEqual(list("0123456"), words, bob.lines)
        self.assertEqual(sorted(set(numbers)), numbers)
        self.assertEqual(numbers[-1], ann.match.acked)
        # The server would refuse more, and a refused one must not be sent for ever.
        self.line_of(ann).carry = lambda peer, data: None
        sent = [ann.say("more") for _ in range(65)]
        self.assertEqual((sent[63] > 0, sent[64]), (True, 0))

    def test_lobby_is_away(self) -> None:
        """
        While the lobby is away the seat is looked for, and taken when it is back.
        """
        ann, bob = self.begin("lobby", "udp", blocked=False)
        self.world.endpoint.is_up = False
        for line in self.world.endpoint.lines:
            line.end()
        self.run_for(5.0)
        self.assertEqual((False, 0), (ann.match.is_connected, ann.say("lost")))
        self.world.endpoint.is_up = True
        self.run_for(5.0)
        self.assertTrue(ann.match.is_connected)
        self.run_for(0.1)
        self.both_play(ann, bob)

    def test_lost(self) -> None:
        """
        When the game process dies the match is lost.
        """
        ann, _ = self.begin("lobby", "lobby", blocked=False)
        playing = self.world.played[0]
        playing.tell(RoomEnded(MatchEnd(playing.plan.match_id, "lost")))
        self.run_for(1.0)
        self.assertEqual("lost", ann.result.reason)

    def test_leave(self) -> None:
        """
        A player who leaves is gone for good, and may queue again at once.
        """
        ann, bob = self.begin("lobby", "lobby", blocked=False)
        ann.match.leave()
        self.run_for(1.0)
        self.assertEqual((ann.match.seat, "left"), self.world.played[0].changes[-1])
        self.assertEqual("left", ann.result.reason)
        self.assertIn(f"{ann.match.seat} left", bob.lines[-1])

    def test_replaced(self) -> None:
        """
        A client that comes later with the same player's key has the seat.
        """
        ann, _ = self.begin("lobby", "lobby", blocked=False)
        key = ann.client.identity.key
        self.world.lobby.back(key)
        self.run_for(1.0)
        self.assertEqual("replaced", ann.result.reason)

    def test_state_did_not_arrive(self) -> None:
        """
        An event whose state was under way when the line broke is delivered, though the
        round's end after it had arrived.
        """
        ann, bob = self.begin("lobby", "lobby", blocked=False)
        bob.say("tell")
        self.run_for(0.5)
        self.assertEqual(["told"], ann.events)
        # No state arrives over the line that there is.
        client = self.line_of(ann).client
        receive = client.dataReceived

        def without_states(data: bytes) -> None:
            lines = data.splitlines(keepends=True)
            receive(b"".join(one for one in lines if b'"game_state"' not in one))

        client.dataReceived = without_states
        bob.say("tell")
        bob.say("end")
        self.run_for(0.5)
        self.assertIsNotNone(ann.match.outcome)
        self.assertEqual(["told"], ann.events)
        self.break_line(ann)
        self.assertEqual(["told"] * 2, ann.events)

    def test_secret_was_used_up(self) -> None:
        """
        If the answer with a new secret got lost, the player's key works; and still
        nothing is delivered twice.
        """
        ann, bob = self.begin("lobby", "lobby", blocked=False)
        bob.say("tell")
        self.run_for(0.5)
        ann.match._seat._line_seat.news.resume = "A" * 32
        self.break_line(ann)
        bob.say("tell")
        self.run_for(0.5)
        self.assertEqual(["told"] * 2, ann.events)
