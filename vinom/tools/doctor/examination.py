"""``vinom doctor``: every check, one after the other."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vinom.errors import Misconfigured
from vinom.net.keys.files import read_file
from vinom.net.web.guards import checked_token
from vinom.node.asking import AdminLine, NotDone
from vinom.node.build import check_program, find_checkers
from vinom.node.games import all_games
from vinom.node.settings import Settings
from vinom.tools.doctor.findings import Finding, failure, ok, refused, warning
from vinom.tools.doctor.game_servers import examine_game_servers
from vinom.tools.doctor.machine import (
    clock,
    examine_disk,
    examine_limits,
    examine_wall,
    is_clock_synchronised,
)
from vinom.tools.doctor.network import NOT_TESTED
from vinom.tools.doctor.outside import (
    examine_cluster,
    examine_provider,
    examine_receiver,
    examine_store,
)
from vinom.tools.doctor.ports import examine_host, examine_ports, listener_of
from vinom.tools.doctor.strangers import examine_strangers
from vinom.tools.doctor.trust import examine_pair, examine_tls

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
    if node is None:
        return [ok("node", "no node runs on this state directory")], {}
    try:
        status = AdminLine(settings.admin_socket).get("status")
    except (Misconfigured, NotDone) as error:
        whose = f"process {node}" if node else "a process"
        message = f"{whose} has the admin socket, but does not answer: {error}"
        how = "run this as the node's user; or look at the node's log, and restart it"
        return [failure("node", message, how)], {}
    # The remedy is the last part of the sentence, if it has one.
    problems = [
        [*re.split(r"[:;] (?!.*[:;] )", why, maxsplit=1), "look at the node's log"][:2]
        for why in status["problems"].values()
    ]
    message = f"process {node} runs here, {status['state']}, its lobby at "
    return [
        ok("node", f"{message}{status['lobby']}"),
        *(warning("node", *parts) for parts in problems),
    ], status


def _games(settings: Settings) -> tuple[Finding, int]:
    """Load the games; returns the most seats of one table too."""
    try:
        games = all_games(settings.game, settings.games)
    except Misconfigured as error:
        return failure(
            "games", str(error), "set game to a class that can be imported"
        ), (_USUAL_SEATS)
    for name, table in (settings.games or {}).items():
        try:
            check_program(name, table)
        except Misconfigured as error:
            return refused("games", error), _USUAL_SEATS
    most = max((game.seats[1] for game in games.values()), default=_USUAL_SEATS)
    return ok("games", ", ".join(sorted(games))), most


def _certificates(settings: Settings) -> list[Finding]:
    path, key = settings.tls_certificate_file, settings.tls_key_file
    findings = [ok("lobby certificate", "the node issues and renews its own")]
    if path is not None and key is not None:
        names = ("tls_certificate_file", "tls_key_file")
        host = settings.public_host
        findings = examine_pair("lobby certificate", (path, key), names, host=host)
    path, key = settings.authority_certificate_file, settings.authority_key_file
    own = settings.state_dir / "authority"
    if path is not None and key is not None:
        names = ("authority_certificate_file", "authority_key_file")
        found = examine_pair("authority", (path, key), names, signs=True)
    elif _is_there(own / "ca.pem"):
        found = examine_pair("authority", (own / "ca.pem", own / "ca.key"), signs=True)
    else:
        found = [ok("authority", "none yet; the node creates a private one")]
    return [*findings, *found]


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # Hidden from us; reading it fails with the reason.
        return True


def _identity(settings: Settings) -> list[Finding]:
    """Check who may play, and who may administer."""
    findings = []
    try:
        checkers = find_checkers(settings, time.time)
    except Misconfigured as error:
        how = "see twistd vinom --help-auth"
        findings.append(refused("identity", error, how))
    else:
        guests = {
            "no": "no guests",
            "loopback": "guests from this machine",
            "yes": "guests from everywhere",
        }[settings.guests]
        count = len(checkers) + (settings.identity_issuer is not None)
        message = f"{guests}, and players with credentials: {count} checkers"
        findings.append(ok("identity", message if count else guests))
    path = settings.admin_token_file
    if path is not None:
        try:
            checked_token(read_file(path, "admin_token_file"), str(path))
        except Misconfigured as error:
            findings.append(refused("admin token", error, "replace the file"))
        else:
            findings.append(ok("admin token", f"{path} contains one"))
    return findings
