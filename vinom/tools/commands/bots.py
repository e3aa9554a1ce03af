"""``vinom bots``: real clients that play, over a bad network if asked, and a report."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Container
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from vinom.base.model import SEED_BYTES
from vinom.base.printable import say, say_json
from vinom.client.load.bot import Bot, Crowd, Habits
from vinom.client.load.tally import Tally
from vinom.client.sdk import Client
from vinom.errors import Misconfigured
from vinom.game import Chance, Game
from vinom.net.dtls.bad_network import LONGEST_DELAY, Conditioner, Conditions
from vinom.play.game_loader import find_game
from vinom.tools.commands.foreground import run_in_foreground
from vinom.tools.commands.play import (
    LobbyAddress,
    add_lobby_arguments,
    add_number,
    lobby_address,
    parse_json,
)

_LONGEST_MS = LONGEST_DELAY * 1000


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that simulate a bad network."""
    group = parser.add_argument_group(
        "bad network",
        "Applies to the datagrams of matches, in each direction; lobby lines are "
        "not affected.",
    )
    add_number(group, "--loss", 0.0, "lose this share of datagrams", metavar="PERCENT")
    add_number(group, "--delay-ms", 0.0, "delay each datagram")
    add_number(
        group, "--jitter-ms", 0.0, "vary the delay by up to this, at most --delay-ms"
    )
    add_number(group, "--duplicate", 0.0, "deliver this share twice", metavar="PERCENT")
    add_number(
        group,
        "--reorder",
        0.0,
        "hold this share back, so that others overtake it",
        metavar="PERCENT",
    )
    group.add_argument(
        "--network-seed", type=int, help="lose the same datagrams in each run (--seed)"
    )


def network_conditions(options: argparse.Namespace) -> Conditions | None:
    """
    Read what `add_network_arguments` declared.

    :returns: ``None`` to leave the network alone.
    :raises Misconfigured: an option is out of range.
    """
    for flag, percent in (
        ("--loss", options.loss),
        ("--duplicate", options.duplicate),
        ("--reorder", options.reorder),
    ):
        if not 0 <= percent <= 100:
            raise Misconfigured(f"{flag} {percent:g} must be a percentage, 0 to 100")
    for flag, ms in (
        ("--delay-ms", options.delay_ms),
        ("--jitter-ms", options.jitter_ms),
    ):
        if not 0 <= ms <= _LONGEST_MS:
            raise Misconfigured(
                f"{flag} {ms:g} must be 0 to {_LONGEST_MS:.0f} (milliseconds)"
            )
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_lobby_arguments(parser)
    parser.add_argument(
        "--game",
        default="maze",
        help="play this installed game, or package.module:Class (maze)",
    )
    add_number(parser, "--players", 4, "start this many bots")
    add_number(
        parser,
        "--seconds",
        30.0,
        "queue for this long, then play running matches to their end",
    )
    add_number(parser, "--grace", 60.0, "leave matches that run this much longer")
    add_number(parser, "--pace", 8.0, "let each bot act this often per second")
    parser.add_argument(
        "--options", metavar="JSON", help="play with these options of the game"
    )
    parser.add_argument("--seed", type=int, help="make the same choices in each run")
    parser.add_argument(
        "--json", action="store_true", help="print only one JSON object"
    )
    add_network_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """
    Play and print the report.

    :returns: exit code: 0 if every match went well, 1 if one failed or none began.
    :raises Misconfigured: an option is out of range.
    """
    if options.players < 1:
        raise Misconfigured(f"--players {options.players} must be 1 or more")
    if not 0 < options.pace < math.inf:
        raise Misconfigured(f"--pace {options.pace} must be a number above 0")
    if not (0 <= options.seconds < math.inf and 0 <= options.grace < math.inf):
        raise Misconfigured("--seconds and --grace must be numbers, 0 or more")
    network = network_conditions(options)
    name, game = find_game(options.game)
    seed = (
        os.urandom(SEED_BYTES) if options.seed is None else str(options.seed).encode()
    )
    plan = BotPlan(
        lobby_address(options),
        Habits(name, game, parse_json("--options", options.options), options.pace),
        options.players,
        options.seconds,
        # A game that never ends by itself is left when the time is over.
        options.grace if _ends(game) else 0.0,
        seed,
        network,
        seed.hex() if options.network_seed is None else str(options.network_seed),
    )
    code, ran = run_in_foreground(lambda reactor: BotRun(reactor, plan))
    tally = ran.tally
    report = tally.report()
    if not tally.started:
        reason = why_none(tally.reasons, plan.lobby, options.seconds)
        say(f"vinom bots: {reason}", file=sys.stderr)
    for kind, reason in tally.reasons.items():
        say(f"vinom bots: {kind}: {reason}", file=sys.stderr)
    if options.json:
        say_json(report)
    else:
        say(describe(report))
    sys.stdout.flush()
    return code


@attrs.frozen
class BotPlan:
    """
    The plan of a run of bots; see the options of `add_arguments`.

    :ivar lobby: where to connect.
    :ivar habits: what bots play, and how.
    :ivar players: number of bots.
    :ivar seconds: for how long to queue.
    :ivar grace: for how long to play on after that, seconds.
    :ivar seed: of the bots' choices.
    :ivar network: what happens to datagrams; ``None`` leaves them alone.
    :ivar network_seed: of the network's choices.
    """

    lobby: LobbyAddress
    habits: Habits
    players: int
    seconds: float
    grace: float
    seed: bytes
    network: Conditions | None = None
    network_seed: str = ""


class BotRun:
    """
    One run of bots.

    :ivar tally: collects the results.
    """

    def __init__(self, reactor: Any, plan: BotPlan) -> None:
        """
        :param reactor: runs it.
        :param plan: what to do.
        """
        self._reactor, self._plan = reactor, plan
        game = plan.habits.game
        self.tally = Tally(type(game).audience is Game.audience, _ends(game))
        chance = Chance(int.from_bytes(plan.seed[-SEED_BYTES:], "big"))
        names = [f"bot-{number}" for number in range(1, plan.players + 1)]
        newcomers = [self._newcomer(name, chance.fork(name)) for name in names]
        self._crowd = Crowd(reactor, newcomers, self.tally, plan.seconds, plan.grace)

    async def run(self) -> int:
        """Play; returns the exit code."""
        await self._crowd.run()
        # Until the last goodbyes are sent.
        network = self._plan.network
        stay = 0.0 if network is None else network.longest + _LAST_WORDS
        await deferLater(self._reactor, stay)
        return 1 if self.tally.failed or not self.tally.started else 0

    def stop(self) -> None:
        """Leave now."""
        self._crowd.leave()

    def _newcomer(self, name: str, chance: Chance) -> Any:
        plan = self._plan

        def ready(client: Client) -> Bot:
            return Bot(self._reactor, client, plan.habits, self.tally, chance)

        def greet() -> Deferred[Bot]:
            # Each bot has one of its own: none may change another's datagrams.
            network = None
            if plan.network is not None:
                seed = f"{plan.network_seed} {name}"
                network = Conditioner(self._reactor, plan.network, seed)
            # This measures UDP: fall back on nothing else.
            client = plan.lobby.connect(
                self._reactor, name, datagram_filter=network, way="udp"
            )
            return client.addCallback(ready)

        return greet


def _ends(game: Game[Any, Any]) -> bool:
    """Does this game ever have an outcome?"""
    return type(game).outcome is not Game.outcome


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
