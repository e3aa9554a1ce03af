"""Games that never return from a call, in real game servers beside others."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import start_node
from tests.support.lines import Typed, typed
from tests.support.slow import CALLS, Go
from vinom.client.match import Match, MatchLost
from vinom.client.sdk import Client, connect


class SlowGameTests(TestCase):
    timeout = 120

    async def meet(self, slow: str) -> list[Match]:
        """Bring two players into a match of their own."""
        players: list[Client] = await gatherResults(
            connect(reactor, self.node.host, self.node.port, name=name)
            for name in ("ann", "bob")
        )
        for player in players:
            self.addCleanup(player.close)
        found: list[Match] = []
        joining = gatherResults(
            (
                player.queue("slow", {"slow": slow}, on_found=found.append)
                for player in players
            ),
            consumeErrors=True,
        )
        try:
            await joining
        except Exception as error:
            # It may be over before anybody had a seat.
            wrapped = getattr(error, "subFailure", None)
            if wrapped is None or not wrapped.check(MatchLost):
                raise
        return found

    async def calm(self) -> None:
        """Wait until a process that was held up lets new players in again."""
        while True:
            log = self.node.log_end()
            if log.rfind("new players must wait") <= log.rfind("new players can join"):
                return
            await deferLater(reactor, 0.1)

    async def go(self, match: Match) -> None:
        """Act as soon as play has begun."""
        while not match.version or not match.act(Go()):
            await deferLater(reactor, 0.02)

    async def report_of(self, match: Match) -> str:
        """Read the crash report: the node names it once the match's end reaches it."""
        report = (
            Path(self.node.state_dir) / "recordings" / f"{match.match_id}.crash.txt"
        )
        while not report.exists():
            await deferLater(reactor, 0.02)
        return report.read_text()

    async def test_slow_calls(self) -> None:
        """
        However a call of a game refuses to end: its own match ends as crashed, the
        report has the reason, the log names who held up the process, and another match
        in the very same process is played to its end.
        """
        self.node = await start_node(
            self,
            "--game=tests.support.slow:Slow",
            f"--rooms-per-process={len(CALLS) + 1}",
            "--warm=1",
        )
        neighbours = await self.meet("")
        for slow in CALLS:
            await self.calm()
            match, other = await self.meet(slow)
            if slow == "bot":
                # A seat counts once its player has acknowledged it.
                while not match.version:
                    await deferLater(reactor, 0.02)
                match._seat.close()
            elif slow != "start":
                await self.go(match)
            # One that is over before the players have come is lost to them.
            ends = ("crashed",) if slow != "start" else ("crashed", "no_such_match")
            reason = (await other.ended).reason
            self.assertIn(reason, ends, (slow, self.node.log_end()))
            report = await self.report_of(match)
            self.assertIn(f"TooSlow: {slow}() took more than 1 s", report)
            self.assertIn("slow.py", report)
        self.assertEqual([1, 1], [one.joins for one in neighbours])
        await self.go(neighbours[0])
        for neighbour in neighbours:
            self.assertEqual("finished", (await neighbour.ended).reason)
        self.assertIn("() of game slow took 1.", self.node.log_end())

    async def test_slow_calls_in_the_node(self) -> None:
        """
        The same in rooms of the node itself: the slow room ends as crashed and is
        reported, and a neighbour, the lobby and the admin socket go on.
        """
        self.node = await start_node(self, "--game=tests.support.slow:Slow", "--warm=0")
        folder = Path(self.node.state_dir) / "recordings"
        neighbours = await self.sit("neighbour", "")
        for slow in CALLS:
            players = await self.sit(slow, slow)
            if slow == "bot":
                players[1].transport.abortConnection()
            elif slow != "start":
                players[0].say("action")
            if slow != "start":
                closed = await players[0].hear("room_closed")
                self.assertEqual("crashed", closed["reason"], slow)
            (report,) = folder.glob(f"{slow}-*.crash.txt")
            self.assertIn(f"TooSlow: {slow}() took more than 1 s", report.read_text())
        over = neighbours[1].hear("round_over")
        neighbours[0].say("action")
        await over

    async def test_logged_while_the_room_lives(self) -> None:
        """
        A room that holds up the node for less than a second goes on, and by then the
        log has named the room and the call of its game.
        """
        self.node = await start_node(
            self, "--game=tests.support.napping:Napping", "--warm=0"
        )
        for call in ("act", "view"):
            players = await self.sit(call, call, "napping")
            told = rf"match {call}-\w+: {call}\(\) of game napping took 0\.[1-9]"
            for _ in range(2):
                state = players[1].hear("game_state")
                players[0].say("action")
                await state
            while not re.search(told, self.node.log_end()):
                await deferLater(reactor, 0.05)
            state = players[1].hear("game_state")
            players[0].say("action")
            await state
            said = {message["type"] for player in players for message in player.heard}
            self.assertNotIn("room_closed", said)
            for player in players:
                player.say("leave_room")

    async def sit(self, room_id: str, slow: str, game: str = "slow") -> list[Typed]:
        """Bring two players into a room of the node, and wait until play begins."""
        players = []
        for name in ("ann", "bob"):
            player = await typed(self, self.node, name)
            began = player.hear("room_closed" if slow == "start" else "game_state")
            await player.ask(
                "join_room",
                "join_room_result",
                game=game,
                room_id=room_id,
                options={"slow": slow},
            )
            players.append(player)
        began_or_ended = await began
        self.assertEqual(slow == "start", "reason" in began_or_ended)
        return players
