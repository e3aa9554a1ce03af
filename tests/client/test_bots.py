"""Bots: one, many, and what they count."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from msgspec import msgpack
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.support.played import PlayedWorld, ScriptedServer
from vinom.client.bots import Bot, Crowd, Habits, Tally
from vinom.client.sdk import Client
from vinom.game import Chance, Game
from vinom.net.packets.reliable import Round


class Counting(Game[Any, Any]):
    """Plays a random action."""

    name = "duel"

    def bot(self, view: Any, seat: int, chance: Chance, setup: Any) -> Any:
        return {"n": view["n"]} if view["n"] < 5 else None


class BotTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = PlayedWorld()
        self.tally = Tally()

    def bot(self, name: str = "ann", **habits: Any) -> Bot:
        client = Client(self.world.reactor, self.world.player(name))
        return Bot(
            self.world.reactor,
            client,
            Habits("duel", Counting(), **habits),
            self.tally,
            Chance(1),
        )

    def play(self, **habits: Any) -> tuple[Bot, Deferred[None], ScriptedServer]:
        bot = self.bot(**habits)
        done = bot.run()
        self.world.player("bob").find_match("duel")
        self.world.pass_time(0.5)
        return bot, done, self.world.servers[0]

    def finish(self, server: ScriptedServer, version: int) -> None:
        view = {"n": 9}
        server.state(version, view)
        server.end("finished", version, sha256(msgpack.encode(view)).hexdigest()[:16])
        self.world.fleet.end(len(self.world.servers) - 1)
        self.world.pass_time(0.2)

    def test_plays_by_its_game(self) -> None:
        """
        A bot does what its game would, once for each answer, and no faster than
        its pace.
        """
        _, _, server = self.play(pace=10.0)
        server.state(1, {"n": 1})
        self.world.pass_time(0.4)
        self.assertEqual(server.actions, [{"n": 1}])
        server.state(2, {"n": 2}, applied=1)
        self.world.pass_time(0.4)
        self.assertEqual(server.actions, [{"n": 1}, {"n": 2}])
        self.assertEqual(self.tally.inputs, 2)
        self.assertIsNotNone(self.tally.input_to_state.summary_ms()["p50"])

    def test_not_stuck(self) -> None:
        """
        A bot whose action changed nothing acts again after a while.
        """
        _, _, server = self.play(pace=10.0)
        server.state(1, {"n": 1})
        self.world.pass_time(1.5)
        self.assertGreaterEqual(len(server.actions), 2)

    def test_broken_bot(self) -> None:
        """
        An exception in a bot method is reported once, with its line; the bot leaves
        instead of asking again and again, and the run has failed.
        """
        _, done, server = self.play(pace=10.0)
        server.state(1, {"m": 1})
        self.world.pass_time(0.5)
        server.end("abandoned", 1, "")
        self.world.pass_time(3.0)
        self.successResultOf(done)
        self.assertEqual(self.tally.failed, 1)
        self.assertEqual(self.tally.errors["bot_failed"], 1)
        self.assertRegex(
            self.tally.reasons["bot_failed"],
            r"^Counting.bot: KeyError: 'n' \(test_bots.py:\d+, in bot\)$",
        )

    def test_refusal_is_an_answer(self) -> None:
        """
        After a refusal by the game a bot goes on; it does not count as an error.
        """
        _, _, server = self.play(pace=10.0)
        server.state(1, {"n": 1})
        self.world.pass_time(0.2)
        server.refuse_action(1, "wall")
        self.world.pass_time(0.2)
        self.assertEqual(len(server.actions), 2)
        self.assertEqual(self.tally.report()["errors"], {})

    def test_match_after_match(self) -> None:
        """
        When its match is over a bot queues again, until it is stopped; then it
        plays the last match to its end.
        """
        bot, done, server = self.play()
        server.state(1, {"n": 7})
        self.finish(server, 2)
        self.world.player("cleo").find_match("duel")
        self.world.pass_time(2.0)
        self.assertEqual(len(self.world.servers), 2)
        bot.stop()
        self.world.pass_time(1.0)
        self.assertNoResult(done)
        self.finish(self.world.servers[1], 2)
        self.successResultOf(done)
        report = self.tally.report()
        self.assertEqual(report["matches"], {"started": 2, "finished": 2, "failed": 0})
        self.assertEqual(report["handshakes"], 2)
        self.assertEqual(report["errors"], {})

    def test_stopped_in_the_queue(self) -> None:
        """
        A bot that waits for others stops at once.
        """
        bot = self.bot()
        done = bot.run()
        self.world.pass_time(0.2)
        self.assertTrue(bot.is_waiting)
        bot.stop()
        self.world.pass_time(0.2)
        self.successResultOf(done)

    def test_leaves_after_the_dance(self) -> None:
        """
        A bot that is not meant to stay leaves some time after the end of a round, and
        the match counts as finished.
        """
        bot, done, server = self.play(stays=2.0)
        server.state(1, {"n": 7})
        server.tell(Round({"round": 1, "places": [[0]], "scores": [1]}, 1, ""))
        self.world.pass_time(1.5)
        self.assertFalse(server.has_left)
        bot.stop()
        self.world.pass_time(1.5)
        self.assertTrue(server.has_left)
        self.successResultOf(done)
        self.assertEqual(self.tally.finished, 1)

    def test_lost_match(self) -> None:
        """
        A match whose game server died is a failed match.
        """
        bot, done, server = self.play()
        server.state(1, {"n": 7})
        self.world.pass_time(0.2)
        server.die()
        self.world.fleet.end(0, "lost")
        bot.stop()
        self.world.pass_time(3.0)
        self.successResultOf(done)
        self.assertEqual((self.tally.failed, self.tally.started), (1, 1))
        self.assertEqual(self.tally.report()["errors"], {"lost": 1})


class CrowdTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = PlayedWorld()
        self.tally = Tally()
        self.dials = 0

    def newcomer(self, number: int) -> Deferred[Bot]:
        self.dials += 1
        client = Client(self.world.reactor, self.world.player(f"bot-{number}"))

        def ready(_: object) -> Bot:
            return Bot(
                self.world.reactor,
                client,
                Habits("party", Counting()),
                self.tally,
                Chance(number),
            )

        return client.hello().addCallback(ready)

    def crowd(self, count: int, **timing: float) -> tuple[Crowd, Deferred[None]]:
        crowd = Crowd(
            self.world.reactor,
            [lambda number=n: self.newcomer(number) for n in range(count)],
            self.tally,
            **timing,
        )
        return crowd, crowd.run()

    def test_not_all_at_once(self) -> None:
        """
        Two hundred bots do not knock at the same moment, but all come in.
        """
        crowd, done = self.crowd(50, seconds=1.0)
        self.assertLess(self.dials, 50)
        self.world.pass_time(0.5)
        self.assertEqual(len(crowd.bots), 50)
        crowd.leave()
        self.world.pass_time(5.0)
        self.successResultOf(done)

    def test_time_is_over(self) -> None:
        """
        When the time is over those who wait go; those who play get the grace.
        """
        _, done = self.crowd(1, seconds=2.0, grace=3.0)
        self.world.pass_time(1.8)
        self.assertNoResult(done)
        self.world.pass_time(0.5)
        self.successResultOf(done)

    def test_grace(self) -> None:
        """
        A match that does not end is left when the grace is over.
        """
        _, done = self.crowd(4, seconds=1.0, grace=3.0)
        self.world.pass_time(3.8)
        self.assertNoResult(done)
        self.world.pass_time(1.0)
        self.successResultOf(done)
        self.assertEqual(self.tally.failed, 0)

    def test_no_lobby(self) -> None:
        """
        Without a lobby everybody is counted as an error, and it is soon over.
        """
        self.world.endpoint.is_up = False
        _, done = self.crowd(3)
        self.world.pass_time(0.1)
        self.successResultOf(done)
        self.assertEqual(self.tally.report()["errors"], {"line_lost": 3})
        self.assertIn("the lobby cannot be reached", self.tally.reasons["line_lost"])
