"""``vinom doctor``: every check, one after the other."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from vinom.doctor import trust as doctor_trust
from vinom.doctor.cluster import examine_cluster
from vinom.doctor.findings import Finding, failure, ok, warning
from vinom.doctor.game_servers import examine_game_servers
from vinom.doctor.machine import (
    examine_clock,
    examine_limits,
    examine_store,
    examine_wall,
)
from vinom.doctor.network import examine_udp
from vinom.doctor.ports import examine_host, examine_ports, listener_of
from vinom.doctor.provider import examine_provider
from vinom.doctor.receiver import examine_receiver
from vinom.doctor.store import examine_shared_store
from vinom.doctor.strangers import examine_strangers
from vinom.doctor.trust import examine_tls, look_at
from vinom.errors import Misconfigured
from vinom.keys.files import read_file
from vinom.node.asking import AdminLine, NotDone
from vinom.node.build import check_program, find_checkers
from vinom.node.games import all_games
from vinom.node.settings import Settings
from vinom.web.bearer import checked_token

#: Most seats of one table, as long as no game can be loaded.
_USUAL_SEATS = 4


@attrs.frozen
class Examination:
    """
    What to check.

    :ivar settings: the node's.
    :ivar source: a second address of this machine, to test a game port from.
    :ivar time_from: URL of a web server whose time is compared with ours.
    """

    settings: Settings
    source: str | None = None
    time_from: str | None = None

    def run(self, entropy: Callable[[int], bytes]) -> list[Finding]:
        """
        Check everything, and change nothing.

        :param entropy: gives random bytes.
        :raises Misconfigured: *source* or *time_from* is invalid.
        """
        settings = self.settings
        node = listener_of(settings.admin_socket)
        host, addresses = examine_host(settings)
        games, most_seats = _games(settings)
        findings = [
            *_node(settings, node),
            *examine_ports(settings, node),
            host,
            *examine_tls(settings, node),
            *examine_udp(settings, addresses, self.source, entropy),
            *examine_limits(settings, node, most_seats),
            *examine_strangers(settings, node),
            games,
            *examine_game_servers(settings),
            *_certificates(settings),
            *_identity(settings),
            *examine_provider(settings),
            *examine_cluster(settings),
            *examine_shared_store(settings),
            *examine_receiver(settings),
            *examine_store(settings),
            *examine_wall(settings),
        ]
        return [*findings, *examine_clock(self.time_from)]


def _node(settings: Settings, node: int | None) -> list[Finding]:
    if node is None:
        return [ok("node", "no node runs on this state directory")]
    try:
        status = AdminLine(settings.admin_socket).get("status")
    except (Misconfigured, NotDone) as error:
        whose = f"process {node}" if node else "a process"
        told = f"{whose} has the admin socket, but does not answer: {error}"
        how = "run this as the node's user; or look at the node's log, and restart it"
        return [failure("node", told, how)]
    # The remedy is the last part of the sentence, if it has one.
    problems = [
        [*re.split(r"[:;] (?!.*[:;] )", why, maxsplit=1), "look at the node's log"][:2]
        for why in status["problems"].values()
    ]
    told = f"process {node} runs here, {status['state']}, its lobby at "
    return [
        ok("node", f"{told}{status['lobby']}"),
        *(warning("node", *parts) for parts in problems),
    ]


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
            told, _, remedy = str(error).rpartition(": ")
            return failure("games", told, remedy), _USUAL_SEATS
    most = max((game.seats[1] for game in games.values()), default=_USUAL_SEATS)
    return ok("games", ", ".join(sorted(games))), most


def _certificates(settings: Settings) -> list[Finding]:
    now = time.time()
    findings: list[Finding] = []
    path, key = settings.tls_certificate_file, settings.tls_key_file
    if path is None or key is None:
        findings.append(ok("lobby certificate", "the node issues and renews its own"))
    else:
        name = "lobby certificate"
        try:
            found = look_at(path, key, ("tls_certificate_file", "tls_key_file"))
        except Misconfigured as error:
            findings.append(_unusable(name, error))
        else:
            host = settings.public_host
            findings += doctor_trust.lobby_certificate(found, host, now)
    return [*findings, _authority(settings, now)]


def _authority(settings: Settings, now: float) -> Finding:
    path, key = settings.authority_certificate_file, settings.authority_key_file
    try:
        if path is not None and key is not None:
            names = ("authority_certificate_file", "authority_key_file")
            return doctor_trust.authority(look_at(path, key, names), True, now)
        folder = settings.state_dir / "authority"
        if not _is_there(folder / "ca.pem"):
            return ok("authority", "none yet; the node creates a private one")
        found = look_at(folder / "ca.pem", folder / "ca.key")
        return doctor_trust.authority(found, False, now)
    except Misconfigured as error:
        return _unusable("authority", error)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # Hidden from us; reading it fails with the reason.
        return True


def _unusable(
    name: str, error: Misconfigured, usual: str = "replace the file"
) -> Finding:
    """Make a finding of an error, which may name the remedy itself."""
    told, _, remedy = str(error).partition("; ")
    return failure(name, told, remedy or usual)


def _identity(settings: Settings) -> list[Finding]:
    """Check who may play, and who may administer."""
    findings = []
    try:
        checkers = find_checkers(settings, time.time)
    except Misconfigured as error:
        how = "see twistd vinom --help-auth"
        findings.append(_unusable("identity", error, how))
    else:
        guests = {
            "no": "no guests",
            "loopback": "guests from this machine",
            "yes": "guests from everywhere",
        }[settings.guests]
        count = len(checkers) + (settings.identity_issuer is not None)
        told = f"{guests}, and players with credentials: {count} checkers"
        findings.append(ok("identity", told if count else guests))
    path = settings.admin_token_file
    if path is not None:
        try:
            checked_token(read_file(path, "admin_token_file"), str(path))
        except Misconfigured as error:
            findings.append(_unusable("admin token", error))
        else:
            findings.append(ok("admin token", f"{path} contains one"))
    return findings
