"""``vinom chaos``: kill processes while bots play a game, and check the promises."""

from __future__ import annotations

import argparse
import os
import sys

import msgspec

from vinom.base.printable import say, say_json
from vinom.client.bots import Habits
from vinom.errors import Misconfigured, Refused
from vinom.game import Game
from vinom.net.dtls.bad_network import Conditions
from vinom.play.choices import read_options, seats_for
from vinom.play.game_loader import find_game
from vinom.tools.chaos.plan import KINDS, Kind, Plan, Report, plan_strikes
from vinom.tools.chaos.run import ChaosRun
from vinom.tools.commands.child_node import redis_executable
from vinom.tools.commands.foreground import run_in_foreground
from vinom.tools.commands.play import parse_json

DESCRIPTION = """
Start a node with its game servers on this machine, in a temporary directory and on free
ports. Let bots play over UDP while datagrams are lost and processes are killed. Compare
what every player saw with every other player and with the recordings: no version goes
back, every state that a player saw is the recorded one, every acknowledged input was
played exactly once, every event arrived once, every recording replays to its final
state, and every match ended. The exit status is 0 if all of this holds, 1 if it does
not, and 2 if nothing could be played, or nothing be killed that was to be. Ctrl-C ends
the run, and the matches played until then are checked.
"""
#: Largest number of bots: they share one process.
_MOST_BOTS = 800


OPTIONS = """
--game PACKAGE.MODULE:CLASS = maze
               play this game, or the installed one of this name
--matches N >=1 = 20
               play this many at the same time
--minutes MINUTES >0 = 2
               start matches and kill processes for this long after the first match has
               been found
--grace SECONDS >0 = 60
               leave matches that still run this long after that
--loss PERCENT 0..90 = 0
               lose this percentage of datagrams in each direction
--kill KIND[,KIND]
               kill processes of these kinds: gameserver, hang, node, store (which also
               starts a Redis); move: move matches to other game servers, as an operator
               does; restart: restart the node while matches go on, as for an upgrade
               (none)
--every SECONDS >0 = 5
               mean time between two kills or moves
--pace RATE >0 = 4
               let each bot act this often per second
--options JSON
               play with these options of the game
--seed SEED    repeat the kills, losses and choices of bots of the run with this seed
--keep FOLDER  copy recordings and the node's log here if a promise was broken
--json         print only one JSON object
"""


def run(options: argparse.Namespace) -> int:
    """
    Play, check, and print the report.

    :returns: exit code: see `vinom.tools.chaos.plan.Report.exit_code`.
    :raises Misconfigured: an option is out of range, or Redis is missing.
    """
    plan = read_plan(options)
    # Progress must not mix with the JSON report.
    out = sys.stderr if options.json else sys.stdout
    code, ran = run_in_foreground(
        lambda reactor: ChaosRun(reactor, plan, lambda text: say(text, out, flush=True))
    )
    report = ran.report
    if ran.failure:
        say(f"vinom chaos: {ran.failure}", file=sys.stderr)
    if options.json:
        say_json(report.as_json())
    else:
        say(report.as_text())
        if advice := next_steps(plan, report):
            say(advice)
    sys.stdout.flush()
    return code


def next_steps(plan: Plan, report: Report) -> str:
    """List commands that help to find the fault; empty if nothing is broken."""
    if not report.broken:
        return ""
    lines = [f"next: vinom check {plan.spec}"]
    differing = [one.match_id for one in report.broken if one.promise == "recording"]
    if differing and plan.keep is not None:
        recording = plan.keep / "recordings" / f"{differing[0]}.vinomrec"
        lines.append(f"next: vinom replay {recording} --game {plan.spec} --watch")
    elif plan.keep is None:
        lines.append(
            "next: run the same with --keep FOLDER, which keeps the recordings"
        )
    return "\n".join(lines)


def read_plan(options: argparse.Namespace) -> Plan:
    """
    Check the options.

    :raises Misconfigured: one is out of range, or Redis is missing.
    """
    name, game = find_game(options.game)
    if type(game).bot is Game.bot:
        raise Misconfigured(
            f"--game {options.game}: it has no bot method, which this command needs: "
            f"write {type(game).__name__}.bot"
        )
    wanted = parse_json("--options", options.options)
    chosen = msgspec.json.encode(wanted or {})
    try:
        read_options(game, chosen)
        players = seats_for(game, chosen)[1]
    except Refused as error:
        raise Misconfigured(f"--options: {error}") from None
    most = _MOST_BOTS // players
    if options.matches > most:
        raise Misconfigured(
            f"--matches {options.matches} must be 1 to {most} for a game of "
            f"{players} players"
        )
    if options.keep is not None and options.keep.exists() and not options.keep.is_dir():
        raise Misconfigured(f"--keep {options.keep} is a file: name a folder")
    kinds = _kinds(options.kill or "")
    seconds = options.minutes * 60
    seed = str(options.seed) if options.seed is not None else os.urandom(4).hex()
    return Plan(
        spec=options.game,
        matches=options.matches,
        seconds=seconds,
        grace=options.grace,
        conditions=Conditions(loss=options.loss / 100) if options.loss else None,
        habits=Habits(name, game, wanted, options.pace),
        seed=seed,
        strikes=plan_strikes(kinds, seconds, options.every, seed),
        redis=redis_executable("--kill store") if "store" in kinds else "",
        keep=options.keep,
        arguments=("--on-stop=leave",) if "restart" in kinds else (),
    )


def _kinds(text: str) -> tuple[Kind, ...]:
    asked = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in asked if word not in KINDS]
    if unknown:
        raise Misconfigured(
            f"--kill {unknown[0]}: must be one or more of {', '.join(KINDS)}, "
            f"separated by commas"
        )
    return tuple(kind for kind in KINDS if kind in asked)
