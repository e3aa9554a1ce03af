"""
``vinom bots``: real clients that play, and a report of how it went.

How player commands are told to play over a bad network.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Container
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from vinom.client.bot import Bot, Habits
from vinom.client.crowd import Crowd
from vinom.client.sdk import Client, connect
from vinom.client.tally import Tally
from vinom.commands.foreground import run_in_foreground
from vinom.commands.play import (
    LobbyAddress,
    add_lobby_arguments,
    find_game,
    lobby_address,
    parse_json,
)
from vinom.dtls.bad_network import LONGEST_DELAY, Conditioner, Conditions
from vinom.errors import Misconfigured
from vinom.game import Chance, Game

_LONGEST_MS = LONGEST_DELAY * 1000


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how bad the network is to be."""
    group = parser.add_argument_group(
        "bad network",
        "What happens to the datagrams of matches, in each direction; lobby lines "
        "are left alone.",
    )
    group.add_argument(
        "--loss",
        metavar="PERCENT",
        type=float,
        default=0.0,
        help="so many never arrive (0)",
    )
    group.add_argument(
        "--delay-ms", type=float, default=0.0, help="time on the way (0)"
    )
    group.add_argument(
        "--jitter-ms",
        type=float,
        default=0.0,
        help="up to so much more or less; at most --delay-ms (0)",
    )
    group.add_argument(
        "--duplicate",
        metavar="PERCENT",
        type=float,
        default=0.0,
        help="so many come twice (0)",
    )
    group.add_argument(
        "--reorder",
        metavar="PERCENT",
        type=float,
        default=0.0,
        help="so many are held back, and overtaken (0)",
    )
    group.add_argument(
        "--network-seed", type=int, help="the same luck every time (--seed)"
    )


def network_conditions(options: argparse.Namespace) -> Conditions | None:
    """
    Read what `add_network_arguments` declared.

    :returns: ``None`` if the network is to be as it is.
    :raises Misconfigured: it makes no sense.
    """
    for flag, percent in (
        ("--loss", options.loss),
        ("--duplicate", options.duplicate),
        ("--reorder", options.reorder),
    ):
        if not 0 <= percent <= 100:
            raise Misconfigured(f"{flag} must be a percentage, 0 to 100")
    for flag, ms in (
        ("--delay-ms", options.delay_ms),
        ("--jitter-ms", options.jitter_ms),
    ):
        if not 0 <= ms <= _LONGEST_MS:
            raise Misconfigured(f"{flag} must be 0 to {_LONGEST_MS:.0f} (milliseconds)")
    if options.jitter_ms > options.delay_ms:
        raise Misconfigured("--jitter-ms must not be more than --delay-ms")
    asked = Conditions(
        loss=options.loss / 100,
        duplicate=options.duplicate / 100,
        reorder=options.reorder / 100,
        delay=options.delay_ms / 1000,
        jitter=options.jitter_ms / 1000,
    )
    return None if asked == Conditions() else asked


