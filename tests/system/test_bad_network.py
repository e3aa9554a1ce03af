"""
The main job over bad networks: nothing that a datagram meets keeps a match from
its right end. In memory, on a virtual clock; all else is real.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.support.quick import QuickMaze
from tests.support.tapped import TappedReactor
from tests.support.whole import WholeWorld
from vinom.client.load.bot import Bot, Habits
from vinom.client.load.tally import Tally
from vinom.client.match import Match, MatchResult
from vinom.game import Chance
from vinom.net.dtls.association import Association
from vinom.net.dtls.bad_network import Conditioner, Conditions
from vinom.net.dtls.client import DtlsClient
from vinom.net.dtls.port import IDatagramFilter
from vinom.net.dtls.server import DtlsServer

#: Matches of four; 50 with ``VINOM_NETWORK=full``, which take ten seconds.
MATCHES = 50 if os.environ.get("VINOM_NETWORK") == "full" else 5
#: Those that share a lobby and a clock.
AT_ONCE = 5
BAD = Conditions(loss=0.2, duplicate=0.1, reorder=0.1, delay=0.1, jitter=0.05)
SEATS = 4
#: How much later one lost datagram may make the end, seconds.
PATIENCE = 1.5


@attrs.define
class Players:
    """
    Bots for one match each.

    :ivar results: how it ended, by the number of the bot.
    :ivar leaver: the bot that leaves as soon as it sees a move.
    """

    world: WholeWorld
    options: dict[str, int]
    leaver: int | None = None
    tally: Tally = attrs.field(factory=Tally)
    matches: dict[int, Match] = attrs.field(factory=dict)
    results: dict[int, MatchResult] = attrs.field(factory=dict)

    def bring(
        self, number: int, datagram_filter: IDatagramFilter | None = None
    ) -> None:
        """Let one in."""

        def found(match: Match) -> None:
            bot.stop()
            self.matches[number] = match
            if number == self.leaver:
                match.on_state(self._leave)
            match.ended.addCallback(partial(self.results.__setitem__, number))

        bot = Bot(
            self.world.reactor,
            self.world.client(f"bot-{number}", datagram_filter),
            Habits(QuickMaze.name, QuickMaze(), self.options, pace=10.0),
            self.tally,
            Chance(self.world.seed * 1000 + number),
            watch=found,
        )
        bot.run()

    def _leave(self, match: Match) -> None:
        if match.version > 1:
            match.leave()

    def play(self, count: int) -> float:
        """Wait for this many results, and until all is gone; return the time taken."""
        world = self.world
        began = world.clock.seconds()
        world.run(lambda: len(self.results) == count, 120.0)
        took = world.clock.seconds() - began
        world.run(lambda: False, 5.0)
        return took


class WholeCase(SynchronousTestCase):
    def check_end(self, players: Players, numbers: Iterator[int] | range) -> None:
        """They finished, and saw the same end, which is the server's."""
        ends: dict[str, set[Any]] = {}
        for number in numbers:
            result = players.results[number]
            self.assertEqual(result.reason, "finished")
            assert result.outcome is not None
            self.assertEqual(result.seen_version, result.version)
            self.assertEqual(result.seen_hash, result.view_hash)
            ends.setdefault(result.match_id, set()).add(
                (result.version, result.view_hash, str(result.outcome))
            )
        recordings = players.world.recordings.matches
        for match_id, seen in ends.items():
            self.assertEqual(len(seen), 1)
            end = recordings[match_id].end
            assert end is not None
            self.assertEqual(seen, {(end.version, end.view_hash, str(end.outcome))})

    def check_nothing_is_left(self, world: WholeWorld) -> None:
        """Every process is gone, and every socket."""
        self.assertTrue(all(playing.is_stopped for playing in world.played))
        self.assertEqual(world.reactor.sockets, {})


class BadNetworkTests(WholeCase):
    def test_matches_of_four(self) -> None:
        """
        With a fifth of all datagrams lost, a tenth doubled, many overtaken, and
        a round trip of 100 to 300 ms, every match finishes, all four see
        the same last state, and nothing is left behind.
        """
        for first in range(0, MATCHES, AT_ONCE):
            world = WholeWorld({QuickMaze.name: QuickMaze()}, seed=first + 1)
            players = Players(world, {"rows": 4, "cols": 5})
            for number in range(SEATS * AT_ONCE):
                seed = f"{first} {number}"
                players.bring(number, Conditioner(world.reactor, BAD, seed))
            players.play(SEATS * AT_ONCE)
            self.check_end(players, range(SEATS * AT_ONCE))
            self.check_nothing_is_left(world)
            self.assertEqual(len(world.played), AT_ONCE)
            self.assertEqual((players.tally.finished, players.tally.failed), (5, 0))


