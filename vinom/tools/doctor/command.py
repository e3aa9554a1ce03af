"""``vinom doctor``: check this machine for problems, and say how to fix them."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from vinom.base.printable import say, say_json
from vinom.base.settings.sources import checked_path
from vinom.base.settings.values import Switch
from vinom.errors import Misconfigured
from vinom.net.keys.files import read_file
from vinom.net.web.guards import checked_token
from vinom.node.build import check_program, find_checkers
from vinom.node.games import all_games
from vinom.node.settings import TABLE, Settings, gather
from vinom.tools.commands.admin import AdminLine, NotDone
from vinom.tools.doctor.findings import Finding, Subject, count_verdicts, summary
from vinom.tools.doctor.gateway import examine_gateway
from vinom.tools.doctor.machine import (
    clock,
    examine_disk,
    examine_game_servers,
    examine_limits,
    examine_wall,
    is_clock_synchronised,
)
from vinom.tools.doctor.network import NOT_TESTED, answer, probe
from vinom.tools.doctor.outside import (
    examine_cluster,
    examine_provider,
    examine_receiver,
    examine_store,
)
from vinom.tools.doctor.ports import examine_host, examine_ports, listener_of
from vinom.tools.doctor.trust import examine_pair, examine_strangers, examine_tls

_EPILOG = """\
It also takes every option of twistd vinom (twistd vinom --help), its file (--config)
and its VINOM_* variables: configure it like the node. Run it as the node's user, before
the node starts or while it runs; it changes nothing.

Can players reach the game ports? Test it from another machine:
  server$  vinom doctor --answer --config /etc/vinom.toml
  player$  vinom doctor --probe play.example.org:46063

Exit code: 0 if nothing fails, 1 if something does, 2 if an argument is invalid.
"""


OPTIONS = """
--answer            only answer probes, at the last free game port, until Ctrl-C
--for SECONDS >0    with --answer: stop after this many seconds
--probe HOST:PORT   only probe a machine where vinom doctor --answer runs
--gateway PATH      only examine the gateway with this TOML file, and VINOM_GATEWAY_*
--json              print findings as JSON
--config PATH       read the node's settings from this TOML file
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare all settings of a node, too."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    # Otherwise an unknown option could pass as the abbreviation of a setting.
    parser.allow_abbrev = False
    for row in TABLE:
        how: dict[str, Any] = {"metavar": row.kind.metavar}
        if isinstance(row.kind, Switch):
            how = {"action": "store_true", "default": None}
        elif row.many:
            how["action"] = "append"
        parser.add_argument(
            f"--{row.flag}", dest=f"set_{row.name}", help=argparse.SUPPRESS, **how
        )


def run(options: argparse.Namespace) -> int:
    """
    Check, and print the findings.

    :returns: exit code: 1 if something fails.
    :raises Misconfigured: a setting or an option is invalid.
    """
    if options.answer and options.probe:
        raise Misconfigured("give --answer on one machine and --probe on the other")
    seconds = getattr(options, "for")
    if seconds is not None and not options.answer:
        raise Misconfigured("--for needs --answer")
    if options.probe:
        return _show(probe(options.probe, os.urandom), options.json)
    if options.gateway:
        path = checked_path("--gateway", options.gateway)
        return _show(examine_gateway(path, os.environ), options.json)
    settings = _settings(options)
    if options.answer:
        answer(settings, seconds, lambda line: say(line, flush=True))
        return 0
    return _show(examine(settings), options.json)


def _settings(options: argparse.Namespace) -> Settings:
    """Read the settings as the node would."""
    given = {
        row.name: value
        for row in TABLE
        if (value := getattr(options, f"set_{row.name}")) is not None
    }
    path = None if options.config is None else checked_path("--config", options.config)
    return gather(given, os.environ, path)


def _show(findings: list[Finding], as_json: bool) -> int:
    """Print findings; returns the exit code."""
    counts = count_verdicts(findings)
    if as_json:
        report = {"findings": [attrs.asdict(one) for one in findings], "counts": counts}
        say_json(report, indent=2)
    else:
        say(in_lines(findings, shutil.get_terminal_size().columns))
    return 1 if counts["failure"] else 0


def in_lines(findings: list[Finding], columns: int) -> str:
    """Write findings for people: verdict, name, sentence; below it the remedy."""
    verdicts = max(len(one.verdict) for one in findings)
    names = max(len(one.name) for one in findings)
    indent = " " * (verdicts + names + 4)
    width = max(columns, len(indent) + 40)
    lines = []
    for one in findings:
        head = f"{one.verdict.ljust(verdicts)}  {one.name.ljust(names)}  "
        lines += _wrapped(head, indent, one.message, width)
        if one.remedy is not None:
            lines += _wrapped(f"{indent}-> ", f"{indent}   ", one.remedy, width)
    return "\n".join([*lines, "", summary(findings)])


