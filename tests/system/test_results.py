"""Results of rounds, from real processes to a receiver that is not always there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from msgspec import convert
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

import tests
from tests.support.child_nodes import start_node
from tests.support.lines import Typed, typed
from tests.support.programs import short_folder
from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.lobby import Hello, MatchFound
from vinom.client.lobby import LobbyClient
from vinom.client.match import Match
from vinom.tools.commands.admin import AdminLine
from vinom.tools.commands.child_node import free_port

RECEIVER = (
    Path(tests.__file__).resolve().parent.parent
    / "docs/howto/listings/results_receiver.py"
)
SECRET = "whsec_" + "QUJD" * 11
#: How long the receiver is down, seconds.
DOWN = 60.0 if os.environ.get("VINOM_NETWORK") == "full" else 4.0


class ResultsTests(TestCase):
    """A node, its players, and the operator's own web server."""

    timeout = 180

    def setUp(self) -> None:
        self.state = short_folder(self)
        secret = Path(self.mktemp())
        secret.write_text(f"{SECRET}\n")
        self.receiver_port = free_port()
        self.arguments = [
            f"--state-dir={self.state}",
            f"--results-url=http://127.0.0.1:{self.receiver_port}/results",
            f"--results-secret-file={secret.absolute()}",
            "--warm=0",
            "--fill-seconds=0",
            *(f"--game=tests.support.games:{game}" for game in ("Teller", "Apart")),
            "--game=tests.support.quick:Second",
        ]
        self.admin = AdminLine(self.state / "admin.sock")

    async def start(self) -> None:
        self.node = await start_node(self, *self.arguments)

    async def kill(self) -> None:
        os.kill(self.node.pid, signal.SIGKILL)
        while not self.node.exited:
            await deferLater(reactor, 0.02)

    def receive(self) -> Path:
        """Start the receiver of the manual; what it prints is in a file."""
        printed = Path(self.mktemp())
        with printed.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, str(RECEIVER), str(self.receiver_port)],
                stdout=out,
                env={**os.environ, "RESULTS_SECRET": SECRET},
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return printed

    async def room(self, game: str, room_id: str) -> Typed:
        """Bring two players into a room; play has begun."""
        ann, bob = (
            await typed(self, self.node, "ann"),
            await typed(self, self.node, "bob"),
        )
        started = [one.hear("room_started") for one in (ann, bob)]
        for one in (ann, bob):
            await one.ask("join_room", "join_room_result", game=game, room_id=room_id)
        await gatherResults(started)
        return ann

    async def end_round(self, line: Typed) -> None:
        over = line.hear("round_over")
        line.say("action", type="say", word="end")
        await over

    async def match(self) -> str:
        """Have two players play a match of a game server."""
        found = []
        for name in ("cat", "dan"):
            line = await typed(self, self.node, name)
            found.append(line.hear("match_found"))
            line.say("queue", game="second")
        matches = []
        for name, heard in zip(("cat", "dan"), found, strict=True):
            place = convert(await heard, MatchFound)
            endpoint = HostnameEndpoint(reactor, self.node.host, self.node.port)
            lobby = LobbyClient(reactor, endpoint, Hello(PROTOCOL, name))
            matches.append(Match(reactor, lobby, place))
            matches[-1].start()
        await gatherResults([match.ended for match in matches])
        return matches[0].match_id

    async def results(self, page: str = "results") -> list[dict[str, Any]]:
        found = await deferToThread(self.admin.get, page)
        listed: list[dict[str, Any]] = found["results"]
        return listed

    async def wait_until(self, is_so: Any, seconds: float = 90.0) -> None:
        """Wait; a bound on liveness."""
        give_up = reactor.seconds() + seconds
        while not await is_so():
            self.assertLess(reactor.seconds(), give_up, self.node.log_end())
            await deferLater(reactor, 0.1)

    async def test_receiver_down_and_node_killed(self) -> None:
        """
        Each round of rooms and matches arrives, with its id, although the receiver is
        down for a while and the node is killed meanwhile; and the operator can list
        them all the time.
        """
        await self.start()
        down_until = reactor.seconds() + DOWN
        here = await self.room("teller", "here")
        await self.end_round(here)
        again = here.hear("game_state", lambda state: "again" in str(state["view"]))
        here.say("action", type="say", word="again")
        await again
        await self.end_round(here)
        await self.end_round(await self.room("apart", "apart"))
        match_id = await self.match()
        before = await self.results()
        self.assertEqual([kept["state"] for kept in before], ["waiting"] * 4)
        facts = {kept["result"]["id"]: kept["result"] for kept in before}
        self.assertEqual(len(facts), 4)
        match = facts[f"{match_id}:1"]
        self.assertEqual((match["game"], match["reason"]), ("second", "finished"))
        self.assertEqual([seat["name"] for seat in match["seats"]], ["cat", "dan"])
        self.assertEqual(
            (match["places"], match["scores"], match["recording"]),
            ([[0, 1]], [0, 0], f"{match_id}.vinomrec"),
        )
        await self.kill()
        await self.start()
        self.assertEqual(
            [kept["result"] for kept in await self.results()],
            [kept["result"] for kept in before],
        )
        await self.end_round(await self.room("teller", "later"))
        await deferLater(reactor, max(0.0, down_until - reactor.seconds()))

        ids = [kept["result"]["id"] for kept in await self.results()]
        self.assertEqual(len(ids), 5)
        printed = self.receive()

        async def has_come() -> bool:
            return printed.read_text().count("\n") >= 5

        await self.wait_until(has_come)
        lines = printed.read_text().splitlines()
        self.assertEqual(sorted(line.split()[0] for line in lines), sorted(ids))
        # Of one room they came in order.
        order = [line.split()[0] for line in lines]
        self.assertLess(order.index(ids[0]), order.index(ids[1]))

        async def is_noted() -> bool:
            return {kept["state"] for kept in await self.results()} == {"sent"}

        await self.wait_until(is_noted)
