"""
The main job over a bad network: nothing that a datagram meets keeps a match from
its right end. In memory, on a virtual clock; all else is real.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.support.quick import QuickMaze
from tests.support.whole import WholeWorld
from vinom.client.bots import Bot, Habits, Tally
from vinom.client.match import Match, MatchResult
from vinom.game import Chance
from vinom.net.dtls.bad_network import Conditioner, Conditions
from vinom.net.dtls.port import IDatagramFilter

#: Matches of four; 50 with ``VINOM_NETWORK=full``, which take ten seconds.
MATCHES = 50 if os.environ.get("VINOM_NETWORK") == "full" else 5
#: Those that share a lobby and a clock.
AT_ONCE = 5
BAD = Conditions(loss=0.2, duplicate=0.1, reorder=0.1, delay=0.1, jitter=0.05)
SEATS = 4


@attrs.define
class Players:
    """
    Bots for one match each.

    :ivar results: how it ended, by the number of the bot.
    """

    world: WholeWorld
    options: dict[str, int]
    tally: Tally = attrs.field(factory=Tally)
    results: dict[int, MatchResult] = attrs.field(factory=dict)

    def bring(self, number: int, datagram_filter: IDatagramFilter) -> None:
        """Let one in."""

        def found(match: Match) -> None:
            bot.stop()
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


class BadNetworkTests(SynchronousTestCase):
    def check_end(self, players: Players) -> None:
        """They finished, and saw the same end, which is the server's."""
        ends: dict[str, set[Any]] = {}
        for result in players.results.values():
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

    def test_matches_of_four(self) -> None:
        """
        With a fifth of all datagrams lost, a tenth doubled, many overtaken, and
        a round trip of 100 to 300 ms, every match finishes, all four see
        the same last state, and nothing is left behind.
        """
        count = SEATS * AT_ONCE
        for first in range(0, MATCHES, AT_ONCE):
            world = WholeWorld({QuickMaze.name: QuickMaze()}, seed=first + 1)
            players = Players(world, {"rows": 4, "cols": 5})
            for number in range(count):
                seed = f"{first} {number}"
                players.bring(number, Conditioner(world.reactor, BAD, seed))
            world.run(lambda players=players: len(players.results) == count, 120.0)
            world.run(lambda: False, 5.0)
            self.assertEqual(len(players.results), count)
            self.check_end(players)
            # Every process is gone, and every socket.
            self.assertTrue(all(playing.is_stopped for playing in world.played))
            self.assertEqual(world.reactor.sockets, {})
            self.assertEqual(len(world.played), AT_ONCE)
            self.assertEqual((players.tally.finished, players.tally.failed), (5, 0))
