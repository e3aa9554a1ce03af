"""``vinom bots``: real clients that play, over a bad network if asked, and a report."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Container
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from vinom.base.model import SEED_BYTES
from vinom.base.printable import say, say_json
from vinom.client.bots import Bot, Crowd, Habits, Tally
from vinom.client.sdk import Client
from vinom.errors import Misconfigured
from vinom.game import Chance, ensure_level
from vinom.net.dtls.bad_network import Conditioner, Conditions
from vinom.play.game_loader import find_game
from vinom.tools.commands.foreground import run_in_foreground
from vinom.tools.commands.play import LOBBY, LobbyAddress, lobby_address, parse_json

OPTIONS = f"""
{LOBBY.strip()}
--game GAME = maze      play this installed game, or package.module:Class
--players N >=1 = 4     start this many bots
--seconds SECONDS >=0 = 30
                        queue for this long, then play running matches to their end
--grace SECONDS >=0 = 60
                        leave matches that run this much longer
--pace RATE >0 = 8      let each bot act this often per second
--options JSON          play with these options of the game
--level NAME            play at this level of the game's bot
--seed SEED             make the same choices in each run
--json                  print only one JSON object
[bad network]
                        Applies to the datagrams of matches, in each direction; lobby
                        lines are not affected.
--loss PERCENT 0..100 = 0
                        lose this share of datagrams
--delay-ms MS 0..60000 = 0
                        delay each datagram
--jitter-ms MS 0..60000 = 0
                        vary the delay by up to this, at most --delay-ms
--duplicate PERCENT 0..100 = 0
                        deliver this share twice
--reorder PERCENT 0..100 = 0
                        hold this share back, so that others overtake it
--network-seed SEED     lose the same datagrams in each run (--seed)
"""


def network_conditions(options: argparse.Namespace) -> Conditions | None:
    """
    Read the options of a bad network.

    :returns: ``None`` to leave the network alone.
    :raises Misconfigured: its delay varies by more than that.
    """
    if options.jitter_ms > options.delay_ms:
        raise Misconfigured("--jitter-ms must be at most --delay-ms")
    asked = Conditions(
        loss=options.loss / 100,
        duplicate=options.duplicate / 100,
        reorder=options.reorder / 100,
        delay=options.delay_ms / 1000,
        jitter=options.jitter_ms / 1000,
    )
    return None if asked == Conditions() else asked


#: For how long a client that left may repeat its goodbye, seconds.
_LAST_WORDS = 1.0


def run(options: argparse.Namespace) -> int:
    """
    Play and print the report.

    :returns: exit code: 0 if every match went well, 1 if one failed or none began.
    :raises Misconfigured: an option is out of range.
    """
    network = network_conditions(options)
    name, game = find_game(options.game)
    wanted = parse_json("--options", options.options)
    try:
        ensure_level(game, options.level or "")
    except ValueError as error:
        raise Misconfigured(f"--level: {error}") from None
    habits = Habits(name, game, wanted, options.pace, level=options.level or "")
    lobby = lobby_address(options)
    code, ran = run_in_foreground(
        lambda reactor: BotRun(reactor, options, lobby, habits, network)
    )
    tally = ran.tally
    report = tally.report()
    if not tally.started:
        reason = why_none(tally.reasons, lobby, options.seconds)
        say(f"vinom bots: {reason}", file=sys.stderr)
    for kind, reason in tally.reasons.items():
        say(f"vinom bots: {kind}: {reason}", file=sys.stderr)
    if options.json:
        say_json(report)
    else:
        say(describe(report))
    sys.stdout.flush()
    return code


class BotRun:
    """
    One run of bots.

    :ivar tally: collects the results.
    """

    def __init__(
        self,
        reactor: Any,
        options: argparse.Namespace,
        lobby: LobbyAddress,
        habits: Habits,
        network: Conditions | None,
    ) -> None:
        """
        :param reactor: runs it.
        :param options: those of `OPTIONS`.
        :param lobby: where to connect.
        :param habits: what bots play, and how.
        :param network: what happens to datagrams; ``None`` leaves them alone.
        """
        self._reactor, self._lobby, self._habits = reactor, lobby, habits
        self._network = network
        self.tally = Tally.of(habits.game)
        seed = (
            os.urandom(SEED_BYTES)
            if options.seed is None
            else str(options.seed).encode()
        )
        losses = options.network_seed
        self._network_seed = seed.hex() if losses is None else str(losses)
        chance = Chance(int.from_bytes(seed[-SEED_BYTES:], "big"))
        names = [f"bot-{number}" for number in range(1, options.players + 1)]
        newcomers = [self._newcomer(name, chance.fork(name)) for name in names]
        # A game that never ends by itself is left when the time is over.
        grace = options.grace if self.tally.ends else 0.0
        self._crowd = Crowd(reactor, newcomers, self.tally, options.seconds, grace)

    async def run(self) -> int:
        """Play; returns the exit code."""
        await self._crowd.run()
        # Until the last goodbyes are sent.
        network = self._network
        stay = 0.0 if network is None else network.longest + _LAST_WORDS
        await deferLater(self._reactor, stay)
        return 1 if self.tally.failed or not self.tally.started else 0

    def stop(self) -> None:
        """Leave now."""
        self._crowd.leave()

    def _newcomer(self, name: str, chance: Chance) -> Any:

        def ready(client: Client) -> Bot:
            return Bot(self._reactor, client, self._habits, self.tally, chance)

        def greet() -> Deferred[Bot]:
            # Each bot has one of its own: none may change another's datagrams.
            network = None
            if self._network is not None:
                seed = f"{self._network_seed} {name}"
                network = Conditioner(self._reactor, self._network, seed)
            # This measures UDP: fall back on nothing else.
            client = self._lobby.connect(
                self._reactor, name, datagram_filter=network, way="udp"
            )
            return client.addCallback(ready)

        return greet


def why_none(reasons: Container[str], lobby: LobbyAddress, seconds: float) -> str:
    """Write that no match began, and what to check first."""
    if "line_lost" in reasons:
        return f"no match began: cannot reach a lobby at {lobby}; set --connect"
    if reasons:
        return "no match began"
    return (
        f"no match began in {seconds:g} s; a match waits for more players before it "
        "starts with empty seats: raise --seconds or --players"
    )


def describe(report: dict[str, Any]) -> str:
    """Write a report for people, in a few lines."""
    matches = report["matches"]
    summary = "{started} started, {finished} finished, {failed} failed".format(
        **matches
    )
    left = matches["started"] - matches["finished"] - matches["failed"]
    if left > 0:
        summary += f", {left} left before the end (--grace)"
    lines = [
        f"matches      {summary}",
        f"traffic      {report['inputs_per_s']:,.0f} inputs/s, "
        f"{report['states_per_s']:,.0f} states/s, {report['handshakes']} handshakes",
    ]
    for key, label in (
        ("input_to_state_ms", "input->state"),
        ("queue_to_match_ms", "queue->match"),
        ("match_to_joined_ms", "match->join "),
    ):
        times = report[key]
        if times["p50"] is not None:
            lines.append(
                f"{label} p50 {times['p50']:,.1f} ms, p99 {times['p99']:,.1f} ms"
            )
    if report["errors"]:
        errors = ", ".join(f"{code} {n}" for code, n in report["errors"].items())
        lines.append(f"errors       {errors}")
    return "\n".join(lines)
