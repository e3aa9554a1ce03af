"""
What a node is made of: every service, built in order and handed its ports.

What everybody finds where ``http`` is: the page, health, and WebSockets.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.cred.checkers import (
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import InvalidAuthArgumentString, InvalidAuthType, makeChecker
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.protocols.tls import TLSMemoryBIOFactory

from vinom.conversation.conversation import Bounds
from vinom.conversation.identity import Identity, OutsideTokenChecker, OutsideVerifier
from vinom.conversation.presence import Presence
from vinom.desk import Lobby
from vinom.errors import Misconfigured
from vinom.fleet.fleet import Fleet
from vinom.fleet.local import GameServerProgram, LocalFleet
from vinom.fleet.pool import PoolPolicy
from vinom.fleet.server import FleetSettings, RoomPatience
from vinom.game import Game
from vinom.game_loader import installed_games
from vinom.hosting.guarding import guard_games
from vinom.hosting.recordings import Recordings
from vinom.keys.authority import Authority, Issued
from vinom.keys.files import read_file
from vinom.keys.service import Keys, LobbyCertificate
from vinom.limits.buckets import is_loopback
from vinom.limits.origins import Origins
from vinom.lines.proxied import ProxiedFactory
from vinom.lines.tcp import LineBounds, LineFactory, Lines
from vinom.lines.tls import ReloadableTls, Unnegotiated
from vinom.lines.websocket import WebSocketBounds, WebSockets
from vinom.matches.outside import OutsideMatches
from vinom.matches.service import Sessions
from vinom.matches.ways_in import Mint
from vinom.matchmaking.matchmaker import Matchmaker
from vinom.node.settings import Settings
from vinom.play.clock import longest_life
from vinom.reactor.turns import TurnEnd
from vinom.rooms.matches import MatchRooms
from vinom.rooms.room import RoomBounds
from vinom.rooms.rooms import Rooms
from vinom.store.memory import MemoryEntryStore, MemoryMatchStore, MemoryPlayerStore
from vinom.web.answers import make_site
from vinom.web.front_door import FrontDoor
from vinom.web.game_catalogue import GameCatalogue
from vinom.web.health import health_pages
from vinom.web.static_pages import StaticPages
from vinom.web.websocket import WebSocketPage


def public_site(
    settings: Settings,
    games: Mapping[str, Game[Any, Any]],
    websockets: WebSockets,
    tls: IOpenSSLServerConnectionCreator,
    obstacle: Callable[[], str | None],
    reactor: Any,
) -> IProtocolFactory:
    """
    Make what listens at the ``http`` endpoint.

    :param tls: used if the settings say so.
    :param obstacle: why no players should be sent here.
    """
    pages = StaticPages()
    pages.children.update(health_pages(obstacle).children)
    pages.putChild(b"games.json", GameCatalogue(games, settings.dev_notes))
    origins = Origins(
        settings.origin,
        not settings.browsers_only,
        settings.any_origin,
        _has_tls(settings),
    )
    page = WebSocketPage(websockets, origins, settings.deflate)
    pages.putChild(b"ws", page)
    site: IProtocolFactory = FrontDoor(make_site(pages, reactor), page, reactor)
    if settings.http_tls:
        site = TLSMemoryBIOFactory(tls, False, Unnegotiated(site), reactor)
    if settings.proxy:
        # Outermost: a proxy's header comes before everything of the player's.
        site = ProxiedFactory(site, settings.proxy)
    return site


def is_told_in_plain(settings: Settings, port: IListeningPort) -> bool:
    """
    Can others read on the way what players say to this port?

    Then their names' passwords and player keys, too. Behind a proxy that is known
    to the settings it is the proxy's affair, and ``allow_plaintext`` says that
    somebody knows.
    """
    host = getattr(port.getHost(), "host", None)
    if host is None or is_loopback(host):
        return False
    return not (_has_tls(settings) or settings.proxy or settings.allow_plaintext)


def _has_tls(settings: Settings) -> bool:
    """Does the node itself speak TLS there?"""
    return settings.http_tls or str(settings.http).startswith("ssl:")


def websocket_bounds(settings: Settings) -> WebSocketBounds:
    """Say what one WebSocket may cost."""
    return WebSocketBounds(
        settings.line_limit,
        settings.connections_per_address,
        ping_seconds=settings.ping_seconds,
    )


#: What the fork server calls in each process it forks.
GAME_SERVER = "vinom.gameserver.main:main"
#: What it imports once for all of them, beside the games; none of these may
#: install a reactor.
PRELOADED = ("vinom.gameserver.main:prepare", "twisted.internet.epollreactor")

#: Settings that game servers get as they are.
_PASSED_ON = (
    "packet_rate",
    "input_rate",
    "hello_rate",
    "hello_rate_attacked",
    "nameless_rate",
    "nameless_rate_attacked",
    "attack_rate",
    "join_seconds",
)
#: Rooms of one game server at once that there are descriptors for.
_MOST_ROOMS = 4096

Games = Mapping[str, Game[Any, Any]]


@attrs.frozen
class Parts:
    """
    The services of a node, not yet started.

    :ivar lines: makes the protocol of each lobby connection.
    :ivar websockets: what conversations over WebSocket share.
    :ivar tls: how lobby connections speak TLS.
    :ivar turns: what is done once when a turn of the reactor ends.
    """

    authority: Authority
    fleet: Fleet
    presence: Presence
    sessions: Sessions
    matchmaker: Matchmaker
    lobby: Lobby
    outside: OutsideMatches
    lines: LineFactory
    websockets: WebSockets
    tls: ReloadableTls
    keys: Keys
    rooms: Rooms
    turns: TurnEnd


def build_parts(
    settings: Settings,
    games: Games,
    checkers: Sequence[ICredentialsChecker],
    reactor: Any,
    entropy: Callable[[int], bytes],
) -> Parts:
    """
    Build everything between the listening ports and the game processes.

    :param reactor: also the clock; its seconds are those of the Unix epoch.
    :raises Misconfigured: the state directory or a key cannot be used.
    """
    now = reactor.seconds
    authority = Authority.open(
        settings.state_dir,
        settings.realm,
        now,
        certificate_file=settings.authority_certificate_file,
        key_file=settings.authority_key_file,
    )
    issued = lobby_certificate(settings, authority)
    tls = ReloadableTls(issued.certificate, issued.key)
    fleet = Fleet(
        LocalFleet(reactor, game_server_program(settings), os.environ),
        authority,
        reactor,
        entropy,
        fleet_settings(settings),
        RoomPatience(
            lambda plan: longest_life(games[plan.game], settings.join_seconds),
            join=settings.join_seconds,
        ),
        # Nobody sets this clock: a step of the other one must end no match.
        time.monotonic,
    )
    presence = Presence()
    mint = Mint(settings.realm, authority.tokens, entropy, settings.token_seconds)
    identity = Identity(
        MemoryPlayerStore(now),
        entropy,
        now,
        guests=settings.guests,
        checkers=checkers,
        key_seconds=settings.player_key_seconds,
    )
    sessions = Sessions(fleet, MemoryMatchStore(now), presence, games, mint, reactor)
    matchmaker = Matchmaker(
        MemoryEntryStore(),
        sessions,
        presence,
        games,
        reactor,
        entropy,
        fill_seconds=settings.fill_seconds,
    )
    turns = TurnEnd(reactor)
    rooms = Rooms(
        games,
        turns,
        reactor,
        time.monotonic,
        entropy,
        recordings_of(settings, reactor),
        guard=guard_games(),
        fleet=fleet,
        matches=MatchRooms(sessions, fleet, games, settings.watch_matches),
        bounds=RoomBounds(
            most=settings.max_rooms,
            per_client=settings.rooms_per_client,
            spectators=settings.spectators_per_room,
            close_seconds=settings.room_close_seconds,
            grace_seconds=settings.grace_seconds,
            fill_seconds=settings.fill_seconds,
        ),
    )
    lobby = Lobby(
        identity,
        presence,
        matchmaker,
        sessions,
        rooms,
        games,
        reactor,
        Bounds(
            hello_seconds=settings.hello_seconds,
            rate=settings.message_rate,
            burst=settings.message_burst,
            actions=settings.input_rate,
        ),
        is_debugging=settings.log_level == "debug",
    )
    lines = Lines(
        lobby.open,
        reactor,
        tls,
        settings.allow_plaintext,
        LineBounds(
            settings.line_limit,
            settings.connections_per_address,
            first_byte_seconds=settings.hello_seconds,
        ),
        lobby.errors,
    )
    return Parts(
        authority=authority,
        fleet=fleet,
        presence=presence,
        sessions=sessions,
        matchmaker=matchmaker,
        lobby=lobby,
        outside=OutsideMatches(sessions, identity, games, entropy),
        lines=LineFactory(lines),
        websockets=WebSockets(
            lobby.open,
            reactor,
            turns,
            websocket_bounds(settings),
            lobby.errors,
        ),
        tls=tls,
        keys=Keys(
            authority,
            fleet,
            LobbyCertificate(
                tls,
                lambda: lobby_certificate(settings, authority),
                settings.tls_certificate_file is None,
            ),
            reactor,
            settings.token_seconds,
        ),
        rooms=rooms,
        turns=turns,
    )


def recordings_of(settings: Settings, clock: IReactorTime) -> Recordings:
    """Say where rooms of this node are written down: where game servers do it too."""
    is_recorded = settings.recordings_days > 0 and settings.recordings_mb > 0
    return Recordings(
        settings.recordings_dir if is_recorded else None,
        most_bytes=settings.recordings_mb * 10**6,
        most_age=settings.recordings_days * 86400.0,
        clock=clock,
    )


def game_server_program(settings: Settings) -> GameServerProgram:
    """Say what a game server is: the program, its limits, and what it is told."""
    # Found here once: searching costs a game server 8 ms and 2 MB.
    installed = installed_games()
    games = sorted({spec.partition(":")[0] for spec in (*installed, *settings.game)})
    is_recorded = settings.recordings_days > 0 and settings.recordings_mb > 0
    return GameServerProgram(
        GAME_SERVER,
        {
            "control_socket": str(settings.control_socket),
            "installed": list(installed),
            "games": list(settings.game),
            "rooms_per_process": settings.rooms_per_process,
            "recordings": str(settings.recordings_dir) if is_recorded else None,
            "recordings_days": settings.recordings_days,
            "recordings_bytes": settings.recordings_mb * 10**6,
            "receive_buffer": settings.receive_buffer_kb << 10,
            "log_format": settings.log_format,
            "log_level": settings.log_level,
            **{name: getattr(settings, name) for name in _PASSED_ON},
        },
        (*PRELOADED, *games),
        settings.server_memory_mb << 20,
        # Each room's recording is open as long as the room.
        settings.server_files + min(settings.rooms_per_process, _MOST_ROOMS),
    )


def fleet_settings(settings: Settings) -> FleetSettings:
    """Say how many game servers there are, and where."""
    first, last = settings.ports
    most = settings.max_servers
    return FleetSettings(
        realm=settings.realm,
        ports=settings.ports,
        interface=settings.interface,
        advertise=settings.told_host,
        policy=PoolPolicy(
            warm=settings.warm,
            # Warm ones have no port yet: they come on top of those that play.
            most=last - first + 1 + settings.warm if most is None else most,
            rooms_per_process=settings.rooms_per_process,
        ),
    )


def lobby_certificate(settings: Settings, authority: Authority) -> Issued:
    """
    Find what the lobby speaks TLS with: configured files, or our own certificate.

    :raises Misconfigured: the files cannot be read.
    """
    if settings.tls_certificate_file is not None and settings.tls_key_file is not None:
        return Issued(
            read_file(settings.tls_certificate_file, "tls_certificate_file"),
            read_file(settings.tls_key_file, "tls_key_file"),
        )
    names = {"localhost", "127.0.0.1", "::1", settings.told_host}
    return authority.lobby(sorted(names))


def find_checkers(
    settings: Settings, now: Callable[[], float]
) -> list[ICredentialsChecker]:
    """
    Make what answers hellos with credentials.

    :param now: the time, seconds since the Unix epoch.
    :raises Misconfigured: a checker or a key cannot be used.
    """
    checkers: list[ICredentialsChecker] = []
    for description in settings.auth:
        kind, _, given = description.partition(":")
        if kind == "file":
            # Twisted's own checker only warns, and then refuses everybody.
            read_file(Path(given), "auth")
            # It opens the file for each login: by then twistd changed the folder.
            description = f"file:{Path(given).absolute()}"
        try:
            checker = makeChecker(description)
        except InvalidAuthType as error:
            raise Misconfigured(f"auth {kind!r} is no checker; see --help-auth") from (
                error
            )
        except (InvalidAuthArgumentString, OSError, ValueError) as error:
            # Not the description: it may hold a password.
            raise Misconfigured(
                f"auth {kind!r} cannot be used: {type(error).__name__}; "
                f"see --help-auth-type {kind}"
            ) from error
        if IUsernamePassword not in checker.credentialInterfaces:
            raise Misconfigured(f"auth {kind!r} does not take names and passwords")
        if isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):
            # Twisted's plugin keeps text, and compares it with bytes.
            users: dict[Any, Any] = checker.users
            checker.users = {
                str(name).encode(): str(password).encode()
                for name, password in users.items()
            }
        checkers.append(checker)
    if (
        settings.identity_keys_file is not None
        and settings.identity_issuer is not None
        and settings.identity_audience is not None
    ):
        verifier = OutsideVerifier(
            read_file(settings.identity_keys_file, "identity_keys_file"),
            settings.identity_issuer,
            settings.identity_audience,
        )
        checkers.append(OutsideTokenChecker(verifier, now))
    return checkers