#: How long a client that left may repeat it, seconds.
_LAST_WORDS = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be asked."""
    add_lobby_arguments(parser)
    parser.add_argument(
        "--game",
        default="maze",
        help="an installed game, or package.module:Class (maze)",
    )
    parser.add_argument("--players", type=int, default=4, help="how many bots (4)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=30.0,
        help="queue for so long, then play the running matches to their end (30)",
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=60.0,
        help="leave matches that run so many seconds longer (60)",
    )
    parser.add_argument(
        "--pace", type=float, default=8.0, help="actions a second of each bot (8)"
    )
    parser.add_argument("--options", metavar="JSON", help="the game's options")
    parser.add_argument("--seed", type=int, help="the same choices every time")
    parser.add_argument(
        "--json", action="store_true", help="print nothing but one JSON object"
    )
    add_network_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """
    Play; 0 if every match went well, 1 if one failed or none began.

    :raises Misconfigured: the options make no sense.
    """
    if options.players < 1:
        raise Misconfigured("--players must be 1 or more")
    if not 0 < options.pace < math.inf:
        raise Misconfigured("--pace must be a number above 0")
    if not (0 <= options.seconds < math.inf and 0 <= options.grace < math.inf):
        raise Misconfigured("--seconds and --grace must be numbers, 0 or more")
    network = network_conditions(options)
    name, game = find_game(options.game)
    seed = os.urandom(8) if options.seed is None else str(options.seed).encode()
    plan = BotPlan(
        lobby_address(options),
        name,
        game,
        Habits(parse_json("--options", options.options), options.pace),
        options.players,
        options.seconds,
        # Who never ends by itself is left when the time is over.
        options.grace if _ends(game) else 0.0,
        seed,
        network,
        seed.hex() if options.network_seed is None else str(options.network_seed),
    )
    runs: list[BotRun] = []

    def build(reactor: Any) -> BotRun:
        runs.append(BotRun(reactor, plan))
        return runs[0]

    code = run_in_foreground(build)
    report = runs[0].tally.report()
    if not runs[0].tally.started:
        told = why_none(report["errors"], plan.lobby, options.seconds)
        print(f"vinom bots: {told}", file=sys.stderr)
    for kind, reason in runs[0].tally.reasons.items():
        print(f"vinom bots: {kind}: {reason}", file=sys.stderr)
    print(json.dumps(report) if options.json else describe(report))
    sys.stdout.flush()
    return code


@attrs.frozen
class BotPlan:
    """
    What a run of bots is to be; see the options of `add_arguments`.

    :ivar network: what it does to datagrams; ``None`` leaves them alone.
    :ivar network_seed: of its luck.
    """

    lobby: LobbyAddress
    name: str
    game: Game[Any, Any]
    habits: Habits
    players: int
    seconds: float
    grace: float
    seed: bytes
    network: Conditions | None = None
    network_seed: str = ""


class BotRun:
    """One run of bots."""

    def __init__(self, reactor: Any, plan: BotPlan) -> None:
        self._reactor, self._plan = reactor, plan
        shows_all = type(plan.game).audience is Game.audience
        self.tally = Tally(shows_all, _ends(plan.game))
        chance = Chance(int.from_bytes(plan.seed[-8:], "big"))
        newcomers = []
        for number in range(1, plan.players + 1):
            word, chance = chance.draw()
            newcomers.append(self._newcomer(f"bot-{number}", Chance(word)))
        self._crowd = Crowd(reactor, newcomers, self.tally, plan.seconds, plan.grace)

    def run(self) -> Deferred[int]:
        """Play; fires with the exit code."""
        return self._crowd.run().addCallback(lambda _: self._see_off())

    def stop(self) -> None:
        """Leave now."""
        self._crowd.leave()

    def _see_off(self) -> Deferred[int]:
        """Stay until the last goodbyes have left."""
        network = self._plan.network
        stay = 0.0 if network is None else network.longest + _LAST_WORDS
        return deferLater(self._reactor, stay, self._code)

    def _code(self) -> int:
        return 1 if self.tally.failed or not self.tally.started else 0

    def _conditioner(self, name: str) -> Conditioner | None:
        """Give each bot a network of its own, so that none changes another's luck."""
        plan = self._plan
        if plan.network is None:
            return None
        return Conditioner(self._reactor, plan.network, f"{plan.network_seed} {name}")

    def _newcomer(self, name: str, chance: Chance) -> Any:
        plan = self._plan
        lobby = plan.lobby

        def ready(client: Client) -> Bot:
            return Bot(
                self._reactor,
                client,
                plan.name,
                plan.game,
                plan.habits,
                self.tally,
                chance,
            )

        def greet() -> Deferred[Bot]:
            return connect(
                self._reactor,
                lobby.host,
                lobby.port,
                name=name,
                tls=lobby.tls,
                tls_name=lobby.tls_name,
                worn=self._conditioner(name),
                # What is measured is UDP, and nothing else that would do instead.
                way="udp",
            ).addCallback(ready)

        return greet


def _ends(game: Game[Any, Any]) -> bool:
    """Does this game ever have an outcome?"""
    return type(game).outcome is not Game.outcome


def why_none(errors: Container[str], lobby: LobbyAddress, seconds: float) -> str:
    """Say that no match began, and what to look at first."""
    if "line_lost" in errors:
        return f"no match began: is {lobby} a node's lobby? (--connect)"
    if errors:
        return "no match began"
    return f"no match began in {seconds:g} s; a table that is not full waits a while"


def describe(report: dict[str, Any]) -> str:
    """Say in a few lines what a report says."""
    matches = report["matches"]
    told = "{started} started, {finished} finished, {failed} failed".format(**matches)
    left = matches["started"] - matches["finished"] - matches["failed"]
    if left > 0:
        told += f", {left} left before the end (--grace)"
    lines = [
        f"matches      {told}",
        f"traffic      {report['inputs_per_s']:,.0f} inputs/s, "
        f"{report['states_per_s']:,.0f} states/s, {report['handshakes']} handshakes",
    ]
    for key, label in (
        ("input_to_state_ms", "input->state"),
        ("queue_to_match_ms", "queue->match"),
        ("match_to_joined_ms", "match->join "),
    ):
        summary = report[key]
        if summary["p50"] is not None:
            lines.append(
                f"{label} p50 {summary['p50']:,.1f} ms, p99 {summary['p99']:,.1f} ms"
            )
    if report["errors"]:
        errors = ", ".join(f"{code} {n}" for code, n in report["errors"].items())
        lines.append(f"errors       {errors}")
    return "\n".join(lines)