def _wrapped(first: str, rest: str, text: str, width: int) -> list[str]:
    # Commands and addresses must stay whole, to be copied.
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


#: Most seats of one table, as long as no game can be loaded.
_USUAL_SEATS = 4


def examine(settings: Settings) -> list[Finding]:
    """Check everything of a node, and change nothing."""
    node = listener_of(settings.admin_socket)
    games, most_seats = _games(settings)
    found, status = _node(settings, node)
    return [
        *found,
        *examine_ports(settings, node),
        examine_host(settings),
        *examine_tls(settings, node),
        NOT_TESTED,
        *examine_limits(settings, node, most_seats),
        *examine_strangers(settings, status.get("forwarding", {})),
        games,
        *examine_game_servers(settings),
        *_certificates(settings),
        *_identity(settings),
        *examine_provider(settings),
        *examine_cluster(settings),
        *examine_store(settings),
        *examine_receiver(settings),
        *examine_disk(settings),
        *examine_wall(settings),
        clock(is_clock_synchronised()),
    ]


def _node(
    settings: Settings, node: int | None
) -> tuple[list[Finding], Mapping[str, Any]]:
    """Ask the running node for its status, which is empty without an answer."""
    about = Subject("node")
    if node is None:
        return [about.ok("no node runs on this state directory")], {}
    try:
        status = AdminLine(settings.admin_socket).get("status")
    except (Misconfigured, NotDone) as error:
        whose = f"process {node}" if node else "a process"
        message = f"{whose} has the admin socket, but does not answer: {error}"
        how = "run this as the node's user; or look at the node's log, and restart it"
        return [about.failure(message, how)], {}
    # The remedy is the last part of the sentence, if it has one.
    problems = [
        [*re.split(r"[:;] (?!.*[:;] )", why, maxsplit=1), "look at the node's log"][:2]
        for why in status["problems"].values()
    ]
    message = f"process {node} runs here, {status['state']}, its lobby at "
    return [
        about.ok(f"{message}{status['lobby']}"),
        *(about.warning(*parts) for parts in problems),
    ], status


def _games(settings: Settings) -> tuple[Finding, int]:
    """Load the games; returns the most seats of one table too."""
    about = Subject("games")
    try:
        games = all_games(settings.game, settings.games)
    except Misconfigured as error:
        return about.failure(str(error), "set game to a class that can be imported"), (
            _USUAL_SEATS
        )
    for name, table in (settings.games or {}).items():
        try:
            check_program(name, table)
        except Misconfigured as error:
            return about.refused(error), _USUAL_SEATS
    most = max((game.seats[1] for game in games.values()), default=_USUAL_SEATS)
    return about.ok(", ".join(sorted(games))), most


def _certificates(settings: Settings) -> Iterator[Finding]:
    path, key = settings.tls_certificate_file, settings.tls_key_file
    if path is not None and key is not None:
        names = ("tls_certificate_file", "tls_key_file")
        host = settings.public_host
        yield from examine_pair("lobby certificate", (path, key), names, host=host)
    else:
        yield Subject("lobby certificate").ok("the node issues and renews its own")
    path, key = settings.authority_certificate_file, settings.authority_key_file
    own = settings.state_dir / "authority"
    if path is not None and key is not None:
        names = ("authority_certificate_file", "authority_key_file")
        yield from examine_pair("authority", (path, key), names, signs=True)
    elif _is_there(own / "ca.pem"):
        files = own / "ca.pem", own / "ca.key"
        yield from examine_pair("authority", files, signs=True)
    else:
        yield Subject("authority").ok("none yet; the node creates a private one")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # Hidden from us; reading it fails with the reason.
        return True


def _identity(settings: Settings) -> Iterator[Finding]:
    """Check who may play, and who may administer."""
    try:
        checkers = find_checkers(settings, time.time)
    except Misconfigured as error:
        how = "see twistd vinom --help-auth"
        yield Subject("identity").refused(error, how)
    else:
        guests = {
            "no": "no guests",
            "loopback": "guests from this machine",
            "yes": "guests from everywhere",
        }[settings.guests]
        count = len(checkers) + (settings.identity_issuer is not None)
        message = f"{guests}, and players with credentials: {count} checkers"
        yield Subject("identity").ok(message if count else guests)
    path = settings.admin_token_file
    if path is not None:
        try:
            checked_token(read_file(path, "admin_token_file"), str(path))
        except Misconfigured as error:
            yield Subject("admin token").refused(error, "replace the file")
        else:
            yield Subject("admin token").ok(f"{path} contains one")