class OneDatagramTests(WholeCase):
    """A good network that loses exactly one datagram of the first player's."""

    def setUp(self) -> None:
        self.tap: TappedReactor
        seal_for_server, seal_for_player = DtlsClient.send, DtlsServer.send
        seal_each_for_player = DtlsServer.send_each

        def client_send(client: DtlsClient, payload: bytes) -> None:
            if client.is_open:
                self.tap.note_player(payload)
            seal_for_server(client, payload)

        def server_send(
            server: DtlsServer, association: Association, *payloads: bytes
        ) -> None:
            if association.is_open:
                for payload in payloads:
                    self.tap.note_server(association.address, payload)
            seal_for_player(server, association, *payloads)

        def server_send_each(
            server: DtlsServer, payloads: Sequence[tuple[Association, bytes]]
        ) -> None:
            for association, payload in payloads:
                if association.is_open:
                    self.tap.note_server(association.address, payload)
            seal_each_for_player(server, payloads)

        # Nothing is replaced: what is sealed is written down before it is.
        self.patch(DtlsClient, "send", client_send)
        self.patch(DtlsServer, "send", server_send)
        self.patch(DtlsServer, "send_each", server_send_each)

    def play(
        self, losing: tuple[str, int] | None, leaver: int | None = None
    ) -> tuple[Players, float]:
        """Play one small match of four."""

        def network(clock: Any) -> TappedReactor:
            self.tap = TappedReactor(clock, losing)
            return self.tap

        world = WholeWorld({QuickMaze.name: QuickMaze()}, reactor=network)
        players = Players(world, {"rows": 2, "cols": 4}, leaver)
        for number in range(SEATS):
            players.bring(number)
        return players, players.play(SEATS)

    def check_each(self, leaver: int | None = None) -> set[tuple[str, str]]:
        """Lose each datagram in its turn; returns what kinds there were."""
        _, normal = self.play(None, leaver)
        clean = list(self.tap.seen)
        for who in ("player", "server"):
            count = sum(sender == who for sender, _ in clean)
            for number in range(count):
                players, took = self.play((who, number), leaver)
                sent = [name for sender, name in self.tap.seen if sender == who]
                try:
                    self.check_one(players, took - normal, leaver)
                except Exception as error:
                    raise AssertionError(f"lost {who}'s {sent[number]}") from error
        return {(who, name) for who, names in clean for name in names.split(", ")}

    def check_one(self, players: Players, late: float, leaver: int | None) -> None:
        world = players.world
        self.check_end(players, (n for n in range(SEATS) if n != leaver))
        self.check_nothing_is_left(world)
        self.assertLess(late, PATIENCE)
        (playing,) = world.played
        changes = [(seat, "joined") for seat in range(SEATS)]
        if leaver is not None:
            self.assertEqual(players.results[leaver].reason, "left")
            changes.append((players.matches[leaver].seat, "left"))
        # Nobody was thought to be gone in between.
        self.assertEqual(sorted(playing.changes), sorted(changes))
        for match in players.matches.values():
            self.assertEqual(match.joins, 1)

    def test_each_datagram_of_a_player_who_stays(self) -> None:
        """
        If any one datagram is lost, the match finishes for everybody, with
        the same end, hardly later, and nobody seems to be gone in between.
        """
        kinds = self.check_each()
        self.assertLessEqual(
            {
                ("player", "client hello"),
                ("server", "hello verify request"),
                ("player", "client hello with cookie"),
                ("server", "server hello"),
                ("player", "client finished"),
                ("server", "server finished"),
                ("player", "join"),
                ("server", "welcome"),
                ("player", "input"),
                ("player", "ping"),
                ("server", "ping"),
                ("server", "state 1"),
                ("server", "messages"),
                ("player", "close_notify"),
                ("server", "close_notify"),
            },
            kinds,
        )

    def test_each_datagram_of_a_player_who_leaves(self) -> None:
        """
        If any one datagram of a leaver is lost, the server notices that it left
        for good, and the others finish.
        """
        kinds = self.check_each(leaver=0)
        self.assertIn(("player", "bye"), kinds)
        self.assertIn(("server", "close_notify"), kinds)
